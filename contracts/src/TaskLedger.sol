// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "./BLS12381.sol";
import {IContributorRegistry} from "./interfaces/IContributorRegistry.sol";
import {IRewardDistributor} from "./interfaces/IRewardDistributor.sol";
import {ITaskLedger} from "./interfaces/ITaskLedger.sol";
import {TaskDisputes} from "./ledger/TaskDisputes.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Tasks from the vote to the payout; documented in ITaskLedger
contract TaskLedger is TaskDisputes {
    /// @param token_ COVAL, of which this contract is the minter
    /// @param registry_ holds keys and stakes
    /// @param distributor_ pays what finalised tasks fund
    /// @param owner_ the timelock
    /// @param challengeTimeout_ seconds that the vote has for a challenge; at least vote + timelock
    constructor(
        IERC20 token_,
        IContributorRegistry registry_,
        IRewardDistributor distributor_,
        address owner_,
        uint64 challengeTimeout_
    ) Ownable(owner_) EIP712("Covalue", "1") {
        token = token_;
        registry = registry_;
        distributor = distributor_;
        challengeTimeout = challengeTimeout_;
    }

    /// @inheritdoc ITaskLedger
    function taskOf(uint256 taskId) external view returns (Task memory) {
        Run storage run = _runs[taskId];
        Terms storage terms = _terms[taskId];
        uint32 count = run.checkpointCount;
        return Task({
            state: run.state,
            taskDigest: terms.taskDigest,
            coordinator: terms.coordinator,
            rounds: terms.rounds,
            rosterSize: uint16(run.roster.length),
            lastRound: uint32(Math.min(uint256(count) * terms.checkpointLength, terms.rounds)),
            checkpointCount: count,
            partsOpened: run.partsOpened,
            bondPosted: run.bondPosted,
            challenged: run.challenge.challenger != address(0),
            openedAt: run.openedAt,
            startedAt: run.startedAt,
            deadline: run.deadline,
            revealDeadline: run.revealDeadline,
            challengeDeadline: run.challengeDeadline,
            endedAt: run.endedAt,
            modelDigest: _modelDigest(run)
        });
    }

    /// @inheritdoc ITaskLedger
    function termsOf(uint256 taskId) external view returns (Terms memory) {
        return _terms[taskId];
    }

    /// @inheritdoc ITaskLedger
    function partOf(uint256 taskId, uint256 part) external view returns (PartStatus memory) {
        Part[] storage parts = _terms[taskId].parts;
        if (part >= parts.length) revert UnknownPart(part, parts.length);
        PartRecord storage record = _runs[taskId].parts[part];
        return PartStatus({
            holder: parts[part].holder,
            commitment: parts[part].commitment,
            bonded: record.bonded,
            opened: record.opened,
            partDigest: record.partDigest,
            partCid: record.partCid
        });
    }

    /// @inheritdoc ITaskLedger
    function rosterOf(uint256 taskId) external view returns (address[] memory accounts) {
        Member[] storage roster = _runs[taskId].roster;
        accounts = new address[](roster.length);
        for (uint256 i = 0; i < accounts.length; ++i) {
            accounts[i] = roster[i].account;
        }
    }

    /// @inheritdoc ITaskLedger
    function rosterKeys(uint256 taskId) external view returns (bytes[] memory keys) {
        Member[] storage roster = _runs[taskId].roster;
        keys = new bytes[](roster.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            keys[i] = BLS12381.encode(registry.keyOf(roster[i].keyHash));
        }
    }

    /// @inheritdoc ITaskLedger
    function rosterIndexOf(uint256 taskId, address account) external view returns (uint256) {
        uint256 place = _runs[taskId].place[account];
        if (place == 0) revert NotJoined(taskId, account);
        return place - 1;
    }

    /// @inheritdoc ITaskLedger
    function isJoined(uint256 taskId, address account) external view returns (bool) {
        return _runs[taskId].place[account] != 0;
    }

    /// @inheritdoc ITaskLedger
    function aggregateKeyOf(uint256 taskId) external view returns (bytes memory) {
        return BLS12381.encode(_runs[taskId].aggregateKey);
    }

    /// @inheritdoc ITaskLedger
    function checkpointOf(uint256 taskId, uint256 index) external view returns (Checkpoint memory) {
        Run storage run = _runs[taskId];
        if (index >= run.checkpointCount) revert UnexpectedIndex(index, run.checkpointCount);
        (uint256 first, uint256 last) = _roundsOf(_terms[taskId], index);
        Committed storage committed = run.checkpoints[index];
        return Checkpoint({
            index: uint32(index),
            firstRound: uint32(first),
            lastRound: uint32(last),
            recordsRoot: committed.recordsRoot,
            modelDigest: committed.modelDigest
        });
    }

    /// @inheritdoc ITaskLedger
    function finalOf(uint256 taskId) external view returns (FinalReport memory) {
        return _runs[taskId].report;
    }

    /// @inheritdoc ITaskLedger
    function challengeOf(uint256 taskId) external view returns (Challenge memory) {
        return _runs[taskId].challenge;
    }

    /// @inheritdoc ITaskLedger
    function endedAt(uint256 taskId) external view returns (uint64) {
        return _runs[taskId].endedAt;
    }
}
