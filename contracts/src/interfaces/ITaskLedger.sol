// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ITaskTypes} from "./ITaskTypes.sol";

/// @title Tasks from the vote to the payout
/// @notice A task is opened by vote, joined by contributors with stake, started by its coordinator, moved
/// on by checkpoints that its roster co-signed, revealed, closed, and finalised after a challenge window.
///
/// None -> Open -> Running -> Revealing -> Closed -> Finalised, and from any of the middle four to Aborted.
///
/// Signatures are BLS12-381 with keys in G1
/// (proof-of-possession ciphersuite) over the keccak256 digests that `checkpointMessage` and
/// `finalMessage` give; the coordinator's round records are signed by EIP-712 (`roundRecordDigest`).
/// The coordinator must be a key account, since a contract could deny its signature later.
interface ITaskLedger is ITaskTypes {
    /// @notice Opens a task and mints its budget. Only the timelock. A digest can be opened once.
    /// @return taskId counted from 1
    function openTask(Terms calldata terms) external returns (uint256 taskId);

    /// @notice Takes the coordinator's bond. Before the start, by the coordinator.
    function postBond(uint256 taskId) external;

    /// @notice Takes a part's bond. Before the start, by the part's holder.
    function postPartBond(uint256 taskId, uint256 part) external;

    /// @notice Joins the caller, locking the terms' stake in the ContributorRegistry.
    /// @param allowProof proof of the leaf keccak256(bytes.concat(keccak256(abi.encode(account)))) under
    /// the terms' allowRoot; empty where that is zero
    function join(uint256 taskId, bytes32[] calldata allowProof) external;

    /// @notice Takes the caller out again before the start. The last of the roster takes its place.
    function leave(uint256 taskId) external;

    /// @notice Freezes roster and aggregate key. By the coordinator, once all bonds are posted.
    function start(uint256 taskId) external;

    /// @notice Commits the next stretch of rounds, co-signed by a quorum. Anyone may send it.
    /// @param signers bit i stands for rosterOf(taskId)[i]
    /// @param absentKeys keys of those who did not sign, 128 bytes each, in the order of the roster
    /// (`rosterKeys` has them); empty when all signed
    /// @param signature aggregate of their signatures over `checkpointMessage`, G2, 256 bytes
    function commitCheckpoint(
        uint256 taskId,
        Checkpoint calldata checkpoint,
        uint256 signers,
        bytes calldata absentKeys,
        bytes calldata signature
    ) external;

    /// @notice Publishes a sealed part and returns its bond. By its holder, in the reveal window.
    function openPart(
        uint256 taskId,
        uint256 part,
        bytes32 salt,
        bytes32 partDigest,
        string calldata partCid
    ) external;

    /// @notice Commits the result, co-signed by a quorum, when all parts are open or the reveal window
    /// is over. Bonds of unopened parts are burned. Anyone may send it. The last three arguments are those
    /// of `commitCheckpoint`, for `finalMessage`.
    function close(
        uint256 taskId,
        FinalReport calldata report,
        uint256 signers,
        bytes calldata absentKeys,
        bytes calldata signature
    ) external;

    /// @notice Freezes the task until the vote has resolved the challenge; takes the challenge bond.
    function challenge(uint256 taskId, bytes32 evidenceDigest, string calldata evidenceCid) external;

    /// @notice Decides a challenge. Only the timelock. Upheld: the task is aborted, the challenger has its
    /// bond back and half of the coordinator's, the other half is burned. Rejected: the bond goes to the
    /// roster in equal parts and every time limit moves by the time frozen.
    function resolve(uint256 taskId, bool upheld) external;

    /// @notice Proves that the coordinator signed two records for one round. The task is aborted; half
    /// of the bond goes to the caller, half is burned. Anyone, until the task has ended.
    function proveEquivocation(
        uint256 taskId,
        uint256 round,
        bytes32 digestA,
        bytes calldata signatureA,
        bytes32 digestB,
        bytes calldata signatureB
    ) external;

    /// @notice Ends a task that did not close before its deadline. Anyone. Bonds go back, the budget is
    /// burned. A closed task can only be aborted when its challenge was left undecided. An open
    /// challenge puts the abort off until `challengeTimeout` after it began; its bond then goes back.
    function abort(uint256 taskId) external;

    /// @notice Ends a closed task after its challenge window: funds the payouts, burns the rest of the
    /// budget, returns the coordinator's bond. Anyone.
    function finalise(uint256 taskId) external;

    /// @notice Pays the caller its part of the bonds that rejected challengers of a task lost.
    function withdrawOwed(uint256 taskId) external;

    /// @notice Where a task stands; State.None and zeros for an id that was never opened.
    function taskOf(uint256 taskId) external view returns (Task memory);

    /// @notice What the vote approved; all zero for an id that was never opened.
    function termsOf(uint256 taskId) external view returns (Terms memory);

    /// @notice A sealed part, counted from 0; reverts with UnknownPart.
    function partOf(uint256 taskId, uint256 part) external view returns (PartStatus memory);

    /// @notice The accounts of the roster in the order of the signers' bits; frozen by `start`.
    function rosterOf(uint256 taskId) external view returns (address[] memory);

    /// @notice The roster's keys in the same order, 128 bytes each.
    function rosterKeys(uint256 taskId) external view returns (bytes[] memory);

    /// @notice Place of an account in the roster; reverts with NotJoined.
    function rosterIndexOf(uint256 taskId, address account) external view returns (uint256);

    /// @notice Whether an account is in the roster.
    function isJoined(uint256 taskId, address account) external view returns (bool);

    /// @notice Sum of the roster's keys, 128 bytes.
    function aggregateKeyOf(uint256 taskId) external view returns (bytes memory);

    /// @notice A committed checkpoint, counted from 0; reverts with UnexpectedIndex. Who signed it and when
    /// stands in its event, CheckpointCommitted.
    function checkpointOf(uint256 taskId, uint256 index) external view returns (Checkpoint memory);

    /// @notice The result of a closed task; all zero before.
    function finalOf(uint256 taskId) external view returns (FinalReport memory);

    /// @notice The open challenge; all zero where there is none.
    function challengeOf(uint256 taskId) external view returns (Challenge memory);

    /// @notice What `withdrawOwed` would pay an account, in wei.
    function owedOf(uint256 taskId, address account) external view returns (uint256);

    /// @notice Timestamp at which a task ended; 0 while it can still lock stake.
    function endedAt(uint256 taskId) external view returns (uint64);

    /// @notice The task of a digest; 0 if it was never opened.
    function taskIdOf(bytes32 taskDigest) external view returns (uint256);

    /// @notice Number of tasks ever opened; also the last id.
    function taskCount() external view returns (uint256);

    /// @notice The message that the roster signs for a checkpoint.
    function checkpointMessage(uint256 taskId, Checkpoint calldata checkpoint)
        external
        view
        returns (bytes32);

    /// @notice The message that the roster signs for the result.
    function finalMessage(uint256 taskId, FinalReport calldata report)
        external
        view
        returns (bytes32);

    /// @notice The EIP-712 digest that the coordinator signs for a round record.
    function roundRecordDigest(uint256 taskId, uint256 round, bytes32 digest)
        external
        view
        returns (bytes32);

    /// @notice Seconds that the vote has for a challenge before an overdue task can be aborted.
    function challengeTimeout() external view returns (uint64);
}
