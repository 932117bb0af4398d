# SPDX-License-Identifier: Apache-2.0
"""The lists of receipts that a vault was shown, one for each round it handed an update out for.

The first list that it is shown for a round is the only one: it is made durable before the update
leaves, another one afterwards is kept as evidence and refused. Two lists, or a list and a record,
both signed by the coordinator and telling of different receipts, show that somebody signed after it
had seen others' updates.
"""

from __future__ import annotations

from pathlib import Path

from dao.errors import RecordError
from dao.records import RoundRecord, SignedReceiptList
from fl_client.answers import write_durably, writing
from fl_client.refusals import Code, Refused
from fl_client.regular_file import read_regular


class ReceiptLists:
    """The lists beside a vault's replies, in `folder/<task digest>/<round>.receipts`; a second one
    lies in `<round>.receipts.other`. Hold the vault's lock while using it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shown(self, task_digest: str, round_number: int) -> SignedReceiptList | None:
        """The list of a round, None where no update was handed out; Refused(ledger) when it is
        damaged."""
        path = self._path(task_digest, round_number)
        try:
            data = read_regular(path)
            return None if data is None else SignedReceiptList.parse(data)
        except (OSError, RecordError) as error:
            raise Refused(
                Code.LEDGER,
                f"the list of round {round_number}'s receipts cannot be read: {path}: {error}",
                hint="restore the vault's answers/ folder from its newest copy",
            ) from error

    def keep(self, task_digest: str, round_number: int, given: SignedReceiptList) -> None:
        """Make a round's list durable. Refused(other-receipts) where it was shown another one,
        which stays; Refused(unavailable) where the disk does not take it."""
        path = self._path(task_digest, round_number)
        first = self.shown(task_digest, round_number)
        if first is not None and first.body == given.body:
            return
        kept = path if first is None else path.with_name(path.name + ".other")
        with writing(kept):
            write_durably(kept, given.canonical())
        if first is not None:
            raise Refused(
                Code.OTHER_RECEIPTS,
                f"round {round_number} has another list of receipts than the one shown before",
                hint=f"{path} and {kept} are two lists that the coordinator signed: challenge the "
                "task with both as evidence",
            )

    def check(self, task_digest: str, record: RoundRecord) -> None:
        """Refused(mismatch) where a record names other receipts than the list that this vault was
        shown before its update left."""
        number = record.position.round
        shown = self.shown(task_digest, number)
        if shown is None:
            return
        listed = {each.contributor: each.sha256 for each in shown.body.receipts}
        named = {each.body.contributor: each.digest() for each in record.receipts} | {
            each.contributor: each.receipt.digest()
            for each in record.exclusions
            if each.receipt is not None
        }
        other = sorted(who for who in listed | named if listed.get(who) != named.get(who))
        if other:
            raise Refused(
                Code.MISMATCH,
                f"round {number}: of {', '.join(other)} the record holds another receipt than the "
                "list that this vault was shown before its update left",
                hint=f"{self._path(task_digest, number)} and the record both bear the "
                "coordinator's signature: challenge the task with them as evidence",
            )

    def _path(self, task_digest: str, round_number: int) -> Path:
        return self._folder / task_digest / f"{round_number}.receipts"
