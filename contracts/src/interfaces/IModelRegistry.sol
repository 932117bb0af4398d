// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Released models
/// @notice A release is made by vote (the timelock is the owner) from a finalised task: its digest and
/// its share root are read from the TaskLedger, so that a proposal names only task and number. The
/// current release is always the one with the highest number; if it is suspended or revoked, nothing
/// may be served until it is unsuspended or another release is made.
interface IModelRegistry {
    /// @notice Revoked is for good; what is suspended may be released again by vote.
    enum Status {
        None,
        Released,
        Suspended,
        Revoked
    }

    /// @param number from 1, contiguous
    /// @param taskId finalised task that the model comes from
    /// @param modelDigest digest of the last training model
    /// @param shareRoot Merkle root of the contributors' shares, for RevenueShare
    /// @param epsilonMicro privacy cost of the task, in millionths
    /// @param releasedAt timestamp
    struct Release {
        uint256 number;
        uint256 taskId;
        bytes32 modelDigest;
        bytes32 shareRoot;
        uint64 epsilonMicro;
        uint64 releasedAt;
        Status status;
    }

    /// @notice The RevenueShare was named, for good.
    event RevenueShareSet(address indexed revenueShare);
    /// @notice Who may suspend from now on; zero for nobody.
    event GuardianSet(address indexed guardian);
    /// @notice A vote released the last model of a finalised task.
    event Released(
        uint256 indexed releaseNumber,
        uint256 indexed taskId,
        bytes32 modelDigest,
        bytes32 shareRoot
    );
    /// @notice The guardian or a vote stopped a release.
    event Suspended(uint256 indexed releaseNumber, address indexed by);
    /// @notice A vote ended a suspension.
    event Unsuspended(uint256 indexed releaseNumber);
    /// @notice A vote took a release back for good.
    event Revoked(uint256 indexed releaseNumber);

    /// @notice A proposal names the number that it was written for; another came first.
    error UnexpectedReleaseNumber(uint256 given, uint256 expected);
    /// @notice Only a finalised task has a model to release.
    error TaskNotFinalised(uint256 taskId);
    /// @notice The task's share root is zero: nobody could claim the contributors' part of the revenue.
    error NobodyToPay(uint256 taskId);
    /// @notice The release is not in the state that this change starts from.
    error UnexpectedStatus(uint256 releaseNumber, Status status);
    /// @notice Only the guardian and the timelock suspend.
    error NotGuardianNorOwner(address caller);

    /// @notice Names the RevenueShare, which is told of each release. Once, by the deployer.
    function setRevenueShare(address revenueShare_) external;

    /// @notice Releases the model of a finalised task. Only the timelock.
    /// @param releaseNumber must be releaseCount() + 1, so that one vote cannot be executed for another
    function release(uint256 taskId, uint256 releaseNumber) external;

    /// @notice Takes a release back for good. Only the timelock.
    function revoke(uint256 releaseNumber) external;

    /// @notice Stops a release until the next vote. The guardian or the timelock.
    function suspend(uint256 releaseNumber) external;

    /// @notice Ends a suspension. Only the timelock.
    function unsuspend(uint256 releaseNumber) external;

    /// @notice Names the guardian, who may only suspend; zero removes it. Only the timelock.
    function setGuardian(address guardian_) external;

    /// @notice Who may suspend besides the timelock; zero for nobody.
    function guardian() external view returns (address);

    /// @notice Who is told of each release; zero until it is set.
    function revenueShare() external view returns (address);

    /// @notice The release with the highest number, whatever its status; all zero before the first.
    function current() external view returns (Release memory);

    /// @notice A release by number; all zero (Status.None) if there is none.
    function releaseOf(uint256 releaseNumber) external view returns (Release memory);

    /// @notice How many releases there were; also the number of the current one.
    function releaseCount() external view returns (uint256);
}
