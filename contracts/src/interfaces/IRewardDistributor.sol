// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @dev In the place of a task's payout root until the task has ended. No tree has this root, and no
/// result may name it.
bytes32 constant RESERVED_ROOT = bytes32(uint256(1));

/// @title Payouts of finalised tasks
/// @notice Holds the budget of each open task, and pays from it when the task is finalised: one Merkle root
/// over (taskId, account, amount in wei, place in the roster). The leaf is
/// keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount, place)))) and the tree sorts each
/// pair, as OpenZeppelin's StandardMerkleTree does. A place is paid once; a task never pays more than what
/// it funded.
interface IRewardDistributor {
    /// @notice The TaskLedger was named, for good.
    event TaskLedgerSet(address indexed taskLedger);
    /// @notice A task was opened; `budget` wei are its own.
    event Reserved(uint256 indexed taskId, uint256 budget);
    /// @notice A finalised task's payouts can be claimed, `total` wei in all; the rest of what was reserved
    /// is burned. Root and total of an aborted task are zero.
    event Funded(uint256 indexed taskId, bytes32 root, uint256 total);
    /// @notice An account was paid `amount` wei of a task.
    event Claimed(uint256 indexed taskId, address indexed account, uint256 amount);

    /// @notice Only the TaskLedger reserves and funds.
    error NotTaskLedger(address caller, address taskLedger);
    /// @notice A task's budget is reserved once.
    error AlreadyReserved(uint256 taskId);
    /// @notice A task is funded once, from its reserve; its root cannot be replaced.
    error NotReserved(uint256 taskId);
    /// @notice Payouts cannot be funded under the number that stands for "not final yet".
    error ReservedRoot(uint256 taskId);
    /// @notice The task is not finalised, or pays nobody.
    error NotFunded(uint256 taskId);
    /// @notice The payout is not under the task's root.
    error InvalidProof(uint256 taskId, address account, uint256 amount, uint256 place);
    /// @notice This place in the roster was paid before.
    error AlreadyClaimed(uint256 taskId, address account, uint256 place);
    /// @notice The root promises more than the task funded.
    error FundsExceeded(uint256 taskId, uint256 due, uint256 left);

    /// @notice Names the TaskLedger. Once, by the deployer, who has no power afterwards.
    function setTaskLedger(address taskLedger_) external;

    /// @notice Books `budget` wei, which the TaskLedger mints to this contract, for a task. Once per task.
    function reserve(uint256 taskId, uint96 budget) external;

    /// @notice Ends a task's reserve: `total` wei stay for the payouts under `root`, the rest is burned.
    /// Only the TaskLedger, once per task; with zeros for an aborted task.
    function fund(uint256 taskId, bytes32 root, uint96 total) external;

    /// @notice Pays `account` its `amount`, once. Anyone may send it.
    /// @param place the account's place in the roster, counted from 0
    function claim(
        uint256 taskId,
        address account,
        uint256 amount,
        uint8 place,
        bytes32[] calldata proof
    ) external;

    /// @notice A task's payout root; zero before it is funded, and where nothing is paid.
    function rootOf(uint256 taskId) external view returns (bytes32);

    /// @notice What a task funded and what was paid of it, in wei.
    function fundedOf(uint256 taskId) external view returns (uint256 funded, uint256 paid);

    /// @notice What lies here for a task that has not ended, in wei.
    function reservedOf(uint256 taskId) external view returns (uint256);

    /// @notice Whether the payout of a place in the roster was claimed.
    function isClaimed(uint256 taskId, uint8 place) external view returns (bool);
}
