// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ShareTree} from "./ShareTree.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IRevenueShare} from "./interfaces/IRevenueShare.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

/// @title Revenue of released models; documented in IRevenueShare
/// @dev What the current release has taken in is nowhere added up: it is what lies here and is not
/// others', and what its contributors were paid. So a plain transfer counts as it comes, and a claim
/// writes one slot beside the claimer's own.
contract RevenueShare is IRevenueShare, Ownable, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using SafeCast for int256;

    struct Holding {
        uint256 claimed;
    }

    /// @dev While its release is current (`open`), `base` is what came here for others, less what went
    /// out to anybody but its contributors. Afterwards `base` is what its contributors earned in all.
    /// `coordinatorDue` is the coordinator's part from then on, less what it took before.
    struct Pool {
        uint32 taskId;
        bool open;
        uint96 paid;
        int96 base;
        int256 coordinatorDue;
        mapping(address account => Holding) holdings;
    }

    uint256 private constant WAD = 1e18;
    uint256 private constant BPS = 10_000;

    /// @notice The ERC-20 that is taken and paid.
    IERC20 public immutable asset;
    IModelRegistry public immutable modelRegistry;
    ITaskLedger public immutable taskLedger;
    uint16 public immutable treasuryBps;
    uint16 public immutable coordinatorBps;
    uint256 private immutable _cutBps;

    /// @inheritdoc IRevenueShare
    address public treasury;
    /// @dev The treasury's part of releases that ended, less what it took of the current one's.
    int256 private _treasuryDue;
    uint256 private _currentNumber;
    mapping(uint256 releaseNumber => bytes32) private _shareRoots;
    /// @dev Under the root that a proof leads to, so that a claim need not read the release's.
    mapping(uint256 releaseNumber => mapping(bytes32 shareRoot => Pool)) private _pools;

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
        _cutBps = uint256(treasuryBps_) + coordinatorBps_;
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
        if (releaseNumber == _currentNumber) return;
        _book(releaseNumber, received);
        _addToOthers(received.toInt256());
    }

    /// @inheritdoc IRevenueShare
    function sync() external nonReentrant {
        _sync();
    }

    /// @inheritdoc IRevenueShare
    function claim(
        uint256 releaseNumber,
        uint256 taskId,
        address account,
        uint64 shareWad,
        bytes32[] calldata proof
    ) external nonReentrant {
        bytes32 root = ShareTree.rootOf(taskId, account, shareWad, proof);
        uint256 due = _takeDue(releaseNumber, taskId, account, shareWad, root);
        emit Claimed(releaseNumber, account, due);
        asset.safeTransfer(account, due);
    }

    /// @inheritdoc IRevenueShare
    function withdrawTreasury() external nonReentrant {
        _sync();
        uint256 amount = treasuryBalance();
        if (amount == 0) revert NothingToClaim();
        _treasuryDue -= amount.toInt256();
        emit TreasuryWithdrawn(treasury, amount);
        _send(treasury, amount);
    }

    /// @inheritdoc IRevenueShare
    function withdrawCoordinator(uint256 releaseNumber) external nonReentrant {
        _sync();
        uint256 amount = coordinatorBalance(releaseNumber);
        if (amount == 0) revert NothingToClaim();
        Pool storage pool = _poolOf(releaseNumber);
        pool.coordinatorDue -= amount.toInt256();
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
    function claimable(uint256 releaseNumber, address account, uint64 shareWad)
        external
        view
        returns (uint256)
    {
        (uint256 earned,) = poolOf(releaseNumber);
        return Math.saturatingSub(_shareDown(earned, shareWad), claimedOf(releaseNumber, account));
    }

    /// @inheritdoc IRevenueShare
    function poolOf(uint256 releaseNumber) public view returns (uint256 earned, uint256 paid) {
        Pool storage pool = _poolOf(releaseNumber);
        paid = pool.paid;
        // What was booked is never below zero.
        earned = pool.open ? _contributorsPart(_gross(pool)) : uint256(int256(pool.base));
    }

    /// @inheritdoc IRevenueShare
    function claimedOf(uint256 releaseNumber, address account) public view returns (uint256) {
        return _poolOf(releaseNumber).holdings[account].claimed;
    }

    /// @inheritdoc IRevenueShare
    function treasuryBalance() public view returns (uint256) {
        (uint256 part,) = _cut(_gross(_poolOf(_currentNumber)));
        return _floorZero(_treasuryDue + part.toInt256());
    }

    /// @inheritdoc IRevenueShare
    function coordinatorBalance(uint256 releaseNumber) public view returns (uint256) {
        Pool storage pool = _poolOf(releaseNumber);
        (, uint256 part) = _cut(_gross(pool));
        return _floorZero(pool.coordinatorDue + part.toInt256());
    }

    /// @dev Counts a payment out of the pool that lies under the proof's root: no other is a release's.
    function _takeDue(
        uint256 releaseNumber,
        uint256 taskId,
        address account,
        uint64 shareWad,
        bytes32 root
    ) private returns (uint256 due) {
        Pool storage pool = _pools[releaseNumber][root];
        (uint256 poolTask, bool open, uint256 paid, int256 base) =
            (pool.taskId, pool.open, pool.paid, pool.base);
        // A pool that is not there is of task 0 and holds nothing.
        if (poolTask != taskId) revert InvalidProof(releaseNumber, account, shareWad);
        uint256 earned = uint256(base);
        if (open) earned = _contributorsPart(_grossOf(paid, base));
        Holding storage holding = pool.holdings[account];
        uint256 claimed = holding.claimed;
        due = _shareDown(earned, shareWad);
        if (due <= claimed) revert NothingToClaim();
        holding.claimed = due;
        // More than `claimed`, and of far fewer than 256 bits.
        unchecked {
            due -= claimed;
            paid += due;
        }
        if (paid > earned) {
            revert PoolExceeded(releaseNumber, due, Math.saturatingSub(earned, paid - due));
        }
        // At most what was earned, which has 96 bits.
        pool.paid = uint96(paid);
        if (!open) _addToOthers(-due.toInt256());
    }

    /// @dev Adopts the registry's current release: what came in until now is the last one's.
    function _sync() private {
        uint256 number = modelRegistry.releaseCount();
        uint256 last = _currentNumber;
        if (number == last) return;
        int256 others = 0;
        if (last != 0) {
            Pool storage ended = _poolOf(last);
            others = ended.base - int256(uint256(ended.paid));
            // If the asset took back more than came in, the next release starts with what is missing: no
            // vote waits for it.
            uint256 gross = _floorZero(asset.balanceOf(address(this)).toInt256() - others);
            others += gross.toInt256();
            (ended.open, ended.base) = (false, 0);
            _book(last, gross);
        }
        _currentNumber = number;
        Pool storage pool = _known(number);
        (pool.open, pool.base) = (true, others.toInt96());
    }

    /// @dev Splits `amount` for a release that is not current.
    function _book(uint256 releaseNumber, uint256 amount) private {
        (uint256 toTreasury, uint256 toCoordinator) = _cut(amount);
        uint256 toContributors = amount - toTreasury - toCoordinator;
        _treasuryDue += toTreasury.toInt256();
        Pool storage pool = _known(releaseNumber);
        pool.coordinatorDue += toCoordinator.toInt256();
        pool.base += toContributors.toInt256().toInt96();
        emit Booked(releaseNumber, toTreasury, toCoordinator, toContributors);
    }

    /// @dev What came for another release than the current one; below zero for what others were paid.
    function _addToOthers(int256 amount) private {
        Pool storage pool = _poolOf(_currentNumber);
        pool.base = (pool.base + amount).toInt96();
    }

    function _send(address to, uint256 amount) private {
        _addToOthers(-amount.toInt256());
        asset.safeTransfer(to, amount);
    }

    /// @dev The pool of a release, which is read from the registry the first time.
    function _known(uint256 releaseNumber) private returns (Pool storage) {
        if (_shareRoots[releaseNumber] == 0) {
            IModelRegistry.Release memory release = modelRegistry.releaseOf(releaseNumber);
            _shareRoots[releaseNumber] = release.shareRoot;
            _pools[releaseNumber][release.shareRoot].taskId = release.taskId.toUint32();
        }
        return _poolOf(releaseNumber);
    }

    function _poolOf(uint256 releaseNumber) private view returns (Pool storage) {
        return _pools[releaseNumber][_shareRoots[releaseNumber]];
    }

    /// @dev What the current release has taken in; zero for any other.
    function _gross(Pool storage pool) private view returns (uint256) {
        return pool.open ? _grossOf(pool.paid, pool.base) : 0;
    }

    function _grossOf(uint256 paid, int256 others) private view returns (uint256) {
        uint256 balance = asset.balanceOf(address(this));
        // No balance comes near 256 bits; a sum below zero has more than 96, too.
        unchecked {
            return uint256(int256(balance + paid) - others).toUint96();
        }
    }

    /// @dev Each part grows with `gross` or stays; the coordinator's is what the two others leave.
    function _cut(uint256 gross) private view returns (uint256 toTreasury, uint256 toCoordinator) {
        uint256 cut = gross - _contributorsPart(gross);
        if (cut != 0) toTreasury = cut * treasuryBps / _cutBps;
        toCoordinator = cut - toTreasury;
    }

    function _contributorsPart(uint256 gross) private view returns (uint256) {
        // Of 96 bits by 14, and a part below one.
        unchecked {
            return gross - gross * _cutBps / BPS;
        }
    }

    function _shareDown(uint256 earned, uint64 shareWad) private pure returns (uint256) {
        // Of 96 bits by 64.
        unchecked {
            return earned * shareWad / WAD;
        }
    }

    function _floorZero(int256 amount) private pure returns (uint256) {
        return amount < 0 ? 0 : uint256(amount);
    }
}
