// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title What a task is made of, what happens to it, and what can be wrong
/// @notice Amounts are wei of COVAL, times are block timestamps.
interface ITaskTypes {
    enum State {
        None,
        Open,
        Running,
        Revealing,
        Closed,
        Finalised,
        Aborted
    }

    /// @param holder who holds the sealed rows; not the coordinator, and each part another holder
    /// @param commitment sha256(abi.encodePacked("covalue.part.v1", salt, partDigest))
    struct Part {
        address holder;
        bytes32 commitment;
    }

    /// @param taskDigest SHA-256 of the canonical task record
    /// @param taskCid where that record lies
    /// @param coordinator key account that starts the task and signs its round records
    /// @param coordinatorBond wei that the coordinator posts before the start
    /// @param budget wei minted for payouts; what is not paid is burned
    /// @param stake wei of stake that each contributor has locked
    /// @param partBond wei that each part's holder posts before the start
    /// @param rounds number of training rounds, counted from 1
    /// @param checkpointLength rounds in a checkpoint; the last one may be shorter
    /// @param minContributors least size of the roster
    /// @param maxContributors greatest size of the roster, at most 256
    /// @param quorumBps part of the roster that must sign, 6667 to 10000
    /// @param joinDeadline last time to join
    /// @param deadline from then on anyone may abort what is not closed
    /// @param revealWindow seconds for opening the parts after the last checkpoint
    /// @param challengeWindow seconds between closing and finalising
    /// @param challengeBond wei that a challenger posts
    /// @param allowRoot Merkle root over the accounts that may join; zero lets anyone join
    /// @param parts sealed validation parts: none, or 2 to 16
    struct Terms {
        bytes32 taskDigest;
        string taskCid;
        address coordinator;
        uint256 coordinatorBond;
        uint256 budget;
        uint256 stake;
        uint256 partBond;
        uint32 rounds;
        uint32 checkpointLength;
        uint16 minContributors;
        uint16 maxContributors;
        uint16 quorumBps;
        uint64 joinDeadline;
        uint64 deadline;
        uint64 revealWindow;
        uint64 challengeWindow;
        uint256 challengeBond;
        bytes32 allowRoot;
        Part[] parts;
    }

    /// @param firstRound first round of the stretch
    /// @param lastRound last round of the stretch
    /// @param recordsRoot Merkle root of its round records
    /// @param modelDigest digest of the model after `lastRound`
    struct Checkpoint {
        uint32 index;
        uint32 firstRound;
        uint32 lastRound;
        bytes32 recordsRoot;
        bytes32 modelDigest;
    }

    /// @param scoreDigest SHA-256 of the canonical score report
    /// @param scoreCid where it may be found: a hint, since the roster does not sign it. Whoever reads it
    /// compares what it finds with scoreDigest, from which the CID of a one-block file follows
    /// @param payoutRoot root of the payout tree (RewardDistributor)
    /// @param payoutTotal sum of the payouts in wei, at most the budget
    /// @param shareRoot root of the share tree (RevenueShare)
    /// @param epsilonMicro privacy cost of the task, in millionths, rounded up
    struct FinalReport {
        bytes32 scoreDigest;
        string scoreCid;
        bytes32 payoutRoot;
        uint256 payoutTotal;
        bytes32 shareRoot;
        uint64 epsilonMicro;
    }

    /// @param deadline the terms' deadline plus the time that rejected challenges froze
    /// @param modelDigest digest of the last committed model
    /// @param endedAt timestamp of finalisation or abort, 0 before
    struct Task {
        State state;
        bytes32 taskDigest;
        address coordinator;
        uint32 rounds;
        uint16 rosterSize;
        uint32 lastRound;
        uint32 checkpointCount;
        uint16 partsOpened;
        bool bondPosted;
        bool challenged;
        uint64 openedAt;
        uint64 startedAt;
        uint64 deadline;
        uint64 revealDeadline;
        uint64 challengeDeadline;
        uint64 endedAt;
        bytes32 modelDigest;
    }

    /// @param bonded the holder's bond lies here
    /// @param opened the part was published in time
    struct PartStatus {
        address holder;
        bytes32 commitment;
        bool bonded;
        bool opened;
        bytes32 partDigest;
        string partCid;
    }

