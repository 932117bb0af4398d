# SPDX-License-Identifier: Apache-2.0
"""How far off a valuation may be: interval, probability of being close, forecast deviation.

`ErrorModel` is what a task's calibration gives; `halfwidth` is plain split conformal prediction
(Vovk et al. 2005; Lei et al. 2018) on rows that lie open, for tasks without a calibration.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from dao.errors import InputError, RecordError
from dao.records import Calibrated, Calibration, Target
from valuation.calibrated import band_logs
from valuation.calibration import centres_of, layout_of
from valuation.difficulty import Difficulty
from valuation.distribution import ATOMS, Distribution
from valuation.encode import Encoded, target_to_value, value_to_target
from valuation.regions import region_of
from valuation.schema import MICRO, Floats

CLOSE = 0.1
"""A valuation within this share of the price is called close (MISMO confidence score)."""
_CHUNK = 1_000
_RARE = 0.005
_SHIFTS = np.linspace(0.0, 4.0, 81)
"""In widths."""
_BISECTIONS = 60


class ErrorModel:
    """The errors of a calibrated model: those of a row are distributed as its width times one
    distribution. Everything follows from the set-up blob and recorded integers.

    Raises:
        RecordError: what was recorded does not fit the calibration.
    """

    def __init__(
        self, calibration: Calibration, calibrated: Calibrated, difficulty: Difficulty
    ) -> None:
        _check_record(calibration, calibrated)
        self._difficulty, self._calibrated = difficulty, calibrated
        self._centres = centres_of(layout_of(calibration), difficulty)
        self._bands = np.log(np.array(calibrated.band_micro) * MICRO)
        self._regions = np.array(calibrated.region_micro) * MICRO
        edges = np.array(calibration.edges_micro) * MICRO
        self._errors = Distribution(edges, np.array(calibrated.cumulative_micro) * MICRO)
        rare = round(_RARE * ATOMS)
        atoms = self._errors.atoms()
        self._atoms = np.clip(atoms, atoms[rare], atoms[-1 - rare])
        self._reach_up, self._reach_down = _reach(self._atoms), _reach(-self._atoms)

    def widths(self, rows: Encoded, prediction: Floats) -> Floats:
        """float64[n], above 0, on the standardised target: by what errors of rows are divided."""
        difficulties = self._difficulty.at(self._difficulty.of_rows(rows), prediction)
        return self._widths(difficulties, rows.locations)

    def public_variance(self) -> float:
        """Mean square of target minus prediction, on the standardised target, for rows like the
        public ones; of all rows alike where there are none."""
        atoms = self._errors.atoms()
        square = float((atoms * atoms).mean())
        process = self._difficulty.process
        if process is None:
            return square
        places = process.locations[self._difficulty.kept]
        widths = self._widths(self._difficulty.anchors, places)
        return square * float((widths * widths).mean())

    def _widths(self, difficulties: Floats, locations: Floats) -> Floats:
        widths = difficulties * np.exp(band_logs(self._difficulty, self._bands, difficulties))
        if len(self._centres):
            widths = widths * self._regions[region_of(self._centres, locations)]
        return np.asarray(widths)

    def interval(self, prediction: Floats, widths: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends, float64[n] each, standardised like `prediction`.

        Over rows like those that calibrated, as many targets lie within as the calibration's level
        says, in expectation over the draw of rows and noise; docs/spec/intervals.md says how exact
        that is. Ends beyond the task's bounds mean the bounds: `target_to_value` puts them there.
        """
        lower = self._calibrated.lower_micro * MICRO
        upper = self._calibrated.upper_micro * MICRO
        return prediction + lower * widths, prediction + upper * widths

    def probability_within(
        self,
        target: Target,
        prediction: Floats,
        widths: Floats,
        *,
        estimate: Floats | None = None,
        share: float = CLOSE,
    ) -> Floats:
        """float64[n]: probability that |estimate / price - 1| <= share; 0 where the estimate is not
        above 0.

        A model learns the mean of targets that are cut off at the task's bounds. Near a bound the
        middle of the uncut targets is therefore further out than the prediction, so far that its
        cut errors have the mean that errors have elsewhere.

        Args:
            prediction: float64[n], standardised, of the trained model.
            estimate: float64[n], standardised, what is given out where that is not the prediction.
        """
        bounds = np.array([target.lower_micro, target.upper_micro]) * MICRO
        lower, upper = value_to_target(target, bounds)
        middle = prediction + widths * (
            np.interp(-(upper - prediction) / widths, -self._reach_up, _SHIFTS)
            - np.interp(-(prediction - lower) / widths, -self._reach_down, _SHIFTS)
        )
        value = target_to_value(target, prediction if estimate is None else estimate)
        least, most = value / (1.0 + share), value / (1.0 - share)
        low = (value_to_target(target, least) - middle) / widths
        high = (value_to_target(target, most) - middle) / widths
        below = np.where(least <= bounds[0], 0.0, self._errors.below(low))
        up_to = np.where(most >= bounds[1], 1.0, self._errors.below(high))
        return np.asarray(np.where(value > 0.0, np.maximum(up_to - below, 0.0), 0.0))

    def fsd(
        self,
        target: Target,
        prediction: Floats,
        widths: Floats,
        *,
        estimate: Floats | None = None,
    ) -> Floats:
        """float64[n]: forecast standard deviation, that of estimate / price - 1; NaN where the
        estimate or the predicted value is not above 0. Arguments as above.

        Half a per cent of the errors on either side count as the next ones do: noisy histograms
        cannot tell how far out the rarest lie. Errors are multiplied on, on a linear target too,
        so that prices stay above 0.
        """
        result = np.full(len(prediction), np.nan)
        middle = target_to_value(target, prediction)
        given = middle if estimate is None else target_to_value(target, estimate)
        usable = np.flatnonzero((middle > 0.0) & (given > 0.0))
        relative = widths * (target.spread_micro * MICRO)
        if target.scale == "linear":
            relative = relative / np.where(middle > 0.0, middle, 1.0)
        lower, upper = target.lower_micro * MICRO, target.upper_micro * MICRO
        for start in range(0, len(usable), _CHUNK):
            rows = usable[start : start + _CHUNK, None]
            prices = middle[rows] * np.exp(relative[rows] * self._atoms)
            ratios = given[rows] / np.clip(prices, max(lower, 0.0), upper)
            result[rows[:, 0]] = ratios.std(axis=1)
        return result


