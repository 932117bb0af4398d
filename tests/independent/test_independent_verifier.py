# SPDX-License-Identifier: Apache-2.0
"""Two readers of the same records, the product's audit and a verifier written from the pages of
docs/ alone: both accept what was played, and both refuse what was changed afterwards.

Kinds of places that only one of them can see:

- the product alone looks into the model card (ratio studies, intervals, stretch: the verifier does
  not recompute it) and compares the text `detail` of exclusions, which no page fixes;
- the verifier alone looks at bitmaps and aggregate signatures of co-signers, in the calls that
  brought them: for the product the contract has checked them.
"""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import numpy as np
import pytest

from tests.independent.canonical import cid_of, cid_of_record, sha256
from tests.independent.facts import Differs
from tests.independent.forging import Forger, Leaf, at, leaves
from tests.independent.liar_town import LIAR, Federation
from tests.independent.verdicts import other_value, verifier_says
from tests.independent.verifier import verify

RAW_FLIPS, FIELDS = 24, {"newton": 20, "wiener": 5, "adam": 5}


def test_both_accept_what_was_played(federation: Federation, judges: Any) -> None:
    assert judges(federation).say(federation.blocks) == ("", "")


def test_somebody_is_paid(newton: Federation) -> None:
    """Without this, the agreement on payouts and roots would be one on zeros."""
    results = Forger(newton).report["results"]
    assert sum(int(each["payout_wei"]) > 0 for each in results) >= 2


def test_every_model_is_recomputed_bit_for_bit_by_the_rule_sum(
    newton: Federation, adam: Federation
) -> None:
    for each in (newton, adam):
        found = verify(each.chain, each.blocks, allow_seeded=True)
        assert (found.rounds, found.off_by_one) == (each.plan.rounds, 0)


def test_the_liar_is_excluded_for_each_lie(federation: Federation) -> None:
    """Without this, acceptance would say little of the checks that decide exclusions."""
    reasons = {}
    for signed in Forger(federation).records:
        for exclusion in signed["record"]["exclusions"]:
            assert exclusion["contributor"] == federation.chain.roster[LIAR].account
            reasons[signed["record"]["position"]["round"]] = exclusion["reason"]
    known = {"poison": "judged", "old copy": "copy"}
    told = {number: known.get(lie, lie) for number, lie in federation.plan.lies.items()}
    assert reasons.items() >= told.items()


def test_seeded_noise_is_excluded_where_it_is_not_allowed(newton: Federation) -> None:
    with pytest.raises(Differs, match="should be excluded as seeded-noise"):
        verify(newton.chain, newton.blocks, allow_seeded=False)


def _needed(federation: Federation) -> list[str]:
    """CIDs that must be published, in an order that is the same in every run."""
    found = {place: cid for cid, place in federation.played.published().items()}
    for signed in Forger(federation).records:
        for exclusion in signed["record"]["exclusions"]:
            if exclusion["reason"] in ("copy", "norm", "out-of-range", "judged"):
                update = exclusion["receipt"]["body"]["update"]["cid"]
                found[f"round {signed['record']['position']['round']}, excluded"] = update
    return [found[place] for place in sorted(found)]


def _flipped(data: bytes, chooser: random.Random) -> bytes:
    spoilt = bytearray(data)
    spoilt[chooser.randrange(len(spoilt))] ^= chooser.randrange(1, 256)
    return bytes(spoilt)


@pytest.mark.promise(7)
def test_promise_7_both_find_any_flipped_byte(newton: Federation, judges: Any) -> None:
    chooser, both = random.Random(7), judges(newton)
    for cid in chooser.sample(_needed(newton), k=RAW_FLIPS):
        blocks = {**newton.blocks, cid: _flipped(newton.blocks[cid], chooser)}
        product, verifier = both.say(blocks)
        assert product, cid
        assert verifier, cid


def test_neither_looks_at_blocks_that_nothing_needs(newton: Federation, judges: Any) -> None:
    """The update of a receipt that cannot count: it was never asked for, and may lead anywhere."""
    excluded = Forger(newton).document("record 2")["exclusions"][0]
    assert excluded["reason"] == "wrong-event"
    named = excluded["receipt"]["body"]["update"]["cid"]
    assert named not in newton.blocks
    assert judges(newton).say({**newton.blocks, named: b"of nobody"}) == ("", "")


def _looked_into(path: Leaf) -> bool:
    return "card" not in path and "detail" not in path


def test_a_history_that_is_made_anew_without_a_change_is_the_same(federation: Federation) -> None:
    forged = Forger(federation).forge()
    assert forged.blocks == federation.blocks
    assert forged.seen == federation.seen


