// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

contract TaskDisputesTest is CovalueFixture {
    function setUp() external {
        _deploy();
    }

    function test_challenge_freezesTheTask() external {
        uint256 taskId = _running();
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), ALL);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidCidLength.selector, 0, 128));
        ledger.challenge(taskId, 0, "");
        _challenge(taskId);
        ITaskTypes.Challenge memory open = ledger.challengeOf(taskId);
        vm.assertEq(open.challenger, STRANGER);
        vm.assertEq(open.openedAt, block.timestamp);
        vm.assertEq(open.evidenceDigest, keccak256("evidence"));
        bytes memory frozen =
            abi.encodeWithSelector(ITaskTypes.ChallengeOpen.selector, taskId, STRANGER);
        vm.expectRevert(frozen);
        ledger.commitCheckpoint(taskId, next, ALL, "", signature);
        vm.expectRevert(frozen);
        ledger.challenge(taskId, 0, "");
    }

    function test_challenge_freezesRevealCloseAndFinalise() external {
        uint256 taskId = _revealing();
        bytes memory signature = _cosign(ledger.finalMessage(taskId, _report()), ALL);
        _challenge(taskId);
        bytes memory frozen =
            abi.encodeWithSelector(ITaskTypes.ChallengeOpen.selector, taskId, STRANGER);
        vm.prank(HOLDER_A);
        vm.expectRevert(frozen);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        vm.expectRevert(frozen);
        ledger.close(taskId, _report(), ALL, "", signature);
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, false);
        _openParts(taskId);
        ledger.close(taskId, _report(), ALL, "", signature);
        _challenge(taskId);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        vm.expectRevert(frozen);
        ledger.finalise(taskId);
    }

    function test_challenge_onlyWhereThereIsSomethingToChallenge() external {
        uint256 taskId = _open(_terms());
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Open)
        );
        ledger.challenge(taskId, 0, "");
    }

    function test_challenge_notAfterTheWindow() external {
        uint256 taskId = _closed();
        uint256 limit = ledger.taskOf(taskId).challengeDeadline;
        vm.warp(limit + 1);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooLate.selector, limit + 1, limit));
        ledger.challenge(taskId, 0, "");
    }

    function test_resolve_onlyTheTimelockAndOnlyAChallenge() external {
        uint256 taskId = _running();
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        ledger.resolve(taskId, true);
        vm.prank(TIMELOCK);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NoChallenge.selector, taskId));
        ledger.resolve(taskId, true);
    }

    function test_resolve_upheldAbortsAndSlashes() external {
        uint256 taskId = _closed();
        _challenge(taskId);
        uint256 supply = token.totalSupply();
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, true);
        vm.assertTrue(ledger.taskOf(taskId).state == ITaskTypes.State.Aborted);
        vm.assertEq(token.balanceOf(STRANGER), CHALLENGE_BOND + BOND / 2);
        vm.assertEq(token.totalSupply(), supply - BUDGET - (BOND - BOND / 2));
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.assertEq(token.balanceOf(address(distributor)), 0);
        vm.assertEq(registry.contributorOf(_member(0)).locks, 0);
        _expectNoChallengeLeft(taskId);
    }

    /// @dev A challenge that outlived its task could be resolved once more, with others' money.
    function _expectNoChallengeLeft(uint256 taskId) private {
        vm.assertFalse(ledger.taskOf(taskId).challenged);
        vm.prank(TIMELOCK);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NoChallenge.selector, taskId));
        ledger.resolve(taskId, false);
    }

    function test_resolve_rejectedPaysTheRosterAndMovesTheLimits() external {
        uint256 taskId = _closed();
        ITaskTypes.Task memory before = ledger.taskOf(taskId);
        _challenge(taskId);
        vm.warp(block.timestamp + 5 days);
        uint256 supply = token.totalSupply();
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, false);
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        vm.assertEq(task.deadline, before.deadline + 5 days);
        vm.assertEq(task.challengeDeadline, before.challengeDeadline + 5 days);
        vm.assertEq(task.revealDeadline, before.revealDeadline);
        vm.assertFalse(task.challenged);
        // CHALLENGE_BOND is no multiple of three: what does not divide is burned.
        uint256 each = CHALLENGE_BOND / 3;
        vm.assertEq(token.totalSupply(), supply - (CHALLENGE_BOND - 3 * each));
        vm.assertTrue(CHALLENGE_BOND > 3 * each);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(ledger.owedOf(taskId, _member(i)), each);
            vm.prank(_member(i));
            ledger.withdrawOwed(taskId);
            vm.assertEq(token.balanceOf(_member(i)), each);
            vm.prank(_member(i));
            vm.expectRevert(
                abi.encodeWithSelector(ITaskTypes.NothingOwed.selector, taskId, _member(i))
            );
            ledger.withdrawOwed(taskId);
        }
        vm.assertEq(ledger.owedOf(taskId, STRANGER), 0);
        _challenge(taskId); // another one may follow
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, false);
        vm.assertEq(ledger.owedOf(taskId, _member(2)), each);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        vm.assertEq(token.balanceOf(address(ledger)), 3 * each);
    }

    function test_resolve_rejectedInRevealMovesTheRevealDeadline() external {
        uint256 taskId = _revealing();
        uint256 before = ledger.taskOf(taskId).revealDeadline;
        _challenge(taskId);
        vm.warp(block.timestamp + 5 days);
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, false);
        vm.assertEq(ledger.taskOf(taskId).revealDeadline, before + 5 days);
        _openParts(taskId);
    }

    function test_proveEquivocation_slashesAndAborts() external {
        uint256 taskId = _running();
        bytes memory a = _signRecord(COORDINATOR_KEY, taskId, 2, "a");
        bytes memory b = _signRecord(COORDINATOR_KEY, taskId, 2, "b");
        uint256 supply = token.totalSupply();
        _challenge(taskId);
        vm.prank(_member(1));
        ledger.proveEquivocation(taskId, 2, "a", a, "b", b);
        vm.assertTrue(ledger.taskOf(taskId).state == ITaskTypes.State.Aborted);
        vm.assertEq(token.balanceOf(_member(1)), BOND / 2);
        vm.assertEq(token.balanceOf(STRANGER), CHALLENGE_BOND); // the open challenge's bond is back
        vm.assertEq(token.balanceOf(HOLDER_A), PART_BOND);
        vm.assertEq(token.totalSupply(), supply - BUDGET - (BOND - BOND / 2));
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        _expectNoChallengeLeft(taskId);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Aborted)
        );
        ledger.proveEquivocation(taskId, 2, "a", a, "b", b);
    }

    function test_proveEquivocation_needsTwoRecordsOfOnePlaceAndOneSigner() external {
        uint256 taskId = _running();
        bytes memory a = _signRecord(COORDINATOR_KEY, taskId, 2, "a");
        vm.expectRevert(ITaskTypes.NoEquivocation.selector);
        ledger.proveEquivocation(taskId, 2, "a", a, "a", a);
        bytes[] memory wrong = new bytes[](4);
        wrong[0] = _signRecord(COORDINATOR_KEY, taskId, 3, "b"); // another round
        wrong[1] = _signRecord(COORDINATOR_KEY, taskId + 1, 2, "b"); // another task
        wrong[2] = _signRecord(COORDINATOR_KEY + 1, taskId, 2, "b"); // another signer
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        wrong[3] = _signRecord(COORDINATOR_KEY, taskId, 2, "b"); // another chain
        vm.chainId(chain);
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectPartialRevert(ITaskTypes.NotCoordinator.selector);
            ledger.proveEquivocation(taskId, 2, "a", a, "b", wrong[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        ledger.proveEquivocation(taskId, 2, "a", a, "b", new bytes(64));
    }

    function test_proveEquivocation_notAfterFinalisation() external {
        uint256 taskId = _closed();
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        bytes memory a = _signRecord(COORDINATOR_KEY, taskId, 2, "a");
        bytes memory b = _signRecord(COORDINATOR_KEY, taskId, 2, "b");
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Finalised
            )
        );
        ledger.proveEquivocation(taskId, 2, "a", a, "b", b);
    }

    function test_abort_afterTheDeadlineReturnsBondsAndBurnsTheBudget() external {
        uint256 taskId = _revealing();
        vm.prank(HOLDER_A);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        uint256 limit = ledger.taskOf(taskId).deadline;
        vm.warp(limit - 1);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooEarly.selector, limit - 1, limit));
        ledger.abort(taskId);
        vm.warp(limit);
        uint256 supply = token.totalSupply();
        ledger.abort(taskId);
        vm.assertEq(token.totalSupply(), supply - BUDGET);
        vm.assertEq(token.balanceOf(coordinator), BOND);
        vm.assertEq(token.balanceOf(HOLDER_A), PART_BOND);
        vm.assertEq(token.balanceOf(HOLDER_B), PART_BOND);
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.assertEq(token.balanceOf(address(distributor)), 0);
        vm.assertEq(registry.contributorOf(_member(0)).locks, 0);
        // What is committed stays.
        vm.assertEq(ledger.taskOf(taskId).lastRound, 5);
    }

    function test_abort_ofATaskThatNeverStarted() external {
        uint256 taskId = _open(_terms());
        _register(0);
        _join(taskId, 0);
        vm.warp(ledger.taskOf(taskId).deadline);
        ledger.abort(taskId);
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.assertEq(token.balanceOf(address(distributor)), 0);
        vm.assertEq(registry.contributorOf(_member(0)).locks, 0);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Aborted)
        );
        ledger.abort(taskId);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, 9, ITaskTypes.State.None)
        );
        ledger.abort(9);
    }

    /// @dev Else anyone could burn earned payouts between the deadline and the finalisation.
    function test_abort_notOfAClosedTask() external {
        uint256 taskId = _closed();
        vm.warp(uint256(ledger.taskOf(taskId).deadline) + 365 days);
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Closed)
        );
        ledger.abort(taskId);
        ledger.finalise(taskId);
    }

    /// @dev A vote that never comes must not hold the money for good.
    function test_abort_ofAChallengeThatNobodyDecides() external {
        uint256 taskId = _closed();
        _challenge(taskId);
        uint256 limit = block.timestamp + CHALLENGE_TIMEOUT;
        vm.warp(limit - 1);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooEarly.selector, limit - 1, limit));
        ledger.abort(taskId);
        vm.warp(limit);
        ledger.abort(taskId);
        vm.assertEq(token.balanceOf(STRANGER), CHALLENGE_BOND);
        vm.assertEq(token.balanceOf(coordinator), BOND);
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        _expectNoChallengeLeft(taskId);
    }

    /// @dev Wherever it comes, a challenge that nobody decides sends each bond back, frees the stakes and
    /// burns the budget. An earlier one, lost, stays owed to the roster.
    function test_abort_ofAnUndecidedChallengeLeavesNobodysMoneyBehind() external {
        _abortedUndecided(_running(), 2 * PART_BOND);
    }

    function test_abort_ofAnUndecidedChallengeWhileRevealing() external {
        uint256 taskId = _revealing();
        vm.prank(HOLDER_A);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        _abortedUndecided(taskId, 2 * PART_BOND);
    }

    function test_abort_ofAnUndecidedChallengeOfAResult() external {
        uint256 taskId = _revealing();
        vm.prank(HOLDER_A);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        vm.warp(ledger.taskOf(taskId).revealDeadline + 1);
        _close(taskId, _report(), ALL); // the bond of the part that stays sealed is burned here
        _abortedUndecided(taskId, PART_BOND);
    }

    function _abortedUndecided(uint256 taskId, uint256 partBonds) private {
        _challenge(taskId);
        vm.prank(TIMELOCK);
        ledger.resolve(taskId, false);
        _challenge(taskId);
        vm.warp(block.timestamp + CHALLENGE_TIMEOUT);
        uint256 supply = token.totalSupply();
        ledger.abort(taskId);
        vm.assertEq(token.totalSupply(), supply - BUDGET);
        vm.assertEq(token.balanceOf(STRANGER), CHALLENGE_BOND);
        vm.assertEq(token.balanceOf(coordinator), BOND);
        vm.assertEq(token.balanceOf(HOLDER_A) + token.balanceOf(HOLDER_B), partBonds);
        vm.assertEq(token.balanceOf(address(distributor)), 0);
        _expectNoChallengeLeft(taskId);
        for (uint256 i = 0; i < 3; ++i) {
            vm.startPrank(_member(i));
            ledger.withdrawOwed(taskId);
            registry.requestExit();
            vm.stopPrank();
        }
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.warp(block.timestamp + COOLDOWN);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(_member(i));
            registry.withdraw();
            vm.assertEq(token.balanceOf(_member(i)), MIN_STAKE + CHALLENGE_BOND / 3);
        }
        vm.assertEq(token.balanceOf(address(registry)), 0);
    }
}