def _check_record(calibration: Calibration, calibrated: Calibrated) -> None:
    layout, shares = layout_of(calibration), calibrated.cumulative_micro
    sizes = len(calibrated.band_micro), len(calibrated.region_micro), len(shares)
    expected = layout.bands, layout.regions, len(calibration.edges_micro)
    if sizes != expected:
        raise RecordError(f"calibrated: {sizes} bands, regions and shares, expected {expected}")
    if any(b < a for a, b in itertools.pairwise((0, *shares, 1_000_000))):
        raise RecordError("calibrated: cumulative_micro must rise from 0 to 1000000")
    if calibrated.lower_micro > calibrated.upper_micro:
        raise RecordError("calibrated: the lower end of the interval is above the upper")


def _reach(atoms: Floats) -> Floats:
    """float64[shifts]: at which distance from an upper bound errors that are shifted by each of
    `_SHIFTS` and then cut off at the bound keep their mean. Falls from the greatest error."""
    mean = atoms.mean()
    low = np.full(len(_SHIFTS), mean)
    high = np.full(len(_SHIFTS), atoms.max() + _SHIFTS[-1])
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        short = np.minimum(_SHIFTS[:, None] + atoms, middle[:, None]).mean(axis=1) < mean
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray((low + high) / 2.0)


def halfwidth(residuals: Floats, level: float) -> float:
    """Half width that covers a further exchangeable row with probability `level` or more: split
    conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018).

    The ceil((n + 1) * level)-th smallest absolute residual, on the scale of the residuals; where
    n is too small for the level, the largest one (the promise then does not hold; n >= 1/(1 -
    level) - 1 is enough).

    Args:
        residuals: float64[n] of rows that took no part in training.
        level: between 0 and 1, such as 0.9.

    Raises:
        InputError: no residuals, or a level outside 0..1.
    """
    if len(residuals) == 0:
        raise InputError("an interval needs rows that took no part in training; got none")
    if not 0.0 < level < 1.0:
        raise InputError(f"interval level {level}, expected between 0 and 1")
    ordered = np.sort(np.abs(residuals))
    rank = min(math.ceil((len(ordered) + 1) * level), len(ordered))
    return float(ordered[rank - 1])


def coverage(residuals: Floats, half: float) -> float:
    """Share of residuals within the half width."""
    return float((np.abs(residuals) <= half).mean())
