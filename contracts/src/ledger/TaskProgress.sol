// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {RESERVED_ROOT} from "../interfaces/IRewardDistributor.sol";
import {ITaskLedger} from "../interfaces/ITaskLedger.sol";
import {TaskAdmission} from "./TaskAdmission.sol";

/// @title From the first checkpoint to the payout: commit, reveal, close, finalise
abstract contract TaskProgress is TaskAdmission {
    /// @inheritdoc ITaskLedger
    function commitCheckpoint(
        uint256 taskId,
        Checkpoint calldata checkpoint,
        uint256 signers,
        bytes calldata absentKeys,
        bytes calldata signature
    ) external {
        Run storage run = _inState(taskId, State.Running);
        _requireUnfrozen(taskId, run);
        _requireNext(taskId, run, checkpoint);
        bytes32 message = checkpointMessage(taskId, checkpoint);
        _requireCosigned(taskId, signers, absentKeys, message, signature);
        run.checkpoints[run.checkpointCount++] =
            Committed(checkpoint.recordsRoot, checkpoint.modelDigest);
        emit CheckpointCommitted(
            taskId,
            checkpoint.index,
            checkpoint.firstRound,
            checkpoint.lastRound,
            checkpoint.recordsRoot,
            checkpoint.modelDigest,
            signers
        );
        if (checkpoint.lastRound == _terms[taskId].rounds) {
            run.state = State.Revealing;
            run.revealDeadline = uint64(block.timestamp) + _terms[taskId].revealWindow;
            emit RevealStarted(taskId, run.revealDeadline);
        }
    }

    /// @inheritdoc ITaskLedger
    function openPart(
        uint256 taskId,
        uint256 part,
        bytes32 salt,
        bytes32 partDigest,
        string calldata partCid
    ) external {
        Run storage run = _inState(taskId, State.Revealing);
        Terms storage terms = _terms[taskId];
        _requireUnfrozen(taskId, run);
        _requireHolder(terms, part);
        if (block.timestamp > run.revealDeadline) {
            revert TooLate(block.timestamp, run.revealDeadline);
        }
        PartRecord storage record = run.parts[part];
        if (record.opened) revert PartAlreadyOpened(part);
        _requireCid(partCid);
        bytes32 given = sha256(abi.encodePacked("covalue.part.v1", salt, partDigest));
        bytes32 committed = terms.parts[part].commitment;
        if (given != committed) revert CommitmentMismatch(part, given, committed);
        record.opened = true;
        record.partDigest = partDigest;
        record.partCid = partCid;
        ++run.partsOpened;
        emit PartOpened(taskId, part, salt, partDigest, partCid);
        _payTo(msg.sender, _releasePartBond(taskId, record));
    }

    /// @inheritdoc ITaskLedger
    function close(
        uint256 taskId,
        FinalReport calldata report,
        uint256 signers,
        bytes calldata absentKeys,
        bytes calldata signature
    ) external {
        Run storage run = _inState(taskId, State.Revealing);
        Terms storage terms = _terms[taskId];
        _requireUnfrozen(taskId, run);
        if (run.partsOpened < terms.parts.length && block.timestamp <= run.revealDeadline) {
            revert TooEarly(block.timestamp, run.revealDeadline);
        }
        if (report.payoutTotal > terms.budget) {
            revert BudgetExceeded(report.payoutTotal, terms.budget);
        }
        if (report.scoreDigest == 0 || (report.payoutTotal != 0 && report.payoutRoot == 0)) {
            revert ZeroDigest();
        }
        // Refused here, where the roster can still sign another: later it would hold up the end.
        if (report.payoutRoot == RESERVED_ROOT) revert ReservedRoot();
        _requireCid(report.scoreCid);
        _requireCosigned(taskId, signers, absentKeys, finalMessage(taskId, report), signature);
        run.state = State.Closed;
        run.report = report;
        run.challengeDeadline = uint64(block.timestamp) + terms.challengeWindow;
        emit Closed(taskId, report, signers, run.challengeDeadline);
        _burnPartBonds(taskId, run, terms.parts.length);
    }

    /// @inheritdoc ITaskLedger
    function finalise(uint256 taskId) external {
        Run storage run = _inState(taskId, State.Closed);
        Terms storage terms = _terms[taskId];
        _requireUnfrozen(taskId, run);
        if (block.timestamp <= run.challengeDeadline) {
            revert TooEarly(block.timestamp, run.challengeDeadline);
        }
        run.state = State.Finalised;
        run.endedAt = uint64(block.timestamp);
        uint256 paid = run.report.payoutTotal;
        uint256 unpaid = terms.budget - paid;
        emit Finalised(taskId, paid, unpaid);
        _payTo(terms.coordinator, _releaseBond(taskId, run));
        // At most the budget, which fits.
        distributor.fund(taskId, run.report.payoutRoot, uint96(paid));
    }

    /// @dev The next stretch is determined by the terms; only its digests are the caller's.
    function _requireNext(uint256 taskId, Run storage run, Checkpoint calldata checkpoint)
        private
        view
    {
        uint256 count = run.checkpointCount;
        if (checkpoint.index != count) revert UnexpectedIndex(checkpoint.index, count);
        (uint256 first, uint256 last) = _roundsOf(_terms[taskId], count);
        if (checkpoint.firstRound != first || checkpoint.lastRound != last) {
            revert UnexpectedRounds(checkpoint.firstRound, checkpoint.lastRound, first, last);
        }
        if (checkpoint.recordsRoot == 0 || checkpoint.modelDigest == 0) revert ZeroDigest();
    }

    function _burnPartBonds(uint256 taskId, Run storage run, uint256 count) private {
        uint256 burned = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 amount = _releasePartBond(taskId, run.parts[i]);
            if (amount == 0) continue;
            burned += amount;
            emit PartBondBurned(taskId, i, amount);
        }
        _burn(burned);
    }
}
