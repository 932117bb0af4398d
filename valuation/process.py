# SPDX-License-Identifier: Apache-2.0
"""What the public rows teach: a Gaussian process fitted to them.

Its mean is the offset from which contributors learn on; its leave-one-out residuals say how far
off it is. A third of the public rows is kept out of it, to judge updates: what is left to learn is
uncorrelated with the residuals of the rows that a process is conditioned on, leave-one-out or
not, so those cannot judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky

from dao.errors import RecordError, TaskError
from valuation.covariance import Hyperparameters, covariance, fit_hyperparameters
from valuation.encode import Encoded
from valuation.quieter import quieter_if_hardly_worse
from valuation.schema import Z_LIMIT, Floats, Ints
from valuation.tensors import Arrays, Layout

MIN_ROWS = 30
"""Fewer public rows do not carry a process."""
MAX_FIT_ROWS = 600
"""Hyperparameters are fitted to at most so many public rows (cost grows with the cube)."""
MAX_ANCHOR_ROWS = 3_000
"""At most so many public rows carry the process: each valuation costs one kernel value per row."""
JUDGE_SHARE = 1.0 / 3.0
"""Share of the public rows' units that judge."""
MAX_JUDGE_ROWS = 1_000
_CHUNK = 2_000

LAYOUT: Layout = {
    "attribute_center": ("float64", 1),
    "attribute_scale": ("float64", 1),
    "amplitudes": ("float64", 1),
    "noise": ("float64", 1),
    "location_lengths": ("float64", 1),
    "attribute_lengths": ("float64", 1),
    "anchor_attributes": ("float64", 2),
    "anchor_locations": ("float64", 2),
    "alpha": ("float64", 1),
}


