// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title Payouts of finalised tasks
/// @notice Each finalised task funds one Merkle root over (taskId, account, amount in wei); the leaf
/// is keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount)))) and the tree sorts each
/// pair, as OpenZeppelin's StandardMerkleTree does. Never pays more than what a task funded.
interface IRewardDistributor {
    /// @notice The TaskLedger was named, for good.
    event TaskLedgerSet(address indexed taskLedger);
    /// @notice A finalised task's payouts can be claimed; `total` in wei.
    event Funded(uint256 indexed taskId, bytes32 root, uint256 total);
    /// @notice An account was paid `amount` wei of a task.
    event Claimed(uint256 indexed taskId, address indexed account, uint256 amount);

    /// @notice Only the TaskLedger funds.
    error NotTaskLedger(address caller, address taskLedger);
    /// @notice A task is funded once; its root cannot be replaced.
    error AlreadyFunded(uint256 taskId);
    /// @notice The task is not finalised.
    error NotFunded(uint256 taskId);
    /// @notice The payout is not under the task's root.
    error InvalidProof(uint256 taskId, address account, uint256 amount);
    /// @notice All of `amount` was paid before.
    error NothingToClaim(uint256 taskId, address account, uint256 amount);
    /// @notice The root promises more than the task funded.
    error FundsExceeded(uint256 taskId, uint256 due, uint256 left);

    /// @notice Names the TaskLedger. Once, by the deployer, who has no power afterwards.
    function setTaskLedger(address taskLedger_) external;

    /// @notice Takes `total` wei from the TaskLedger for a task's root. Once per task.
    function fund(uint256 taskId, bytes32 root, uint256 total) external;

    /// @notice Pays `account` what is due of its `amount`. Anyone may send it.
    function claim(uint256 taskId, address account, uint256 amount, bytes32[] calldata proof)
        external;

    /// @notice A task's payout root; zero before it is funded, and where nothing is paid.
    function rootOf(uint256 taskId) external view returns (bytes32);

    /// @notice What a task funded and what was paid of it, in wei.
    function fundedOf(uint256 taskId) external view returns (uint256 funded, uint256 paid);

    /// @notice What an account was paid for a task, in wei.
    function claimedOf(uint256 taskId, address account) external view returns (uint256);
}
