# SPDX-License-Identifier: Apache-2.0
"""The model card: its studies are those of the model on the sealed rows, and are checked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pytest

from dao.errors import ReplayMismatch
from dao.records import BlobRef, ModelCard
from demo.market import TARGET, generate_market
from privacy import accounting
from rounds.card import CARD_STEP_MICRO, CardInput, SealedRows, check_card, make_card
from rounds.estimate import stretch_of
from rounds.state import theta_of
from valuation.build import build_task
from valuation.draft import draft_task
from valuation.encode import encode, target_to_value
from valuation.family import Prepared
from valuation.loading import load_family
from valuation.metrics import measure
from valuation.rows import parse_csv
from valuation.task_text import render_draft
from valuation.taskfile import parse_taskfile


@dataclass(frozen=True)
class OtherProcessor:
    """A family whose floats differ in the last digits."""

    family: object

    def __getattr__(self, name: str) -> object:
        return getattr(self.family, name)

    def predict(self, prepared: Prepared, theta: np.ndarray) -> np.ndarray:
        found = self.family.predict(prepared, theta)
        return found * (1.0 + 1e-12 * np.random.default_rng(0).normal(size=len(found)))


def _frame(rows: int, seed: int):
    return parse_csv(generate_market(rows, seed).to_csv(index=False).encode(), name="market")


@pytest.fixture(scope="module")
def given() -> CardInput:
    blobs: dict[str, bytes] = {}

    def put(data: bytes) -> BlobRef:
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return BlobRef(cid="b" + "a" * 58, sha256=digest, size=len(data))

    public = _frame(150, 1)
    text = render_draft(
        draft_task(public, target=TARGET),
        title="Homes",
        asset_class="homes",
        public_rows="public.csv",
        family="kernel",
        public_n=1_000,
        contributors=3,
    )
    task = build_task(
        parse_taskfile(text),
        public.to_csv(index=False).encode(),
        put,
        bundle_sha256="0" * 64,
        accounting=accounting,
    )
    return CardInput(
        task=task,
        task_digest=task.digest(),
        contributors=3,
        family=load_family(task, blobs[task.model.setup.sha256]),
        model=task.model.initial,
        state=blobs[task.model.initial.sha256],
        summary=None,
    )


@pytest.fixture(scope="module")
def sealed(given: CardInput) -> SealedRows:
    encoded = encode(given.task, _frame(400, 1).iloc[150:], with_target=True)
    return SealedRows(encoded=encoded, prepared=given.family.prepare(encoded))


@pytest.fixture(scope="module")
def card(given: CardInput, sealed: SealedRows) -> ModelCard:
    return make_card(given, sealed=sealed, rows=None)


def test_the_studies_are_those_of_the_model_on_the_sealed_rows(given, sealed, card) -> None:
    stretch = stretch_of(card.stretch_center_micro, card.stretch_slope_micro)
    assert stretch.slope >= 1.0
    prediction = given.family.predict(sealed.prepared, theta_of(given.task, given.state))
    estimate = stretch.center + stretch.slope * (prediction - stretch.center)
    target = given.task.target
    found = measure(
        target_to_value(target, sealed.encoded.target), target_to_value(target, estimate)
    )
    whole = card.studies[0]
    assert (whole.group, whole.rows) == ("all", 250)
    for figure in ("median_ratio", "cod", "prd", "prb", "mki", "fsd", "ppe10", "mdape", "r2"):
        expected = found.as_dict()[figure] * 1e6
        assert getattr(whole, f"{figure}_micro") == pytest.approx(expected, abs=1)


def test_regions_and_price_bands_divide_the_sealed_rows(card) -> None:
    regions = [study for study in card.studies if study.group.startswith("region ")]
    bands = [study for study in card.studies if study.group.startswith("price band ")]
    assert len(card.studies) == 1 + len(regions) + len(bands)
    assert len(regions) == 10
    assert sum(study.rows for study in regions) == sum(study.rows for study in bands) == 250
    for study in regions:
        assert 47_000_000 <= study.latitude_micro <= 49_000_000
        assert 8_000_000 <= study.longitude_micro <= 11_000_000


def test_a_card_is_small(card) -> None:
    assert len(card.canonical()) < 20_000
    assert ModelCard.parse(card.canonical()) == card


def test_without_sealed_rows_there_are_no_ratios(given) -> None:
    judged = make_card(given, sealed=None, rows=given.family.judge_rows())
    assert judged.studies == ()
    assert judged.rows_judged == len(given.family.judge_rows().residual) > 0
    check_card(judged, judged)


def test_another_processor_finds_the_same_card(given, sealed, card) -> None:
    elsewhere = make_card(
        replace(given, family=OtherProcessor(given.family)),
        sealed=sealed,
        rows=None,
        recorded=card,
    )
    check_card(card, elsewhere)


@pytest.mark.promise(7)
def test_promise_7_a_card_that_says_otherwise_is_refused(card) -> None:
    def changed(index: int, **fields: object) -> ModelCard:
        studies = list(card.studies)
        studies[index] = studies[index].model_copy(update=fields)
        return card.model_copy(update={"studies": tuple(studies)})

    check_card(changed(0, prb_micro=card.studies[0].prb_micro + CARD_STEP_MICRO), card)
    forged = [
        (changed(0, prb_micro=card.studies[0].prb_micro + CARD_STEP_MICRO + 1), "all, prb_micro"),
        (changed(1, cod_micro=None), "region 1, cod_micro"),
        (changed(2, rows=card.studies[2].rows + 1), "region 2, rows"),
        (changed(11, upper_micro=2 * card.studies[11].upper_micro), "price band 1, upper_micro"),
        (changed(3, mki_error_micro=0), "region 3, mki_error_micro"),
        (changed(0, group="some"), "groups"),
        (card.model_copy(update={"studies": card.studies[:1]}), "groups"),
        (card.model_copy(update={"studies": ()}), "groups"),
        (card.model_copy(update={"rows_judged": 251}), "card.rows_judged"),
        (card.model_copy(update={"licence": "none"}), "card.licence"),
    ]
    for recorded, place in forged:
        with pytest.raises(ReplayMismatch, match=place):
            check_card(recorded, card)
