// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IContributorRegistry} from "../src/interfaces/IContributorRegistry.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// @title Random walks through tasks and stakes; each step is one that its state allows
/// @dev Keeps its own count of what should lie where, in plain sums, for the invariants to compare.
contract LedgerHandler is CovalueFixture {
    uint256 internal constant MEMBERS = 4;

    /// @notice Money that should lie in the ledger, by what it is for.
    uint256 public budgets;
    uint256 public bonds;
    uint256 public owed;
    uint256 public minted;
    uint256 public claimed;
    uint256 public funded;

    /// @notice How often each end was reached, so that a test can show that the walks get there.
    uint256 public finalisations;
    uint256 public aborts;
    uint256 public upheld;
    uint256 public rejected;
    uint256 public equivocations;

    mapping(uint256 taskId => uint256[MEMBERS] amounts) private _payouts;

    constructor() {
        _deploy();
        for (uint256 i = 0; i < MEMBERS; ++i) {
            _register(i);
        }
    }

    function contracts() external view returns (address, address, address, address) {
        return (address(token), address(registry), address(ledger), address(distributor));
    }

    function member(uint256 i) external pure returns (address) {
        return _member(i);
    }

    function genesis() external pure returns (uint256) {
        return GENESIS;
    }

    function open(uint256 salt) external {
        if (ledger.taskCount() >= 80 || budgets >= 4 * BUDGET) return;
        ITaskTypes.Terms memory terms = _terms();
        terms.taskDigest = keccak256(abi.encode(salt, ledger.taskCount()));
        terms.minContributors = 1;
        terms.stake = 30 ether;
        terms.joinDeadline += 9 days;
        _open(terms);
        budgets += BUDGET;
        minted += BUDGET;
    }

    function joinOrLeave(uint256 taskSeed, uint256 memberSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Open);
        uint256 i = memberSeed % MEMBERS;
        if (taskId == 0) return;
        if (!ledger.isJoined(taskId, _member(i))) return _tryJoin(taskId, i);
        vm.prank(_member(i));
        ledger.leave(taskId);
    }

    function start(uint256 taskSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Open);
        if (taskId == 0 || block.timestamp >= ledger.taskOf(taskId).deadline) return;
        if (!ledger.taskOf(taskId).bondPosted) {
            _postBonds(taskId);
            bonds += BOND + 2 * PART_BOND;
        }
        for (uint256 i = 0; i < MEMBERS && ledger.taskOf(taskId).rosterSize == 0; ++i) {
            _tryJoin(taskId, i);
        }
        if (ledger.taskOf(taskId).rosterSize == 0) return;
        vm.prank(coordinator);
        ledger.start(taskId);
    }

    function commit(uint256 taskSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Running);
        if (taskId == 0 || ledger.taskOf(taskId).challenged) return;
        bool first = ledger.taskOf(taskId).checkpointCount == 0;
        ITaskTypes.Checkpoint memory next = first ? _checkpoint(0, 1, 3) : _checkpoint(1, 4, 5);
        bytes memory signature = _rosterSigns(taskId, ledger.checkpointMessage(taskId, next));
        ledger.commitCheckpoint(taskId, next, _everyone(taskId), "", signature);
    }

    function openPart(uint256 taskSeed, bool second) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Revealing);
        if (taskId == 0 || ledger.taskOf(taskId).challenged) return;
        if (block.timestamp > ledger.taskOf(taskId).revealDeadline) return;
        if (ledger.partOf(taskId, second ? 1 : 0).opened) return;
        vm.prank(second ? HOLDER_B : HOLDER_A);
        if (second) ledger.openPart(taskId, 1, "salt b", "part b", "bafkreipartb");
        else ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        bonds -= PART_BOND;
    }

    function close(uint256 taskSeed, uint64[MEMBERS] calldata amounts) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Revealing);
        if (taskId == 0) return;
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        if (task.challenged) return;
        if (task.partsOpened < 2 && block.timestamp <= task.revealDeadline) return;
        ITaskTypes.FinalReport memory report = _report();
        report.payoutTotal = 0;
        for (uint256 i = 0; i < MEMBERS; ++i) {
            _payouts[taskId][i] = amounts[i];
            report.payoutTotal += amounts[i];
        }
        report.payoutRoot = MerkleTree.root(_leaves(taskId));
        report.shareRoot = MerkleTree.root(_shareLeaves(taskId));
        bytes memory signature = _rosterSigns(taskId, ledger.finalMessage(taskId, report));
        ledger.close(taskId, report, _everyone(taskId), "", signature);
        bonds -= PART_BOND * (2 - task.partsOpened);
    }

    function challenge(uint256 taskSeed, uint256 stateSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State(2 + stateSeed % 3));
        if (taskId == 0 || taskSeed % 2 != 0) return;
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        if (task.challenged) return;
        if (task.state == ITaskTypes.State.Closed && block.timestamp > task.challengeDeadline) {
            return;
        }
        _challenge(taskId);
        bonds += CHALLENGE_BOND;
    }

    function resolve(uint256 taskSeed, bool uphold) external {
        uint256 count = ledger.taskCount();
        uint256 taskId = 1;
        while (taskId <= count && !ledger.taskOf(taskId).challenged) {
            ++taskId;
        }
        if (taskId > count || taskSeed % 2 != 0) return;
        uint256 roster = ledger.taskOf(taskId).rosterSize;
        uint256 held = _held(taskId);
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, uphold);
        if (uphold) {
            ++upheld;
            budgets -= BUDGET;
            bonds -= held;
        } else {
            ++rejected;
            bonds -= CHALLENGE_BOND;
            owed += CHALLENGE_BOND / roster * roster;
        }
    }

    function equivocate(uint256 taskSeed, uint256 stateSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State(1 + stateSeed % 4));
        if (taskId == 0 || taskSeed % 16 != 0) return;
        uint256 held = _held(taskId);
        bytes memory a = _signRecord(COORDINATOR_KEY, taskId, 1, "a");
        bytes memory b = _signRecord(COORDINATOR_KEY, taskId, 1, "b");
        ledger.proveEquivocation(taskId, 1, "a", a, "b", b);
        ++equivocations;
        budgets -= BUDGET;
        bonds -= held;
    }

    function abort(uint256 taskSeed, uint256 stateSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State(1 + stateSeed % 4));
        if (taskId == 0) return;
        uint256 held = _held(taskId);
        try ledger.abort(taskId) {
            ++aborts;
            budgets -= BUDGET;
            bonds -= held;
        } catch (bytes memory reason) {
            bytes4 given = bytes4(reason);
            vm.assertTrue(
                given == ITaskTypes.TooEarly.selector || given == ITaskTypes.WrongState.selector,
                "abort was refused without a reason"
            );
        }
    }

    function finalise(uint256 taskSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Closed);
        if (taskId == 0) return;
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        if (task.challenged || block.timestamp <= task.challengeDeadline) return;
        uint256 held = _held(taskId);
        ledger.finalise(taskId);
        ++finalisations;
        budgets -= BUDGET;
        bonds -= held;
        funded += ledger.finalOf(taskId).payoutTotal;
    }

    function claim(uint256 taskSeed, uint256 memberSeed) external {
        uint256 taskId = _pick(taskSeed, ITaskTypes.State.Finalised);
        uint256 i = memberSeed % MEMBERS;
        if (taskId == 0) return;
        uint256 amount = _payouts[taskId][i];
        if (distributor.isClaimed(taskId, uint8(i)) || distributor.rootOf(taskId) == 0) return;
        bytes32[] memory proof = MerkleTree.proof(_leaves(taskId), i);
        distributor.claim(taskId, _member(i), amount, uint8(i), proof);
        claimed += amount;
    }

    function withdrawOwed(uint256 taskSeed, uint256 memberSeed) external {
        uint256 count = ledger.taskCount();
        uint256 taskId = count == 0 ? 0 : 1 + taskSeed % count;
        address account = _member(memberSeed % MEMBERS);
        uint256 amount = ledger.owedOf(taskId, account);
        if (amount == 0) return;
        vm.prank(account);
        ledger.withdrawOwed(taskId);
        owed -= amount;
    }

    function exitOrReturn(uint256 memberSeed) external {
        uint256 i = memberSeed % MEMBERS;
        address account = _member(i);
        IContributorRegistry.Contributor memory stored = registry.contributorOf(account);
        if (!stored.registered) {
            _register(i);
        } else if (stored.exitRequestedAt == 0) {
            if (memberSeed % 5 != 0) return;
            vm.prank(account);
            registry.requestExit();
        } else if (stored.locks == 0 && block.timestamp >= registry.withdrawableAt(account)) {
            uint256 before = token.balanceOf(account);
            vm.prank(account);
            registry.withdraw();
            vm.assertEq(token.balanceOf(account), before + stored.stake);
        }
    }

    function slash(uint256 memberSeed, uint256 amount) external {
        address account = _member(memberSeed % MEMBERS);
        if (!registry.contributorOf(account).registered || memberSeed % 7 != 0) return;
        vm.prank(TIMELOCK);
        registry.slash(account, _bound(amount, 0, 40 ether), 0, "");
    }

    function pass(uint256 duration) external {
        vm.warp(block.timestamp + _bound(duration, 1 hours, 2 days));
    }

    function _tryJoin(uint256 taskId, uint256 i) private {
        uint64 limit = ledger.termsOf(taskId).joinDeadline;
        vm.prank(_member(i));
        try ledger.join(taskId, new bytes32[](0)) {}
        catch (bytes memory reason) {
            bytes4 given = bytes4(reason);
            bool unfit = given == IContributorRegistry.FreeStakeTooLow.selector
                || given == IContributorRegistry.NotRegistered.selector
                || given == IContributorRegistry.ExitIsRequested.selector;
            vm.assertTrue(block.timestamp > limit || unfit, "join was refused without a reason");
        }
    }

    /// @dev The first task in `state`, counted on from the seed; 0 if there is none.
    function _pick(uint256 seed, ITaskTypes.State state) internal view returns (uint256) {
        uint256 count = ledger.taskCount();
        for (uint256 i = 0; i < count; ++i) {
            uint256 taskId = 1 + (seed % count + i) % count;
            if (ledger.taskOf(taskId).state == state) return taskId;
        }
        return 0;
    }

    /// @dev The bonds that a task's end sets free, whoever has them then.
    function _held(uint256 taskId) private view returns (uint256 amount) {
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        if (task.bondPosted) amount += BOND;
        if (task.challenged) amount += CHALLENGE_BOND;
        for (uint256 i = 0; i < 2; ++i) {
            if (ledger.partOf(taskId, i).bonded) amount += PART_BOND;
        }
    }

    function _everyone(uint256 taskId) private view returns (uint256) {
        return (1 << ledger.taskOf(taskId).rosterSize) - 1;
    }

    function _rosterSigns(uint256 taskId, bytes32 message) private view returns (bytes memory) {
        uint256 members = 0;
        for (uint256 i = 0; i < MEMBERS; ++i) {
            if (ledger.isJoined(taskId, _member(i))) members |= 1 << i;
        }
        return _cosign(message, members);
    }

    function _leaves(uint256 taskId) private view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            leaves[i] = keccak256(
                bytes.concat(keccak256(abi.encode(taskId, _member(i), _payouts[taskId][i], i)))
            );
        }
    }

    /// @dev 4, 3, 2 and 1 tenths, less a share that nobody holds.
    function shareOf(uint256 i) public pure returns (uint64) {
        return uint64((MEMBERS - i) * 1e17 - 1);
    }

    function _shareLeaves(uint256 taskId) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            leaves[i] =
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), shareOf(i)))));
        }
    }
}
