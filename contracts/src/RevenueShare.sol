// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IRevenueShare} from "./interfaces/IRevenueShare.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Revenue of released models; documented in IRevenueShare
contract RevenueShare is IRevenueShare, Ownable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @dev Task and share root are the release's, kept from the first booking on for claims to read.
    struct Pool {
        bytes32 shareRoot;
        uint32 taskId;
        uint112 earned;
        uint112 paid;
        uint256 coordinatorBalance;
    }

    uint256 private constant WAD = 1e18;
    uint256 private constant BPS = 10_000;

    /// @notice The ERC-20 that is taken and paid.
    IERC20 public immutable asset;
    IModelRegistry public immutable modelRegistry;
    ITaskLedger public immutable taskLedger;
    uint16 public immutable treasuryBps;
    uint16 public immutable coordinatorBps;

    /// @inheritdoc IRevenueShare
    address public treasury;
    /// @inheritdoc IRevenueShare
    uint256 public treasuryBalance;
    /// @notice What is booked and not yet paid out; anything above it is a plain transfer.
    uint256 public bookedBalance;
    mapping(uint256 releaseNumber => Pool) private _pools;
    mapping(uint256 releaseNumber => mapping(address account => uint256 amount)) private _claimed;

    /// @param asset_ ERC-20 that is taken and paid
    /// @param treasuryBps_ part of the treasury, in 1/10,000
    /// @param coordinatorBps_ part of the release's coordinator, in 1/10,000
    /// @param owner_ the timelock
    constructor(
        IERC20 asset_,
        IModelRegistry modelRegistry_,
        ITaskLedger taskLedger_,
        address treasury_,
        uint16 treasuryBps_,
        uint16 coordinatorBps_,
        address owner_
    ) Ownable(owner_) {
        if (treasury_ == address(0)) revert ZeroAddress();
        if (uint256(treasuryBps_) + coordinatorBps_ >= BPS) {
            revert SplitTooHigh(treasuryBps_, coordinatorBps_);
        }
        asset = asset_;
        modelRegistry = modelRegistry_;
        taskLedger = taskLedger_;
        treasury = treasury_;
        treasuryBps = treasuryBps_;
        coordinatorBps = coordinatorBps_;
        emit TreasurySet(treasury_);
    }

    /// @inheritdoc IRevenueShare
    function pay(uint256 releaseNumber, uint256 amount) external nonReentrant {
        IModelRegistry.Status status = modelRegistry.releaseOf(releaseNumber).status;
        if (status == IModelRegistry.Status.None) revert UnknownRelease(releaseNumber);
        if (status == IModelRegistry.Status.Revoked) revert ReleaseRevoked(releaseNumber);
        _sync();
        uint256 before = asset.balanceOf(address(this));
        asset.safeTransferFrom(msg.sender, address(this), amount);
        // What arrived counts, in case the asset takes a fee.
        uint256 received = asset.balanceOf(address(this)) - before;
        emit Paid(releaseNumber, msg.sender, received);
        _book(releaseNumber, received);
    }

    /// @inheritdoc IRevenueShare
    function sync() external nonReentrant {
        _sync();
    }

    /// @inheritdoc IRevenueShare
    function claim(
        uint256 releaseNumber,
        address account,
        uint256 shareWad,
        bytes32[] calldata proof
    ) external nonReentrant {
        _sync();
        Pool storage pool = _pools[releaseNumber];
        if (pool.shareRoot == 0) revert NothingToClaim();
        bytes32 leaf =
            keccak256(bytes.concat(keccak256(abi.encode(pool.taskId, account, shareWad))));
        if (!MerkleProof.verifyCalldata(proof, pool.shareRoot, leaf)) {
            revert InvalidProof(releaseNumber, account, shareWad);
        }
        uint256 due = _dueDown(pool.earned, shareWad, _claimed[releaseNumber][account]);
        if (due == 0) revert NothingToClaim();
        uint256 left = pool.earned - pool.paid;
        if (due > left) revert PoolExceeded(releaseNumber, due, left);
        _claimed[releaseNumber][account] += due;
        // At most what was earned, which fits.
        pool.paid += uint112(due);
        emit Claimed(releaseNumber, account, due);
        _send(account, due);
    }

    /// @inheritdoc IRevenueShare
    function withdrawTreasury() external nonReentrant {
        _sync();
        uint256 amount = treasuryBalance;
        if (amount == 0) revert NothingToClaim();
        treasuryBalance = 0;
        emit TreasuryWithdrawn(treasury, amount);
        _send(treasury, amount);
    }

    /// @inheritdoc IRevenueShare
    function withdrawCoordinator(uint256 releaseNumber) external nonReentrant {
        _sync();
        Pool storage pool = _pools[releaseNumber];
        uint256 amount = pool.coordinatorBalance;
        if (amount == 0) revert NothingToClaim();
        pool.coordinatorBalance = 0;
        address coordinator = taskLedger.taskOf(pool.taskId).coordinator;
        emit CoordinatorWithdrawn(releaseNumber, coordinator, amount);
        _send(coordinator, amount);
    }

    /// @inheritdoc IRevenueShare
    function setTreasury(address treasury_) external onlyOwner {
        if (treasury_ == address(0)) revert ZeroAddress();
        treasury = treasury_;
        emit TreasurySet(treasury_);
    }

    /// @inheritdoc IRevenueShare
    function poolOf(uint256 releaseNumber) external view returns (uint256 earned, uint256 paid) {
        Pool storage pool = _pools[releaseNumber];
        return (pool.earned, pool.paid);
    }

    /// @inheritdoc IRevenueShare
    function claimedOf(uint256 releaseNumber, address account) external view returns (uint256) {
        return _claimed[releaseNumber][account];
    }

    /// @inheritdoc IRevenueShare
    function claimable(uint256 releaseNumber, address account, uint256 shareWad)
        external
        view
        returns (uint256)
    {
        uint256 earned = _pools[releaseNumber].earned;
        if (releaseNumber != 0 && releaseNumber == modelRegistry.releaseCount()) {
            (,, uint256 toContributors) = _split(asset.balanceOf(address(this)) - bookedBalance);
            earned += toContributors;
        }
        return _dueDown(earned, shareWad, _claimed[releaseNumber][account]);
    }

    /// @inheritdoc IRevenueShare
    function coordinatorBalance(uint256 releaseNumber) external view returns (uint256) {
        return _pools[releaseNumber].coordinatorBalance;
    }

    function _sync() private {
        uint256 unbooked = asset.balanceOf(address(this)) - bookedBalance;
        if (unbooked == 0) return;
        uint256 currentNumber = modelRegistry.releaseCount();
        if (currentNumber != 0) _book(currentNumber, unbooked);
    }

    function _book(uint256 releaseNumber, uint256 amount) private {
        (uint256 toTreasury, uint256 toCoordinator, uint256 toContributors) = _split(amount);
        bookedBalance += amount;
        treasuryBalance += toTreasury;
        Pool storage pool = _pools[releaseNumber];
        if (pool.shareRoot == 0) {
            IModelRegistry.Release memory release = modelRegistry.releaseOf(releaseNumber);
            (pool.shareRoot, pool.taskId) = (release.shareRoot, release.taskId.toUint32());
        }
        pool.coordinatorBalance += toCoordinator;
        pool.earned += toContributors.toUint112();
        emit Booked(releaseNumber, toTreasury, toCoordinator, toContributors);
    }

    function _split(uint256 amount)
        private
        view
        returns (uint256 toTreasury, uint256 toCoordinator, uint256 toContributors)
    {
        toTreasury = Math.mulDiv(amount, treasuryBps, BPS);
        toCoordinator = Math.mulDiv(amount, coordinatorBps, BPS);
        toContributors = amount - toTreasury - toCoordinator;
    }

    function _dueDown(uint256 earned, uint256 shareWad, uint256 claimed)
        private
        pure
        returns (uint256)
    {
        return Math.saturatingSub(Math.mulDiv(earned, shareWad, WAD), claimed);
    }

    function _send(address to, uint256 amount) private {
        bookedBalance -= amount;
        asset.safeTransfer(to, amount);
    }
}
