// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ITaskTypes} from "../src/interfaces/ITaskTypes.sol";
import {CovalueFixture} from "./CovalueFixture.sol";

contract TaskProgressTest is CovalueFixture {
    function setUp() external {
        _deploy();
    }

    function test_commitCheckpoint_storesAndMovesOn() external {
        uint256 taskId = _running();
        ITaskTypes.Checkpoint memory first = _checkpoint(0, 1, 3);
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, first), ALL);
        vm.expectEmit(address(ledger));
        emit ITaskTypes.CheckpointCommitted(
            taskId, 0, 1, 3, first.recordsRoot, first.modelDigest, ALL
        );
        ledger.commitCheckpoint(taskId, first, ALL, "", signature);
        ITaskTypes.Checkpoint memory stored = ledger.checkpointOf(taskId, 0);
        vm.assertEq(keccak256(abi.encode(stored)), keccak256(abi.encode(first)));
        ITaskTypes.Task memory task = ledger.taskOf(taskId);
        vm.assertEq(task.lastRound, 3);
        vm.assertEq(task.modelDigest, first.modelDigest);
        vm.assertTrue(task.state == ITaskTypes.State.Running);
        _commit(taskId, _checkpoint(1, 4, 5), ALL);
        task = ledger.taskOf(taskId);
        vm.assertTrue(task.state == ITaskTypes.State.Revealing);
        vm.assertEq(task.revealDeadline, block.timestamp + 2 days);
        vm.assertEq(task.checkpointCount, 2);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.UnexpectedIndex.selector, 2, 2));
        ledger.checkpointOf(taskId, 2);
    }

    function test_commitCheckpoint_stretchesAreContiguous() external {
        uint256 taskId = _running();
        _refuse(taskId, _checkpoint(1, 1, 3), _unexpectedIndex(1, 0));
        _refuse(taskId, _checkpoint(0, 2, 4), _unexpectedRounds(2, 4, 1, 3));
        _refuse(taskId, _checkpoint(0, 1, 2), _unexpectedRounds(1, 2, 1, 3));
        _commit(taskId, _checkpoint(0, 1, 3), ALL);
        _refuse(taskId, _checkpoint(0, 1, 3), _unexpectedIndex(0, 1));
        _refuse(taskId, _checkpoint(1, 4, 6), _unexpectedRounds(4, 6, 4, 5));
        ITaskTypes.Checkpoint memory empty = _checkpoint(1, 4, 5);
        empty.recordsRoot = 0;
        _refuse(taskId, empty, abi.encodeWithSelector(ITaskTypes.ZeroDigest.selector));
    }

    function test_commitCheckpoint_quorum() external {
        uint256 taskId = _running();
        // 2 of 3 are 66.66 percent, less than the 66.67 that the terms ask for.
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), 3);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.QuorumNotReached.selector, 2, 3, 6667));
        ledger.commitCheckpoint(taskId, next, 3, "", signature);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.QuorumNotReached.selector, 0, 3, 6667));
        ledger.commitCheckpoint(taskId, next, 0, "", new bytes(256));
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.SignersBeyondRoster.selector, 11, 3));
        ledger.commitCheckpoint(taskId, next, 11, "", signature);
        // Claiming that all signed does not help.
        vm.expectRevert(ITaskTypes.InvalidSignature.selector);
        ledger.commitCheckpoint(taskId, next, ALL, "", signature);
    }

    function test_commitCheckpoint_absentMembersAreTakenOut() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.minContributors = 4;
        uint256 taskId = _open(terms);
        _postBonds(taskId);
        for (uint256 i = 0; i < 4; ++i) {
            _register(i);
            _join(taskId, i);
        }
        vm.prank(coordinator);
        ledger.start(taskId);
        _commit(taskId, _checkpoint(0, 1, 3), 13); // member 1 is absent
        ITaskTypes.Checkpoint memory next = _checkpoint(1, 4, 5);
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), 13);
        bytes[] memory keys = ledger.rosterKeys(taskId);
        vm.expectRevert(ITaskTypes.InvalidSignature.selector);
        ledger.commitCheckpoint(taskId, next, 14, keys[0], signature); // another one is
        // Whatever else is taken out, the sum is not that of the members who signed.
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NotTheAbsentKey.selector, 1));
        ledger.commitCheckpoint(taskId, next, 13, keys[0], signature);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidAbsentKeys.selector, 0, 128));
        ledger.commitCheckpoint(taskId, next, 13, "", signature);
        bytes memory both = bytes.concat(keys[1], keys[0]);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidAbsentKeys.selector, 256, 128));
        ledger.commitCheckpoint(taskId, next, 13, both, signature);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidAbsentKeys.selector, 128, 0));
        ledger.commitCheckpoint(taskId, next, 15, keys[1], signature);
        ledger.commitCheckpoint(taskId, next, 13, keys[1], signature);
    }

    /// @dev Promise 12: good for one chain, one contract, one task, one position, one purpose.
    function test_commitCheckpoint_signatureBindsItsPlace() external {
        uint256 taskId = _running();
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        bytes32 right = ledger.checkpointMessage(taskId, next);
        uint256 chain = block.chainid;
        vm.chainId(chain + 1);
        bytes32 elsewhere = ledger.checkpointMessage(taskId, next);
        vm.chainId(chain);
        bytes32[4] memory wrong = [
            elsewhere,
            ledger.checkpointMessage(taskId + 1, next),
            ledger.checkpointMessage(taskId, _checkpoint(1, 1, 3)),
            ledger.finalMessage(taskId, _report())
        ];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.assertTrue(wrong[i] != right);
            bytes memory signature = _cosign(wrong[i], ALL);
            vm.expectRevert(ITaskTypes.InvalidSignature.selector);
            ledger.commitCheckpoint(taskId, next, ALL, "", signature);
        }
    }

    function test_messages_areTheAgreedOnes() external {
        uint256 taskId = _revealing();
        ITaskTypes.Checkpoint memory c = _checkpoint(0, 1, 3);
        bytes32 digest = keccak256("task");
        vm.assertEq(
            ledger.checkpointMessage(taskId, c),
            keccak256(
                abi.encode(
                    keccak256("covalue.checkpoint.v1"),
                    block.chainid,
                    address(ledger),
                    taskId,
                    digest,
                    c.index,
                    c.firstRound,
                    c.lastRound,
                    c.recordsRoot,
                    c.modelDigest
                )
            )
        );
        ITaskTypes.FinalReport memory r = _report();
        vm.assertEq(
            ledger.finalMessage(taskId, r),
            keccak256(
                abi.encode(
                    keccak256("covalue.final.v1"),
                    block.chainid,
                    address(ledger),
                    taskId,
                    digest,
                    _checkpoint(1, 4, 5).modelDigest,
                    r.scoreDigest,
                    r.payoutRoot,
                    r.payoutTotal,
                    r.shareRoot,
                    r.epsilonMicro
                )
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Covalue"),
                keccak256("1"),
                block.chainid,
                address(ledger)
            )
        );
        bytes32 record = keccak256(
            abi.encode(
                keccak256("RoundRecord(uint256 taskId,uint256 round,bytes32 digest)"),
                taskId,
                uint256(2),
                digest
            )
        );
        vm.assertEq(
            ledger.roundRecordDigest(taskId, 2, digest),
            keccak256(abi.encodePacked(hex"1901", domain, record))
        );
    }

    function test_openPart_returnsTheBond() external {
        uint256 taskId = _revealing();
        bytes memory mismatch = abi.encodeWithSelector(
            ITaskTypes.CommitmentMismatch.selector,
            0,
            _commitment("salt b", "part a"),
            _commitment("salt a", "part a")
        );
        vm.prank(HOLDER_A);
        vm.expectRevert(mismatch);
        ledger.openPart(taskId, 0, "salt b", "part a", "bafkreiparta");
        vm.prank(HOLDER_B);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.NotHolder.selector, HOLDER_B, HOLDER_A));
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        vm.prank(HOLDER_A);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.UnknownPart.selector, 2, 2));
        ledger.openPart(taskId, 2, "salt a", "part a", "bafkreiparta");
        vm.prank(HOLDER_A);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidCidLength.selector, 0, 128));
        ledger.openPart(taskId, 0, "salt a", "part a", "");
        _openParts(taskId);
        vm.assertEq(token.balanceOf(HOLDER_A), PART_BOND);
        ITaskTypes.PartStatus memory part = ledger.partOf(taskId, 0);
        vm.assertTrue(part.opened);
        vm.assertFalse(part.bonded);
        vm.assertEq(part.partDigest, "part a");
        vm.assertEq(part.partCid, "bafkreiparta");
        vm.prank(HOLDER_A);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.PartAlreadyOpened.selector, 0));
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
    }

    function test_close_waitsForPartsAndBurnsTheBondsOfTheRest() external {
        uint256 taskId = _revealing();
        vm.prank(HOLDER_A);
        ledger.openPart(taskId, 0, "salt a", "part a", "bafkreiparta");
        ITaskTypes.FinalReport memory report = _report();
        bytes memory signature = _cosign(ledger.finalMessage(taskId, report), ALL);
        uint256 limit = ledger.taskOf(taskId).revealDeadline;
        vm.warp(limit);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooEarly.selector, limit, limit));
        ledger.close(taskId, report, ALL, "", signature);
        vm.warp(limit + 1);
        vm.prank(HOLDER_B);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooLate.selector, limit + 1, limit));
        ledger.openPart(taskId, 1, "salt b", "part b", "bafkreipartb");
        uint256 supply = token.totalSupply();
        ledger.close(taskId, report, ALL, "", signature);
        vm.assertEq(token.totalSupply(), supply - PART_BOND);
        vm.assertFalse(ledger.partOf(taskId, 1).bonded);
        vm.assertFalse(ledger.partOf(taskId, 1).opened);
        vm.assertTrue(ledger.taskOf(taskId).state == ITaskTypes.State.Closed);
        vm.assertEq(ledger.taskOf(taskId).challengeDeadline, block.timestamp + 3 days);
        vm.assertEq(keccak256(abi.encode(ledger.finalOf(taskId))), keccak256(abi.encode(report)));
    }

    function test_close_refusals() external {
        uint256 taskId = _revealing();
        _openParts(taskId);
        ITaskTypes.FinalReport memory report = _report();
        bytes memory signature = _cosign(ledger.finalMessage(taskId, report), ALL);
        report.payoutTotal = BUDGET + 1;
        vm.expectRevert(
            abi.encodeWithSelector(ITaskTypes.BudgetExceeded.selector, BUDGET + 1, BUDGET)
        );
        ledger.close(taskId, report, ALL, "", signature);
        report = _report();
        report.scoreDigest = 0;
        vm.expectRevert(ITaskTypes.ZeroDigest.selector);
        ledger.close(taskId, report, ALL, "", signature);
        report = _report();
        report.payoutRoot = 0;
        vm.expectRevert(ITaskTypes.ZeroDigest.selector);
        ledger.close(taskId, report, ALL, "", signature);
        // Whether or not it promises anything: the end of the task would be held up for good.
        report = _report();
        report.payoutRoot = bytes32(uint256(1));
        vm.expectRevert(ITaskTypes.ReservedRoot.selector);
        ledger.close(taskId, report, ALL, "", signature);
        report.payoutTotal = 0;
        vm.expectRevert(ITaskTypes.ReservedRoot.selector);
        ledger.close(taskId, report, ALL, "", signature);
        report = _report();
        report.scoreCid = string(new bytes(129)); // unsigned, so its size must be bounded
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.InvalidCidLength.selector, 129, 128));
        ledger.close(taskId, report, ALL, "", signature);
        report = _report();
        report.shareRoot = keccak256("other shares");
        vm.expectRevert(ITaskTypes.InvalidSignature.selector);
        ledger.close(taskId, report, ALL, "", signature);
    }

    function test_finalise_fundsPayoutsBurnsTheRestReturnsTheBond() external {
        uint256 taskId = _closed();
        uint256 limit = ledger.taskOf(taskId).challengeDeadline;
        vm.warp(limit);
        vm.expectRevert(abi.encodeWithSelector(ITaskTypes.TooEarly.selector, limit, limit));
        ledger.finalise(taskId);
        vm.warp(limit + 1);
        uint256 supply = token.totalSupply();
        ledger.finalise(taskId);
        vm.assertEq(token.balanceOf(address(distributor)), 900 ether);
        vm.assertEq(token.totalSupply(), supply - 100 ether);
        vm.assertEq(token.balanceOf(coordinator), BOND);
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.assertEq(distributor.rootOf(taskId), keccak256("payouts"));
        vm.assertEq(ledger.endedAt(taskId), block.timestamp);
        vm.assertEq(registry.contributorOf(_member(0)).locks, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                ITaskTypes.WrongState.selector, taskId, ITaskTypes.State.Finalised
            )
        );
        ledger.finalise(taskId);
    }

    function test_finalise_withNothingToPay() external {
        uint256 taskId = _revealing();
        _openParts(taskId);
        ITaskTypes.FinalReport memory report = _report();
        (report.payoutTotal, report.payoutRoot) = (0, 0);
        _close(taskId, report, ALL);
        vm.warp(ledger.taskOf(taskId).challengeDeadline + 1);
        ledger.finalise(taskId);
        vm.assertEq(token.balanceOf(address(ledger)), 0);
        vm.assertEq(token.balanceOf(address(distributor)), 0);
    }

    function test_aTaskWithoutPartsClosesAtOnce() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.parts = new ITaskTypes.Part[](0);
        terms.revealWindow = 0;
        (terms.rounds, terms.checkpointLength) = (1, 1);
        (terms.minContributors, terms.coordinatorBond) = (1, 0);
        uint256 taskId = _open(terms);
        _register(0);
        _join(taskId, 0);
        vm.prank(coordinator);
        ledger.start(taskId);
        _commit(taskId, _checkpoint(0, 1, 1), 1);
        _close(taskId, _report(), 1);
        vm.assertTrue(ledger.taskOf(taskId).state == ITaskTypes.State.Closed);
    }

    /// @dev A full roster of 256: the work stays bounded whoever is absent.
    function test_aRosterOf256() external {
        ITaskTypes.Terms memory terms = _terms();
        terms.maxContributors = 256;
        uint256 taskId = _open(terms);
        _postBonds(taskId);
        for (uint256 i = 0; i < 256; ++i) {
            _register(i);
            _join(taskId, i);
        }
        vm.prank(coordinator);
        ledger.start(taskId);
        ITaskTypes.Checkpoint memory next = _checkpoint(0, 1, 3);
        uint256 signers = type(uint256).max >> 85; // 171 of 256, the least above two thirds
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), signers);
        bytes memory absentKeys = _absentKeys(taskId, signers);
        uint256 gasBefore = gasleft();
        ledger.commitCheckpoint(taskId, next, signers, absentKeys, signature);
        vm.assertLe(gasBefore - gasleft(), 2_500_000, "85 absent members");
        next = _checkpoint(1, 4, 5);
        signature = _cosign(ledger.checkpointMessage(taskId, next), type(uint256).max);
        gasBefore = gasleft();
        ledger.commitCheckpoint(taskId, next, type(uint256).max, "", signature);
        vm.assertLe(gasBefore - gasleft(), 500_000, "nobody absent");
    }

    function _refuse(uint256 taskId, ITaskTypes.Checkpoint memory next, bytes memory reason)
        private
    {
        bytes memory signature = _cosign(ledger.checkpointMessage(taskId, next), ALL);
        vm.expectRevert(reason);
        ledger.commitCheckpoint(taskId, next, ALL, "", signature);
    }

    function _unexpectedIndex(uint256 given, uint256 expected) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ITaskTypes.UnexpectedIndex.selector, given, expected);
    }

    function _unexpectedRounds(
        uint256 first,
        uint256 last,
        uint256 expectedFirst,
        uint256 expectedLast
    ) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            ITaskTypes.UnexpectedRounds.selector, first, last, expectedFirst, expectedLast
        );
    }
}
