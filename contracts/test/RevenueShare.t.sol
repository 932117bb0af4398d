// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {IRevenueShare} from "../src/interfaces/IRevenueShare.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {DevStablecoin} from "./DevStablecoin.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @dev Keeps one percent of each transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        uint256 fee = from == address(0) || to == address(0) ? 0 : value / 100;
        if (fee != 0) super._update(from, address(0), fee);
        super._update(from, to, value - fee);
    }
}

contract RevenueShareTest is CovalueFixture {
    address private constant TREASURY = address(0x7EA);
    address private constant PAYER = address(0x9A1);
    uint64 private constant WAD = 1e18;

    DevStablecoin private dollar;
    ModelRegistry private models;
    RevenueShare private revenue;
    bytes32[] private leaves;
    uint256 private taskId;

    function setUp() external {
        _deploy();
        dollar = new DevStablecoin();
        models = new ModelRegistry(ledger, TIMELOCK, address(0), address(this));
        revenue = new RevenueShare(dollar, models, ledger, TREASURY, 1000, 500, TIMELOCK);
        models.setRevenueShare(address(revenue));
        taskId = _revealing();
        _openParts(taskId);
    }

    /// @dev Finalises a task whose shares are given, and releases it.
    function _releaseWith(uint64[] memory sharesWad) private {
        delete leaves;
        for (uint256 i = 0; i < sharesWad.length; ++i) {
            leaves.push(
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), sharesWad[i]))))
            );
        }
        _finaliseWith(MerkleTree.root(leaves));
        uint256 next = models.releaseCount() + 1;
        vm.prank(TIMELOCK);
        models.release(taskId, next);
    }

    function _finaliseWith(bytes32 shareRoot) private {
        ITaskTypes.FinalReport memory report = _report();
        report.shareRoot = shareRoot;
        _close(taskId, report, (1 << ledger.taskOf(taskId).rosterSize) - 1);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
    }

    function _halves() private pure returns (uint64[] memory sharesWad) {
        sharesWad = new uint64[](3);
        (sharesWad[0], sharesWad[1], sharesWad[2]) = (WAD / 2, WAD / 4, WAD / 4);
    }

    function _pay(uint256 release, uint256 amount) private {
        dollar.mint(PAYER, amount);
        vm.startPrank(PAYER);
        dollar.approve(address(revenue), amount);
        revenue.pay(release, amount);
        vm.stopPrank();
    }

    function _claim(uint256 release, uint256 i, uint64 shareWad) private {
        revenue.claim(release, taskId, _member(i), shareWad, MerkleTree.proof(leaves, i));
    }

    function test_pay_splitsAndPaysCumulatively() external {
        _releaseWith(_halves());
        _pay(1, 1000);
        vm.assertEq(revenue.treasuryBalance(), 100);
        vm.assertEq(revenue.coordinatorBalance(1), 50);
        vm.assertEq(revenue.claimable(1, _member(0), WAD / 2), 425);
        _claim(1, 0, WAD / 2);
        vm.assertEq(dollar.balanceOf(_member(0)), 425);
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.claim(1, taskId, _member(0), WAD / 2, proof);
        _pay(1, 1000);
        _claim(1, 0, WAD / 2);
        vm.assertEq(dollar.balanceOf(_member(0)), 850);
        _claim(1, 1, WAD / 4);
        vm.assertEq(dollar.balanceOf(_member(1)), 425);
        revenue.withdrawTreasury();
        revenue.withdrawCoordinator(1);
        vm.assertEq(dollar.balanceOf(TREASURY), 200);
        vm.assertEq(dollar.balanceOf(coordinator), 100);
        vm.assertEq(dollar.balanceOf(address(revenue)), 425);
        vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.withdrawTreasury();
        vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.withdrawCoordinator(1);
    }

    function test_claim_refusesFalseProofs() external {
        _releaseWith(_halves());
        _pay(1, 1000);
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 1, _member(0), WAD / 2 + 1)
        );
        revenue.claim(1, taskId, _member(0), WAD / 2 + 1, proof);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 1, STRANGER, WAD / 2)
        );
        revenue.claim(1, taskId, STRANGER, WAD / 2, proof);
        // Not of another release, nor of another task: there is no pool where such a proof leads.
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 2, _member(0), WAD / 2)
        );
        revenue.claim(2, taskId, _member(0), WAD / 2, proof);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 1, _member(0), WAD / 2)
        );
        revenue.claim(1, taskId + 1, _member(0), WAD / 2, proof);
        vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.claim(1, 0, _member(0), WAD / 2, proof);
    }

    /// @dev A leaf of another task under the release's own root is nobody's share.
    function test_claim_leavesOfAnotherTaskAreRefused() external {
        _finaliseWith(keccak256(bytes.concat(keccak256(abi.encode(77, _member(0), WAD)))));
        vm.prank(TIMELOCK);
        models.release(taskId, 1);
        _pay(1, 1000);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 1, _member(0), WAD)
        );
        revenue.claim(1, 77, _member(0), WAD, new bytes32[](0));
    }

    function testFuzz_shareTree_equalsOpenZeppelin(
        uint256 task,
        address account,
        uint256 shareWad,
        bytes32[] calldata proof
    ) external pure {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(task, account, shareWad))));
        vm.assertEq(
            ShareTree.rootOf(task, account, shareWad, proof),
            MerkleProof.processProofCalldata(proof, leaf)
        );
    }

    function test_claim_sharesAreThoseOfTheRelease() external {
        _releaseWith(_halves());
        _pay(1, 1000);
        bytes32[] memory first = MerkleTree.proof(leaves, 0);
        uint256 firstTask = taskId;
        ITaskTypes.Terms memory terms = _terms();
        (terms.taskDigest, terms.parts) = ("second", new ITaskTypes.Part[](0));
        (terms.rounds, terms.checkpointLength) = (1, 1);
        (terms.minContributors, terms.coordinatorBond) = (1, 0);
        taskId = _open(terms);
        _join(taskId, 0);
        vm.prank(coordinator);
        ledger.start(taskId);
        _commit(taskId, _checkpoint(0, 1, 1), 1);
        uint64[] memory sharesWad = new uint64[](1);
        sharesWad[0] = WAD / 10;
        _releaseWith(sharesWad);
        _pay(2, 1000);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueShare.InvalidProof.selector, 2, _member(0), WAD / 2)
        );
        revenue.claim(2, firstTask, _member(0), WAD / 2, first);
        _claim(2, 0, WAD / 10);
        vm.assertEq(dollar.balanceOf(_member(0)), 85);
        revenue.claim(1, firstTask, _member(0), WAD / 2, first);
        vm.assertEq(dollar.balanceOf(_member(0)), 85 + 425);
    }

    function test_plainTransfers_belongToTheReleaseOfTheirTime() external {
        dollar.mint(address(revenue), 1000); // before any release: waits for the first
        revenue.sync();
        vm.assertEq(revenue.treasuryBalance(), 0);
        vm.assertEq(revenue.claimable(1, _member(0), WAD), 0);
        vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.withdrawTreasury();
        _releaseWith(_halves());
        vm.assertEq(revenue.claimable(1, _member(0), WAD / 2), 425);
        dollar.mint(address(revenue), 1000);
        vm.assertEq(revenue.claimable(1, _member(0), WAD / 2), 850);
        vm.prank(TIMELOCK);
        models.release(taskId, 2); // what came until now is release 1's
        (uint256 earned,) = revenue.poolOf(1);
        vm.assertEq(earned, 1700);
        dollar.mint(address(revenue), 200);
        vm.assertEq(revenue.claimable(1, _member(0), WAD / 2), 850);
        vm.assertEq(revenue.claimable(2, _member(0), WAD / 2), 85);
        _claim(1, 0, WAD / 2);
        (earned,) = revenue.poolOf(2);
        vm.assertEq(earned, 170);
        vm.assertEq(dollar.balanceOf(_member(0)), 850);
    }

    /// @dev What was taken of a release before the next one followed is not taken again, and what is paid
    /// for it later is its own.
    function test_release_partsOfTheOneThatEndsStayItsOwn() external {
        _releaseWith(_halves());
        _pay(1, 1000);
        revenue.withdrawTreasury();
        revenue.withdrawCoordinator(1);
        _claim(1, 0, WAD / 2);
        dollar.mint(address(revenue), 1000);
        vm.prank(TIMELOCK);
        models.release(taskId, 2);
        vm.assertEq(revenue.treasuryBalance(), 100);
        vm.assertEq(revenue.coordinatorBalance(1), 50);
        vm.assertEq(revenue.claimable(1, _member(0), WAD / 2), 425);
        vm.assertEq(revenue.claimable(2, _member(0), WAD / 2), 0);
        _pay(1, 1000);
        _pay(2, 100);
        revenue.withdrawTreasury();
        revenue.withdrawCoordinator(1);
        revenue.withdrawCoordinator(2);
        vm.assertEq(dollar.balanceOf(TREASURY), 310);
        vm.assertEq(dollar.balanceOf(coordinator), 155);
        _claim(1, 0, WAD / 2);
        vm.assertEq(dollar.balanceOf(_member(0)), 1275);
        (uint256 earned, uint256 paid) = revenue.poolOf(1);
        vm.assertEq(earned, 2550);
        vm.assertEq(paid, 1275);
        _claim(2, 0, WAD / 2);
        _claim(2, 1, WAD / 4);
        vm.assertEq(dollar.balanceOf(_member(0)), 1275 + 42);
        vm.assertEq(dollar.balanceOf(_member(1)), 21);
        // Half of release 1, and a quarter of release 2 with the rounding.
        vm.assertEq(dollar.balanceOf(address(revenue)), 1275 + 22);
    }

    /// @dev Whatever a token takes back without a transfer is missing to the current release alone.
    function test_claim_aTokenThatTakesBackCostsTheCurrentRelease() external {
        _releaseWith(_halves());
        _pay(1, 1000);
        vm.prank(TIMELOCK);
        models.release(taskId, 2);
        _pay(2, 1000);
        vm.prank(address(revenue));
        dollar.transfer(PAYER, 1000);
        vm.assertEq(revenue.claimable(2, _member(0), WAD / 2), 0);
        _claim(1, 0, WAD / 2);
        _claim(1, 1, WAD / 4);
        _claim(1, 2, WAD / 4);
        revenue.withdrawCoordinator(1);
        revenue.withdrawTreasury();
        vm.assertEq(dollar.balanceOf(address(revenue)), 1);
        // Beyond that nothing is paid rather than too much.
        vm.prank(address(revenue));
        dollar.transfer(PAYER, 1);
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        vm.expectPartialRevert(SafeCast.SafeCastOverflowedUintDowncast.selector);
        revenue.claim(2, taskId, _member(0), WAD / 2, proof);
    }

    function test_pay_unknownOrRevokedRelease() external {
        vm.expectRevert(abi.encodeWithSelector(IRevenueShare.UnknownRelease.selector, 1));
        revenue.pay(1, 1);
        _releaseWith(_halves());
        vm.prank(TIMELOCK);
        models.revoke(1);
        vm.expectRevert(abi.encodeWithSelector(IRevenueShare.ReleaseRevoked.selector, 1));
        revenue.pay(1, 1);
    }

    function test_pay_countsWhatArrives() external {
        FeeToken fee = new FeeToken();
        revenue = new RevenueShare(fee, models, ledger, TREASURY, 1000, 0, TIMELOCK);
        _releaseWith(_halves());
        fee.mint(PAYER, 1000);
        vm.startPrank(PAYER);
        fee.approve(address(revenue), 1000);
        revenue.pay(1, 1000);
        vm.assertEq(revenue.treasuryBalance(), 99);
        (uint256 earned,) = revenue.poolOf(1);
        vm.assertEq(earned, 891);
        vm.assertEq(fee.balanceOf(address(revenue)), 990);
        vm.stopPrank();
        vm.prank(TIMELOCK);
        models.release(taskId, 2);
        fee.mint(PAYER, 1000);
        vm.startPrank(PAYER);
        fee.approve(address(revenue), 1000);
        revenue.pay(1, 1000);
        vm.assertEq(revenue.treasuryBalance(), 198);
        (earned,) = revenue.poolOf(1);
        vm.assertEq(earned, 1782);
    }

    function test_constructor_refusesASplitOfAllAndNoTreasury() external {
        vm.expectRevert(abi.encodeWithSelector(IRevenueShare.SplitTooHigh.selector, 9000, 1000));
        new RevenueShare(dollar, models, ledger, TREASURY, 9000, 1000, TIMELOCK);
        vm.expectRevert(IRevenueShare.ZeroAddress.selector);
        new RevenueShare(dollar, models, ledger, address(0), 0, 0, TIMELOCK);
    }

    function test_setTreasury_onlyTheTimelock() external {
        vm.expectRevert(
            abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this))
        );
        revenue.setTreasury(STRANGER);
        vm.prank(TIMELOCK);
        vm.expectRevert(IRevenueShare.ZeroAddress.selector);
        revenue.setTreasury(address(0));
        vm.prank(TIMELOCK);
        revenue.setTreasury(STRANGER);
        vm.assertEq(revenue.treasury(), STRANGER);
    }

    /// @dev Shares that add up to more than one empty their own pool at most.
    function test_claim_neverPassesThePool() external {
        uint64[] memory sharesWad = new uint64[](2);
        (sharesWad[0], sharesWad[1]) = (WAD, WAD / 2);
        _releaseWith(sharesWad);
        _pay(1, 1000);
        _claim(1, 0, WAD);
        bytes32[] memory proof = MerkleTree.proof(leaves, 1);
        vm.expectRevert(abi.encodeWithSelector(IRevenueShare.PoolExceeded.selector, 1, 425, 0));
        revenue.claim(1, taskId, _member(1), WAD / 2, proof);
        vm.assertEq(dollar.balanceOf(address(revenue)), 150);
    }

    /// @dev Whatever the order: nobody gets more than the rounded-down share, nothing is made or lost.
    function testFuzz_sharesRoundDownAndMoneyIsConserved(
        uint256[3] calldata weights,
        uint64[8] calldata payments,
        uint256 moves
    ) external {
        uint64[] memory sharesWad = new uint64[](3);
        uint64 left = WAD;
        for (uint256 i = 0; i < 3; ++i) {
            sharesWad[i] = uint64(_bound(weights[i], 0, left));
            left -= sharesWad[i];
        }
        _releaseWith(sharesWad);
        uint256 paidIn = 0;
        for (uint256 step = 0; step < payments.length; ++step) {
            uint256 move = (moves >> (4 * step)) & 15;
            if (move & 1 == 0) _pay(1, payments[step]);
            else dollar.mint(address(revenue), payments[step]);
            paidIn += payments[step];
            uint256 i = (move >> 1) % 4;
            if (i == 3) {
                if (revenue.treasuryBalance() != 0) revenue.withdrawTreasury();
                if (revenue.coordinatorBalance(1) != 0) revenue.withdrawCoordinator(1);
                continue;
            }
            if (revenue.claimable(1, _member(i), sharesWad[i]) != 0) _claim(1, i, sharesWad[i]);
        }
        if (moves >> 255 == 1) {
            // The next release changes nothing of what this one earned.
            vm.prank(TIMELOCK);
            models.release(taskId, 2);
        }
        (uint256 earned, uint256 paidOut) = revenue.poolOf(1);
        uint256 treasuryPart = revenue.treasuryBalance() + dollar.balanceOf(TREASURY);
        uint256 coordinatorPart = revenue.coordinatorBalance(1) + dollar.balanceOf(coordinator);
        vm.assertEq(earned + treasuryPart + coordinatorPart, paidIn);
        vm.assertEq(treasuryPart + coordinatorPart, paidIn * 1500 / 10_000);
        vm.assertEq(treasuryPart, (treasuryPart + coordinatorPart) * 1000 / 1500);
        paidOut += dollar.balanceOf(TREASURY) + dollar.balanceOf(coordinator);
        vm.assertEq(dollar.balanceOf(address(revenue)), paidIn - paidOut);
        for (uint256 i = 0; i < 3; ++i) {
            if (revenue.claimable(1, _member(i), sharesWad[i]) != 0) _claim(1, i, sharesWad[i]);
            vm.assertEq(dollar.balanceOf(_member(i)), earned * sharesWad[i] / WAD);
        }
    }
}
