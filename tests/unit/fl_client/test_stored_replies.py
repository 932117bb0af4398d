# SPDX-License-Identifier: Apache-2.0
"""A stored reply goes out only as the whole reply that the ledger names, signed by this vault."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
from vault_world import VaultWorld, make_world, world

from dao.cid import blob_ref
from dao.keystore import BlsKey
from dao.records import Receipt
from fl_client.refusals import Code, Refused

__all__ = ["world"]


def reply(world: VaultWorld, kind: str, number: int = 1) -> Path:
    return world.config.folder / "answers" / world.task.digest() / f"{number}.{kind}"


def refused(world: VaultWorld, number: int = 1) -> Refused:
    """Why the round's stored reply is not sent; nothing in the vault is changed by asking."""
    before = contents(world.config.folder)
    for ask in (
        lambda: world.open().answer(world.request(number)),
        lambda: world.open().stored_answer(world.task.digest(), number),
    ):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.code is Code.LEDGER
        assert "answers/" in (caught.value.hint or "")
    assert contents(world.config.folder) == before
    return caught.value


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edited(receipt: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    stated = json.loads(receipt)
    change(stated)
    return rfc8785.dumps(stated)


def _position(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stated: stated["body"]["position"].update(changes)


def _body(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda stated: stated["body"].update(changes)


SIGNATURE = "does not bear the signature"
EDITS = {
    "task": (_position(task_digest="ab" * 32), "another task: abab"),
    "round": (_position(round=2), "another round: 2, expected 1"),
    "contributor": (_body(contributor="0x" + "99" * 20), "another contributor: 0x99"),
    "base": (_body(base_model_sha256="cd" * 32), "another base model: cdcd"),
    "update": (_body(update=blob_ref(b"x").model_dump(mode="json")), "another update"),
    "chain": (_position(chain_id=1), SIGNATURE),
    "contract": (_position(ledger="0x" + "44" * 20), SIGNATURE),
    "task id": (_position(task_id=8), SIGNATURE),
    "noise": (lambda stated: stated["body"]["event"].update(seeded=False), SIGNATURE),
    "signature": (lambda stated: stated.update(signature="0x" + "11" * 96), SIGNATURE),
    "no signature": (lambda stated: stated.update(signature="0x"), SIGNATURE),
}


@pytest.mark.parametrize(("change", "words"), EDITS.values(), ids=EDITS)
def test_a_receipt_that_states_something_else_is_not_sent(
    world: VaultWorld, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    first = world.open().answer(world.request())
    reply(world, "receipt").write_bytes(edited(first.receipt, change))
    error = refused(world)
    assert words in error.message
    assert str(reply(world, "receipt")) in error.message
    reply(world, "receipt").write_bytes(first.receipt)
    assert world.open().answer(world.request()) == first


def test_a_damaged_receipt_is_not_sent(world: VaultWorld) -> None:
    """Cut anywhere, garbage, or with any bit turned: no such bytes leave."""
    first = world.open().answer(world.request())
    whole = first.receipt
    generator = np.random.default_rng(0)
    damaged = [b"", b"garbage", b"\0" * len(whole), b"[" * 100_000, whole + b"\n", whole[:-1]]
    for place in generator.integers(0, len(whole), 60):
        turned = bytearray(whole)
        turned[place] ^= 1 << int(generator.integers(0, 8))
        damaged.append(bytes(turned))
    vault = world.open()
    for bytes_ in damaged:
        reply(world, "receipt").write_bytes(bytes_)
        with pytest.raises(Refused) as caught:
            vault.answer(world.request())
        assert caught.value.code is Code.LEDGER
        assert "the stored receipt" in caught.value.message
    assert "is damaged" in refused_with(world, b"garbage").message
    reply(world, "receipt").write_bytes(whole)
    assert vault.answer(world.request()) == first


def refused_with(world: VaultWorld, receipt: bytes) -> Refused:
    reply(world, "receipt").write_bytes(receipt)
    return refused(world)


def test_another_rounds_whole_reply_is_not_sent(world: VaultWorld) -> None:
    world.open().answer(world.request(1))
    second = world.open().answer(world.request(2))
    assert "another round: 2, expected 1" in refused_with(world, second.receipt).message
    reply(world, "update").write_bytes(second.update)
    assert "not the one in the ledger" in refused(world).message


def test_a_receipt_of_another_key_is_not_sent(world: VaultWorld) -> None:
    """Signed validly, but not by this vault: its key file was changed for another vault's."""
    first = world.open().answer(world.request())
    other = BlsKey(hashlib.sha256(b"another").digest()[:31].rjust(32, b"\0"))
    body = Receipt.parse(first.receipt).body
    forged = Receipt(body=body, signature="0x" + other.sign(body.signing_digest()).hex())
    assert SIGNATURE in refused_with(world, forged.canonical()).message


def test_what_is_gone_or_another_update_is_refused(tmp_path: Path) -> None:
    for kind in ("receipt", "update"):
        (tmp_path / kind).mkdir()
        world = make_world(tmp_path / kind)
        world.config = dataclasses.replace(world.config, noise_seed=None)
        first = world.open().answer(world.request())
        path = reply(world, kind)
        kept = path.read_bytes()
        path.unlink()
        error = refused(world)
        assert "its reply is gone" in error.message
        assert str(path) in error.message
        path.write_bytes(kept)
        assert world.open().answer(world.request()) == first