@dataclass(frozen=True, eq=False)
class PublicProcess:
    """A fitted Gaussian process; equal to itself alone, so that what follows from it can be kept.

    Attributes:
        center, scale: float64[a]: attributes enter as clip((x - center) / scale, -4, 4); 0 and 1
            but for 0/1 columns, which the public rows standardise.
        hyper: of the covariance function.
        attributes, locations: float64[n, a], float64[n, 2 or 0] of the public rows, scaled.
        alpha: float64[n], (K + noise I)^-1 target.
    """

    center: Floats
    scale: Floats
    hyper: Hyperparameters
    attributes: Floats
    locations: Floats
    alpha: Floats

    def scaled(self, attributes: Floats) -> Floats:
        """Attributes as the covariance function reads them."""
        return np.clip((attributes - self.center) / self.scale, -Z_LIMIT, Z_LIMIT)

    def to_anchors(self, scaled: Floats, locations: Floats) -> Floats:
        """float64[n, anchors]: covariance with the public rows."""
        return covariance(self.hyper, scaled, locations, self.attributes, self.locations)

    def mean(self, encoded: Encoded) -> Floats:
        """float64[n]: what the public rows alone predict, standardised."""
        result = np.empty(len(encoded.attributes))
        for start in range(0, len(result), _CHUNK):
            rows = slice(start, start + _CHUNK)
            scaled = self.scaled(encoded.attributes[rows])
            result[rows] = self.to_anchors(scaled, encoded.locations[rows]) @ self.alpha
        return result

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Its part of a set-up blob (`LAYOUT`)."""
        return {
            "attribute_center": self.center,
            "attribute_scale": self.scale,
            "amplitudes": self.hyper.amplitudes,
            "noise": np.array([self.hyper.noise]),
            "location_lengths": self.hyper.location_lengths,
            "attribute_lengths": self.hyper.attribute_lengths,
            "anchor_attributes": self.attributes,
            "anchor_locations": self.locations,
            "alpha": self.alpha,
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, attributes: int, located: bool) -> PublicProcess:
        """Read its part of a set-up blob.

        Raises:
            RecordError: shapes that disagree with each other or with the task's schema.
        """
        read = {name: arrays[name].astype(np.float64) for name in LAYOUT}
        anchors = len(read["alpha"])
        expected = {
            "attribute_center": (attributes,),
            "attribute_scale": (attributes,),
            "amplitudes": (5 if located else 2,),
            "noise": (1,),
            "location_lengths": (3 if located else 0,),
            "attribute_lengths": (attributes,),
            "anchor_attributes": (anchors, attributes),
            "anchor_locations": (anchors, 2 if located else 0),
        }
        for name, shape in expected.items():
            if read[name].shape != shape:
                raise RecordError(f"set-up: {name} has shape {read[name].shape}, expected {shape}")
        for name in (
            "attribute_scale",
            "amplitudes",
            "noise",
            "location_lengths",
            "attribute_lengths",
        ):
            if not (read[name] > 0).all():
                raise RecordError(f"set-up: {name} must be above 0")
        hyper = Hyperparameters(
            amplitudes=read["amplitudes"],
            noise=float(read["noise"][0]),
            location_lengths=read["location_lengths"],
            attribute_lengths=read["attribute_lengths"],
        )
        return cls(
            center=read["attribute_center"],
            scale=read["attribute_scale"],
            hyper=hyper,
            attributes=read["anchor_attributes"],
            locations=read["anchor_locations"],
            alpha=read["alpha"],
        )


@dataclass(frozen=True)
class FittedProcess:
    """A process with what only the fit needs.

    Attributes:
        held: int64[h], the given rows that were kept out of it.
        inverse: float64[n, n], (K + noise I)^-1.
        loo_residual: float64[n], target minus the prediction without that row.
    """

    process: PublicProcess
    held: Ints
    inverse: Floats
    loo_residual: Floats

    @property
    def spread(self) -> float:
        """Robust spread of the leave-one-out residuals (1.4826 * median absolute value)."""
        return max(float(1.4826 * np.median(np.abs(self.loo_residual))), 1e-3)


def fit_process(
    encoded: Encoded,
    indicators: tuple[bool, ...],
    *,
    seed: int,
    judge_share: float = JUDGE_SHARE,
) -> FittedProcess:
    """Fit a process to public rows (float64 throughout).

    Args:
        encoded: public rows with target.
        indicators: which attributes are 0/1 (`encode.indicator_columns`).
        seed: picks the rows that judge, and the subset where there are more rows than the limits
            above.
        judge_share: of the units, kept out.

    Raises:
        TaskError: too few rows, or no target.
    """
    if encoded.target is None or len(encoded.target) < MIN_ROWS:
        count = 0 if encoded.target is None else len(encoded.target)
        raise TaskError(
            f"{count} usable public rows, expected at least {MIN_ROWS}",
            hint="Publish more rows, or use family = 'mlp' without public rows.",
        )
    random = np.random.default_rng(seed)
    mask = np.array(indicators, dtype=np.bool_)
    center = np.where(mask, encoded.attributes.mean(axis=0), 0.0)
    scale = np.where(mask, np.maximum(encoded.attributes.std(axis=0), 0.05), 1.0)
    attributes = np.clip((encoded.attributes - center) / scale, -Z_LIMIT, Z_LIMIT)

    anchors, held = _divide(encoded.units, random, judge_share)
    few = _subset(random, anchors, MAX_FIT_ROWS)
    looked_at = (attributes[few], encoded.locations[few], encoded.target[few])
    hyper = quieter_if_hardly_worse(fit_hyperparameters(*looked_at), *looked_at)
    places, known, target = encoded.locations[anchors], attributes[anchors], encoded.target[anchors]
    k = covariance(hyper, known, places, known, places)
    k[np.diag_indices(len(anchors))] += hyper.noise
    inverse = cho_solve((cholesky(k, lower=True), True), np.eye(len(anchors)))
    alpha = inverse @ target
    process = PublicProcess(center, scale, hyper, known, places, alpha)
    # Rasmussen and Williams (2006), equation 5.12.
    return FittedProcess(process, held, inverse, alpha / np.diag(inverse))


def _divide(units: Ints, random: np.random.Generator, judge_share: float) -> tuple[Ints, Ints]:
    """Rows that carry the process and rows that judge; the rows of a unit stay together."""
    names = random.permutation(np.unique(units))
    judging = np.isin(units, names[: int(len(names) * judge_share)])
    return (
        _subset(random, np.flatnonzero(~judging), MAX_ANCHOR_ROWS),
        _subset(random, np.flatnonzero(judging), MAX_JUDGE_ROWS),
    )


def _subset(random: np.random.Generator, rows: Ints, limit: int) -> Ints:
    if len(rows) <= limit:
        return rows
    return np.sort(random.choice(rows, limit, replace=False))
