// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ITaskLedger} from "../interfaces/ITaskLedger.sol";
import {TaskProgress} from "./TaskProgress.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What may go wrong with a task: challenge, equivocation, abort
abstract contract TaskDisputes is TaskProgress {
    /// @inheritdoc ITaskLedger
    function challenge(uint256 taskId, bytes32 evidenceDigest, string calldata evidenceCid)
        external
    {
        Run storage run = _runs[taskId];
        State state = run.state;
        if (state != State.Running && state != State.Revealing && state != State.Closed) {
            revert WrongState(taskId, state);
        }
        if (state == State.Closed && block.timestamp > run.challengeDeadline) {
            revert TooLate(block.timestamp, run.challengeDeadline);
        }
        _requireUnfrozen(taskId, run);
        _requireCid(evidenceCid);
        run.challenge = Challenge(msg.sender, uint64(block.timestamp), evidenceDigest);
        emit Challenged(taskId, msg.sender, evidenceDigest, evidenceCid);
        _takeFrom(msg.sender, _terms[taskId].challengeBond);
    }

    /// @inheritdoc ITaskLedger
    function resolve(uint256 taskId, bool upheld) external onlyOwner {
        Run storage run = _runs[taskId];
        address challenger = run.challenge.challenger;
        if (challenger == address(0)) revert NoChallenge(taskId);
        uint64 frozenSeconds = uint64(block.timestamp) - run.challenge.openedAt;
        emit ChallengeResolved(taskId, upheld, frozenSeconds);
        if (upheld) {
            _slashBond(taskId, run, challenger);
            _abort(taskId, run);
        } else {
            delete run.challenge;
            _extendLimits(run, frozenSeconds);
            uint256 bond = _terms[taskId].challengeBond;
            uint256 perMember = bond / run.roster.length;
            run.owedPerMember += perMember;
            _burn(bond - perMember * run.roster.length);
        }
    }

    /// @inheritdoc ITaskLedger
    function proveEquivocation(
        uint256 taskId,
        uint256 round,
        bytes32 digestA,
        bytes calldata signatureA,
        bytes32 digestB,
        bytes calldata signatureB
    ) external {
        Run storage run = _runs[taskId];
        _requireNotEnded(taskId, run);
        if (digestA == digestB) revert NoEquivocation();
        _requireSigned(taskId, round, digestA, signatureA);
        _requireSigned(taskId, round, digestB, signatureB);
        emit EquivocationProven(taskId, round, msg.sender, digestA, digestB);
        _slashBond(taskId, run, msg.sender);
        _abort(taskId, run);
    }

    /// @inheritdoc ITaskLedger
    function abort(uint256 taskId) external {
        Run storage run = _runs[taskId];
        _requireNotEnded(taskId, run);
        uint256 limit = run.deadline;
        if (run.challenge.challenger != address(0)) {
            limit = Math.max(limit, uint256(run.challenge.openedAt) + challengeTimeout);
        } else if (run.state == State.Closed) {
            // What is closed and undisputed is earned: it can only be finalised.
            revert WrongState(taskId, State.Closed);
        }
        if (block.timestamp < limit) revert TooEarly(block.timestamp, limit);
        _payTo(_terms[taskId].coordinator, _releaseBond(taskId, run));
        _abort(taskId, run);
    }

    /// @inheritdoc ITaskLedger
    function withdrawOwed(uint256 taskId) external {
        uint256 amount = owedOf(taskId, msg.sender);
        if (amount == 0) revert NothingOwed(taskId, msg.sender);
        _runs[taskId].owedPaid[msg.sender] += amount;
        emit OwedWithdrawn(taskId, msg.sender, amount);
        _payTo(msg.sender, amount);
    }

    /// @inheritdoc ITaskLedger
    function owedOf(uint256 taskId, address account) public view returns (uint256) {
        Run storage run = _runs[taskId];
        return run.place[account] == 0 ? 0 : run.owedPerMember - run.owedPaid[account];
    }

    function _requireNotEnded(uint256 taskId, Run storage run) private view {
        State state = run.state;
        if (state == State.None || state == State.Finalised || state == State.Aborted) {
            revert WrongState(taskId, state);
        }
    }

    function _requireSigned(uint256 taskId, uint256 round, bytes32 digest, bytes calldata signature)
        private
        view
    {
        address coordinator = _terms[taskId].coordinator;
        address signer = ECDSA.recover(roundRecordDigest(taskId, round, digest), signature);
        if (signer != coordinator) revert NotCoordinator(signer, coordinator);
    }

    function _extendLimits(Run storage run, uint64 frozenSeconds) private {
        run.deadline += frozenSeconds;
        if (run.state == State.Revealing) run.revealDeadline += frozenSeconds;
        if (run.state == State.Closed) run.challengeDeadline += frozenSeconds;
    }

    /// @dev Half of the coordinator's bond to `beneficiary`, the rest burned.
    function _slashBond(uint256 taskId, Run storage run, address beneficiary) private {
        uint256 bond = _releaseBond(taskId, run);
        uint256 reward = bond / 2;
        emit BondSlashed(taskId, beneficiary, reward, bond - reward);
        _payTo(beneficiary, reward);
        _burn(bond - reward);
    }

    /// @dev Ends the task: returns an open challenge's bond and the parts' bonds, burns the budget.
    function _abort(uint256 taskId, Run storage run) private {
        Terms storage terms = _terms[taskId];
        address challenger = run.challenge.challenger;
        emit Aborted(taskId, msg.sender, run.state);
        run.state = State.Aborted;
        run.endedAt = uint64(block.timestamp);
        delete run.challenge;
        if (challenger != address(0)) _payTo(challenger, terms.challengeBond);
        for (uint256 i = 0; i < terms.parts.length; ++i) {
            _payTo(terms.parts[i].holder, _releasePartBond(taskId, run.parts[i]));
        }
        distributor.fund(taskId, 0, 0);
    }
}
