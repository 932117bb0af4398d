# SPDX-License-Identifier: Apache-2.0
"""What the aggregation rule `wiener` needs of a set-up: cells in which contributors count their
units, and synthetic rows that stand for the rows of each cell.

Only attributes and places of the synthetic rows are stored; their features follow from the
set-up's own projection.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2

from dao.errors import RecordError, TaskError
from valuation.landmarks import scattered, synthetic_rows
from valuation.process import PublicProcess
from valuation.schema import Floats, Ints
from valuation.tensors import Arrays, Layout

SURVEY_ROWS = 3_000
SCATTERED_ROWS = 0.25
_ITERATIONS = 30
_CHUNK = 20_000

LAYOUT: Layout = {
    "survey_centers": ("float64", 2),
    "survey_attributes": ("float64", 2),
    "survey_locations": ("float64", 2),
    "prior": ("float64", 1),
    "spread": ("float64", 1),
    "rows_per_unit": ("float64", 1),
}


@dataclass(frozen=True)
class Survey:
    """Cells and synthetic rows.

    Attributes:
        centers: float64[cells, 2] on the map, or without locations float64[cells, a] of attributes
            divided by the process' lengths; a row is of the cell whose centre is nearest.
        attributes, locations: float64[n, a], float64[n, 2 or 0], synthetic rows, scaled.
        prior: float64[d], variance that each coefficient may have.
        spread: standard deviation of what the public process misses.
        rows_per_unit: mean rows that count per unit, in the public rows.
    """

    centers: Floats
    attributes: Floats
    locations: Floats
    prior: Floats
    spread: float
    rows_per_unit: float

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return len(self.centers)

    def cell_of(self, process: PublicProcess, scaled: Floats, locations: Floats) -> Ints:
        """int64[n]: the cell of each row, the first of equals; depends on that row alone.

        Args:
            scaled: float64[n, a], `process.scaled` attributes.
        """
        points = survey_space(process, scaled, locations)
        result = np.empty(len(points), dtype=np.int64)
        for start in range(0, len(points), _CHUNK):
            block = points[start : start + _CHUNK]
            squared = np.zeros((len(block), self.cells))
            for axis in range(block.shape[1]):
                squared += (block[:, axis, None] - self.centers[None, :, axis]) ** 2
            result[start : start + _CHUNK] = squared.argmin(axis=1)
        return result

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Its part of a set-up blob (`LAYOUT`)."""
        return {
            "survey_centers": self.centers,
            "survey_attributes": self.attributes,
            "survey_locations": self.locations,
            "prior": self.prior,
            "spread": np.array([self.spread]),
            "rows_per_unit": np.array([self.rows_per_unit]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, *, attributes: int, located: bool, size: int) -> Survey:
        """Read its part of a set-up blob; `size` is d.

        Raises:
            RecordError: shapes that disagree, or a variance that is not above 0.
        """
        read = {name: arrays[name].astype(np.float64) for name in LAYOUT}
        rows, cells = len(read["survey_attributes"]), len(read["survey_centers"])
        expected = {
            "survey_centers": (cells, 2 if located else attributes),
            "survey_attributes": (rows, attributes),
            "survey_locations": (rows, 2 if located else 0),
            "prior": (size,),
            "spread": (1,),
            "rows_per_unit": (1,),
        }
        for name, shape in expected.items():
            if read[name].shape != shape or 0 in shape[:1]:
                raise RecordError(f"set-up: {name} has shape {read[name].shape}, expected {shape}")
        for name in ("prior", "spread", "rows_per_unit"):
            if not (read[name] > 0).all():
                raise RecordError(f"set-up: {name} must be above 0")
        return cls(
            centers=read["survey_centers"],
            attributes=read["survey_attributes"],
            locations=read["survey_locations"],
            prior=read["prior"],
            spread=float(read["spread"][0]),
            rows_per_unit=float(read["rows_per_unit"][0]),
        )


def survey_space(process: PublicProcess, scaled: Floats, locations: Floats) -> Floats:
    """float64[n, 2 or a]: the space that is divided into cells."""
    if process.hyper.located:
        return locations
    points: Floats = scaled / process.hyper.attribute_lengths
    return points


def draw_survey(
    process: PublicProcess,
    *,
    cells: int,
    prior: Floats,
    spread: float,
    rows_per_unit: float,
    box: Floats | None,
    seed: int,
) -> Survey:
    """Synthetic rows around the public ones, a quarter of them anywhere in `box`
    (`landmarks.location_box`), and exactly `cells` cells by k-means on them.

    Raises:
        TaskError: the public rows lie in fewer places than there are to be cells.
    """
    attributes, locations = synthetic_rows(
        process.attributes, process.locations, SURVEY_ROWS, seed=seed
    )
    locations = scattered(locations, box, SCATTERED_ROWS, seed=seed + 1)
    points = survey_space(process, attributes, locations)
    if len(np.unique(points, axis=0)) < cells:
        raise TaskError(
            f"a survey of {cells} cells needs public rows in more places",
            hint="Lower aggregation.survey_cells, or use rule = 'sum'.",
        )
    # An empty cell keeps its first centre: it is a row of its own, so it harms nothing.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        centers, _ = kmeans2(points, cells, iter=_ITERATIONS, minit="++", rng=seed)
    return Survey(
        np.ascontiguousarray(centers), attributes, locations, prior, spread, rows_per_unit
    )
