// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../BLS12381.sol";
import {ICovalueToken} from "../interfaces/ICovalueToken.sol";
import {ITaskLedger} from "../interfaces/ITaskLedger.sol";
import {TaskStore} from "./TaskStore.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title From the vote to the frozen roster: open, bonds, join, leave, start
abstract contract TaskAdmission is TaskStore {
    uint256 internal constant MAX_ROSTER = 256;
    uint256 internal constant MAX_PARTS = 16;
    uint256 internal constant MIN_QUORUM_BPS = 6667;
    /// @dev No time limit lies further ahead, so that sums of times cannot overflow 64 bits.
    uint256 internal constant MAX_SPAN = 3650 days;

    /// @inheritdoc ITaskLedger
    function openTask(Terms calldata terms) external onlyOwner returns (uint256 taskId) {
        taskId = taskIdOf[terms.taskDigest];
        if (taskId != 0) revert TaskDigestUsed(terms.taskDigest, taskId);
        _checkTerms(terms);
        _checkParts(terms);
        taskId = ++taskCount;
        taskIdOf[terms.taskDigest] = taskId;
        _storeTerms(_terms[taskId], terms);
        Run storage run = _runs[taskId];
        run.state = State.Open;
        run.openedAt = uint64(block.timestamp);
        run.deadline = terms.deadline;
        emit TaskOpened(taskId, terms.taskDigest, terms.coordinator, terms.taskCid, terms.budget);
        distributor.reserve(taskId, uint96(terms.budget));
        ICovalueToken(address(token)).mint(address(distributor), terms.budget);
    }

    /// @inheritdoc ITaskLedger
    function postBond(uint256 taskId) external {
        Run storage run = _inState(taskId, State.Open);
        Terms storage terms = _terms[taskId];
        if (msg.sender != terms.coordinator) revert NotCoordinator(msg.sender, terms.coordinator);
        if (run.bondPosted) revert BondAlreadyPosted(taskId);
        run.bondPosted = true;
        emit BondPosted(taskId, msg.sender, terms.coordinatorBond);
        _takeFrom(msg.sender, terms.coordinatorBond);
    }

    /// @inheritdoc ITaskLedger
    function postPartBond(uint256 taskId, uint256 part) external {
        Run storage run = _inState(taskId, State.Open);
        Terms storage terms = _terms[taskId];
        _requireHolder(terms, part);
        if (run.parts[part].bonded) revert BondAlreadyPosted(taskId);
        run.parts[part].bonded = true;
        emit PartBondPosted(taskId, part, msg.sender, terms.partBond);
        _takeFrom(msg.sender, terms.partBond);
    }

    /// @inheritdoc ITaskLedger
    function join(uint256 taskId, bytes32[] calldata allowProof) external {
        Run storage run = _inState(taskId, State.Open);
        Terms storage terms = _terms[taskId];
        if (block.timestamp > terms.joinDeadline) {
            revert TooLate(block.timestamp, terms.joinDeadline);
        }
        if (run.place[msg.sender] != 0) revert AlreadyJoined(taskId, msg.sender);
        if (run.roster.length == terms.maxContributors) {
            revert RosterFull(taskId, terms.maxContributors);
        }
        if (terms.allowRoot != 0) {
            bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(msg.sender))));
            if (!MerkleProof.verifyCalldata(allowProof, terms.allowRoot, leaf)) {
                revert NotAllowed(msg.sender);
            }
        }
        bytes32 keyHash = registry.lock(msg.sender, taskId, terms.stake);
        run.roster.push(Member(msg.sender, keyHash));
        run.place[msg.sender] = run.roster.length;
        run.aggregateKey = registry.sumWith(run.aggregateKey, keyHash);
        emit Joined(taskId, msg.sender, keyHash);
    }

    /// @inheritdoc ITaskLedger
    function leave(uint256 taskId) external {
        Run storage run = _inState(taskId, State.Open);
        uint256 place = run.place[msg.sender];
        if (place == 0) revert NotJoined(taskId, msg.sender);
        bytes32 keyHash = run.roster[place - 1].keyHash;
        Member memory last = run.roster[run.roster.length - 1];
        run.roster[place - 1] = last;
        run.place[last.account] = place;
        run.roster.pop();
        delete run.place[msg.sender];
        run.aggregateKey = registry.sumWithout(run.aggregateKey, keyHash);
        emit Left(taskId, msg.sender);
        registry.unlock(msg.sender, taskId);
    }

    /// @inheritdoc ITaskLedger
    function start(uint256 taskId) external {
        Run storage run = _inState(taskId, State.Open);
        Terms storage terms = _terms[taskId];
        if (msg.sender != terms.coordinator) revert NotCoordinator(msg.sender, terms.coordinator);
        if (block.timestamp >= run.deadline) revert TooLate(block.timestamp, run.deadline);
        if (!run.bondPosted && terms.coordinatorBond != 0) revert BondMissing(taskId, msg.sender);
        if (terms.partBond != 0) {
            for (uint256 i = 0; i < terms.parts.length; ++i) {
                if (!run.parts[i].bonded) revert BondMissing(taskId, terms.parts[i].holder);
            }
        }
        uint256 size = run.roster.length;
        if (size < terms.minContributors) {
            revert RosterTooSmall(taskId, size, terms.minContributors);
        }
        run.state = State.Running;
        run.startedAt = uint64(block.timestamp);
        emit Started(taskId, size, BLS12381.encode(run.aggregateKey));
    }

    function _requireHolder(Terms storage terms, uint256 part) internal view {
        uint256 count = terms.parts.length;
        if (part >= count) revert UnknownPart(part, count);
        address holder = terms.parts[part].holder;
        if (msg.sender != holder) revert NotHolder(msg.sender, holder);
    }

    function _checkTerms(Terms calldata terms) private view {
        uint256 now_ = block.timestamp;
        uint256 furthest = now_ + MAX_SPAN;
        if (terms.taskDigest == 0) revert ZeroDigest();
        _requireCid(terms.taskCid);
        _within("coordinator", uint160(terms.coordinator), 1, type(uint160).max);
        _within("budget", terms.budget, 0, type(uint96).max);
        _within("rounds", terms.rounds, 1, type(uint32).max);
        _within("checkpointLength", terms.checkpointLength, 1, terms.rounds);
        _within("maxContributors", terms.maxContributors, 1, MAX_ROSTER);
        _within("minContributors", terms.minContributors, 1, terms.maxContributors);
        _within("quorumBps", terms.quorumBps, MIN_QUORUM_BPS, BPS);
        _within("joinDeadline", terms.joinDeadline, now_ + 1, furthest);
        _within("deadline", terms.deadline, uint256(terms.joinDeadline) + 1, furthest);
        // Until a stake can leave, there must be time to challenge and to vote.
        _within("challengeWindow", terms.challengeWindow, 1, registry.exitCooldown());
        // A free challenge could freeze a task for nothing.
        _within("challengeBond", terms.challengeBond, 1, type(uint256).max);
    }

    function _checkParts(Terms calldata terms) private pure {
        uint256 count = terms.parts.length;
        if (count == 0) return;
        _within("parts", count, 2, MAX_PARTS);
        _within("revealWindow", terms.revealWindow, 1, MAX_SPAN);
        for (uint256 i = 0; i < count; ++i) {
            Part calldata part = terms.parts[i];
            bool valid = part.holder != address(0) && part.holder != terms.coordinator
                && part.commitment != 0;
            for (uint256 j = 0; j < i; ++j) {
                valid = valid && part.holder != terms.parts[j].holder;
            }
            if (!valid) revert InvalidPart(i, part.holder, part.commitment);
        }
    }

    function _within(string memory field, uint256 given, uint256 minimum, uint256 maximum)
        private
        pure
    {
        if (given < minimum || given > maximum) {
            revert InvalidTerms(field, given, minimum, maximum);
        }
    }

    /// @dev Field by field, since the compiler copies no array of structs from calldata to storage.
    function _storeTerms(Terms storage stored, Terms calldata terms) private {
        stored.taskDigest = terms.taskDigest;
        stored.taskCid = terms.taskCid;
        stored.coordinator = terms.coordinator;
        stored.coordinatorBond = terms.coordinatorBond;
        stored.budget = terms.budget;
        stored.stake = terms.stake;
        stored.partBond = terms.partBond;
        stored.rounds = terms.rounds;
        stored.checkpointLength = terms.checkpointLength;
        stored.minContributors = terms.minContributors;
        stored.maxContributors = terms.maxContributors;
        stored.quorumBps = terms.quorumBps;
        stored.joinDeadline = terms.joinDeadline;
        stored.deadline = terms.deadline;
        stored.revealWindow = terms.revealWindow;
        stored.challengeWindow = terms.challengeWindow;
        stored.challengeBond = terms.challengeBond;
        stored.allowRoot = terms.allowRoot;
        for (uint256 i = 0; i < terms.parts.length; ++i) {
            stored.parts.push(terms.parts[i]);
        }
    }
}
