# SPDX-License-Identifier: Apache-2.0
"""What a coordinator with a quorum of liars could have published: one thing is changed, and every
digest, link and signature above it is made right again."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from eth_account.messages import encode_typed_data

from audit.chain_state import TaskOnChain
from demo.devnet import dev_account
from tests.federation_town import COORDINATOR, FIRST_CONTRIBUTOR, address, bls_key
from tests.independent.canonical import canonical, cid_of, cid_of_record, sha256
from tests.independent.facts import Chain
from tests.independent.liar_town import CONTRIBUTORS, Federation
from tests.independent.signatures import receipt_message

Leaf = tuple[str | int, ...]
Edit = tuple[Leaf, Any]


def leaves(value: Any, path: Leaf = ()) -> list[Leaf]:
    """Paths to all that is neither an object nor an array."""
    if isinstance(value, dict):
        return [each for name in sorted(value) for each in leaves(value[name], (*path, name))]
    if isinstance(value, list):
        return [each for at, item in enumerate(value) for each in leaves(item, (*path, at))]
    return [path]


def at(value: Any, path: Leaf) -> Any:
    """What stands at a path."""
    for step in path:
        value = value[step]
    return value


def _edit(document: Any, edit: Edit | None) -> None:
    if edit is not None:
        path, value = edit
        at(document, path[:-1])[path[-1]] = value


@dataclasses.dataclass
class Forged:
    """Another history of the same task: blocks, and the chain as product and verifier see it."""

    blocks: dict[str, bytes]
    seen: TaskOnChain
    chain: Chain


class Forger:
    """Reads a federation's documents once and makes other histories of it."""

    def __init__(self, federation: Federation) -> None:
        self._from = federation
        chain, blocks = federation.chain, federation.blocks
        self.checkpoints = [json.loads(blocks[cid_of_record(e.root)]) for e in chain.stretches]
        self.records = [
            json.loads(blocks[reference["cid"]])
            for checkpoint in self.checkpoints
            for reference in checkpoint["records"]
        ]
        self.report = json.loads(blocks[cid_of_record(chain.final.scores)])
        town = federation.played.town
        self._keys = {
            address(FIRST_CONTRIBUTOR + place): bls_key(town, place)
            for place in range(CONTRIBUTORS)
        }

    def document(self, name: str) -> Any:
        """By name: `record 2` (from 1), `checkpoint 0`, `report`."""
        kind, _, number = name.partition(" ")
        if kind == "record":
            return self.records[int(number) - 1]["record"]
        return self.checkpoints[int(number)] if kind == "checkpoint" else self.report

    def forge(
        self,
        name: str = "",
        edit: Edit | None = None,
        *,
        blob: tuple[str, bytes] | None = None,
        resign: bool = True,
    ) -> Forged:
        """A history in which the document `name` has another value at a path (`edit`), or the
        blob of a CID is another.

        With `resign` receipts that come to say something else are signed again by their vaults."""
        self._swaps: dict[str, str] = {}
        self._blocks = dict(self._from.blocks)
        if blob is not None:
            self._swap(self._blocks[blob[0]], blob[1])
        for number, signed in enumerate(self.records, start=1):
            self._record(signed, edit if name == f"record {number}" else None, resign)
        roots, models = [], []
        for index, checkpoint in enumerate(self.checkpoints):
            changed = self._swapped(checkpoint)
            for link in changed["records"]:
                link["size"] = len(self._blocks[link["cid"]])
            _edit(changed, edit if name == f"checkpoint {index}" else None)
            roots.append(self._put(checkpoint, changed))
            models.append(changed["model"]["sha256"])
        report = self._swapped(self.report)
        _edit(report, edit if name == "report" else None)
        return self._chain(roots, models, report, self._put(self.report, report))

    def _swap(self, before: bytes, after: bytes) -> None:
        self._blocks[cid_of(after)] = after
        self._swaps |= {cid_of(before): cid_of(after), sha256(before): sha256(after)}

    def _swapped(self, document: Any) -> Any:
        text = json.dumps(document)
        for old, new in self._swaps.items():
            text = text.replace(old, new)
        return json.loads(text)

    def _put(self, before: Any, after: Any) -> str:
        old, new = canonical(before), canonical(after)
        self._swap(old, new)
        return sha256(new)

    def _record(self, signed: Any, edit: Edit | None, resign: bool) -> None:
        before, changed = signed["record"], self._swapped(signed["record"])
        _edit(changed, edit)
        if resign:
            self._resign(before, changed)
        digest = sha256(canonical(changed))
        self._swaps[sha256(canonical(before))] = digest
        number = before["position"]["round"]
        after = {"record": changed, "signature": self._coordinator_signs(number, digest)}
        self._put(signed, after)

    def _resign(self, before: Any, changed: Any) -> None:
        forged = {e["contributor"] for e in before["exclusions"] if e["reason"] == "bad-signature"}
        for was, now in zip(_receipts(before), _receipts(changed), strict=True):
            if was is None or not isinstance(now, dict) or was["body"] == now["body"]:
                continue
            key = self._keys.get(now["body"]["contributor"])
            if key is not None and was["body"]["contributor"] not in forged:
                now["signature"] = "0x" + key.sign(receipt_message(now["body"])).hex()

    def _coordinator_signs(self, number: int, digest: str) -> str:
        chain = self._from.chain
        fields = [("taskId", "uint256"), ("round", "uint256"), ("digest", "bytes32")]
        message = encode_typed_data(
            {
                "name": "Covalue",
                "version": "1",
                "chainId": chain.chain_id,
                "verifyingContract": chain.ledger,
            },
            {"RoundRecord": [{"name": name, "type": kind} for name, kind in fields]},
            {"taskId": chain.task_id, "round": number, "digest": bytes.fromhex(digest)},
        )
        return "0x" + dev_account(COORDINATOR).sign_message(message).signature.hex()

    def _chain(self, roots: list[str], models: list[str], report: Any, scores: str) -> Forged:
        """The chain as liars would have committed it; the contract's own checks are passed by."""
        seen, chain = self._from.seen, self._from.chain
        assert seen.final is not None
        money = {
            "payout_root": str(report["payout_root"]),
            "share_root": str(report["share_root"]),
            "epsilon_micro": max(each["epsilon_micro"] for each in report["results"]),
        }
        total = int(report["payout_total_wei"])
        both = list(zip(roots, models, strict=True))
        return Forged(
            self._blocks,
            dataclasses.replace(
                seen,
                task=dataclasses.replace(seen.task, model_digest=models[-1]),
                checkpoints=tuple(
                    dataclasses.replace(each, records_root=root, model_digest=model)
                    for each, (root, model) in zip(seen.checkpoints, both, strict=True)
                ),
                final=dataclasses.replace(
                    seen.final,
                    score_digest=scores,
                    score_cid=cid_of_record(scores),
                    payout_total_wei=total,
                    **money,
                ),
                payout_root=money["payout_root"],
                funded_wei=total,
            ),
            dataclasses.replace(
                chain,
                stretches=tuple(
                    dataclasses.replace(each, root=root, model=model, cosigned=None)
                    for each, (root, model) in zip(chain.stretches, both, strict=True)
                ),
                final=dataclasses.replace(
                    chain.final, scores=scores, payout_total=total, cosigned=None, **money
                ),
            ),
        )


def _receipts(record: Any) -> list[Any]:
    """What stands in the places of receipts, in order; null where there is none."""
    return [*record["receipts"], *(each["receipt"] for each in record["exclusions"])]