    /// @param challenger zero when no challenge is open
    struct Challenge {
        address challenger;
        uint64 openedAt;
        bytes32 evidenceDigest;
    }

    event TaskOpened(
        uint256 indexed taskId,
        bytes32 indexed taskDigest,
        address indexed coordinator,
        string taskCid,
        uint256 budget
    );
    event BondPosted(uint256 indexed taskId, address indexed coordinator, uint256 amount);
    event PartBondPosted(
        uint256 indexed taskId, uint256 indexed part, address indexed holder, uint256 amount
    );
    event Joined(uint256 indexed taskId, address indexed account, bytes32 keyHash);
    event Left(uint256 indexed taskId, address indexed account);
    event Started(uint256 indexed taskId, uint256 rosterSize, bytes aggregateKey);
    event CheckpointCommitted(
        uint256 indexed taskId,
        uint256 indexed index,
        uint32 firstRound,
        uint32 lastRound,
        bytes32 recordsRoot,
        bytes32 modelDigest,
        uint256 signers
    );
    event RevealStarted(uint256 indexed taskId, uint64 revealDeadline);
    event PartOpened(
        uint256 indexed taskId,
        uint256 indexed part,
        bytes32 salt,
        bytes32 partDigest,
        string partCid
    );
    event PartBondBurned(uint256 indexed taskId, uint256 indexed part, uint256 amount);
    event Closed(
        uint256 indexed taskId, FinalReport report, uint256 signers, uint64 challengeDeadline
    );
    event Challenged(
        uint256 indexed taskId,
        address indexed challenger,
        bytes32 evidenceDigest,
        string evidenceCid
    );
    event ChallengeResolved(uint256 indexed taskId, bool upheld, uint256 frozenSeconds);
    event EquivocationProven(
        uint256 indexed taskId,
        uint256 indexed round,
        address indexed reporter,
        bytes32 digestA,
        bytes32 digestB
    );
    event BondSlashed(
        uint256 indexed taskId, address indexed beneficiary, uint256 rewarded, uint256 burned
    );
    event Aborted(uint256 indexed taskId, address indexed by, State from);
    event Finalised(uint256 indexed taskId, uint256 paid, uint256 burned);
    event OwedWithdrawn(uint256 indexed taskId, address indexed account, uint256 amount);

    /// @notice A term lies outside of what is allowed; `field` is its name.
    error InvalidTerms(string field, uint256 given, uint256 minimum, uint256 maximum);
    error InvalidPart(uint256 part, address holder, bytes32 commitment);
    error TaskDigestUsed(bytes32 taskDigest, uint256 taskId);
    error WrongState(uint256 taskId, State state);
    error NotCoordinator(address caller, address coordinator);
    error NotHolder(address caller, address holder);
    error UnknownPart(uint256 part, uint256 parts);
    error BondAlreadyPosted(uint256 taskId);
    /// @notice A bond is missing; `account` has to post it.
    error BondMissing(uint256 taskId, address account);
    error TooLate(uint256 now_, uint256 limit);
    error TooEarly(uint256 now_, uint256 limit);
    error NotAllowed(address account);
    error AlreadyJoined(uint256 taskId, address account);
    error NotJoined(uint256 taskId, address account);
    error RosterFull(uint256 taskId, uint256 maximum);
    error RosterTooSmall(uint256 taskId, uint256 size, uint256 minimum);
    error UnexpectedIndex(uint256 given, uint256 expected);
    error UnexpectedRounds(
        uint256 firstRound, uint256 lastRound, uint256 expectedFirst, uint256 expectedLast
    );
    error ZeroDigest();
    /// @notice A CID is missing, or too long to be one.
    error InvalidCidLength(uint256 given, uint256 maximum);
    error SignersBeyondRoster(uint256 signers, uint256 rosterSize);
    error QuorumNotReached(uint256 signed, uint256 rosterSize, uint256 quorumBps);
    error InvalidSignature();
    error PartAlreadyOpened(uint256 part);
    error CommitmentMismatch(uint256 part, bytes32 given, bytes32 committed);
    error BudgetExceeded(uint256 payoutTotal, uint256 budget);
    error ChallengeOpen(uint256 taskId, address challenger);
    error NoChallenge(uint256 taskId);
    error NoEquivocation();
    error NothingOwed(uint256 taskId, address account);
}
