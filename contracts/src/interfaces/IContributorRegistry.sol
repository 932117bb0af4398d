// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../BLS12381.sol";

/// @title Contributors, their keys and their stakes
/// @notice A BLS key is accepted with a proof of possession over key, account, chain id and this
/// registry; it belongs to that account for good, so that no key can stand in a roster twice.
/// Stake is COVAL. A joined task locks part of it until the task has ended; locks of ended tasks are
/// dropped when they are next looked at, so that ending a task costs the same for any roster.
interface IContributorRegistry {
    /// @param blsPublicKey G1 point, 128 bytes as in EIP-2537
    /// @param superNodeKeyHash digest of the public key by which the Flower SuperNode is known
    /// @param stake COVAL held for the contributor, in wei
    /// @param lockedStake the part of it that open tasks lock, in wei
    /// @param exitRequestedAt timestamp of the exit request, 0 where there is none
    /// @param locks number of open tasks that lock stake
    struct Contributor {
        bytes blsPublicKey;
        bytes32 superNodeKeyHash;
        uint256 stake;
        uint256 lockedStake;
        uint64 exitRequestedAt;
        uint32 locks;
        bool registered;
    }

    /// @notice The TaskLedger was named, for good.
    event TaskLedgerSet(address indexed taskLedger);
    /// @notice An account joined with its first keys.
    event Registered(
        address indexed account,
        bytes32 indexed keyHash,
        bytes blsPublicKey,
        bytes32 superNodeKeyHash
    );
    /// @notice An account replaced its keys; the old BLS key stays its own.
    event KeysRotated(
        address indexed account,
        bytes32 indexed keyHash,
        bytes blsPublicKey,
        bytes32 superNodeKeyHash
    );
    /// @notice `amount` wei came in; `stake` is what the account has now.
    event StakeAdded(address indexed account, uint256 amount, uint256 stake);
    /// @notice A joined task holds `amount` wei of the stake.
    event StakeLocked(address indexed account, uint256 indexed taskId, uint256 amount);
    /// @notice A task that ended, or was left before its start, gave `amount` wei free.
    event StakeUnlocked(address indexed account, uint256 indexed taskId, uint256 amount);
    /// @notice The cooldown began; no task can be joined from now on.
    event ExitRequested(address indexed account, uint64 requestedAt);
    /// @notice The account left with `amount` wei.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice `amount` wei of stake were burned by vote, on evidence that the store holds.
    event Slashed(
        address indexed account, uint256 amount, bytes32 indexed evidenceDigest, string evidenceCid
    );

    /// @notice The account has keys and a stake; `rotateKeys` and `addStake` change them.
    error AlreadyRegistered(address account);
    /// @notice The account has no keys here, or has withdrawn.
    error NotRegistered(address account);
    /// @notice The key belongs to another account, or did once.
    error KeyTaken(bytes32 keyHash, address owner);
    /// @notice The proof of possession does not fit key, account, chain and registry.
    error InvalidProofOfPossession(address account, bytes32 keyHash);
    /// @notice Less than the least stake of a contributor, in wei.
    error StakeTooLow(uint256 stake, uint256 minimum);
    /// @notice Stake that no open task locks, against what the task asks for, in wei.
    error FreeStakeTooLow(address account, uint256 free, uint256 needed);
    /// @notice The stake is locked by `locks` open tasks.
    error StakeIsLocked(address account, uint256 locks);
    /// @notice The account is in as many open tasks as one account may be.
    error TooManyLocks(address account, uint256 maximum);
    /// @notice Who is on the way out neither joins, adds stake nor changes keys.
    error ExitIsRequested(address account, uint64 requestedAt);
    /// @notice A withdrawal needs `requestExit` and the cooldown first.
    error ExitNotRequested(address account);
    /// @notice The cooldown runs until `availableAt`.
    error CooldownRunning(uint256 availableAt, uint256 now_);
    /// @notice Only the TaskLedger may call this.
    error NotTaskLedger(address caller, address taskLedger);
    /// @notice The task holds no lock of this account.
    error TaskNotLocked(address account, uint256 taskId);

