# SPDX-License-Identifier: Apache-2.0
"""A second reader of Covalue's records, written from docs/SPEC.md and docs/spec/ alone.

Given what the chain shows of a finalised task and the published blocks, it recomputes all but: the
model card, sampled steps, calibration. It shares no code with the product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent import money, signatures
from tests.independent.canonical import Blocks, cid_of_record, read, sha256
from tests.independent.facts import Chain, Differs, must
from tests.independent.families import JudgingRows, judged_rows, public_judges, read_setup
from tests.independent.forms import REPORT, of_form
from tests.independent.records import Walk, cosigned
from tests.independent.rows import Rows, read_rows
from tests.independent.scores import hold_stretches
from tests.independent.terms import Terms


@dataclass(frozen=True)
class Verified:
    """What was found in order: rounds, and coordinates of models that are one step of the grid off
    what was recomputed."""

    rounds: int
    off_by_one: int


def verify(chain: Chain, published: Mapping[str, bytes], *, allow_seeded: bool) -> Verified:
    """Hold everything that is published of a task against the rest; `Differs` names what is not
    as the specification says."""
    try:
        return _verify(chain, Blocks(published), allow_seeded)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Differs("published bytes", f"not of the form of a record: {error!r}") from error


def _verify(chain: Chain, blocks: Blocks, allow_seeded: bool) -> Verified:
    task = read(blocks.file(cid_of_record(chain.task), "task"), "task")
    must(task["kind"] == "covalue.task/1", "task", "not a task")
    must(task["terms"]["coordinator"] == chain.coordinator, "task", "of another coordinator")
    setup = read_setup(blocks.referred(task["model"]["setup"], "set-up"))
    walk = Walk(chain, blocks, Terms(task), setup, allow_seeded)
    walk.run()
    _report(walk, task, blocks)
    if task["public_rows"] is not None:
        blocks.referred(task["public_rows"], "public rows")
    return Verified(len(walk.done), sum(each.off_by_one for each in walk.done))


def _report(walk: Walk, task: Any, blocks: Blocks) -> None:
    chain, final = walk.chain, walk.chain.final
    place = "score report"
    if final.cosigned is not None:
        message = signatures.final_message(chain, final)
        signers, signature = final.cosigned.signers, final.cosigned.signature
        cosigned(chain, walk.terms, signers, message, signature, place)
    report = read(blocks.file(cid_of_record(final.scores), place), place)
    of_form(report, REPORT, place)
    said = (report["chain_id"], report["ledger"], report["task_id"], report["task_digest"])
    must(said == (chain.chain_id, chain.ledger, chain.task_id, chain.task), place, "another task's")
    must(report["model"]["sha256"] == chain.stretches[-1].model, place, "model")
    must(blocks.referred(report["model"], place) != b"", place, "model")
    rows = _judging_rows(walk, task, report, blocks)
    ends = [(each["first_round"], each["last_round"]) for each in report["stretches"]]
    must(ends == [(each.first, each.last) for each in chain.stretches], place, "stretches")
    for each, stretch in zip(chain.stretches, report["stretches"], strict=True):
        seed = (stretch["seed"]["number"], stretch["seed"]["hash"])
        where = f"{place}, rounds {each.first} to {each.last}, seed"
        must(seed == each.seed, where, f"the block after the commitment is {each.seed}")
    hold_stretches(walk, report["stretches"], rows, public_judges(walk.setup))
    _results(walk, task, report)


def _judging_rows(walk: Walk, task: Any, report: Any, blocks: Blocks) -> JudgingRows:
    """Sealed rows of the opened parts; each part as chain and commitment say."""
    place = "score report, parts"
    must(len(report["parts"]) == len(walk.chain.parts), place, "not the opened ones")
    found = []
    for said, part in zip(report["parts"], walk.chain.parts, strict=True):
        must(said["index"] == part.index and said["salt"] == part.salt, place, "index or salt")
        must(said["rows"]["sha256"] == part.digest, place, "digest of the rows")
        must(said["rows"]["cid"] == part.cid, place, "CID of the rows")
        sealed = b"covalue.part.v1" + bytes.fromhex(part.salt) + bytes.fromhex(part.digest)
        must(hashlib.sha256(sealed).hexdigest() == part.commitment, place, "commitment")
        data = blocks.referred(said["rows"], f"validation part {part.index}")
        must(sha256(data) == part.digest, f"validation part {part.index}", "digest")
        found.append(read_rows(task, data))
    must(report["judged_on"] == "sealed-rows" and bool(found), place, "not judged on sealed rows")
    together = Rows(
        *(
            np.concatenate([getattr(each, name) for each in found])
            for name in ("attributes", "locations", "targets")
        )
    )
    return judged_rows(task, walk.setup, together)


def _results(walk: Walk, task: Any, report: Any) -> None:
    """Totals, thresholds, money, roots and epsilon, exactly from what is recorded."""
    chain, results, stretches = walk.chain, report["results"], report["stretches"]
    place = "score report, results"
    must([each["contributor"] for each in results] == walk.accounts, place, "not the roster")
    totals = money.totals(stretches, [account in walk.judged for account in walk.accounts])
    least = money.thresholds(stretches, len(results))
    errors = money.errors(stretches, len(results))
    payouts = money.parts_of(int(task["terms"]["budget_wei"]), totals, least)
    shares = money.parts_of(10**18, totals, least)
    for at, (account, result) in enumerate(zip(walk.accounts, results, strict=True)):
        answered = [each.number for each in walk.done if account in each.answered]
        training = [number for number in answered if number > walk.terms.surveys]
        survey = len(training) < len(answered)
        expected = {
            "epsilon_micro": money.epsilon_micro(task["policy"], len(training), survey),
            "payout_wei": str(payouts[at]),
            "rounds_answered": len(answered),
            "score_pico": totals[at],
            "share_wad": str(shares[at]),
            "standard_error_pico": errors[at],
            "threshold_pico": least[at],
        }
        for name, value in expected.items():
            detail = f"recorded {result[name]}, recomputed {value}"
            must(result[name] == value, f"{place}[{at}].{name}", detail)
    paid = dict(zip(walk.accounts, payouts, strict=True))
    roots = {
        "payout_root": money.merkle_root(chain.task_id, paid, places=True),
        "share_root": money.merkle_root(
            chain.task_id, dict(zip(walk.accounts, shares, strict=True)), places=False
        ),
        "payout_total_wei": str(sum(payouts)),
    }
    for name, value in roots.items():
        must(report[name] == value, f"score report, {name}", f"recomputed {value}")
    final = chain.final
    epsilon = max(each["epsilon_micro"] for each in results)
    must(final.payout_root == roots["payout_root"], "chain, payout root", "not the report's")
    must(final.share_root == roots["share_root"], "chain, share root", "not the report's")
    must(final.payout_total == sum(payouts), "chain, payout total", "not the report's")
    must(final.epsilon_micro == epsilon, "chain, epsilon", "not the largest of the report")
