# SPDX-License-Identifier: Apache-2.0
"""Small federations for the independent verifier, trained by the product; one vault of each lies.

What the liar does in a round is a word: `copy`, `wrong-event`, `norm` and so on are the reason for
which it should be excluded, `poison` is a great update that only the public rows can judge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import pandas as pd
from eth_abi import decode
from eth_utils import keccak
from flwr.app import ConfigRecord, Message, RecordDict

from audit.chain_state import TaskOnChain, read_chain
from dao.cid import blob_ref
from dao.records import Receipt
from dao.settings import load_settings
from demo.devnet import Devnet, dev_account
from demo.market import generate_market
from fl_client.client_app import make_client_app
from fl_client.opening import open_vault
from fl_server.context import Progress
from fl_server.coordinate import train_task
from fl_server.opening import open_context
from tests.federation_town import COORDINATOR, Town, address, bls_key, build_town
from tests.independent.facts import Chain, Cosigned, Final, Member, Part, Stretch
from tests.plain_grid import PlainGrid
from tests.playing_town import QUICK, Played

CONTRIBUTORS, LIAR = 4, 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """A task to be played: its family and rule, its training rounds, rows of each contributor, what
    the liar does in which of all rounds (the survey is a round)."""

    family: str
    rule: str
    rounds: int
    rows_each: int
    lies: dict[int, str]


PLANS = {
    # so many rows that some pass what noise alone may score, and are paid
    "newton": Plan(
        "kernel", "sum", 4, 1_000, {1: "copy", 2: "wrong-event", 3: "norm", 4: "poison"}
    ),
    "wiener": Plan("kernel", "wiener", 2, 40, {1: "bad-signature", 2: "poison"}),
    "adam": Plan("mlp", "sum", 3, 50, {1: "out-of-range", 2: "old copy", 3: "missing"}),
}


class LyingGrid(PlainGrid):
    """A grid on which what vault LIAR sends is replaced by what its key signs for the lie. It sees
    what the first contributor has staged, since no update travels before all receipts do."""

    def __init__(self, town: Town, plan: Plan, app: Any) -> None:
        super().__init__(app, CONTRIBUTORS)
        self._town, self._plan = town, plan
        self._firsts: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        self._kept: bytes | None = None
        self.tamper = self._lie

    def _lie(self, node: int, message: Message, reply: Message) -> Message | None:
        kind, number = message.metadata.message_type, message.content["covalue"].get("round")
        lie = self._plan.lies.get(number) if isinstance(number, int) else None
        if node != LIAR + 1 or lie is None or kind not in ("train", "query.reveal"):
            return reply
        if lie == "missing":
            return None
        if kind == "query.reveal":
            assert self._kept is not None
            sent: Any = {"account": address(10 + LIAR), "update": self._kept}
            return Message(RecordDict({"covalue": ConfigRecord(sent)}), reply_to=message)
        self._firsts.append(self._staged(0, number))
        receipt = Receipt.parse(reply.content["covalue"]["receipt"])
        self._kept, signed = self._told(lie, self._staged(LIAR, number), receipt)
        reply.content["covalue"]["receipt"] = signed
        return reply

    def _staged(self, place: int, number: int) -> Any:
        folder = self._town.vaults[place].parent / "vault" / "answers" / self._town.task.digest()
        return np.frombuffer((folder / f"{number}.update").read_bytes(), "<i8")

    def _told(self, lie: str, sent: Any, receipt: Receipt) -> tuple[bytes, bytes]:
        task = self._town.task
        body, update = receipt.body, sent.tobytes()
        if lie == "copy":
            update = (-self._firsts[-1]).astype("<i8").tobytes()
        elif lie == "old copy":
            update = self._firsts[0].tobytes()
        elif lie == "out-of-range":
            update = np.where(np.arange(sent.size) == 7, 2**62, sent).astype("<i8").tobytes()
        elif lie == "norm":
            update = (sent * 10**6).astype("<i8").tobytes()
        elif lie == "poison":
            clip = task.policy.clip_norm_nano / 1e9 * 2**task.model.update_grid_bits
            other = self._firsts[-1].astype(float)
            # as far as half of all units could pull, the other way
            away = sent - 0.5 * task.policy.public_n * clip * other / np.linalg.norm(other)
            update = np.rint(away).astype("<i8").tobytes()
        elif lie == "wrong-event":
            event = body.event.model_copy(update={"clip_norm_nano": 1})
            body = body.model_copy(update={"event": event})
        body = body.model_copy(update={"update": blob_ref(update)})
        key = bls_key(self._town, LIAR if lie != "bad-signature" else 0)
        signature = "0x" + key.sign(body.signing_digest()).hex()
        return update, Receipt(body=body, signature=signature).canonical()


@dataclasses.dataclass(frozen=True)
class Federation:
    """A finalised task: what the product sees of it, and the same as the verifier is given it."""

    played: Played
    plan: Plan
    seen: TaskOnChain
    chain: Chain
    blocks: dict[str, bytes]


def _market(rows: int, seed: int) -> pd.DataFrame:
    """The generated sales, one row of a sealed part not within its bounds: it must not judge. With
    it gone the rows that judge are no multiple of eight, which random signs are drawn by."""
    found = generate_market(rows, seed)
    found.loc[found.index[155], "quality"] = 99
    return found


@contextmanager
def play(folder: Path, plan: Plan) -> Iterator[Federation]:
    """Build, train, close and finalise; the chain lives as long as the context."""
    with Devnet() as net:
        with patch("tests.federation_town.generate_market", _market):
            town = build_town(
                folder,
                net,
                contributors=CONTRIBUTORS,
                rounds=plan.rounds,
                rows_each=plan.rows_each,
                family=plan.family,
                rule=plan.rule,
            )
        town.share_store()
        _train(town, plan)
        net.advance(town.task.terms.challenge_seconds + 1)
        town.send(COORDINATOR, town.dao.ledger.finalise(town.task_id))
        seen = read_chain(town.dao, town.task_id)
        blocks = {p.name: p.read_bytes() for p in town.store.path.rglob("*") if p.is_file()}
        yield Federation(Played(town), plan, seen, chain_facts(net.rpc_url, seen), blocks)


def _train(town: Town, plan: Plan) -> None:
    vaults = [open_vault(load_settings(path)) for path in town.vaults]

    def progress(each: Progress) -> None:
        if each.kind == "revealing":
            town.open_parts()

    context = open_context(
        town.coordinator,
        task_id=town.task_id,
        progress=progress,
        authenticated=False,
        account=dev_account(COORDINATOR),
    )
    app = make_client_app(lambda context: vaults[int(context.node_config["partition-id"])])
    # a coordinator that lists what nobody signed: such a receipt is excluded in the record
    lists_anything = patch("fl_server.collecting._signed", lambda receipt, member: True)
    try:
        with lists_anything:
            train_task(LyingGrid(town, plan, app), dataclasses.replace(context, timing=QUICK))
    finally:
        context.journal.close()


COMMIT = "commitCheckpoint(uint256,(uint32,uint32,uint32,bytes32,bytes32),uint256,bytes,bytes)"
CLOSE = "close(uint256,(bytes32,string,bytes32,uint256,bytes32,uint64),uint256,bytes,bytes)"


COMMITTED = "CheckpointCommitted(uint256,uint256,uint32,uint32,bytes32,bytes32,uint256)"


def _rpc(rpc_url: str, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return httpx.post(rpc_url, json=body).json()["result"]


def _seeds(rpc_url: str, ledger: str) -> list[tuple[int, str]]:
    """Number and hash of the block after each commitment, in order."""
    topic = "0x" + keccak(text=COMMITTED).hex()
    query = {"address": ledger, "fromBlock": "0x0", "topics": [topic]}
    numbers = [int(log["blockNumber"], 16) + 1 for log in _rpc(rpc_url, "eth_getLogs", query)]
    blocks = [_rpc(rpc_url, "eth_getBlockByNumber", hex(number), False) for number in numbers]
    return [(number, each["hash"][2:]) for number, each in zip(numbers, blocks, strict=True)]


def _cosigned(rpc_url: str, ledger: str, function: str) -> list[Cosigned]:
    """Bitmaps and signatures of all calls of a function that passed, read from the calls."""
    logs = _rpc(rpc_url, "eth_getLogs", {"address": ledger, "fromBlock": "0x0"})
    selector = keccak(text=function)[:4]
    types = function[function.index("(") + 1 : -1]
    found = []
    for each in dict.fromkeys(log["transactionHash"] for log in logs):
        data = bytes.fromhex(_rpc(rpc_url, "eth_getTransactionByHash", each)["input"][2:])
        if data[:4] == selector:
            tuple_type = types[types.index(",") + 1 : types.rindex(")") + 1]
            arguments = ["uint256", tuple_type, "uint256", "bytes", "bytes"]
            _, _, signers, _, signature = decode(arguments, data[4:])
            found.append(Cosigned(signers=signers, signature=signature))
    return found


def chain_facts(rpc_url: str, seen: TaskOnChain) -> Chain:
    """What the verifier is told of the chain."""
    assert seen.final is not None
    commits = _cosigned(rpc_url, seen.ledger, COMMIT)
    (closing,) = _cosigned(rpc_url, seen.ledger, CLOSE)
    final = seen.final
    return Chain(
        chain_id=seen.chain_id,
        ledger=seen.ledger,
        task_id=seen.task_id,
        task=seen.task.task_digest,
        coordinator=seen.task.coordinator,
        roster=tuple(Member(each.address, each.bls_public_key) for each in seen.roster),
        stretches=tuple(
            Stretch(
                each.index,
                each.first_round,
                each.last_round,
                each.records_root,
                each.model_digest,
                seed,
                cosigned,
            )
            for each, seed, cosigned in zip(
                seen.checkpoints, _seeds(rpc_url, seen.ledger), commits, strict=True
            )
        ),
        final=Final(
            final.score_digest,
            final.payout_root,
            final.payout_total_wei,
            final.share_root,
            final.epsilon_micro,
            closing,
        ),
        parts=tuple(
            Part(
                each.part,
                each.salt,
                each.part_digest,
                each.part_cid,
                seen.terms.parts[each.part].commitment,
            )
            for each in seen.opened
        ),
    )