    /// @notice Names the TaskLedger. Once, by the deployer, who has no power afterwards.
    function setTaskLedger(address taskLedger_) external;

    /// @notice Registers the caller and takes `stake` wei of COVAL (approve it before).
    /// @param blsPublicKey G1 point, 128 bytes; not infinity, in the subgroup, used by no other account
    /// @param proofOfPossession G2 point, 256 bytes: signature over `popMessage`
    function register(
        bytes calldata blsPublicKey,
        bytes calldata proofOfPossession,
        bytes32 superNodeKeyHash,
        uint256 stake
    ) external;

    /// @notice Adds `amount` wei to the caller's stake.
    function addStake(uint256 amount) external;

    /// @notice Replaces the caller's keys. Not while a task holds a lock, since a roster is frozen.
    function rotateKeys(
        bytes calldata blsPublicKey,
        bytes calldata proofOfPossession,
        bytes32 superNodeKeyHash
    ) external;

    /// @notice Asks to leave: no task can be joined afterwards, and the cooldown begins.
    function requestExit() external;

    /// @notice Pays the stake back. The cooldown must have passed since the exit request and since the
    /// end of the last task that held a lock, and no lock may be left.
    function withdraw() external;

    /// @notice Burns up to `amount` wei of an account's stake, locked or not. Only the timelock.
    function slash(
        address account,
        uint256 amount,
        bytes32 evidenceDigest,
        string calldata evidenceCid
    ) external;

    /// @notice Locks `amount` wei for a task and returns the account's key. Only the TaskLedger.
    function lock(address account, uint256 taskId, uint256 amount)
        external
        returns (bytes32 keyHash);

    /// @notice Gives a lock back before the task starts. Only the TaskLedger.
    function unlock(address account, uint256 taskId) external;

    /// @notice Drops the locks of an account's ended tasks. Anyone may call; others do it on their way.
    function releaseEndedLocks(address account) external;

    /// @notice What stands for an account; locks of ended tasks are not counted.
    function contributorOf(address account) external view returns (Contributor memory);

    /// @notice Ids of the open tasks that lock stake of an account.
    function openTasksOf(address account) external view returns (uint256[] memory);

    /// @notice Timestamp from which `withdraw` works if nothing is joined; 0 without an exit request.
    function withdrawableAt(address account) external view returns (uint256);

    /// @notice The message that a proof of possession signs.
    function popMessage(address account, bytes calldata blsPublicKey)
        external
        view
        returns (bytes32);

    /// @notice A key that was ever registered, by keccak256 of its 128 bytes.
    function keyOf(bytes32 keyHash) external view returns (BLS12381.G1 memory);

    /// @notice A sum of keys with one more, or one less. The point at infinity is the empty sum.
    function sumWith(BLS12381.G1 memory sum, bytes32 keyHash)
        external
        view
        returns (BLS12381.G1 memory);

    /// @notice The sum with one key taken out. Does not check that the key was part of it.
    function sumWithout(BLS12381.G1 memory sum, bytes32 keyHash)
        external
        view
        returns (BLS12381.G1 memory);

    /// @notice Whether all whose keys make up `sum`, less those of `absentKeys`, signed `message`. That the
    /// absent keys are part of the sum is for the caller to know.
    /// @param absentKeys G1 points, 128 bytes each
    /// @param signature aggregate signature, G2, 256 bytes
    function isCosigned(
        BLS12381.G1 calldata sum,
        bytes calldata absentKeys,
        bytes32 message,
        bytes calldata signature
    ) external view returns (bool);

    /// @notice The account to which a key belongs for good; zero if it was never registered.
    function keyOwner(bytes32 keyHash) external view returns (address);

    /// @notice The least stake of a contributor, in wei.
    function minStake() external view returns (uint256);

    /// @notice Seconds between the exit request and the withdrawal.
    function exitCooldown() external view returns (uint64);

    /// @notice The contract whose tasks lock stake; zero until it is set.
    function taskLedger() external view returns (address);
}
