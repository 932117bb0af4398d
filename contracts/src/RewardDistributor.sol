// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DeployerLink} from "./DeployerLink.sol";
import {IRewardDistributor} from "./interfaces/IRewardDistributor.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title Payouts of finalised tasks; documented in IRewardDistributor
contract RewardDistributor is IRewardDistributor, DeployerLink {
    using SafeERC20 for IERC20;

    struct Pot {
        bytes32 root;
        uint256 funded;
        uint256 paid;
        bool open;
    }

    /// @notice COVAL.
    IERC20 public immutable token;
    address public taskLedger;
    mapping(uint256 taskId => Pot) private _pots;
    mapping(uint256 taskId => mapping(address account => uint256 amount)) private _claimed;

    constructor(IERC20 token_, address deployer_) DeployerLink(deployer_) {
        token = token_;
    }

    /// @inheritdoc IRewardDistributor
    function setTaskLedger(address taskLedger_) external {
        _spendLink(taskLedger_);
        taskLedger = taskLedger_;
        emit TaskLedgerSet(taskLedger_);
    }

    /// @inheritdoc IRewardDistributor
    function fund(uint256 taskId, bytes32 root, uint256 total) external {
        if (msg.sender != taskLedger) revert NotTaskLedger(msg.sender, taskLedger);
        Pot storage pot = _pots[taskId];
        if (pot.open) revert AlreadyFunded(taskId);
        (pot.root, pot.funded, pot.open) = (root, total, true);
        emit Funded(taskId, root, total);
        token.safeTransferFrom(msg.sender, address(this), total);
    }

    /// @inheritdoc IRewardDistributor
    function claim(uint256 taskId, address account, uint256 amount, bytes32[] calldata proof)
        external
    {
        Pot storage pot = _pots[taskId];
        if (!pot.open) revert NotFunded(taskId);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount))));
        if (!MerkleProof.verifyCalldata(proof, pot.root, leaf)) {
            revert InvalidProof(taskId, account, amount);
        }
        uint256 before = _claimed[taskId][account];
        if (amount <= before) revert NothingToClaim(taskId, account, amount);
        uint256 due = amount - before;
        uint256 left = pot.funded - pot.paid;
        if (due > left) revert FundsExceeded(taskId, due, left);
        _claimed[taskId][account] = amount;
        pot.paid += due;
        emit Claimed(taskId, account, due);
        token.safeTransfer(account, due);
    }

    /// @inheritdoc IRewardDistributor
    function rootOf(uint256 taskId) external view returns (bytes32) {
        return _pots[taskId].root;
    }

    /// @inheritdoc IRewardDistributor
    function fundedOf(uint256 taskId) external view returns (uint256 funded, uint256 paid) {
        Pot storage pot = _pots[taskId];
        return (pot.funded, pot.paid);
    }

    /// @inheritdoc IRewardDistributor
    function claimedOf(uint256 taskId, address account) external view returns (uint256) {
        return _claimed[taskId][account];
    }
}
