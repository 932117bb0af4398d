// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CovalueGovernor} from "../src/CovalueGovernor.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {BareGovernor, BareVotes} from "./BareGovernor.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {DevStablecoin} from "./DevStablecoin.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

/// @dev What both votes execute, so that the costs beside it compare.
contract VoteTarget {
    uint256 public value;

    function set(uint256 value_) external {
        value = value_;
    }
}

/// @title What transactions cost, written to contracts/gas/*.json
/// @dev Each measured call runs as a transaction of its own (isolation): figures are what a receipt
/// says, with the base cost of 21,000, calldata, cold storage and refunds.
/// forge-config: default.isolate = true
contract GasTest is CovalueFixture {
    uint256 private constant ROSTER = 16;
    uint256 private constant EVERYONE = (1 << ROSTER) - 1;
    address private constant TREASURY = address(0x7EA);

    function setUp() external {
        _deploy();
    }

    function _runningWith16() private returns (uint256 taskId) {
        ITaskTypes.Terms memory terms = _terms();
        terms.maxContributors = uint16(ROSTER);
        terms.rounds = 12;
        taskId = _open(terms);
        _postBonds(taskId);
        for (uint256 i = 0; i < ROSTER; ++i) {
            _register(i);
            _join(taskId, i);
        }
        vm.prank(coordinator);
        ledger.start(taskId);
    }

    function test_gas_checkpoint() external {
        uint256 taskId = _runningWith16();
        // The first checkpoint of a task fills slots that later ones overwrite.
        _commit(taskId, _checkpoint(0, 1, 3), EVERYONE);
        vm.snapshotGasLastCall("ledger", "first checkpoint, 16 of 16 sign");
        _commit(taskId, _checkpoint(1, 4, 6), EVERYONE);
        vm.snapshotGasLastCall("ledger", "checkpoint, 16 of 16 sign");
        _commit(taskId, _checkpoint(2, 7, 9), EVERYONE >> 5);
        vm.snapshotGasLastCall("ledger", "checkpoint, 11 of 16 sign");
        _commit(taskId, _checkpoint(3, 10, 12), EVERYONE);
        vm.snapshotGasLastCall("ledger", "last checkpoint, 16 of 16 sign");
    }

    /// @dev A tree of 16 payouts or shares: proofs of four hashes.
    function _payouts(uint256 taskId) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](ROSTER);
        for (uint256 i = 0; i < ROSTER; ++i) {
            leaves[i] =
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), 50 ether, i))));
        }
    }

    function _shares(uint256 taskId) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](ROSTER);
        for (uint256 i = 0; i < ROSTER; ++i) {
            leaves[i] =
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), 1e18 / ROSTER))));
        }
    }

    function _finalised(bytes32 digest) private returns (uint256 taskId, bytes32[] memory leaves) {
        ITaskTypes.Terms memory terms = _terms();
        terms.taskDigest = digest;
        (terms.rounds, terms.minContributors) = (1, 1);
        terms.checkpointLength = 1;
        taskId = _open(terms);
        _postBonds(taskId);
        if (!registry.contributorOf(_member(0)).registered) _register(0);
        _join(taskId, 0);
        vm.prank(coordinator);
        ledger.start(taskId);
        _commit(taskId, _checkpoint(0, 1, 1), 1);
        _openParts(taskId);
        leaves = _payouts(taskId);
        ITaskTypes.FinalReport memory report = _report();
        report.payoutRoot = MerkleTree.root(leaves);
        report.payoutTotal = ROSTER * 50 ether;
        report.shareRoot = MerkleTree.root(_shares(taskId));
        _close(taskId, report, 1);
        vm.snapshotGasLastCall("ledger", "close, 1 signs");
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        vm.snapshotGasLastCall("ledger", "finalise, with fund");
    }

    function test_gas_payouts() external {
        (uint256 taskId, bytes32[] memory leaves) = _finalised("one");
        for (uint256 i = 1; i < 3; ++i) {
            bytes32[] memory proof = MerkleTree.proof(leaves, i);
            distributor.claim(taskId, _member(i), 50 ether, uint8(i), proof);
            vm.snapshotGasLastCall(
                "payouts",
                i == 1
                    ? "claim, first of the task, first of the account"
                    : "claim, first of the account"
            );
        }
        (taskId, leaves) = _finalised("two");
        for (uint256 i = 1; i < 3; ++i) {
            bytes32[] memory proof = MerkleTree.proof(leaves, i);
            distributor.claim(taskId, _member(i), 50 ether, uint8(i), proof);
            vm.snapshotGasLastCall("payouts", i == 1 ? "claim, first of the task" : "claim");
        }
        // The money came with the vote, which paid for the slots too.
        vm.startPrank(address(ledger));
        distributor.reserve(99, 5 ether);
        vm.snapshotGasLastCall("payouts", "reserve");
        distributor.fund(99, "root", 5 ether);
        vm.snapshotGasLastCall("payouts", "fund with a root");
        vm.stopPrank();
    }

    function test_gas_revenue() external {
        DevStablecoin dollar = new DevStablecoin();
        ModelRegistry models = new ModelRegistry(ledger, TIMELOCK, address(0), address(this));
        RevenueShare revenue =
            new RevenueShare(dollar, models, ledger, TREASURY, 1000, 500, TIMELOCK);
        models.setRevenueShare(address(revenue));
        (uint256 taskId,) = _finalised("one");
        vm.prank(TIMELOCK);
        models.release(taskId, 1);
        vm.snapshotGasLastCall("revenue", "release");
        uint64 share = uint64(1e18 / ROSTER);
        bytes32[] memory leaves = _shares(taskId);
        bytes32[] memory proof = MerkleTree.proof(leaves, 1);
        for (uint256 payment = 0; payment < 2; ++payment) {
            dollar.mint(address(this), 1000e6);
            dollar.approve(address(revenue), 1000e6);
            revenue.pay(1, 1000e6);
            vm.snapshotGasLastCall("revenue", payment == 0 ? "first payment" : "payment");
            revenue.claim(1, taskId, _member(1), share, proof);
            vm.snapshotGasLastCall("revenue", payment == 0 ? "first claim" : "claim");
        }
        vm.prank(TIMELOCK);
        models.release(taskId, 2);
        vm.snapshotGasLastCall("revenue", "release after another");
        dollar.mint(address(this), 1000e6);
        dollar.approve(address(revenue), 1000e6);
        revenue.pay(1, 1000e6);
        vm.snapshotGasLastCall("revenue", "payment for an ended release");
        revenue.claim(1, taskId, _member(1), share, proof);
        vm.snapshotGasLastCall("revenue", "claim of an ended release");
        proof = MerkleTree.proof(leaves, 2);
        revenue.claim(1, taskId, _member(2), share, proof);
        vm.snapshotGasLastCall("revenue", "first claim of an ended release");
    }

    function _timelock() private returns (TimelockController timelock) {
        timelock = new TimelockController(2 days, new address[](0), new address[](0), address(this));
        timelock.grantRole(timelock.EXECUTOR_ROLE(), address(0));
    }

    function _linked(TimelockController timelock, IGovernor governor) private {
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governor));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governor));
    }

    function test_gas_governance() external {
        TimelockController timelock = _timelock();
        CovalueGovernor ours =
            new CovalueGovernor(token, timelock, 1 hours, 3 days, 1000 ether, 10, 1 days);
        _linked(timelock, ours);
        _vote("ours", ours, token);
        timelock = _timelock();
        BareVotes votes = new BareVotes(FOUNDER, GENESIS);
        BareGovernor bare = new BareGovernor(votes, timelock);
        _linked(timelock, bare);
        _vote("bare", bare, votes);
    }

    function _vote(string memory whose, IGovernor governor, IVotes votes) private {
        vm.prank(FOUNDER);
        votes.delegate(FOUNDER);
        vm.warp(block.timestamp + 1);
        address[] memory targets = new address[](1);
        uint256[] memory values = new uint256[](1);
        bytes[] memory calls = new bytes[](1);
        targets[0] = address(new VoteTarget());
        calls[0] = abi.encodeCall(VoteTarget.set, (1));
        vm.prank(FOUNDER);
        uint256 proposal = governor.propose(targets, values, calls, "set");
        vm.snapshotGasLastCall("governance", string.concat("propose, ", whose));
        vm.warp(block.timestamp + 1 hours + 1);
        vm.prank(FOUNDER);
        governor.castVote(proposal, 1);
        vm.snapshotGasLastCall("governance", string.concat("vote, ", whose));
        vm.warp(block.timestamp + 3 days);
        governor.queue(targets, values, calls, keccak256("set"));
        vm.snapshotGasLastCall("governance", string.concat("queue, ", whose));
        vm.warp(block.timestamp + 2 days);
        governor.execute(targets, values, calls, keccak256("set"));
        vm.snapshotGasLastCall("governance", string.concat("execute, ", whose));
        vm.assertEq(VoteTarget(targets[0]).value(), 1);
    }
}
