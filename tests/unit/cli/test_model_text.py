# SPDX-License-Identifier: Apache-2.0
"""What `covalue model show` says of a model's intervals."""

from __future__ import annotations

from cli.model import intervals_of
from dao.records import Calibrated, ModelCard

CALIBRATED = Calibrated(
    units=2411,
    band_micro=(),
    region_micro=(),
    cumulative_micro=(100_000, 900_000),
    lower_micro=-1_000_000,
    upper_micro=1_000_000,
)


def _card(level_micro: int, calibrated: Calibrated | None) -> ModelCard:
    return ModelCard.model_construct(interval_level_micro=level_micro, calibrated=calibrated)


def test_a_calibrated_model_names_its_level_and_what_it_rests_on() -> None:
    text = intervals_of(_card(900_000, CALIBRATED))
    assert text.startswith("90 % of the prices")
    assert "about 2,411 units" in text


def test_a_model_without_calibration_says_that_it_has_no_confidence() -> None:
    text = intervals_of(_card(955_000, None))
    assert text.startswith("95.5 % of the prices")
    assert "no confidence" in text
