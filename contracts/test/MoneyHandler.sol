// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {IRevenueShare} from "../src/interfaces/IRevenueShare.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {DevStablecoin} from "./DevStablecoin.sol";
import {LedgerHandler} from "./LedgerHandler.sol";
import {MerkleTree} from "./MerkleTree.sol";

/// @title The walks of LedgerHandler, with releases and their revenue
contract MoneyHandler is LedgerHandler {
    address private constant TREASURY = address(0x7EA);

    DevStablecoin public dollar;
    ModelRegistry public models;
    RevenueShare public revenue;

    /// @notice Dollars that went into RevenueShare and that came out, in plain sums.
    uint256 public revenueIn;
    uint256 public revenueOut;

    constructor() {
        dollar = new DevStablecoin();
        models = new ModelRegistry(ledger, TIMELOCK, address(0), address(this));
        revenue = new RevenueShare(dollar, models, ledger, TREASURY, 1000, 500, TIMELOCK);
        models.setRevenueShare(address(revenue));
        dollar.approve(address(revenue), type(uint256).max);
    }

    /// @dev Tries any task: only a finalised one may come through.
    function release(uint256 taskSeed) external {
        uint256 taskId = 1 + taskSeed % (ledger.taskCount() + 1);
        bool final_ = ledger.taskOf(taskId).state == ITaskTypes.State.Finalised;
        uint256 number = models.releaseCount() + 1;
        if (number > 20) return;
        vm.prank(TIMELOCK);
        try models.release(taskId, number) {
            vm.assertTrue(final_, "a release of an unfinished task");
        } catch (bytes memory reason) {
            vm.assertFalse(final_);
            vm.assertTrue(bytes4(reason) == IModelRegistry.TaskNotFinalised.selector);
        }
    }

    function revokeOrSuspend(uint256 seed) external {
        uint256 number = _release(seed);
        if (number == 0 || seed % 8 != 0) return;
        IModelRegistry.Status status = models.releaseOf(number).status;
        if (status == IModelRegistry.Status.Revoked) return;
        vm.startPrank(TIMELOCK);
        if (seed % 16 == 0) models.revoke(number);
        else if (status == IModelRegistry.Status.Released) models.suspend(number);
        else models.unsuspend(number);
        vm.stopPrank();
    }

    function payRevenue(uint256 seed, uint64 amount) external {
        uint256 number = _release(seed);
        dollar.mint(address(this), amount);
        revenueIn += amount;
        bool plain = number == 0 || seed % 3 == 0
            || models.releaseOf(number).status == IModelRegistry.Status.Revoked;
        if (plain) dollar.transfer(address(revenue), amount);
        else revenue.pay(number, amount);
    }

    function claimRevenue(uint256 seed, uint256 memberSeed) external {
        uint256 number = _release(seed);
        uint256 i = memberSeed % MEMBERS;
        if (number == 0) return;
        uint256 due = revenue.claimable(number, _member(i), shareOf(i));
        uint256 taskId = models.releaseOf(number).taskId;
        bytes32[] memory proof = MerkleTree.proof(_shareLeaves(taskId), i);
        try revenue.claim(number, taskId, _member(i), shareOf(i), proof) {
            vm.assertTrue(due != 0, "paid without anything due");
            revenueOut += due;
        } catch (bytes memory reason) {
            vm.assertEq(due, 0, "refused what was due");
            vm.assertTrue(bytes4(reason) == IRevenueShare.NothingToClaim.selector);
        }
    }

    function withdrawParts(uint256 seed) external {
        revenue.sync();
        uint256 number = _release(seed);
        uint256 treasury = revenue.treasuryBalance();
        if (treasury != 0) revenue.withdrawTreasury();
        uint256 part = revenue.coordinatorBalance(number);
        if (part != 0) revenue.withdrawCoordinator(number);
        revenueOut += treasury + part;
    }

    function _release(uint256 seed) private view returns (uint256) {
        uint256 count = models.releaseCount();
        return count == 0 ? 0 : 1 + (seed >> 16) % count;
    }
}
