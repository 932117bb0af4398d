// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {DeployerLink} from "./DeployerLink.sol";
import {ICovalueToken} from "./interfaces/ICovalueToken.sol";
import {IRewardDistributor, RESERVED_ROOT} from "./interfaces/IRewardDistributor.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title Payouts of finalised tasks; documented in IRewardDistributor
contract RewardDistributor is IRewardDistributor, DeployerLink {
    using SafeERC20 for IERC20;

    /// @dev A claim writes one slot as long as the place is below `NEAR`: its bit lies beside the sums.
    struct Pot {
        bytes32 root;
        uint96 funded;
        uint96 paid;
        uint64 nearClaimed;
        uint256 farClaimed;
    }

    uint256 private constant NEAR = 64;

    /// @notice COVAL.
    IERC20 public immutable token;
    address public taskLedger;
    mapping(uint256 taskId => Pot) private _pots;

    constructor(IERC20 token_, address deployer_) DeployerLink(deployer_) {
        token = token_;
    }

    modifier onlyTaskLedger() {
        if (msg.sender != taskLedger) revert NotTaskLedger(msg.sender, taskLedger);
        _;
    }

    /// @inheritdoc IRewardDistributor
    function setTaskLedger(address taskLedger_) external {
        _spendLink(taskLedger_);
        taskLedger = taskLedger_;
        emit TaskLedgerSet(taskLedger_);
    }

    /// @inheritdoc IRewardDistributor
    function reserve(uint256 taskId, uint96 budget) external onlyTaskLedger {
        Pot storage pot = _pots[taskId];
        if (pot.root != 0) revert AlreadyReserved(taskId);
        (pot.root, pot.funded) = (RESERVED_ROOT, budget);
        emit Reserved(taskId, budget);
    }

    /// @inheritdoc IRewardDistributor
    function fund(uint256 taskId, bytes32 root, uint96 total) external onlyTaskLedger {
        Pot storage pot = _pots[taskId];
        if (pot.root != RESERVED_ROOT) revert NotReserved(taskId);
        if (root == RESERVED_ROOT) revert ReservedRoot(taskId);
        uint256 unpaid = pot.funded - total;
        pot.root = root;
        emit Funded(taskId, root, total);
        if (unpaid == 0) return;
        pot.funded = total;
        ICovalueToken(address(token)).burn(unpaid);
    }

    /// @inheritdoc IRewardDistributor
    function claim(
        uint256 taskId,
        address account,
        uint256 amount,
        uint8 place,
        bytes32[] calldata proof
    ) external {
        Pot storage pot = _pots[taskId];
        bytes32 root = pot.root;
        if (root == 0 || root == RESERVED_ROOT) revert NotFunded(taskId);
        bytes32 leaf =
            keccak256(bytes.concat(keccak256(abi.encode(taskId, account, amount, place))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) {
            revert InvalidProof(taskId, account, amount, place);
        }
        uint256 bit = 1 << place;
        uint256 claimed = place < NEAR ? pot.nearClaimed : pot.farClaimed;
        if (claimed & bit != 0) revert AlreadyClaimed(taskId, account, place);
        uint256 left = pot.funded - pot.paid;
        if (amount > left) revert FundsExceeded(taskId, amount, left);
        if (place < NEAR) pot.nearClaimed = uint64(claimed | bit);
        else pot.farClaimed = claimed | bit;
        pot.paid += uint96(amount);
        emit Claimed(taskId, account, amount);
        token.safeTransfer(account, amount);
    }

    /// @inheritdoc IRewardDistributor
    function rootOf(uint256 taskId) external view returns (bytes32) {
        bytes32 root = _pots[taskId].root;
        return root == RESERVED_ROOT ? bytes32(0) : root;
    }

    /// @inheritdoc IRewardDistributor
    function fundedOf(uint256 taskId) external view returns (uint256 funded, uint256 paid) {
        Pot storage pot = _pots[taskId];
        return pot.root == RESERVED_ROOT ? (0, 0) : (uint256(pot.funded), uint256(pot.paid));
    }

    /// @inheritdoc IRewardDistributor
    function reservedOf(uint256 taskId) external view returns (uint256) {
        Pot storage pot = _pots[taskId];
        return pot.root == RESERVED_ROOT ? pot.funded : 0;
    }

    /// @inheritdoc IRewardDistributor
    function isClaimed(uint256 taskId, uint8 place) external view returns (bool) {
        Pot storage pot = _pots[taskId];
        uint256 claimed = place < NEAR ? pot.nearClaimed : pot.farClaimed;
        return claimed & (1 << place) != 0;
    }
}
