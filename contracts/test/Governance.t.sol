// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CovalueGovernor} from "../src/CovalueGovernor.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// @dev The real vote and the real timelock, with the deployer's roles given up.
contract GovernanceTest is CovalueFixture {
    uint48 private constant VOTING_DELAY = 1 hours;
    uint32 private constant VOTING_PERIOD = 3 days;
    uint48 private constant LATE_QUORUM = 1 days;
    uint256 private constant TIMELOCK_DELAY = 2 days;
    address private constant SMALL_HOLDER = address(0x5A11);

    TimelockController private timelock;
    CovalueGovernor private governor;

    function setUp() external {
        timelock = new TimelockController(
            TIMELOCK_DELAY, new address[](0), new address[](0), address(this)
        );
        _deployOwnedBy(address(timelock));
        governor = new CovalueGovernor(
            token, timelock, VOTING_DELAY, VOTING_PERIOD, 1000 ether, 10, LATE_QUORUM
        );
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
        timelock.grantRole(timelock.EXECUTOR_ROLE(), address(0));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        vm.startPrank(FOUNDER);
        token.delegate(FOUNDER);
        token.transfer(SMALL_HOLDER, 100 ether);
        vm.stopPrank();
        vm.prank(SMALL_HOLDER);
        token.delegate(SMALL_HOLDER);
        vm.warp(block.timestamp + 1);
    }

    function _call(bytes memory data)
        private
        view
        returns (address[] memory targets, uint256[] memory values, bytes[] memory calls)
    {
        targets = new address[](1);
        values = new uint256[](1);
        calls = new bytes[](1);
        (targets[0], calls[0]) = (address(ledger), data);
    }

    function _propose(ITaskTypes.Terms memory terms) private returns (uint256) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            _call(abi.encodeCall(ledger.openTask, (terms)));
        vm.prank(FOUNDER);
        return governor.propose(targets, values, calls, "open");
    }

    function _queue(ITaskTypes.Terms memory terms) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            _call(abi.encodeCall(ledger.openTask, (terms)));
        governor.queue(targets, values, calls, keccak256("open"));
    }

    function _execute(ITaskTypes.Terms memory terms) private {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            _call(abi.encodeCall(ledger.openTask, (terms)));
        governor.execute(targets, values, calls, keccak256("open"));
    }

    function _late() private view returns (ITaskTypes.Terms memory terms) {
        terms = _terms();
        terms.joinDeadline += 10 days;
    }

    function test_openTask_throughVoteQueueAndTimelock() external {
        ITaskTypes.Terms memory terms = _late();
        uint256 proposal = _propose(terms);
        vm.warp(block.timestamp + VOTING_DELAY + 1);
        vm.prank(FOUNDER);
        governor.castVote(proposal, 1);
        vm.warp(block.timestamp + VOTING_PERIOD);
        vm.assertTrue(governor.state(proposal) == IGovernor.ProposalState.Succeeded);
        vm.assertTrue(governor.proposalNeedsQueuing(proposal));
        _queue(terms);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        _execute(terms);
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        _execute(terms);
        vm.assertEq(ledger.taskCount(), 1);
        vm.assertTrue(ledger.taskOf(1).state == ITaskTypes.State.Open);
    }

    function test_openTask_notWithoutAQuorum() external {
        ITaskTypes.Terms memory terms = _late();
        uint256 proposal = _propose(terms);
        vm.warp(block.timestamp + VOTING_DELAY + 1);
        vm.prank(SMALL_HOLDER);
        governor.castVote(proposal, 1);
        vm.warp(block.timestamp + VOTING_PERIOD);
        vm.assertTrue(governor.state(proposal) == IGovernor.ProposalState.Defeated);
        vm.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        _queue(terms);
    }

    function test_propose_needsTheThreshold() external {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            _call(abi.encodeCall(ledger.resolve, (1, true)));
        vm.prank(SMALL_HOLDER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorInsufficientProposerVotes.selector,
                SMALL_HOLDER,
                100 ether,
                1000 ether
            )
        );
        governor.propose(targets, values, calls, "resolve");
    }

    function test_castVote_lateQuorumExtendsTheVote() external {
        uint256 proposal = _propose(_late());
        uint256 deadline = governor.proposalDeadline(proposal);
        vm.warp(deadline - 1);
        vm.prank(FOUNDER);
        governor.castVote(proposal, 1);
        vm.assertEq(governor.proposalDeadline(proposal), block.timestamp + LATE_QUORUM);
    }

    /// @dev The quorum of a vote is that of its snapshot.
    function test_quorum_loweredDoesNotReviveADefeatedProposal() external {
        ITaskTypes.Terms memory terms = _late();
        uint256 defeated = _propose(terms);
        vm.warp(block.timestamp + VOTING_DELAY + 1);
        vm.prank(SMALL_HOLDER);
        governor.castVote(defeated, 1);
        vm.warp(block.timestamp + VOTING_PERIOD);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            _call(abi.encodeCall(governor.updateQuorumNumerator, (0)));
        targets[0] = address(governor);
        vm.prank(FOUNDER);
        uint256 lowering = governor.propose(targets, values, calls, "lower");
        vm.warp(block.timestamp + VOTING_DELAY + 1);
        vm.prank(FOUNDER);
        governor.castVote(lowering, 1);
        vm.warp(block.timestamp + VOTING_PERIOD);
        governor.queue(targets, values, calls, keccak256("lower"));
        vm.warp(block.timestamp + TIMELOCK_DELAY);
        governor.execute(targets, values, calls, keccak256("lower"));
        vm.assertEq(governor.quorumNumerator(), 0);
        vm.assertTrue(governor.state(defeated) == IGovernor.ProposalState.Defeated);
        vm.expectPartialRevert(IGovernor.GovernorUnexpectedProposalState.selector);
        _queue(terms);
    }

    /// @dev Votes count as they stood at the snapshot: neither bought later nor borrowed and given back.
    function test_votes_borrowedOrBoughtLaterDoNotCount() external {
        uint256 proposal = _propose(_late());
        vm.warp(governor.proposalSnapshot(proposal));
        vm.prank(FOUNDER);
        token.transfer(SMALL_HOLDER, 1_000_000 ether);
        vm.prank(SMALL_HOLDER);
        token.transfer(FOUNDER, 1_000_000 ether);
        vm.warp(block.timestamp + 1);
        vm.prank(FOUNDER);
        token.transfer(SMALL_HOLDER, 1_000_000 ether);
        vm.prank(SMALL_HOLDER);
        vm.assertEq(governor.castVote(proposal, 1), 100 ether);
    }

    function test_nobodyElseOpensResolvesOrSlashes() external {
        ITaskTypes.Terms memory terms = _late();
        bytes memory refused =
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, FOUNDER);
        vm.startPrank(FOUNDER);
        vm.expectRevert(refused);
        ledger.openTask(terms);
        vm.expectRevert(refused);
        ledger.resolve(1, true);
        vm.expectRevert(refused);
        registry.slash(FOUNDER, 1, 0, "");
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        timelock.schedule(address(ledger), 0, "", 0, 0, TIMELOCK_DELAY);
    }

    function test_theDeployerHasNoRoleLeft() external view {
        vm.assertFalse(timelock.hasRole(timelock.DEFAULT_ADMIN_ROLE(), address(this)));
        vm.assertFalse(timelock.hasRole(timelock.PROPOSER_ROLE(), address(this)));
        vm.assertFalse(timelock.hasRole(timelock.CANCELLER_ROLE(), address(this)));
        vm.assertEq(ledger.owner(), address(timelock));
        vm.assertEq(registry.owner(), address(timelock));
        vm.assertEq(token.deployer(), address(0));
        vm.assertEq(registry.deployer(), address(0));
        vm.assertEq(distributor.deployer(), address(0));
    }
}
