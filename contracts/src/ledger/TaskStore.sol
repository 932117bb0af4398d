// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BLS12381} from "../BLS12381.sol";
import {IContributorRegistry} from "../interfaces/IContributorRegistry.sol";
import {ICovalueToken} from "../interfaces/ICovalueToken.sol";
import {IRewardDistributor} from "../interfaces/IRewardDistributor.sol";
import {ITaskLedger} from "../interfaces/ITaskLedger.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title What the parts of the TaskLedger share: storage, the messages signed, the roster's signature
/// @dev All money here is COVAL, whose transfers run no foreign code.
abstract contract TaskStore is ITaskLedger, Ownable, EIP712 {
    using SafeERC20 for IERC20;

    struct Member {
        address account;
        bytes32 keyHash;
    }

    /// @dev The rounds follow from index and terms; signers and time stand in the event.
    struct Committed {
        bytes32 recordsRoot;
        bytes32 modelDigest;
    }

    struct PartRecord {
        bool bonded;
        bool opened;
        bytes32 partDigest;
        string partCid;
    }

    /// @dev What changes in a task; what does not is in its Terms.
    struct Run {
        State state;
        bool bondPosted;
        uint16 partsOpened;
        uint32 checkpointCount;
        uint64 openedAt;
        uint64 startedAt;
        uint64 deadline;
        uint64 revealDeadline;
        uint64 challengeDeadline;
        uint64 endedAt;
        BLS12381.G1 aggregateKey;
        Challenge challenge;
        uint256 owedPerMember;
        Member[] roster;
        FinalReport report;
        mapping(uint256 index => Committed) checkpoints;
        mapping(uint256 part => PartRecord) parts;
        mapping(address account => uint256 indexPlusOne) place;
        mapping(address account => uint256 amount) owedPaid;
    }

    uint256 internal constant BPS = 10_000;
    uint256 internal constant MAX_CID_BYTES = 128;

    bytes32 internal constant CHECKPOINT_PURPOSE = keccak256("covalue.checkpoint.v1");
    bytes32 internal constant FINAL_PURPOSE = keccak256("covalue.final.v1");
    bytes32 internal constant ROUND_RECORD_TYPEHASH =
        keccak256("RoundRecord(uint256 taskId,uint256 round,bytes32 digest)");

    /// @notice COVAL.
    IERC20 public immutable token;
    IContributorRegistry public immutable registry;
    IRewardDistributor public immutable distributor;
    /// @inheritdoc ITaskLedger
    uint64 public immutable challengeTimeout;

    /// @inheritdoc ITaskLedger
    uint256 public taskCount;
    /// @inheritdoc ITaskLedger
    mapping(bytes32 taskDigest => uint256 taskId) public taskIdOf;
    mapping(uint256 taskId => Terms) internal _terms;
    mapping(uint256 taskId => Run) internal _runs;

    /// @inheritdoc ITaskLedger
    function checkpointMessage(uint256 taskId, Checkpoint calldata checkpoint)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                CHECKPOINT_PURPOSE,
                block.chainid,
                address(this),
                taskId,
                _terms[taskId].taskDigest,
                checkpoint.index,
                checkpoint.firstRound,
                checkpoint.lastRound,
                checkpoint.recordsRoot,
                checkpoint.modelDigest
            )
        );
    }

    /// @inheritdoc ITaskLedger
    function finalMessage(uint256 taskId, FinalReport calldata report)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                FINAL_PURPOSE,
                block.chainid,
                address(this),
                taskId,
                _terms[taskId].taskDigest,
                _modelDigest(_runs[taskId]),
                report.scoreDigest,
                report.payoutRoot,
                report.payoutTotal,
                report.shareRoot,
                report.epsilonMicro
            )
        );
    }

    /// @inheritdoc ITaskLedger
    function roundRecordDigest(uint256 taskId, uint256 round, bytes32 digest)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(ROUND_RECORD_TYPEHASH, taskId, round, digest)));
    }

    function _inState(uint256 taskId, State expected) internal view returns (Run storage run) {
        run = _runs[taskId];
        if (run.state != expected) revert WrongState(taskId, run.state);
    }

    /// @dev Stored text is read back by others, who should not have to pay for any length.
    function _requireCid(string calldata cid) internal pure {
        uint256 length = bytes(cid).length;
        if (length == 0 || length > MAX_CID_BYTES) revert InvalidCidLength(length, MAX_CID_BYTES);
    }

    function _requireUnfrozen(uint256 taskId, Run storage run) internal view {
        address challenger = run.challenge.challenger;
        if (challenger != address(0)) revert ChallengeOpen(taskId, challenger);
    }

    /// @dev First and last round of the checkpoint with this index.
    function _roundsOf(Terms storage terms, uint256 index)
        internal
        view
        returns (uint256 first, uint256 last)
    {
        uint256 length = terms.checkpointLength;
        first = index * length + 1;
        last = Math.min(index * length + length, terms.rounds);
    }

    /// @dev Digest of the last committed model; zero before the first checkpoint.
    function _modelDigest(Run storage run) internal view returns (bytes32) {
        uint256 count = run.checkpointCount;
        return count == 0 ? bytes32(0) : run.checkpoints[count - 1].modelDigest;
    }

    /// @dev Reverts unless a quorum of the frozen roster signed `message`. Works from the aggregate key
    /// and takes the keys of the absent out, who are at most a third. The caller gives those keys and the
    /// roster knows their hashes: that is cheaper than to store them for reading.
    function _requireCosigned(
        uint256 taskId,
        uint256 signers,
        bytes calldata absentKeys,
        bytes32 message,
        bytes calldata signature
    ) internal view {
        Run storage run = _runs[taskId];
        uint256 size = run.roster.length;
        // A shift by 256 gives zero, as a full roster needs.
        if (signers >> size != 0) revert SignersBeyondRoster(signers, size);
        // A roster has a member at least, so that this shifts by 255 at most.
        uint256 absent = signers ^ (type(uint256).max >> (256 - size));
        uint256 signed = size;
        for (uint256 bits = absent; bits != 0; bits &= bits - 1) {
            // Once for each of `size` bits at most.
            unchecked {
                --signed;
            }
        }
        uint256 quorumBps = _terms[taskId].quorumBps;
        if (signed * BPS < quorumBps * size) revert QuorumNotReached(signed, size, quorumBps);
        uint256 given = absentKeys.length;
        uint256 expected;
        // No more have signed than there are, 256 at most.
        unchecked {
            expected = (size - signed) * BLS12381.G1_BYTES;
        }
        if (given != expected) revert InvalidAbsentKeys(given, expected);
        uint256 end = 0;
        for (uint256 i = 0; absent >> i != 0; ++i) {
            if ((absent >> i) & 1 == 0) continue;
            end += BLS12381.G1_BYTES;
            bytes32 keyHash = keccak256(absentKeys[end - BLS12381.G1_BYTES:end]);
            if (keyHash != run.roster[i].keyHash) revert NotTheAbsentKey(i);
        }
        if (!registry.isCosigned(run.aggregateKey, absentKeys, message, signature)) {
            revert InvalidSignature();
        }
    }

    function _takeFrom(address account, uint256 amount) internal {
        if (amount != 0) token.safeTransferFrom(account, address(this), amount);
    }

    function _payTo(address account, uint256 amount) internal {
        if (amount != 0) token.safeTransfer(account, amount);
    }

    function _burn(uint256 amount) internal {
        if (amount != 0) ICovalueToken(address(token)).burn(amount);
    }

    /// @dev The coordinator's bond, which the caller has to pay out; zero from then on.
    function _releaseBond(uint256 taskId, Run storage run) internal returns (uint256 amount) {
        if (!run.bondPosted) return 0;
        run.bondPosted = false;
        return _terms[taskId].coordinatorBond;
    }

    /// @dev A part's bond, which the caller has to pay out; zero from then on.
    function _releasePartBond(uint256 taskId, PartRecord storage part)
        internal
        returns (uint256 amount)
    {
        if (!part.bonded) return 0;
        part.bonded = false;
        return _terms[taskId].partBond;
    }
}
