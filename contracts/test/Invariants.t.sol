// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ContributorRegistry} from "../src/ContributorRegistry.sol";
import {CovalueToken} from "../src/CovalueToken.sol";
import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskLedger} from "../src/TaskLedger.sol";
import {IContributorRegistry} from "../src/interfaces/IContributorRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {ForgeTest} from "./ForgeTest.sol";
import {MoneyHandler} from "./MoneyHandler.sol";

/// @dev Holds after any walk of MoneyHandler. The names bear the numbers of docs/SPEC.md's promises.
contract InvariantsTest is ForgeTest {
    MoneyHandler private handler;
    CovalueToken private token;
    ContributorRegistry private registry;
    TaskLedger private ledger;
    RewardDistributor private distributor;

    function setUp() external {
        handler = new MoneyHandler();
        (address t, address r, address l, address d) = handler.contracts();
        token = CovalueToken(t);
        registry = ContributorRegistry(r);
        ledger = TaskLedger(l);
        distributor = RewardDistributor(d);
    }

    /// @dev forge calls only these contracts during a walk.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev One walk for all that is money, since each invariant function repeats the walk.
    function invariant_promise_8_nothingIsPaidBeyondWhatWasFundedNorTwice() external view {
        _ledgerHoldsExactlyWhatItOwes();
        _claimsNeverPassWhatWasFunded();
        _revenueIsConserved();
        _registryHoldsTheStakes();
        _locksFollowTheOpenTasks();
        _supplyIsAtMostGenesisPlusMinted();
    }

    function invariant_promise_9_releasesAndPayoutsComeFromFinalisedTasks() external view {
        _moneyFollowsProof();
        _releasesAreOfFinalisedTasks();
    }

    /// @dev A long walk from fixed seeds: shows that every end is reached, so that the invariants
    /// above are not true for want of anything happening.
    function test_walkReachesEveryEnd() external {
        for (uint256 step = 0; step < 5000; ++step) {
            uint256 seed = uint256(keccak256(abi.encode(step)));
            _step(seed % 24, seed >> 8, seed >> 64);
            if (step % 100 == 0) _checkAll();
        }
        _checkAll();
        vm.assertTrue(handler.finalisations() > 0, "nothing was finalised");
        vm.assertTrue(handler.claimed() > 0, "nothing was claimed");
        vm.assertTrue(handler.aborts() > 0, "nothing was aborted");
        vm.assertTrue(handler.upheld() > 0, "no challenge was upheld");
        vm.assertTrue(handler.rejected() > 0, "no challenge was rejected");
        vm.assertTrue(handler.equivocations() > 0, "no equivocation was proven");
        vm.assertTrue(handler.models().releaseCount() > 0, "nothing was released");
        vm.assertTrue(handler.revenueOut() > 0, "no revenue was paid out");
    }

    function _step(uint256 kind, uint256 a, uint256 b) private {
        uint64[4] memory amounts = [uint64(a), uint64(b), 0, 7];
        if (kind == 0) handler.open(a);
        else if (kind <= 2) handler.joinOrLeave(a, b);
        else if (kind == 3) handler.start(a);
        else if (kind <= 5) handler.commit(a);
        else if (kind == 6) handler.openPart(a, b % 2 == 0);
        else if (kind == 7) handler.close(a, amounts);
        else if (kind == 8) handler.challenge(a, b);
        else if (kind == 9) handler.resolve(a, b % 2 == 0);
        else if (kind == 10) handler.equivocate(a, b);
        else if (kind == 11) handler.abort(a, b);
        else if (kind == 12) handler.finalise(a);
        else if (kind == 13) handler.claim(a, b);
        else if (kind == 14) handler.withdrawOwed(a, b);
        else if (kind == 15) handler.exitOrReturn(a);
        else if (kind == 16) handler.slash(a, b);
        else if (kind == 17) handler.release(a);
        else if (kind == 18) handler.revokeOrSuspend(a);
        else if (kind == 19) handler.payRevenue(a, uint64(b));
        else if (kind == 20) handler.claimRevenue(a, b);
        else if (kind == 21) handler.withdrawParts(a);
        else handler.pass(b);
    }

    function _checkAll() private view {
        _ledgerHoldsExactlyWhatItOwes();
        _claimsNeverPassWhatWasFunded();
        _registryHoldsTheStakes();
        _locksFollowTheOpenTasks();
        _supplyIsAtMostGenesisPlusMinted();
        _moneyFollowsProof();
        _revenueIsConserved();
        _releasesAreOfFinalisedTasks();
    }

    /// @dev The ledger holds what it owes and not one wei more: no money is trapped, none is missing.
    function _ledgerHoldsExactlyWhatItOwes() private view {
        vm.assertEq(
            token.balanceOf(address(ledger)), handler.bonds() + handler.owed(), "ledger balance"
        );
    }

    /// @dev Promise 8.
    function _claimsNeverPassWhatWasFunded() private view {
        vm.assertLe(handler.claimed(), handler.funded(), "claims");
        vm.assertEq(
            token.balanceOf(address(distributor)),
            handler.budgets() + handler.funded() - handler.claimed(),
            "distributor balance"
        );
        uint256 reserved = 0;
        for (uint256 taskId = 1; taskId <= ledger.taskCount(); ++taskId) {
            reserved += distributor.reservedOf(taskId);
            (uint256 funded, uint256 paid) = distributor.fundedOf(taskId);
            vm.assertLe(paid, funded, "paid of a task");
            vm.assertLe(funded, ledger.termsOf(taskId).budget, "funded of a task");
        }
        vm.assertEq(reserved, handler.budgets(), "reserved");
    }

    function _registryHoldsTheStakes() private view {
        uint256 stakes = 0;
        for (uint256 i = 0; i < 4; ++i) {
            stakes += registry.contributorOf(handler.member(i)).stake;
        }
        vm.assertEq(token.balanceOf(address(registry)), stakes, "registry balance");
    }

    /// @dev An open task's roster has its stake locked, an ended task's has not.
    function _locksFollowTheOpenTasks() private view {
        for (uint256 i = 0; i < 4; ++i) {
            address account = handler.member(i);
            uint256 expected = 0;
            for (uint256 taskId = 1; taskId <= ledger.taskCount(); ++taskId) {
                if (ledger.isJoined(taskId, account) && ledger.endedAt(taskId) == 0) {
                    expected += ledger.termsOf(taskId).stake;
                }
            }
            IContributorRegistry.Contributor memory stored = registry.contributorOf(account);
            vm.assertEq(stored.lockedStake, expected, "locked stake");
            vm.assertEq(registry.openTasksOf(account).length, stored.locks, "locks");
        }
    }

    function _supplyIsAtMostGenesisPlusMinted() private view {
        vm.assertLe(token.totalSupply(), handler.genesis() + handler.minted(), "supply");
    }

    /// @dev Only a finalised task is funded, and only a closed one has a result.
    function _moneyFollowsProof() private view {
        for (uint256 taskId = 1; taskId <= ledger.taskCount(); ++taskId) {
            ITaskTypes.Task memory task = ledger.taskOf(taskId);
            bool final_ = task.state == ITaskTypes.State.Finalised;
            vm.assertTrue((distributor.rootOf(taskId) != 0) == final_, "funded before the end");
            if (task.lastRound < task.rounds) {
                vm.assertEq(ledger.finalOf(taskId).scoreDigest, bytes32(0));
            }
            vm.assertTrue((task.endedAt != 0) == (final_ || task.state == ITaskTypes.State.Aborted));
        }
    }

    /// @dev Promise 8, for revenue: what came in lies there or was paid out, in no pool more than earned.
    function _revenueIsConserved() private view {
        RevenueShare revenue = handler.revenue();
        uint256 balance = handler.dollar().balanceOf(address(revenue));
        vm.assertEq(balance, handler.revenueIn() - handler.revenueOut(), "revenue balance");
        uint256 parts = revenue.treasuryBalance();
        for (uint256 number = 1; number <= handler.models().releaseCount(); ++number) {
            (uint256 earned, uint256 paid) = revenue.poolOf(number);
            uint256 claimed = 0;
            for (uint256 i = 0; i < 4; ++i) {
                uint256 own = revenue.claimedOf(number, handler.member(i));
                vm.assertLe(own, earned * handler.shareOf(i) / 1e18, "claimed of a share");
                claimed += own;
            }
            vm.assertEq(paid, claimed, "paid of a pool");
            parts += revenue.coordinatorBalance(number) + earned - paid;
        }
        // Until the first release all waits for it.
        if (handler.models().releaseCount() == 0) balance = 0;
        vm.assertEq(parts, balance, "parts of the balance");
    }

    /// @dev Promise 9, the contracts' half (Governance.t.sol has the vote and the timelock).
    function _releasesAreOfFinalisedTasks() private view {
        ModelRegistry models = handler.models();
        for (uint256 number = 1; number <= models.releaseCount(); ++number) {
            IModelRegistry.Release memory release = models.releaseOf(number);
            ITaskTypes.Task memory task = ledger.taskOf(release.taskId);
            vm.assertTrue(task.state == ITaskTypes.State.Finalised, "release of an unfinished task");
            vm.assertEq(release.modelDigest, task.modelDigest);
            ITaskTypes.Checkpoint memory last =
                ledger.checkpointOf(release.taskId, task.checkpointCount - 1);
            vm.assertEq(release.modelDigest, last.modelDigest);
        }
    }
}
