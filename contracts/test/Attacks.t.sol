// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ModelRegistry} from "../src/ModelRegistry.sol";
import {RevenueShare} from "../src/RevenueShare.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {CovalueFixture} from "./CovalueFixture.sol";
import {MerkleTree} from "./MerkleTree.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @dev Calls back before it moves anything, when what it sent is still counted as here.
contract CallbackToken is ERC20("Callback", "CALL") {
    address private target;
    bytes private data;
    bytes4 public refusal;
    bool public succeeded;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function callBack(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == target) {
            (bool ok, bytes memory answer) = target.call(data);
            (succeeded, refusal) = (ok, ok ? bytes4(0) : bytes4(answer));
        }
        super._update(from, to, value);
    }
}

/// @dev Moves money and returns nothing, as some old dollars do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @dev What a cheat would try. Governance.t.sol has the attacks on the vote.
contract AttacksTest is CovalueFixture {
    uint256 private constant ORDER =
        0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    uint64 private constant WAD = 1e18;
    address private constant TREASURY = address(0x7EA);

    function setUp() external {
        _deploy();
    }

    function _refuse(uint256 taskId, ITaskTypes.Checkpoint memory next, bytes4 reason) private {
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), ALL);
        vm.expectPartialRevert(reason);
        ledger.commitCheckpoint(taskId, next, ALL, "", signature);
    }

    function test_checkpoint_noGapsAndNoOverlaps() external {
        uint256 taskId = _running();
        bytes4 reason = ITaskTypes.UnexpectedRounds.selector;
        _refuse(taskId, _checkpoint(0, 2, 3), reason);
        _refuse(taskId, _checkpoint(0, 0, 3), reason);
        _commit(taskId, _checkpoint(0, 1, 3), ALL);
        _refuse(taskId, _checkpoint(1, 3, 5), reason);
        _refuse(taskId, _checkpoint(1, 5, 5), reason);
        _commit(taskId, _checkpoint(1, 4, 5), ALL);
    }

    function test_checkpoint_needsAModel() external {
        uint256 taskId = _running();
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        next.modelDigest = 0;
        _refuse(taskId, next, ITaskTypes.ZeroDigest.selector);
    }

    function test_bond_isReleasedOnce() external {
        uint256 taskId = _closed();
        vm.assertTrue(ledger.taskOf(taskId).bondPosted);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        vm.assertFalse(ledger.taskOf(taskId).bondPosted);
        vm.assertEq(token.balanceOf(coordinator), BOND);
    }

    /// @dev Two accounts of one person, whose keys are each other's negatives: the roster's key is the
    /// point at infinity, for which the zero signature would solve the pairing's equation.
    function test_roster_keysThatCancelOutSignNothing() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.minContributors = 2;
        uint256 taskId = _open(terms);
        _postBonds(taskId);
        _registerWith(_member(0), 4242, MIN_STAKE);
        _registerWith(_member(1), ORDER - 4242, MIN_STAKE);
        _join(taskId, 0);
        _join(taskId, 1);
        vm.assertEq(ledger.aggregateKeyOf(taskId), new bytes(128));
        vm.prank(coordinator);
        ledger.start(taskId);
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        vm.expectRevert(ITaskTypes.InvalidSignature.selector);
        ledger.commitCheckpoint(taskId, next, 3, "", new bytes(256));
        bytes32 message = ledger.checkpointMessage(taskId, next);
        bytes memory both = BlsSigner.aggregate(
            BlsSigner.sign(4242, message), BlsSigner.sign(ORDER - 4242, message)
        );
        vm.expectRevert(ITaskTypes.InvalidSignature.selector);
        ledger.commitCheckpoint(taskId, next, 3, "", both);
    }

    /// @dev A released task with these shares, whose revenue comes in `asset`.
    function _earning(IERC20 asset, uint64[] memory sharesWad)
        private
        returns (RevenueShare revenue, bytes32[] memory leaves)
    {
        ModelRegistry models = new ModelRegistry(ledger, TIMELOCK, address(0), address(this));
        revenue = new RevenueShare(asset, models, ledger, TREASURY, 1000, 500, TIMELOCK);
        models.setRevenueShare(address(revenue));
        uint256 taskId = _revealing();
        _openParts(taskId);
        leaves = new bytes32[](sharesWad.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] =
                keccak256(bytes.concat(keccak256(abi.encode(taskId, _member(i), sharesWad[i]))));
        }
        ITaskTypes.FinalReport memory report = _report();
        report.shareRoot = MerkleTree.root(leaves);
        _close(taskId, report, ALL);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        vm.prank(TIMELOCK);
        models.release(taskId, 1);
    }

    function _shares(uint64 first, uint64 second) private pure returns (uint64[] memory shares) {
        shares = new uint64[](2);
        (shares[0], shares[1]) = (first, second);
    }

    function test_revenue_threeClaimsPayThreeParts() external {
        CallbackToken asset = new CallbackToken();
        (RevenueShare revenue, bytes32[] memory leaves) = _earning(asset, _shares(WAD / 2, WAD / 2));
        for (uint256 i = 1; i <= 3; ++i) {
            asset.mint(address(revenue), 1000);
            revenue.claim(1, ledger.taskCount(), _member(0), WAD / 2, MerkleTree.proof(leaves, 0));
            vm.assertEq(asset.balanceOf(_member(0)), 425 * i);
        }
    }

    function test_revenue_roundsDown() external {
        CallbackToken asset = new CallbackToken();
        (RevenueShare revenue, bytes32[] memory leaves) =
            _earning(asset, _shares(WAD / 3, WAD - WAD / 3));
        asset.mint(address(revenue), 100);
        revenue.claim(1, ledger.taskCount(), _member(0), WAD / 3, MerkleTree.proof(leaves, 0));
        vm.assertEq(asset.balanceOf(_member(0)), 28); // of 28.33
        revenue.claim(1, ledger.taskCount(), _member(1), WAD - WAD / 3, MerkleTree.proof(leaves, 1));
        vm.assertEq(asset.balanceOf(_member(1)), 56); // of 56.67; one stays
    }

    function test_revenue_aTokenThatCallsBackIsRefused() external {
        CallbackToken asset = new CallbackToken();
        (RevenueShare revenue, bytes32[] memory leaves) = _earning(asset, _shares(WAD / 2, WAD / 2));
        asset.mint(address(revenue), 1000);
        bytes32[] memory proof = MerkleTree.proof(leaves, 0);
        asset.callBack(address(revenue), abi.encodeCall(revenue.withdrawTreasury, ()));
        revenue.claim(1, ledger.taskCount(), _member(0), WAD / 2, proof);
        // Booking within the transfer would count what leaves as what came in.
        vm.assertFalse(asset.succeeded());
        vm.assertTrue(
            asset.refusal() == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector
        );
        vm.assertEq(revenue.claimable(1, _member(1), WAD / 2), 425);
        vm.assertEq(asset.balanceOf(address(revenue)), 1000 - 425);
        asset.callBack(
            address(revenue),
            abi.encodeCall(revenue.claim, (1, ledger.taskCount(), _member(0), WAD / 2, proof))
        );
        revenue.withdrawTreasury();
        vm.assertTrue(
            asset.refusal() == ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector
        );
    }

    function test_revenue_aTokenThatReturnsNothing() external {
        SilentToken asset = new SilentToken();
        (RevenueShare revenue, bytes32[] memory leaves) =
            _earning(IERC20(address(asset)), _shares(WAD / 2, WAD / 2));
        asset.mint(address(this), 1000);
        asset.approve(address(revenue), 1000);
        revenue.pay(1, 1000);
        vm.assertEq(asset.balanceOf(address(revenue)), 1000);
        revenue.claim(1, ledger.taskCount(), _member(1), WAD / 2, MerkleTree.proof(leaves, 1));
        vm.assertEq(asset.balanceOf(_member(1)), 425);
    }
}
