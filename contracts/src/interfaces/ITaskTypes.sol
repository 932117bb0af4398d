// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title What a task is made of, what happens to it, and what can be wrong
/// @notice Amounts are wei of COVAL, times are block timestamps.
interface ITaskTypes {
    /// @notice See ITaskLedger for the moves between them.
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

    /// @notice A vote opened a task and minted its budget, in wei.
    event TaskOpened(
        uint256 indexed taskId,
        bytes32 indexed taskDigest,
        address indexed coordinator,
        string taskCid,
        uint256 budget
    );
    /// @notice The coordinator posted its bond, in wei.
    event BondPosted(uint256 indexed taskId, address indexed coordinator, uint256 amount);
    /// @notice A part's holder posted its bond, in wei.
    event PartBondPosted(
        uint256 indexed taskId, uint256 indexed part, address indexed holder, uint256 amount
    );
    /// @notice An account joined with the key that it has now; it takes the last place of the roster.
    event Joined(uint256 indexed taskId, address indexed account, bytes32 keyHash);
    /// @notice An account left before the start; the last of the roster took its place.
    event Left(uint256 indexed taskId, address indexed account);
    /// @notice The roster is frozen. `aggregateKey` is the sum of its keys, 128 bytes.
    event Started(uint256 indexed taskId, uint256 rosterSize, bytes aggregateKey);
    /// @notice A stretch was committed. Bit i of `signers` stands for rosterOf(taskId)[i].
    event CheckpointCommitted(
        uint256 indexed taskId,
        uint256 indexed index,
        uint32 firstRound,
        uint32 lastRound,
        bytes32 recordsRoot,
        bytes32 modelDigest,
        uint256 signers
    );
    /// @notice The last round is committed; parts can be opened until `revealDeadline`.
    event RevealStarted(uint256 indexed taskId, uint64 revealDeadline);
    /// @notice A holder published its part: salt, SHA-256 of the rows, and where they lie.
    event PartOpened(
        uint256 indexed taskId,
        uint256 indexed part,
        bytes32 salt,
        bytes32 partDigest,
        string partCid
    );
    /// @notice A part was not opened in time; its bond, in wei, is gone.
    event PartBondBurned(uint256 indexed taskId, uint256 indexed part, uint256 amount);
    /// @notice The result is committed; it can be challenged until `challengeDeadline`.
    event Closed(
        uint256 indexed taskId, FinalReport report, uint256 signers, uint64 challengeDeadline
    );
    /// @notice The task is frozen until the vote has resolved this challenge.
    event Challenged(
        uint256 indexed taskId,
        address indexed challenger,
        bytes32 evidenceDigest,
        string evidenceCid
    );
    /// @notice The vote decided; the task stood still for `frozenSeconds`.
    event ChallengeResolved(uint256 indexed taskId, bool upheld, uint256 frozenSeconds);
    /// @notice The coordinator had signed two records, `digestA` and `digestB`, for one round.
    event EquivocationProven(
        uint256 indexed taskId,
        uint256 indexed round,
        address indexed reporter,
        bytes32 digestA,
        bytes32 digestB
    );
    /// @notice The coordinator's bond went in halves to who proved the fault and to nobody, in wei.
    event BondSlashed(
        uint256 indexed taskId, address indexed beneficiary, uint256 rewarded, uint256 burned
    );
    /// @notice The task ended without payouts; `from` is the state that it was in.
    event Aborted(uint256 indexed taskId, address indexed by, State from);
    /// @notice The task ended: `paid` wei can be claimed, `burned` wei of the budget are gone.
    event Finalised(uint256 indexed taskId, uint256 paid, uint256 burned);
    /// @notice A member took its part of lost challenge bonds, in wei.
    event OwedWithdrawn(uint256 indexed taskId, address indexed account, uint256 amount);

