# SPDX-License-Identifier: Apache-2.0
"""What appraisers accept of a ratio study, and the verdict on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dao.records import RatioStudy
from valuation.ratio_errors import NORMAL_95

Verdict = Literal["within", "unclear", "outside", "none"]
"""`unclear`: outside, but its 95 % interval reaches into the range: too few rows to tell. The IAAO
finds fault, too, only where the confidence interval lies outside. `none`: there is no
figure, or it is one of vertical equity in a price band, where values hardly differ and the errors
of the prices decide."""

VERTICAL_EQUITY = ("prd", "prb", "mki")


@dataclass(frozen=True)
class AcceptedRange:
    """Both ends count; the unit is that of the study's field."""

    lower_micro: int
    upper_micro: int
    source: str


_IAAO = "IAAO, Standard on Ratio Studies (2013)"

ACCEPTED: dict[str, AcceptedRange] = {
    "median_ratio": AcceptedRange(900_000, 1_100_000, _IAAO),
    "cod": AcceptedRange(5_000_000, 15_000_000, f"{_IAAO}, table 1-3, single-family homes"),
    "prd": AcceptedRange(980_000, 1_030_000, f"{_IAAO}, section 9.2.7"),
    "prb": AcceptedRange(-50_000, 50_000, f"{_IAAO}, section 9.2.7"),
    "mki": AcceptedRange(950_000, 1_050_000, "Quintos (2020), A Gini measure for vertical equity"),
    "fsd": AcceptedRange(0, 300_000, "confidence score 1 - FSD at least medium, .70 (HouseCanary)"),
}
"""By the name of the figure; the other figures have no accepted range."""


def verdict(study: RatioStudy, figure: str) -> Verdict:
    """What to say of one figure of `ACCEPTED` in a study."""
    value: int | None = getattr(study, f"{figure}_micro")
    error: int | None = getattr(study, f"{figure}_error_micro", None)
    accepted = ACCEPTED[figure]
    if value is None or (study.lower_micro is not None and figure in VERTICAL_EQUITY):
        return "none"
    beyond = max(accepted.lower_micro - value, value - accepted.upper_micro)
    if beyond <= 0:
        return "within"
    return "unclear" if error is not None and beyond <= NORMAL_95 * error else "outside"


def verdicts(study: RatioStudy) -> dict[str, Verdict]:
    """The verdict on every figure that has an accepted range."""
    return {figure: verdict(study, figure) for figure in ACCEPTED}
