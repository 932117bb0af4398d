// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ContributorRegistry} from "../src/ContributorRegistry.sol";
import {CovalueToken} from "../src/CovalueToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskLedger} from "../src/TaskLedger.sol";
import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {BlsSigner} from "./BlsSigner.sol";
import {ForgeTest} from "./ForgeTest.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title The contracts deployed and linked, with members who sign
/// @dev The timelock is a plain account here; Governance.t.sol runs the real one.
abstract contract CovalueFixture is ForgeTest {
    uint256 internal constant YEARLY_CAP = 1_000_000 ether;
    uint256 internal constant GENESIS = 5_000_000 ether;
    uint256 internal constant MIN_STAKE = 100 ether;
    uint256 internal constant BUDGET = 1000 ether;
    uint256 internal constant BOND = 51 ether;
    uint256 internal constant PART_BOND = 10 ether;
    uint256 internal constant CHALLENGE_BOND = 7 ether + 1;
    uint64 internal constant COOLDOWN = 14 days;
    uint64 internal constant CHALLENGE_TIMEOUT = 30 days;
    uint256 internal constant COORDINATOR_KEY = 0xC00D;
    uint256 internal constant ALL = 7; // the three members of the usual roster

    address internal constant TIMELOCK = address(0x71E10C);
    address internal constant FOUNDER = address(0xF0);
    address internal constant HOLDER_A = address(0xA1);
    address internal constant HOLDER_B = address(0xB1);
    address internal constant STRANGER = address(0x57A);

    address internal coordinator;
    CovalueToken internal token;
    ContributorRegistry internal registry;
    RewardDistributor internal distributor;
    TaskLedger internal ledger;

    function _deploy() internal {
        _deployOwnedBy(TIMELOCK);
    }

    function _deployOwnedBy(address owner) internal {
        vm.warp(1_800_000_000);
        coordinator = vm.addr(COORDINATOR_KEY);
        address[] memory founders = new address[](1);
        uint256[] memory amounts = new uint256[](1);
        (founders[0], amounts[0]) = (FOUNDER, GENESIS);
        token = new CovalueToken(founders, amounts, YEARLY_CAP, address(this));
        registry = new ContributorRegistry(token, owner, address(this), MIN_STAKE, COOLDOWN);
        distributor = new RewardDistributor(token, address(this));
        ledger = new TaskLedger(token, registry, distributor, owner, CHALLENGE_TIMEOUT);
        token.setMinter(address(ledger));
        registry.setTaskLedger(address(ledger));
        distributor.setTaskLedger(address(ledger));
    }

    function _member(uint256 i) internal pure returns (address) {
        return vm.addr(1000 + i);
    }

    function _secret(uint256 i) internal pure returns (uint256) {
        return 7777 + i;
    }

    /// @dev Gives an account COVAL and lets a contract take it.
    function _fund(address account, address spender, uint256 amount) internal {
        vm.prank(FOUNDER);
        token.transfer(account, amount);
        vm.prank(account);
        token.approve(spender, amount);
    }

    function _register(uint256 i) internal {
        _registerWith(_member(i), _secret(i), MIN_STAKE);
    }

    function _registerWith(address account, uint256 secret, uint256 stake) internal {
        bytes memory key = BlsSigner.publicKey(secret);
        bytes memory proof = BlsSigner.prove(secret, registry.popMessage(account, key));
        _fund(account, address(registry), stake);
        vm.prank(account);
        registry.register(key, proof, bytes32(secret), stake);
    }

    function _commitment(bytes32 salt, bytes32 digest) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("covalue.part.v1", salt, digest));
    }

    function _terms() internal view returns (ITaskTypes.Terms memory terms) {
        terms.taskDigest = keccak256("task");
        terms.taskCid = "bafkreitask";
        terms.coordinator = coordinator;
        terms.coordinatorBond = BOND;
        terms.budget = BUDGET;
        terms.stake = 60 ether;
        terms.partBond = PART_BOND;
        terms.rounds = 5;
        terms.checkpointLength = 3;
        terms.minContributors = 3;
        terms.maxContributors = 4;
        terms.quorumBps = 6667;
        terms.joinDeadline = uint64(block.timestamp + 1 days);
        terms.deadline = uint64(block.timestamp + 20 days);
        terms.revealWindow = 2 days;
        terms.challengeWindow = 3 days;
        terms.challengeBond = CHALLENGE_BOND;
        terms.parts = new ITaskTypes.Part[](2);
        terms.parts[0] = ITaskTypes.Part(HOLDER_A, _commitment("salt a", "part a"));
        terms.parts[1] = ITaskTypes.Part(HOLDER_B, _commitment("salt b", "part b"));
    }

    function _open(ITaskTypes.Terms memory terms) internal returns (uint256) {
        vm.prank(TIMELOCK);
        return ledger.openTask(terms);
    }

    function _postBonds(uint256 taskId) internal {
        _fund(coordinator, address(ledger), BOND);
        vm.prank(coordinator);
        ledger.postBond(taskId);
        _fund(HOLDER_A, address(ledger), PART_BOND);
        vm.prank(HOLDER_A);
        ledger.postPartBond(taskId, 0);
        _fund(HOLDER_B, address(ledger), PART_BOND);
        vm.prank(HOLDER_B);
        ledger.postPartBond(taskId, 1);
    }

    function _join(uint256 taskId, uint256 i) internal {
        vm.prank(_member(i));
        ledger.join(taskId, new bytes32[](0));
    }

    /// @dev A task with three members, running.
    function _running() internal returns (uint256 taskId) {
        taskId = _open(_terms());
        _postBonds(taskId);
        for (uint256 i = 0; i < 3; ++i) {
            _register(i);
            _join(taskId, i);
        }
        vm.prank(coordinator);
        ledger.start(taskId);
    }

    /// @dev Such a task after its last round.
    function _revealing() internal returns (uint256 taskId) {
        taskId = _running();
        _commit(taskId, _checkpoint(0, 1, 3), ALL);
        _commit(taskId, _checkpoint(1, 4, 5), ALL);
    }

    /// @dev Such a task with both parts opened and its result committed.
    function _closed() internal returns (uint256 taskId) {
        taskId = _revealing();
        _openParts(taskId);
        _close(taskId, _report(), ALL);
    }

    function _checkpoint(uint32 index, uint32 first, uint32 last)
        internal
        pure
        returns (ITaskTypes.Checkpoint memory)
    {
        return ITaskTypes.Checkpoint(
            index,
            first,
            last,
            keccak256(abi.encode("records", last)),
            keccak256(abi.encode("model", last))
        );
    }

    /// @dev Aggregate signature of the members whose bits are set; bit i is member i.
    function _cosign(bytes32 message, uint256 signers) internal view returns (bytes memory sum) {
        for (uint256 i = 0; signers >> i != 0; ++i) {
            if ((signers >> i) & 1 == 0) continue;
            bytes memory own = BlsSigner.sign(_secret(i), message);
            sum = sum.length == 0 ? own : BlsSigner.aggregate(sum, own);
        }
    }

    function _commit(uint256 taskId, ITaskTypes.Checkpoint memory checkpoint, uint256 signers)
        internal
    {
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, checkpoint), signers);
        bytes memory absentKeys = _absentKeys(taskId, signers);
        ledger.commitCheckpoint(taskId, checkpoint, signers, absentKeys, signature);
    }

    /// @dev Keys of the roster's members whose bits are not set.
    function _absentKeys(uint256 taskId, uint256 signers) internal view returns (bytes memory all) {
        bytes[] memory keys = ledger.rosterKeys(taskId);
        for (uint256 i = 0; i < keys.length; ++i) {
            if ((signers >> i) & 1 == 0) all = bytes.concat(all, keys[i]);
        }
    }

    function _openParts(uint256 taskId) internal {
        vm.prank(HOLDER_A);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        vm.prank(HOLDER_B);
        ledger.openPart(taskId, 1, "salt b", "part b", "bafkreipartb");
    }

    function _report() internal pure returns (ITaskTypes.FinalReport memory) {
        return ITaskTypes.FinalReport({
            scoreDigest: keccak256("score"),
            scoreCid: "bafkreiscore",
            payoutRoot: keccak256("payouts"),
            payoutTotal: 900 ether,
            shareRoot: keccak256("shares"),
            epsilonMicro: 8_000_000
        });
    }

    function _close(uint256 taskId, ITaskTypes.FinalReport memory report, uint256 signers)
        internal
    {
        bytes32 message = ledger.finalMessage(taskId, report);
        bytes memory absentKeys = _absentKeys(taskId, signers);
        ledger.close(taskId, report, signers, absentKeys, _cosign(message, signers));
    }

    function _challenge(uint256 taskId) internal {
        _fund(STRANGER, address(ledger), CHALLENGE_BOND);
        vm.prank(STRANGER);
        ledger.challenge(taskId, keccak256("evidence"), "bafkreievidence");
    }

    function _signRecord(uint256 key, uint256 taskId, uint256 round, bytes32 digest)
        internal
        view
        returns (bytes memory)
    {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(key, ledger.roundRecordDigest(taskId, round, digest));
        return abi.encodePacked(r, s, v);
    }
}