@pytest.mark.promise(7)
def test_promise_7_both_agree_on_changed_fields_under_right_digests_and_signatures(
    federation: Federation, judges: Any, request: pytest.FixtureRequest
) -> None:
    """One field of a record, a checkpoint or the report is changed, and all above it is made again
    by a coordinator and a quorum of liars: so no digest gives it away."""
    chooser, both, forger = random.Random(3), judges(federation), Forger(federation)
    name = request.node.callspec.params["federation"]
    documents = [f"record {number}" for number in range(1, len(forger.records) + 1)]
    documents += [f"checkpoint {index}" for index in range(len(forger.checkpoints))]
    documents += ["report"] * 3
    refused = 0
    for _ in range(FIELDS[name]):
        document = chooser.choice(documents)
        path = chooser.choice([p for p in leaves(forger.document(document)) if _looked_into(p)])
        value = other_value(at(forger.document(document), path), chooser)
        forged = forger.forge(document, (path, value), resign=chooser.random() < 0.5)
        product, verifier = both.say(forged.blocks, forged)
        assert bool(product) == bool(verifier), (document, path, value, product, verifier)
        refused += bool(product)
    assert refused > FIELDS[name] / 2


@pytest.mark.promise(6)
@pytest.mark.parametrize(("steps", "accepted"), [(1, True), (-1, True), (2, False)])
def test_promise_6_both_take_a_model_within_one_step_of_the_grid(
    newton: Federation, judges: Any, steps: int, accepted: bool
) -> None:
    model = Forger(newton).checkpoints[-1]["model"]["cid"]
    theta = np.frombuffer(newton.blocks[model], "<i8").copy()
    theta[5] += steps
    forged = Forger(newton).forge(blob=(model, theta.tobytes()))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert (not product, not verifier) == (accepted, accepted), (product, verifier)


@pytest.mark.parametrize(
    ("number", "excluded", "accepted"),
    [(1, True, True), (3, True, True), (4, True, False), (4, False, False)],
)
def test_both_agree_on_another_update_under_a_right_receipt(
    newton: Federation, judges: Any, number: int, excluded: bool, accepted: bool
) -> None:
    """What a copy or too long a vector holds beside that changes nothing; what counts or is judged
    does."""
    record = Forger(newton).document(f"record {number}")
    receipt = record["exclusions"][0]["receipt"] if excluded else record["receipts"][0]
    cid = receipt["body"]["update"]["cid"]
    update = np.frombuffer(newton.blocks[cid], "<i8").copy() if cid in newton.blocks else None
    if update is None:
        pytest.fail(f"the {number}th update of the liar is not published")
    update[11] += 1000 if number == 4 else 1
    forged = Forger(newton).forge(blob=(cid, update.tobytes()))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert (not product, not verifier) == (accepted, accepted), (product, verifier)


def test_both_hold_recorded_scores_against_recomputed_ones(
    federation: Federation, judges: Any
) -> None:
    """A little more than the tolerance."""
    forger, both = Forger(federation), judges(federation)
    last = len(forger.report["stretches"]) - 1
    for name in ("scores_pico", "noise_means_pico", "noise_deviations_pico"):
        path = ("stretches", last, name, 2)
        score = at(forger.report, path)
        forged = forger.forge("report", (path, score + 1010 + abs(score) // 10**6))
        product, verifier = both.say(forged.blocks, forged)
        assert f"{name}[2]" in verifier
        assert product


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("seed", "number"), lambda number: number + 1),
        (("seed", "number"), lambda number: number - 1),
        (("seed", "hash"), lambda digest: digest[::-1]),
        (("standard_errors_pico", 2), lambda error: error + 1),
    ],
)
def test_both_hold_seed_blocks_against_the_chain_and_find_errors_that_nothing_sampled(
    newton: Federation, judges: Any, path: Any, change: Any
) -> None:
    forger = Forger(newton)
    path = ("stretches", 1, *path)
    forged = forger.forge("report", (path, change(at(forger.report, path))))
    product, verifier = judges(newton).say(forged.blocks, forged)
    inner = f"{path[2]}[2]" if path[3] == 2 else f"seed.{path[3]}"
    assert f"score report, stretches[1].{inner}" in product
    assert path[2] in verifier


