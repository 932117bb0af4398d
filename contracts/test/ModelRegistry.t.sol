// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {DevStablecoin} from "./DevStablecoin.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

contract ModelRegistryTest is CovalueFixture {
    address private constant GUARDIAN = address(0x6A);

    ModelRegistry private models;
    uint256 private taskId;

    function setUp() external {
        _deploy();
        models = new ModelRegistry(ledger, TIMELOCK, GUARDIAN, address(this));
        RevenueShare revenue =
            new RevenueShare(new DevStablecoin(), models, ledger, TIMELOCK, 1000, 1000, TIMELOCK);
        models.setRevenueShare(address(revenue));
        taskId = _closed();
    }

    function _finalise() private {
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
    }

    function _release(uint256 number) private {
        vm.prank(TIMELOCK);
        models.release(taskId, number);
    }

    /// @dev Promise 9, the ledger's half: no release of a task that is not final.
    function test_release_onlyOfAFinalisedTask() external {
        vm.prank(TIMELOCK);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.TaskNotFinalised.selector, taskId));
        models.release(taskId, 1);
        vm.prank(TIMELOCK);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.TaskNotFinalised.selector, 99));
        models.release(99, 1);
        _finalise();
        _release(1);
        IModelRegistry.Release memory current = models.current();
        vm.assertEq(current.number, 1);
        vm.assertEq(current.taskId, taskId);
        vm.assertEq(current.modelDigest, _checkpoint(1, 4, 5).modelDigest);
        vm.assertEq(current.shareRoot, keccak256("shares"));
        vm.assertEq(current.epsilonMicro, 8_000_000);
        vm.assertEq(current.releasedAt, block.timestamp);
        vm.assertTrue(current.status == IModelRegistry.Status.Released);
    }

    function test_release_onlyTheTimelockAndTheNextNumber() external {
        _finalise();
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        models.release(taskId, 1);
        for (uint256 number = 0; number < 4; number += 2) {
            vm.prank(TIMELOCK);
            vm.expectRevert(
                abi.encodeWithSelector(IModelRegistry.UnexpectedReleaseNumber.selector, number, 1)
            );
            models.release(taskId, number);
        }
        _release(1);
        _release(2);
        vm.assertEq(models.releaseCount(), 2);
        vm.assertEq(models.current().number, 2);
        vm.assertTrue(models.releaseOf(3).status == IModelRegistry.Status.None);
    }

    /// @dev Nobody could claim the contributors' part of what such a release earns.
    function test_release_notOfATaskThatNamesNoShares() external {
        _finalise(); // frees the stakes of the other task
        ITaskTypes.Terms memory terms = _terms();
        (terms.taskDigest, terms.parts) = ("unpaid", new ITaskTypes.Part[](0));
        (terms.rounds, terms.checkpointLength) = (1, 1);
        (terms.minContributors, terms.coordinatorBond) = (1, 0);
        taskId = _open(terms);
        _join(taskId, 0);
        vm.prank(coordinator);
        ledger.start(taskId);
        _commit(taskId, _checkpoint(0, 1, 1), 1);
        ITaskTypes.FinalReport memory report = _report();
        (report.payoutRoot, report.payoutTotal, report.shareRoot) = (0, 0, 0);
        _close(taskId, report, 1);
        _finalise();
        vm.prank(TIMELOCK);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NobodyToPay.selector, taskId));
        models.release(taskId, 1);
        vm.assertEq(models.releaseCount(), 0);
    }

    function test_beforeTheFirstReleaseThereIsNone() external view {
        vm.assertTrue(models.current().status == IModelRegistry.Status.None);
        vm.assertEq(models.current().number, 0);
    }

    function test_suspend_byGuardianAndLiftedByTheVoteOnly() external {
        _finalise();
        _release(1);
        vm.expectRevert(
            abi.encodeWithSelector(IModelRegistry.NotGuardianNorOwner.selector, address(this))
        );
        models.suspend(1);
        vm.startPrank(GUARDIAN);
        models.suspend(1);
        vm.assertTrue(models.current().status == IModelRegistry.Status.Suspended);
        vm.expectRevert(
            abi.encodeWithSelector(
                IModelRegistry.UnexpectedStatus.selector, 1, IModelRegistry.Status.Suspended
            )
        );
        models.suspend(1);
        bytes memory refused =
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, GUARDIAN);
        vm.expectRevert(refused);
        models.unsuspend(1);
        vm.expectRevert(refused);
        models.revoke(1);
        vm.expectRevert(refused);
        models.release(taskId, 2);
        vm.expectRevert(refused);
        models.setGuardian(GUARDIAN);
        vm.stopPrank();
        vm.prank(TIMELOCK);
        models.unsuspend(1);
        vm.assertTrue(models.current().status == IModelRegistry.Status.Released);
    }

    function test_guardian_canBeRemoved() external {
        _finalise();
        _release(1);
        vm.prank(TIMELOCK);
        models.setGuardian(address(0));
        vm.prank(GUARDIAN);
        vm.expectRevert(
            abi.encodeWithSelector(IModelRegistry.NotGuardianNorOwner.selector, GUARDIAN)
        );
        models.suspend(1);
        vm.prank(TIMELOCK);
        models.suspend(1);
    }

    function test_revoke_isForGood() external {
        _finalise();
        _release(1);
        vm.startPrank(TIMELOCK);
        models.suspend(1);
        models.revoke(1);
        bytes memory refused = abi.encodeWithSelector(
            IModelRegistry.UnexpectedStatus.selector, 1, IModelRegistry.Status.Revoked
        );
        vm.expectRevert(refused);
        models.revoke(1);
        vm.expectRevert(refused);
        models.unsuspend(1);
        vm.expectRevert(refused);
        models.suspend(1);
        vm.stopPrank();
        // A revoked release stays the current one: nothing is served until the next.
        vm.assertEq(models.current().number, 1);
        _release(2);
        vm.assertTrue(models.current().status == IModelRegistry.Status.Released);
    }
}
