// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "./BLS12381.sol";
import {DeployerLink} from "./DeployerLink.sol";
import {IContributorRegistry} from "./interfaces/IContributorRegistry.sol";
import {ICovalueToken} from "./interfaces/ICovalueToken.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Contributors, their keys and their stakes; documented in IContributorRegistry
contract ContributorRegistry is IContributorRegistry, Ownable, DeployerLink {
    using SafeERC20 for IERC20;

    struct Account {
        bytes32 keyHash;
        bytes32 superNodeKeyHash;
        uint256 stake;
        uint256 lockedStake;
        uint64 exitRequestedAt;
        uint64 lastTaskEndedAt;
        bool registered;
        uint256[] openTasks;
    }

    struct Key {
        BLS12381.G1 point;
        address owner;
    }

    /// @notice Tasks that one account can have open at a time; bounds the work of dropping locks.
    uint256 public constant MAX_LOCKS = 16;

    bytes32 private constant POP_PURPOSE = keccak256("covalue.pop.v1");

    /// @notice COVAL.
    IERC20 public immutable token;
    /// @inheritdoc IContributorRegistry
    uint256 public immutable minStake;
    /// @inheritdoc IContributorRegistry
    uint64 public immutable exitCooldown;

    /// @inheritdoc IContributorRegistry
    address public taskLedger;
    mapping(address account => Account) private _accounts;
    mapping(bytes32 keyHash => Key) private _keys;
    mapping(address account => mapping(uint256 taskId => uint256 amount)) private _locked;

    /// @param token_ COVAL
    /// @param owner_ the timelock
    /// @param deployer_ who names the TaskLedger, once
    /// @param minStake_ wei
    /// @param exitCooldown_ seconds; at least challenge window + vote + timelock
    constructor(
        IERC20 token_,
        address owner_,
        address deployer_,
        uint256 minStake_,
        uint64 exitCooldown_
    ) Ownable(owner_) DeployerLink(deployer_) {
        BLS12381.requirePrecompiles();
        token = token_;
        minStake = minStake_;
        exitCooldown = exitCooldown_;
    }

    modifier onlyTaskLedger() {
        if (msg.sender != taskLedger) revert NotTaskLedger(msg.sender, taskLedger);
        _;
    }

    /// @inheritdoc IContributorRegistry
    function setTaskLedger(address taskLedger_) external {
        _spendLink(taskLedger_);
        taskLedger = taskLedger_;
        emit TaskLedgerSet(taskLedger_);
    }

    /// @inheritdoc IContributorRegistry
    function register(
        bytes calldata blsPublicKey,
        bytes calldata proofOfPossession,
        bytes32 superNodeKeyHash,
        uint256 stake
    ) external {
        Account storage account = _accounts[msg.sender];
        if (account.registered) revert AlreadyRegistered(msg.sender);
        if (stake < minStake) revert StakeTooLow(stake, minStake);
        bytes32 keyHash = _acceptKey(blsPublicKey, proofOfPossession);
        account.registered = true;
        account.keyHash = keyHash;
        account.superNodeKeyHash = superNodeKeyHash;
        account.stake = stake;
        emit Registered(msg.sender, keyHash, blsPublicKey, superNodeKeyHash);
        emit StakeAdded(msg.sender, stake, stake);
        token.safeTransferFrom(msg.sender, address(this), stake);
    }

    /// @inheritdoc IContributorRegistry
    function addStake(uint256 amount) external {
        Account storage account = _staying(msg.sender);
        account.stake += amount;
        emit StakeAdded(msg.sender, amount, account.stake);
        token.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IContributorRegistry
    function rotateKeys(
        bytes calldata blsPublicKey,
        bytes calldata proofOfPossession,
        bytes32 superNodeKeyHash
    ) external {
        Account storage account = _staying(msg.sender);
        _requireUnlocked(account, msg.sender);
        bytes32 keyHash = _acceptKey(blsPublicKey, proofOfPossession);
        account.keyHash = keyHash;
        account.superNodeKeyHash = superNodeKeyHash;
        emit KeysRotated(msg.sender, keyHash, blsPublicKey, superNodeKeyHash);
    }

    /// @inheritdoc IContributorRegistry
    function requestExit() external {
        Account storage account = _staying(msg.sender);
        account.exitRequestedAt = uint64(block.timestamp);
        emit ExitRequested(msg.sender, account.exitRequestedAt);
    }

    /// @inheritdoc IContributorRegistry
    function withdraw() external {
        Account storage account = _registered(msg.sender);
        if (account.exitRequestedAt == 0) revert ExitNotRequested(msg.sender);
        _requireUnlocked(account, msg.sender);
        uint256 availableAt = _withdrawableAt(account);
        if (block.timestamp < availableAt) revert CooldownRunning(availableAt, block.timestamp);
        uint256 stake = account.stake;
        delete _accounts[msg.sender];
        emit Withdrawn(msg.sender, stake);
        token.safeTransfer(msg.sender, stake);
    }

    /// @inheritdoc IContributorRegistry
    function slash(
        address account,
        uint256 amount,
        bytes32 evidenceDigest,
        string calldata evidenceCid
    ) external onlyOwner {
        Account storage slashed = _registered(account);
        uint256 burned = Math.min(amount, slashed.stake);
        slashed.stake -= burned;
        emit Slashed(account, burned, evidenceDigest, evidenceCid);
        ICovalueToken(address(token)).burn(burned);
    }

    /// @inheritdoc IContributorRegistry
    function lock(address account, uint256 taskId, uint256 amount)
        external
        onlyTaskLedger
        returns (bytes32 keyHash)
    {
        Account storage joining = _staying(account);
        _dropEndedLocks(joining, account);
        if (joining.openTasks.length == MAX_LOCKS) revert TooManyLocks(account, MAX_LOCKS);
        // Slashing may have left less stake than is locked.
        uint256 free = Math.saturatingSub(joining.stake, joining.lockedStake);
        if (free < amount) revert FreeStakeTooLow(account, free, amount);
        joining.lockedStake += amount;
        joining.openTasks.push(taskId);
        _locked[account][taskId] = amount;
        emit StakeLocked(account, taskId, amount);
        return joining.keyHash;
    }

    /// @inheritdoc IContributorRegistry
    function unlock(address account, uint256 taskId) external onlyTaskLedger {
        Account storage leaving = _registered(account);
        uint256[] storage tasks = leaving.openTasks;
        for (uint256 i = 0; i < tasks.length; ++i) {
            if (tasks[i] == taskId) return _dropLock(leaving, account, i);
        }
        revert TaskNotLocked(account, taskId);
    }

    /// @inheritdoc IContributorRegistry
    function releaseEndedLocks(address account) external {
        _dropEndedLocks(_registered(account), account);
    }

    /// @inheritdoc IContributorRegistry
    function contributorOf(address account) external view returns (Contributor memory contributor) {
        Account storage stored = _accounts[account];
        if (!stored.registered) return contributor;
        (uint256 locks, uint256 lockedStake,) = _liveLocks(stored, account);
        contributor = Contributor({
            blsPublicKey: BLS12381.encode(_keys[stored.keyHash].point),
            superNodeKeyHash: stored.superNodeKeyHash,
            stake: stored.stake,
            lockedStake: lockedStake,
            exitRequestedAt: stored.exitRequestedAt,
            locks: uint32(locks),
            registered: true
        });
    }

    /// @inheritdoc IContributorRegistry
    function openTasksOf(address account) external view returns (uint256[] memory open) {
        uint256[] storage tasks = _accounts[account].openTasks;
        (uint256 locks,,) = _liveLocks(_accounts[account], account);
        open = new uint256[](locks);
        uint256 found = 0;
        for (uint256 i = 0; i < tasks.length; ++i) {
            if (_endedAt(tasks[i]) == 0) open[found++] = tasks[i];
        }
    }

    /// @inheritdoc IContributorRegistry
    function withdrawableAt(address account) external view returns (uint256) {
        Account storage stored = _accounts[account];
        if (stored.exitRequestedAt == 0) return 0;
        (,, uint64 lastEnd) = _liveLocks(stored, account);
        return Math.max(_withdrawableAt(stored), uint256(lastEnd) + exitCooldown);
    }

    /// @inheritdoc IContributorRegistry
    function popMessage(address account, bytes calldata blsPublicKey)
        external
        view
        returns (bytes32)
    {
        return _popMessage(account, keccak256(blsPublicKey));
    }

    /// @inheritdoc IContributorRegistry
    function keyOf(bytes32 keyHash) external view returns (BLS12381.G1 memory) {
        return _keys[keyHash].point;
    }

    /// @inheritdoc IContributorRegistry
    function sumWith(BLS12381.G1 memory sum, bytes32 keyHash)
        external
        view
        returns (BLS12381.G1 memory)
    {
        return BLS12381.add(sum, _keys[keyHash].point);
    }

    /// @inheritdoc IContributorRegistry
    function sumWithout(BLS12381.G1 memory sum, bytes32 keyHash)
        external
        view
        returns (BLS12381.G1 memory)
    {
        return BLS12381.add(sum, BLS12381.negate(_keys[keyHash].point));
    }

    /// @inheritdoc IContributorRegistry
    function isCosigned(
        BLS12381.G1 calldata sum,
        bytes calldata absentKeys,
        bytes32 message,
        bytes calldata signature
    ) external view returns (bool) {
        BLS12381.G1 memory key = absentKeys.length == 0 ? sum : BLS12381.subtract(sum, absentKeys);
        return BLS12381.verify(key, message, BLS12381.SIGNATURE_DST, signature);
    }

    /// @inheritdoc IContributorRegistry
    function keyOwner(bytes32 keyHash) external view returns (address) {
        return _keys[keyHash].owner;
    }

    /// @dev Checks a key of the caller and stores it. Keys are never deleted: a roster of the past keeps
    /// its keys, and no other account can take one over.
    function _acceptKey(bytes calldata blsPublicKey, bytes calldata proofOfPossession)
        private
        returns (bytes32 keyHash)
    {
        BLS12381.G1 memory point = BLS12381.decodeKey(blsPublicKey);
        keyHash = keccak256(blsPublicKey);
        address owner_ = _keys[keyHash].owner;
        if (owner_ != address(0) && owner_ != msg.sender) revert KeyTaken(keyHash, owner_);
        bytes32 message = _popMessage(msg.sender, keyHash);
        if (!BLS12381.verify(point, message, BLS12381.POSSESSION_DST, proofOfPossession)) {
            revert InvalidProofOfPossession(msg.sender, keyHash);
        }
        _keys[keyHash] = Key(point, msg.sender);
    }

    function _popMessage(address account, bytes32 keyHash) private view returns (bytes32) {
        return keccak256(abi.encode(POP_PURPOSE, block.chainid, address(this), account, keyHash));
    }

    function _registered(address account) private view returns (Account storage stored) {
        stored = _accounts[account];
        if (!stored.registered) revert NotRegistered(account);
    }

    /// @dev Registered, and not on the way out.
    function _staying(address account) private view returns (Account storage stored) {
        stored = _registered(account);
        if (stored.exitRequestedAt != 0) revert ExitIsRequested(account, stored.exitRequestedAt);
    }

    function _requireUnlocked(Account storage stored, address account) private {
        _dropEndedLocks(stored, account);
        uint256 locks = stored.openTasks.length;
        if (locks != 0) revert StakeIsLocked(account, locks);
    }

    function _endedAt(uint256 taskId) private view returns (uint64) {
        return ITaskLedger(taskLedger).endedAt(taskId);
    }

    function _dropEndedLocks(Account storage stored, address account) private {
        // Backwards, since dropping moves the last entry to the place of the dropped one.
        for (uint256 i = stored.openTasks.length; i > 0; --i) {
            uint64 ended = _endedAt(stored.openTasks[i - 1]);
            if (ended == 0) continue;
            if (ended > stored.lastTaskEndedAt) stored.lastTaskEndedAt = ended;
            _dropLock(stored, account, i - 1);
        }
    }

    function _dropLock(Account storage stored, address account, uint256 position) private {
        uint256[] storage tasks = stored.openTasks;
        uint256 taskId = tasks[position];
        tasks[position] = tasks[tasks.length - 1];
        tasks.pop();
        uint256 amount = _locked[account][taskId];
        delete _locked[account][taskId];
        stored.lockedStake -= amount;
        emit StakeUnlocked(account, taskId, amount);
    }

    /// @dev What `_dropEndedLocks` would leave, and the last end among what it would drop.
    function _liveLocks(Account storage stored, address account)
        private
        view
        returns (uint256 locks, uint256 lockedStake, uint64 lastEnd)
    {
        for (uint256 i = 0; i < stored.openTasks.length; ++i) {
            uint256 taskId = stored.openTasks[i];
            uint64 ended = _endedAt(taskId);
            if (ended == 0) {
                ++locks;
                lockedStake += _locked[account][taskId];
            } else if (ended > lastEnd) {
                lastEnd = ended;
            }
        }
    }

    function _withdrawableAt(Account storage stored) private view returns (uint256) {
        return Math.max(stored.exitRequestedAt, stored.lastTaskEndedAt) + exitCooldown;
    }
}
