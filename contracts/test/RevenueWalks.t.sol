// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {IRevenueShare} from "../src/interfaces/IRevenueShare.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @dev Calls out once in the midst of a transfer: before anything moves, or after.
contract HookToken is ERC20("Hook", "HOOK") {
    address private target;
    bytes private data;
    bool private after_;
    bytes4 public refusal;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @dev The token pays itself, too.
    function arm(address target_, bytes calldata data_, bool afterwards) external {
        (target, data, after_, refusal) = (target_, data_, afterwards, 0);
        _approve(address(this), target_, type(uint256).max);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (!after_) _callOut();
        super._update(from, to, value);
        if (after_) _callOut();
    }

    function _callOut() private {
        address called = target;
        if (called == address(0)) return;
        target = address(0);
        (bool ok, bytes memory answer) = called.call(data);
        refusal = ok ? bytes4(0) : bytes4(answer);
    }
}

/// @dev Revenue over several releases of one task, next to sums that are kept another way: each payment is
/// written down for the release it belongs to, and split as IRevenueShare says.
contract RevenueWalksTest is CovalueFixture {
    uint64 private constant WAD = 1e18;
    address private constant TREASURY = address(0x7EA);
    uint256 private constant STEPS = 24;

    HookToken private asset;
    ModelRegistry private models;
    RevenueShare private revenue;
    uint256 private taskId;
    bytes32[] private leaves;
    uint64[3] private shares = [WAD / 2, WAD / 3, WAD - WAD / 2 - WAD / 3];

    /// @dev Sums of releases: what the current one took in, what ended ones' parts are.
    uint256 private waiting;
    uint256 private income;
    uint256 private treasuryPart;
    mapping(uint256 release => uint256) private coordinatorPart;
    mapping(uint256 release => uint256) private contributorsPart;
    uint256 private treasuryTaken;
    mapping(uint256 release => uint256) private coordinatorTaken;
    mapping(uint256 release => mapping(uint256 member => uint256)) private claimed;

    function setUp() external {
        _deploy();
        asset = new HookToken();
        // The token may release, so that a vote can be executed in the midst of a transfer.
        models = new ModelRegistry(ledger, address(asset), address(0), address(this));
        revenue = new RevenueShare(asset, models, ledger, TREASURY, 1000, 500, TIMELOCK);
        models.setRevenueShare(address(revenue));
        taskId = _revealing();
        _openParts(taskId);
        for (uint256 i = 0; i < 3; ++i) {
            leaves.push(
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), shares[i]))))
            );
        }
        ITaskTypes.FinalReport memory report = _report();
        report.shareRoot = MerkleTree.root(leaves);
        _close(taskId, report, ALL);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        asset.mint(address(this), type(uint88).max);
        asset.approve(address(revenue), type(uint256).max);
    }

    function _release() private {
        uint256 next = models.releaseCount() + 1;
        vm.prank(address(asset));
        models.release(taskId, next);
    }

    function _claim(uint256 number, uint256 i) private {
        revenue.claim(number, taskId, _member(i), shares[i], MerkleTree.proof(leaves, i));
    }

    function _split(uint256 amount)
        private
        pure
        returns (uint256 toTreasury, uint256 toCoordinator, uint256 toContributors)
    {
        uint256 both = amount * 15 / 100;
        toTreasury = both * 2 / 3;
        toCoordinator = both - toTreasury;
        toContributors = amount - both;
    }

    function _book(uint256 number, uint256 amount) private {
        (uint256 t, uint256 k, uint256 c) = _split(amount);
        treasuryPart += t;
        coordinatorPart[number] += k;
        contributorsPart[number] += c;
    }

    /// @dev Whatever the order: each release has what came in its time, treasury and coordinators their
    /// parts of it, and in the end nothing stays but what rounding the shares down leaves.
    function testFuzz_eachReleaseHasWhatCameInItsTime(uint256 seed) external {
        for (uint256 step = 0; step < STEPS; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            _step(seed);
            _compare();
        }
        _takeAll();
    }

    function _step(uint256 seed) private {
        uint256 kind = seed % 8;
        uint256 amount = uint64(seed >> 8) >> (seed >> 72) % 64;
        uint256 last = models.releaseCount();
        uint256 number = last == 0 ? 0 : 1 + (seed >> 80) % last;
        if (kind == 0 && last < 4) {
            _release();
            if (last == 0) income = waiting;
            else _book(last, income);
            if (last != 0) income = 0;
        } else if (kind <= 1 || number == 0) {
            asset.transfer(address(revenue), amount);
            if (last == 0) waiting += amount;
            else income += amount;
        } else if (kind <= 3) {
            revenue.pay(number, amount);
            if (number == last) income += amount;
            else _book(number, amount);
        } else if (kind <= 5) {
            _tryClaim(number, (seed >> 96) % 3);
        } else if (kind == 6) {
            _tryTreasury();
        } else {
            _tryCoordinator(number);
        }
    }

    function _parts(uint256 number)
        private
        view
        returns (uint256 toTreasury, uint256 toCoordinator, uint256 toContributors)
    {
        if (number == models.releaseCount() && number != 0) {
            (toTreasury, toCoordinator, toContributors) = _split(income);
        }
        toCoordinator += coordinatorPart[number];
        toContributors += contributorsPart[number];
    }

    function _tryClaim(uint256 number, uint256 i) private {
        (,, uint256 earned) = _parts(number);
        uint256 share = earned * shares[i] / WAD;
        uint256 due = share - claimed[number][i];
        uint256 before = asset.balanceOf(_member(i));
        bytes32[] memory proof = MerkleTree.proof(leaves, i);
        if (due == 0) vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.claim(number, taskId, _member(i), shares[i], proof);
        vm.assertEq(asset.balanceOf(_member(i)) - before, due);
        claimed[number][i] = share;
    }

    function _tryTreasury() private {
        (uint256 ofCurrent,,) = _parts(models.releaseCount());
        uint256 due = treasuryPart + ofCurrent - treasuryTaken;
        if (due == 0) vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.withdrawTreasury();
        treasuryTaken += due;
    }

    function _tryCoordinator(uint256 number) private {
        (, uint256 part,) = _parts(number);
        uint256 due = part - coordinatorTaken[number];
        if (due == 0) vm.expectRevert(IRevenueShare.NothingToClaim.selector);
        revenue.withdrawCoordinator(number);
        coordinatorTaken[number] += due;
    }

    function _compare() private view {
        uint256 last = models.releaseCount();
        (uint256 ofCurrent,,) = _parts(last);
        vm.assertEq(revenue.treasuryBalance(), treasuryPart + ofCurrent - treasuryTaken, "treasury");
        vm.assertEq(asset.balanceOf(TREASURY), treasuryTaken, "treasury took");
        for (uint256 number = 1; number <= last; ++number) {
            (, uint256 toCoordinator, uint256 toContributors) = _parts(number);
            (uint256 earned, uint256 paid) = revenue.poolOf(number);
            vm.assertEq(earned, toContributors, "earned");
            vm.assertEq(paid, claimed[number][0] + claimed[number][1] + claimed[number][2], "paid");
            vm.assertEq(
                revenue.coordinatorBalance(number),
                toCoordinator - coordinatorTaken[number],
                "coordinator"
            );
        }
    }

    function _takeAll() private {
        uint256 rest = waiting;
        for (uint256 number = 1; number <= models.releaseCount(); ++number) {
            _tryCoordinator(number);
            for (uint256 i = 0; i < 3; ++i) {
                _tryClaim(number, i);
            }
            (,, uint256 earned) = _parts(number);
            if (number == 1) rest = 0;
            rest += earned - claimed[number][0] - claimed[number][1] - claimed[number][2];
        }
        _tryTreasury();
        vm.assertEq(asset.balanceOf(address(revenue)), rest, "rest");
    }

    function _assertRefused() private view {
        vm.assertTrue(
            asset.refusal() == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector
        );
    }

    /// @dev What came within a payment would count for it as well.
    function test_pay_noPaymentWithinAPayment() external {
        _release();
        _release();
        asset.mint(address(asset), 1000);
        asset.arm(address(revenue), abi.encodeCall(revenue.pay, (1, 1000)), false);
        revenue.pay(1, 1000);
        _assertRefused();
        (uint256 earned,) = revenue.poolOf(1);
        vm.assertEq(earned, 850);
    }

    /// @dev What has just arrived for an ended release would be the current one's, too.
    function test_pay_noReleaseWithinAPayment() external {
        _release();
        _release();
        asset.arm(address(models), abi.encodeCall(models.release, (taskId, 3)), true);
        revenue.pay(1, 1000);
        _assertRefused();
        vm.assertEq(models.releaseCount(), 2);
        _release();
        (uint256 earned,) = revenue.poolOf(2);
        vm.assertEq(earned, 0);
    }

    /// @dev What leaves still lies here, and no longer is others'.
    function test_withdraw_noClaimWithinAWithdrawal() external {
        _release();
        revenue.pay(1, 1000);
        bytes memory data = abi.encodeCall(
            revenue.claim, (1, taskId, _member(0), shares[0], MerkleTree.proof(leaves, 0))
        );
        asset.arm(address(revenue), data, false);
        revenue.withdrawCoordinator(1);
        _assertRefused();
        asset.arm(address(revenue), data, false);
        revenue.withdrawTreasury();
        _assertRefused();
        _claim(1, 0);
        vm.assertEq(asset.balanceOf(_member(0)), 425);
    }

    function test_claim_noReleaseWithinAClaim() external {
        _release();
        revenue.pay(1, 1000);
        asset.arm(address(models), abi.encodeCall(models.release, (taskId, 2)), false);
        _claim(1, 0);
        _assertRefused();
        _release();
        vm.assertEq(revenue.claimable(1, _member(0), shares[0]), 0);
        vm.assertEq(revenue.claimable(2, _member(0), shares[0]), 0);
    }

    function test_revoked_keepsWhatItEarned() external {
        _release();
        revenue.pay(1, 1000);
        vm.prank(address(asset));
        models.suspend(1);
        revenue.pay(1, 1000);
        vm.prank(address(asset));
        models.revoke(1);
        vm.expectRevert(abi.encodeWithSelector(IRevenueShare.ReleaseRevoked.selector, 1));
        revenue.pay(1, 1);
        _claim(1, 0);
        vm.assertEq(asset.balanceOf(_member(0)), 850);
        _release();
        revenue.pay(2, 100);
        _claim(1, 1);
        vm.assertEq(asset.balanceOf(_member(1)), 566);
        vm.assertEq(revenue.treasuryBalance(), 210);
    }

    /// @dev A payment token that took back more than the current release had taken in keeps no vote from
    /// releasing another model, and what others had earned is still theirs.
    function test_release_whenTheTokenTookBackMoreThanCameIn() external {
        _release();
        revenue.pay(1, 1000);
        _release();
        revenue.pay(2, 500);
        vm.prank(address(revenue));
        asset.transfer(STRANGER, 1200);
        _release();
        (uint256 earned,) = revenue.poolOf(2);
        vm.assertEq(earned, 0);
        revenue.pay(3, 600);
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        // Of 700 that are missing.
        vm.expectPartialRevert(SafeCast.SafeCastOverflowedUintDowncast.selector);
        revenue.claim(3, taskId, _member(0), shares[0], proof);
        revenue.pay(3, 200);
        (earned,) = revenue.poolOf(3);
        vm.assertEq(earned, 85);
        revenue.withdrawTreasury();
        vm.assertEq(asset.balanceOf(TREASURY), 110);
        revenue.withdrawCoordinator(1);
        revenue.withdrawCoordinator(3);
        for (uint256 i = 0; i < 3; ++i) {
            _claim(1, i);
            _claim(3, i);
        }
        vm.assertEq(asset.balanceOf(_member(0)), 425 + 42);
        // What rounding down leaves of 850 and of 85.
        vm.assertEq(asset.balanceOf(address(revenue)), 1 + 1);
    }

    /// @dev Neither bits beyond an argument's width nor a proof beyond the calldata are read.
    function test_claim_refusesMalformedCalldata() external {
        _release();
        revenue.pay(1, 1000);
        uint256 account = uint160(_member(0));
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        bytes memory tail = abi.encodePacked(proof);
        vm.assertFalse(_rawClaim(account | (1 << 160), shares[0], 160, proof.length, tail));
        vm.assertFalse(_rawClaim(account, shares[0] | (1 << 64), 160, proof.length, tail));
        vm.assertFalse(_rawClaim(account, shares[0], 160, proof.length + 1, tail));
        vm.assertFalse(_rawClaim(account, shares[0], 160, (1 << 251) + proof.length, tail));
        vm.assertFalse(_rawClaim(account, shares[0], 1 << 255, proof.length, tail));
        vm.assertFalse(_rawClaim(account, shares[0], 160, 0, tail));
        vm.assertTrue(_rawClaim(account, shares[0], 160, proof.length, tail));
        vm.assertFalse(_rawClaim(account, shares[0], 160, proof.length, tail));
        vm.assertEq(asset.balanceOf(_member(0)), 425);
    }

    function _rawClaim(
        uint256 account,
        uint256 shareWad,
        uint256 offset,
        uint256 length,
        bytes memory tail
    ) private returns (bool ok) {
        (ok,) = address(revenue)
            .call(
                bytes.concat(
                    abi.encodeWithSelector(
                        revenue.claim.selector, 1, taskId, account, shareWad, offset, length
                    ),
                    tail
                )
            );
    }
}