def test_both_refuse_a_report_whose_seeds_are_those_of_other_stretches(
    newton: Federation, judges: Any
) -> None:
    """Both blocks are of the chain, and stand after a checkpoint: but not after this one."""
    forger = Forger(newton)
    first, second = (dict(each) for each in forger.report["stretches"])
    swapped = [first | {"seed": second["seed"]}, second | {"seed": first["seed"]}]
    forged = forger.forge("report", (("stretches",), swapped))
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert "score report, stretches[0].seed.number" in product
    assert "seed" in verifier


def test_both_agree_on_whom_the_record_may_leave_out(adam: Federation, judges: Any) -> None:
    """All who harm, worst first; who adds nothing may go or stay."""
    forger, both = Forger(adam), judges(adam)
    # how many depends on the noise, and that on the processor: set-up bytes seed it
    dropped = forger.report["stretches"][0]["dropped"]
    assert dropped
    for changed, accepted in (
        ([*dropped, LIAR], True),
        (dropped[::-1], len(dropped) == 1),
        (dropped[:-1], False),
        ([0, *dropped], False),
        ([*dropped, dropped[0]], False),
    ):
        forged = forger.forge("report", (("stretches", 0, "dropped"), changed))
        product, verifier = both.say(forged.blocks, forged)
        assert (not product, not verifier) == (accepted, accepted), (changed, product, verifier)


@pytest.mark.parametrize(
    ("document", "path", "change"),
    [
        ("record 2", ("receipts",), lambda each: each[::-1]),
        ("record 2", ("receipts",), lambda each: [*each, each[0]]),
        ("record 3", ("judgements",), lambda each: each[:-1]),
        ("record 3", ("position",), lambda each: {**each, "more": 1}),
        ("checkpoint 1", ("records",), lambda each: each[:1]),
        ("report", ("results",), lambda each: each[::-1]),
        ("report", ("stretches",), lambda each: each[:1]),
        ("report", ("parts",), lambda each: []),
    ],
)
def test_both_refuse_lists_and_fields_that_are_not_those_of_the_record(
    newton: Federation, judges: Any, document: str, path: Any, change: Any
) -> None:
    forger = Forger(newton)
    value = change(at(forger.document(document), path))
    forged = forger.forge(document, (path, value), resign=False)
    product, verifier = judges(newton).say(forged.blocks, forged)
    assert product
    assert verifier


def test_the_product_alone_looks_into_the_card_and_the_words(
    newton: Federation, judges: Any
) -> None:
    forger, both = Forger(newton), judges(newton)
    for document, path, value in (
        ("report", ("card", "rows_judged"), 81),
        ("record 3", ("exclusions", 0, "detail"), "too long"),
    ):
        forged = forger.forge(document, (path, value))
        product, verifier = both.say(forged.blocks, forged)
        assert product
        assert not verifier


def test_the_verifier_alone_looks_at_who_co_signed(newton: Federation) -> None:
    chain = newton.chain
    stretch, final = chain.stretches[0], chain.final
    assert stretch.cosigned is not None
    assert final.cosigned is not None
    of_final = dataclasses.replace(stretch.cosigned, signature=final.cosigned.signature)
    for cosigned, said in (
        (dataclasses.replace(stretch.cosigned, signers=0b1111), "does not fit"),
        (dataclasses.replace(stretch.cosigned, signers=0b1001), "fewer co-signers"),
        (dataclasses.replace(stretch.cosigned, signers=0b101101), "nobody of the roster"),
        (of_final, "does not fit"),
    ):
        forged = dataclasses.replace(stretch, cosigned=cosigned)
        stretches = (forged, *chain.stretches[1:])
        found = verifier_says(dataclasses.replace(chain, stretches=stretches), newton.blocks)
        assert found.startswith("checkpoint 0")
        assert said in found


def test_numbers_on_chain_that_are_not_the_reports_are_found(newton: Federation) -> None:
    chain, final = newton.chain, dataclasses.replace(newton.chain.final, cosigned=None)
    for change in (
        {"payout_total": final.payout_total + 1},
        {"epsilon_micro": final.epsilon_micro - 1},
        {"payout_root": final.share_root},
        {"share_root": final.payout_root},
    ):
        false = dataclasses.replace(chain, final=dataclasses.replace(final, **change))
        assert verifier_says(false, newton.blocks).startswith("chain, ")


def test_a_task_that_is_not_canonical_is_refused(newton: Federation) -> None:
    """Also where its digest fits what the chain says."""
    task = json.loads(newton.blocks[cid_of_record(newton.chain.task)])
    data = json.dumps(task).encode()
    chain = dataclasses.replace(newton.chain, task=sha256(data))
    assert "canonical" in verifier_says(chain, {**newton.blocks, cid_of(data): data})
