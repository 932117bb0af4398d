# SPDX-License-Identifier: Apache-2.0
"""The coordinator's side of the messages (docs/spec/flower.md); the vault's is `fl_client/wire.py`.

What comes back from a node is judged by `rounds.close_round`; here it is only taken apart, and
whatever is not of the agreed form is `None`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flwr.app import ConfigRecord, Message, RecordDict

from dao.errors import RecordError
from dao.records import Receipt

RECORD = "covalue"
TRAIN = "train"
REVEAL = "query.reveal"
COSIGN = "query.cosign"


@dataclass(frozen=True)
class Revealed:
    """An update as it came: whether it fits its contributor's receipt is not looked at yet."""

    account: str
    update: bytes


@dataclass(frozen=True)
class Cosignature:
    """A vault's co-signature as it came: not verified yet."""

    account: str
    signature: bytes


def train_content(*, task_id: int, task_digest: str, round_number: int, base: bytes) -> RecordDict:
    """The content of a `train` message."""
    return _of_round(task_id, task_digest, round_number, "base", base)


def reveal_content(
    *, task_id: int, task_digest: str, round_number: int, receipts: bytes
) -> RecordDict:
    """The content of a `query.reveal` message; `receipts` are a `SignedReceiptList`'s bytes."""
    return _of_round(task_id, task_digest, round_number, "receipts", receipts)


def cosign_content(
    *, task_id: int, task_digest: str, kind: Literal["checkpoint", "final"], record: str
) -> RecordDict:
    """The content of a `query.cosign` message; `record` is the digest to co-sign."""
    return RecordDict(
        {
            RECORD: ConfigRecord(
                {"task_id": task_id, "task_digest": task_digest, "kind": kind, "record": record}
            )
        }
    )


def read_receipt(message: Message) -> Receipt | None:
    """The receipt of a reply to `train`; None for errors and foreign forms."""
    receipt = _fields(message).get("receipt")
    if not isinstance(receipt, bytes):
        return None
    try:
        return Receipt.parse(receipt)
    except RecordError:
        return None


def read_update(message: Message) -> Revealed | None:
    """The reply to `query.reveal`; None for errors and foreign forms."""
    fields = _fields(message)
    account, update = fields.get("account"), fields.get("update")
    if not isinstance(account, str) or not isinstance(update, bytes):
        return None
    return Revealed(account=account, update=update)


def read_cosignature(message: Message) -> Cosignature | None:
    """The reply to `query.cosign`; None for errors and foreign forms."""
    fields = _fields(message)
    account, signature = fields.get("account"), fields.get("signature")
    if not isinstance(account, str) or not isinstance(signature, bytes) or len(signature) != 96:
        return None
    return Cosignature(account=account, signature=signature)


def refusal_code(message: Message) -> str | None:
    """The vault's refusal code where the reply is one; `error` for any other error reply."""
    if not message.has_error():
        return None
    reason = message.error.reason or ""
    return reason.removeprefix("covalue:") if reason.startswith("covalue:") else "error"


def _of_round(
    task_id: int, task_digest: str, round_number: int, payload: str, data: bytes
) -> RecordDict:
    record = ConfigRecord(
        {"task_id": task_id, "task_digest": task_digest, "round": round_number, payload: data}
    )
    return RecordDict({RECORD: record})


def _fields(message: Message) -> dict[str, object]:
    if not message.has_content() or RECORD not in message.content:
        return {}
    record = message.content[RECORD]
    return dict(record.items()) if isinstance(record, ConfigRecord) else {}