    /// @notice A term lies outside of what is allowed; `field` is its name.
    error InvalidTerms(string field, uint256 given, uint256 minimum, uint256 maximum);
    /// @notice Each part needs a commitment and a holder of its own, who is not the coordinator.
    error InvalidPart(uint256 part, address holder, bytes32 commitment);
    /// @notice This task record was opened before, as `taskId`.
    error TaskDigestUsed(bytes32 taskDigest, uint256 taskId);
    /// @notice The task is in `state`, where this cannot be done.
    error WrongState(uint256 taskId, State state);
    /// @notice The sender, or the record's signer, is not the coordinator that the terms name.
    error NotCoordinator(address caller, address coordinator);
    /// @notice The sender is not the part's holder.
    error NotHolder(address caller, address holder);
    /// @notice Parts are counted from 0; the task has `parts`.
    error UnknownPart(uint256 part, uint256 parts);
    /// @notice A bond is posted once.
    error BondAlreadyPosted(uint256 taskId);
    /// @notice A bond is missing; `account` has to post it.
    error BondMissing(uint256 taskId, address account);
    /// @notice The time for this is over; `limit` is the timestamp at which it ended.
    error TooLate(uint256 now_, uint256 limit);
    /// @notice The time for this has not come; `limit` is the timestamp that it waits for.
    error TooEarly(uint256 now_, uint256 limit);
    /// @notice The account is not under the terms' allowRoot.
    error NotAllowed(address account);
    /// @notice An account has one place in a roster.
    error AlreadyJoined(uint256 taskId, address account);
    /// @notice The account is not in the roster.
    error NotJoined(uint256 taskId, address account);
    /// @notice The roster has as many members as the terms allow.
    error RosterFull(uint256 taskId, uint256 maximum);
    /// @notice The start needs as many members as the terms ask for.
    error RosterTooSmall(uint256 taskId, uint256 size, uint256 minimum);
    /// @notice The next checkpoint has index `expected`; when reading, there are `expected` of them.
    error UnexpectedIndex(uint256 given, uint256 expected);
    /// @notice The next stretch follows from the terms and from the last one: no gaps, no overlaps.
    error UnexpectedRounds(
        uint256 firstRound, uint256 lastRound, uint256 expectedFirst, uint256 expectedLast
    );
    /// @notice A digest that must be given is zero.
    error ZeroDigest();
    /// @notice The payout root is the number that stands for "not final yet" in the RewardDistributor.
    error ReservedRoot();
    /// @notice A CID is missing, or too long to be one.
    error InvalidCidLength(uint256 given, uint256 maximum);
    /// @notice A bit is set for which the roster has no member.
    error SignersBeyondRoster(uint256 signers, uint256 rosterSize);
    /// @notice Too few of the roster signed.
    error QuorumNotReached(uint256 signed, uint256 rosterSize, uint256 quorumBps);
    /// @notice The keys of those who did not sign take `expected` bytes, 128 each.
    error InvalidAbsentKeys(uint256 given, uint256 expected);
    /// @notice This is not the key of the roster's member at `place`, who did not sign.
    error NotTheAbsentKey(uint256 place);
    /// @notice The aggregate signature is not that of these signers over this message.
    error InvalidSignature();
    /// @notice A part is opened once.
    error PartAlreadyOpened(uint256 part);
    /// @notice Salt and rows give `given`; the task holds another commitment.
    error CommitmentMismatch(uint256 part, bytes32 given, bytes32 committed);
    /// @notice Payouts above the budget, in wei.
    error BudgetExceeded(uint256 payoutTotal, uint256 budget);
    /// @notice The task is frozen until the vote has resolved the challenge of `challenger`.
    error ChallengeOpen(uint256 taskId, address challenger);
    /// @notice There is no open challenge to resolve.
    error NoChallenge(uint256 taskId);
    /// @notice Two equal digests prove nothing.
    error NoEquivocation();
    /// @notice No lost challenge bond is left for this account.
    error NothingOwed(uint256 taskId, address account);
}
