// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DeployerLink} from "./DeployerLink.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";
import {IRevenueShare} from "./interfaces/IRevenueShare.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {ITaskTypes} from "./interfaces/ITaskTypes.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @title Released models; documented in IModelRegistry
contract ModelRegistry is IModelRegistry, Ownable, DeployerLink {
    ITaskLedger public immutable taskLedger;

    /// @inheritdoc IModelRegistry
    address public guardian;
    /// @inheritdoc IModelRegistry
    address public revenueShare;
    /// @inheritdoc IModelRegistry
    uint256 public releaseCount;
    mapping(uint256 releaseNumber => Release) private _releases;

    /// @param taskLedger_ where the tasks are finalised
    /// @param owner_ the timelock
    /// @param guardian_ may suspend; zero for none
    /// @param deployer_ who names the RevenueShare, once
    constructor(ITaskLedger taskLedger_, address owner_, address guardian_, address deployer_)
        Ownable(owner_)
        DeployerLink(deployer_)
    {
        taskLedger = taskLedger_;
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IModelRegistry
    function setRevenueShare(address revenueShare_) external {
        _spendLink(revenueShare_);
        revenueShare = revenueShare_;
        emit RevenueShareSet(revenueShare_);
    }

    /// @inheritdoc IModelRegistry
    function release(uint256 taskId, uint256 releaseNumber) external onlyOwner {
        if (releaseNumber != releaseCount + 1) {
            revert UnexpectedReleaseNumber(releaseNumber, releaseCount + 1);
        }
        ITaskTypes.Task memory task = taskLedger.taskOf(taskId);
        if (task.state != ITaskTypes.State.Finalised) revert TaskNotFinalised(taskId);
        ITaskTypes.FinalReport memory report = taskLedger.finalOf(taskId);
        if (report.shareRoot == 0) revert NobodyToPay(taskId);
        releaseCount = releaseNumber;
        _releases[releaseNumber] = Release({
            number: releaseNumber,
            taskId: taskId,
            modelDigest: task.modelDigest,
            shareRoot: report.shareRoot,
            epsilonMicro: report.epsilonMicro,
            releasedAt: uint64(block.timestamp),
            status: Status.Released
        });
        emit Released(releaseNumber, taskId, task.modelDigest, report.shareRoot);
        // What was paid until now belongs to the release that ends here.
        if (revenueShare != address(0)) IRevenueShare(revenueShare).sync();
    }

    /// @inheritdoc IModelRegistry
    function revoke(uint256 releaseNumber) external onlyOwner {
        Release storage stored = _releases[releaseNumber];
        if (stored.status != Status.Released && stored.status != Status.Suspended) {
            revert UnexpectedStatus(releaseNumber, stored.status);
        }
        stored.status = Status.Revoked;
        emit Revoked(releaseNumber);
    }

    /// @inheritdoc IModelRegistry
    function suspend(uint256 releaseNumber) external {
        if (msg.sender != owner() && msg.sender != guardian) {
            revert NotGuardianNorOwner(msg.sender);
        }
        _change(releaseNumber, Status.Released, Status.Suspended);
        emit Suspended(releaseNumber, msg.sender);
    }

    /// @inheritdoc IModelRegistry
    function unsuspend(uint256 releaseNumber) external onlyOwner {
        _change(releaseNumber, Status.Suspended, Status.Released);
        emit Unsuspended(releaseNumber);
    }

    /// @inheritdoc IModelRegistry
    function setGuardian(address guardian_) external onlyOwner {
        guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IModelRegistry
    function current() external view returns (Release memory) {
        return _releases[releaseCount];
    }

    /// @inheritdoc IModelRegistry
    function releaseOf(uint256 releaseNumber) external view returns (Release memory) {
        return _releases[releaseNumber];
    }

    function _change(uint256 releaseNumber, Status from, Status to) private {
        Release storage stored = _releases[releaseNumber];
        if (stored.status != from) revert UnexpectedStatus(releaseNumber, stored.status);
        stored.status = to;
    }
}
