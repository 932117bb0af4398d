// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../src/BLS12381.sol";
import {ICovalueToken} from "../src/interfaces/ICovalueToken.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

contract TaskAdmissionTest is CovalueFixture {
    function setUp() external {
        _deploy();
    }

    function _sumOfKeys(uint256 members) private view returns (bytes memory) {
        BLS12381.G1 memory sum;
        for (uint256 i = 0; members >> i != 0; ++i) {
            if ((members >> i) & 1 == 0) continue;
            bytes memory key = BlsSigner.publicKey(_secret(i));
            sum = BLS12381.add(sum, this.decode(key));
        }
        return BLS12381.encode(sum);
    }

    function decode(bytes calldata key) external pure returns (BLS12381.G1 memory) {
        return BLS12381.decodeKey(key);
    }

    function test_openTask_storesTermsAndMintsTheBudget() external {
        ITaskTypes.Terms memory terms = _terms();
        vm.assertEq(_open(terms), 1);
        vm.assertEq(keccak256(abi.encode(ledger.termsOf(1))), keccak256(abi.encode(terms)));
        vm.assertEq(token.balanceOf(address(distributor)), BUDGET);
        vm.assertEq(distributor.reservedOf(1), BUDGET);
        vm.assertEq(ledger.taskIdOf(terms.taskDigest), 1);
        vm.assertEq(ledger.taskCount(), 1);
        ITaskTypes.Task memory task = ledger.taskOf(1);
        vm.assertTrue(task.state == ITaskTypes.State.Open);
        vm.assertEq(task.deadline, terms.deadline);
        vm.assertEq(task.openedAt, block.timestamp);
        vm.assertEq(ledger.partOf(1, 1).holder, HOLDER_B);
        vm.assertTrue(ledger.taskOf(2).state == ITaskTypes.State.None);
    }

    function test_openTask_onlyTheTimelock() external {
        ITaskTypes.Terms memory terms = _terms();
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        ledger.openTask(terms);
    }

    function test_openTask_aDigestOnce() external {
        ITaskTypes.Terms memory terms = _terms();
        _open(terms);
        vm.prank(TIMELOCK);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.TaskDigestUsed.selector, keccak256("task"), 1)
        );
        ledger.openTask(terms);
    }

    function test_openTask_withinTheYearlyCap() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.budget = YEARLY_CAP + 1;
        vm.prank(TIMELOCK);
        vm.expectRevert(
            abi.encodeWithSelector(
                ICovalueToken.YearlyCapExceeded.selector, YEARLY_CAP + 1, 0, YEARLY_CAP
            )
        );
        ledger.openTask(terms);
    }

    function _expectInvalid(ITaskTypes.Terms memory terms, string memory field) private {
        vm.prank(TIMELOCK);
        (bool ok, bytes memory data) =
            address(ledger).call(abi.encodeCall(ledger.openTask, (terms)));
        vm.assertFalse(ok);
        vm.assertEq(bytes32(data), bytes32(ITaskTypes.InvalidTerms.selector));
        vm.assertEq(this.fieldOf(data), field);
    }

    function fieldOf(bytes calldata data) external pure returns (string memory field) {
        (field,,,) = abi.decode(data[4:], (string, uint256, uint256, uint256));
    }

    function test_openTask_namesTheTermThatIsWrong() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.coordinator = address(0);
        _expectInvalid(terms, "coordinator");
        terms = _terms();
        terms.budget = 1 << 96;
        _expectInvalid(terms, "budget");
        terms = _terms();
        terms.rounds = 0;
        _expectInvalid(terms, "rounds");
        terms = _terms();
        terms.checkpointLength = terms.rounds + 1;
        _expectInvalid(terms, "checkpointLength");
        terms.checkpointLength = 0;
        _expectInvalid(terms, "checkpointLength");
        terms = _terms();
        terms.maxContributors = 257;
        _expectInvalid(terms, "maxContributors");
        terms = _terms();
        terms.minContributors = terms.maxContributors + 1;
        _expectInvalid(terms, "minContributors");
        terms = _terms();
        terms.quorumBps = 6666;
        _expectInvalid(terms, "quorumBps");
        terms.quorumBps = 10_001;
        _expectInvalid(terms, "quorumBps");
        terms = _terms();
        terms.joinDeadline = uint64(block.timestamp);
        _expectInvalid(terms, "joinDeadline");
        terms = _terms();
        terms.deadline = terms.joinDeadline;
        _expectInvalid(terms, "deadline");
        terms.deadline = type(uint64).max;
        _expectInvalid(terms, "deadline");
        terms = _terms();
        terms.challengeWindow = COOLDOWN + 1;
        _expectInvalid(terms, "challengeWindow");
        terms = _terms();
        terms.challengeBond = 0;
        _expectInvalid(terms, "challengeBond");
        terms = _terms();
        terms.revealWindow = 0;
        _expectInvalid(terms, "revealWindow");
        terms = _terms();
        terms.parts = new ITaskTypes.Part[](1);
        _expectInvalid(terms, "parts");
        terms = _terms();
        terms.taskDigest = 0;
        vm.prank(TIMELOCK);
        vm.expectRevert(ITaskTypes.ZeroDigest.selector);
        ledger.openTask(terms);
        terms = _terms();
        for (uint256 length = 0; length < 130; length += 129) {
            terms.taskCid = string(new bytes(length));
            vm.prank(TIMELOCK);
            vm.expectRevert(
                abi.encodeWithSelector(ITaskTypes.InvalidCidLength.selector, length, 128)
            );
            ledger.openTask(terms);
        }
    }

    function test_openTask_partsNeedDistinctHoldersThatAreNotTheCoordinator() external {
        for (uint256 i = 0; i < 4; ++i) {
            ITaskTypes.Terms memory terms = _terms();
            if (i == 0) terms.parts[1].holder = coordinator;
            if (i == 1) terms.parts[1].holder = HOLDER_A;
            if (i == 2) terms.parts[1].holder = address(0);
            if (i == 3) terms.parts[1].commitment = 0;
            vm.prank(TIMELOCK);
            vm.expectRevert(
                abi.encodeWithSelector(
                    ITaskTypes.InvalidPart.selector,
                    1,
                    terms.parts[1].holder,
                    terms.parts[1].commitment
                )
            );
            ledger.openTask(terms);
        }
    }

    function test_bonds_byTheNamedAccountsOnce() external {
        uint256 taskId = _open(_terms());
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.NotCoordinator.selector, address(this), coordinator)
        );
        ledger.postBond(taskId);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.NotHolder.selector, address(this), HOLDER_A)
        );
        ledger.postPartBond(taskId, 0);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.UnknownPart.selector, 2, 2));
        ledger.postPartBond(taskId, 2);
        _postBonds(taskId);
        vm.assertEq(token.balanceOf(address(ledger)), BOND + 2 * PART_BOND);
        vm.assertTrue(ledger.taskOf(taskId).bondPosted);
        vm.assertTrue(ledger.partOf(taskId, 0).bonded);
        vm.prank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.BondAlreadyPosted.selector, taskId));
        ledger.postBond(taskId);
        vm.prank(HOLDER_A);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.BondAlreadyPosted.selector, taskId));
        ledger.postPartBond(taskId, 0);
    }

    function test_join_addsKeysInOrder() external {
        uint256 taskId = _open(_terms());
        for (uint256 i = 0; i < 3; ++i) {
            _register(i);
            _join(taskId, i);
            vm.assertEq(ledger.rosterIndexOf(taskId, _member(i)), i);
            vm.assertEq(ledger.rosterOf(taskId)[i], _member(i));
            vm.assertEq(ledger.rosterKeys(taskId)[i], BlsSigner.publicKey(_secret(i)));
        }
        vm.assertEq(ledger.aggregateKeyOf(taskId), _sumOfKeys(7));
        vm.assertTrue(ledger.isJoined(taskId, _member(0)));
        vm.assertFalse(ledger.isJoined(taskId, _member(3)));
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NotJoined.selector, taskId, _member(3)));
        ledger.rosterIndexOf(taskId, _member(3));
    }

    function test_join_refusals() external {
        uint256 taskId = _open(_terms());
        _register(0);
        _join(taskId, 0);
        vm.prank(_member(0));
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.AlreadyJoined.selector, taskId, _member(0))
        );
        ledger.join(taskId, new bytes32[](0));
        for (uint256 i = 1; i < 4; ++i) {
            _register(i);
            _join(taskId, i);
        }
        _register(4);
        vm.prank(_member(4));
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.RosterFull.selector, taskId, 4));
        ledger.join(taskId, new bytes32[](0));
        uint64 limit = ledger.termsOf(taskId).joinDeadline;
        vm.warp(limit + 1);
        vm.prank(_member(4));
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooLate.selector, limit + 1, limit));
        ledger.join(taskId, new bytes32[](0));
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, 9, ITaskTypes.State.None)
        );
        ledger.join(9, new bytes32[](0));
    }

    function test_join_allowListOfOpenZeppelinsLibrary() external {
        string memory json = vm.readFile("contracts/test/merkle.json");
        address[] memory accounts = vm.parseJsonAddressArray(json, ".trees[3].accounts");
        bytes32[] memory proof = vm.parseJsonBytes32Array(json, ".trees[3].allowed.proofs[4]");
        ITaskTypes.Terms memory terms = _terms();
        terms.allowRoot = vm.parseJsonBytes32(json, ".trees[3].allowed.root");
        uint256 taskId = _open(terms);
        _registerWith(accounts[4], 4444, MIN_STAKE);
        _registerWith(accounts[5], 5555, MIN_STAKE);
        vm.prank(accounts[5]);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NotAllowed.selector, accounts[5]));
        ledger.join(taskId, proof);
        vm.prank(accounts[4]);
        ledger.join(taskId, proof);
        vm.assertTrue(ledger.isJoined(taskId, accounts[4]));
    }

    function test_leave_movesTheLastAndFreesTheStake() external {
        uint256 taskId = _open(_terms());
        for (uint256 i = 0; i < 4; ++i) {
            _register(i);
            _join(taskId, i);
        }
        vm.prank(_member(1));
        ledger.leave(taskId);
        address[] memory roster = ledger.rosterOf(taskId);
        vm.assertEq(roster.length, 3);
        vm.assertEq(roster[1], _member(3));
        vm.assertEq(ledger.rosterIndexOf(taskId, _member(3)), 1);
        vm.assertEq(ledger.aggregateKeyOf(taskId), _sumOfKeys(13));
        vm.assertEq(registry.contributorOf(_member(1)).locks, 0);
        vm.prank(_member(1));
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NotJoined.selector, taskId, _member(1)));
        ledger.leave(taskId);
        _join(taskId, 1);
        vm.assertEq(ledger.rosterIndexOf(taskId, _member(1)), 3);
    }

    function testFuzz_leave_rosterAndAggregateKeyStayTrue(uint256 moves) external {
        ITaskTypes.Terms memory terms = _terms();
        uint256 taskId = _open(terms);
        uint256 joined = 0;
        for (uint256 i = 0; i < 4; ++i) {
            _register(i);
        }
        for (uint256 step = 0; step < 12; ++step) {
            uint256 i = (moves >> (2 * step)) & 3;
            vm.prank(_member(i));
            if ((joined >> i) & 1 == 0) ledger.join(taskId, new bytes32[](0));
            else ledger.leave(taskId);
            joined ^= 1 << i;
        }
        vm.assertEq(ledger.aggregateKeyOf(taskId), _sumOfKeys(joined));
        address[] memory roster = ledger.rosterOf(taskId);
        uint256 seen = 0;
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertEq(ledger.isJoined(taskId, _member(i)) ? 1 : 0, (joined >> i) & 1);
            if ((joined >> i) & 1 == 0) continue;
            ++seen;
            vm.assertEq(roster[ledger.rosterIndexOf(taskId, _member(i))], _member(i));
        }
        vm.assertEq(seen, roster.length);
    }

    function test_start_needsCoordinatorBondsAndRoster() external {
        uint256 taskId = _open(_terms());
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.NotCoordinator.selector, address(this), coordinator)
        );
        ledger.start(taskId);
        vm.startPrank(coordinator);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.BondMissing.selector, taskId, coordinator)
        );
        ledger.start(taskId);
        vm.stopPrank();
        _fund(coordinator, address(ledger), BOND);
        vm.startPrank(coordinator);
        ledger.postBond(taskId);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.BondMissing.selector, taskId, HOLDER_A));
        ledger.start(taskId);
        vm.stopPrank();
        _fund(HOLDER_A, address(ledger), PART_BOND);
        vm.prank(HOLDER_A);
        ledger.postPartBond(taskId, 0);
        _fund(HOLDER_B, address(ledger), PART_BOND);
        vm.prank(HOLDER_B);
        ledger.postPartBond(taskId, 1);
        vm.startPrank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.RosterTooSmall.selector, taskId, 0, 3));
        ledger.start(taskId);
        uint256 deadline = ledger.taskOf(taskId).deadline;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooLate.selector, deadline, deadline));
        ledger.start(taskId);
    }

    function test_start_freezesTheRoster() external {
        uint256 taskId = _running();
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        vm.assertTrue(task.state == ITaskTypes.State.Running);
        vm.assertEq(task.rosterSize, 3);
        vm.assertEq(task.startedAt, block.timestamp);
        bytes memory wrong = abi.encodeWithSelector(
            ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Running
        );
        vm.startPrank(_member(0));
        vm.expectRevert(wrong);
        ledger.leave(taskId);
        vm.expectRevert(wrong);
        ledger.join(taskId, new bytes32[](0));
        vm.expectRevert(wrong);
        ledger.postBond(taskId);
        vm.expectRevert(wrong);
        ledger.postPartBond(taskId, 0);
        vm.expectRevert(wrong);
        ledger.start(taskId);
    }
}
