# SPDX-License-Identifier: Apache-2.0
"""The kernel family: a linear head on features of the public process' posterior covariance.

The features are its leading eigenfunctions on landmarks (Nystrom; Williams and Seeger 2001): the
directions in which the public rows leave most to be learned. A row's inputs are its covariances
with landmarks and public rows, times one projection.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dao.errors import RecordError
from valuation.covariance import covariance
from valuation.encode import Encoded, attribute_names
from valuation.family import JudgeRows, Prepared
from valuation.process import LAYOUT as PROCESS_LAYOUT
from valuation.process import PublicProcess
from valuation.schema import Floats, Ints, Schema, location_of
from valuation.survey import LAYOUT as SURVEY_LAYOUT
from valuation.survey import Survey
from valuation.tensors import Layout, pack, read_arrays, unpack

_CHUNK = 2_000
"""Rows per block: bounds the memory of `prepare` to about 100 MB at 3,000 anchors."""

LAYOUT: Layout = {
    **PROCESS_LAYOUT,
    "landmark_attributes": ("float64", 2),
    "landmark_locations": ("float64", 2),
    "projection": ("float32", 2),
    "judge_inputs": ("float64", 2),
    "judge_offset": ("float64", 1),
    "judge_residual": ("float64", 1),
    "gain": ("float64", 1),
    "ridge": ("float64", 1),
}
SURVEYED_LAYOUT: Layout = {**LAYOUT, **SURVEY_LAYOUT}


@dataclass(frozen=True)
class KernelFamily:
    """The kernel family.

    Attributes:
        process: the public Gaussian process.
        landmark_attributes, landmark_locations: float64[m, a], float64[m, 2 or 0], scaled.
        projection: float32[m + n, d], from covariances (landmarks, then public rows) to inputs.
        judge: public rows that the process has not seen.
        gain, ridge: float64[d], of the newton optimiser.
        survey: what the aggregation rule `wiener` needs; None in a task that adds updates up.
    """

    process: PublicProcess
    landmark_attributes: Floats
    landmark_locations: Floats
    projection: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    judge: JudgeRows
    gain: Floats
    ridge: Floats
    survey: Survey | None

    @property
    def parameters(self) -> int:
        """Length d of theta."""
        return int(self.projection.shape[1])

    def prepare(self, encoded: Encoded) -> Prepared:
        """Inputs float64[n, d]; about 2,000 kernel values and one product per row."""
        inputs, offset = self._inputs(self.process.scaled(encoded.attributes), encoded.locations)
        residual = None if encoded.target is None else encoded.target - offset
        return Prepared(inputs, offset, residual, encoded.units)

    def _inputs(self, scaled: Floats, locations: Floats) -> tuple[Floats, Floats]:
        """Inputs float64[n, d] and offset float64[n] of scaled rows."""
        rows = len(scaled)
        inputs, offset = np.empty((rows, self.parameters)), np.empty(rows)
        projection = self.projection.astype(np.float64)
        marks = len(self.landmark_attributes)
        for start in range(0, rows, _CHUNK):
            block = slice(start, start + _CHUNK)
            attributes, places = scaled[block], locations[block]
            to_landmarks = covariance(
                self.process.hyper,
                attributes,
                places,
                self.landmark_attributes,
                self.landmark_locations,
            )
            to_anchors = self.process.to_anchors(attributes, places)
            inputs[block] = to_landmarks @ projection[:marks] + to_anchors @ projection[marks:]
            offset[block] = to_anchors @ self.process.alpha
        return inputs, offset

    def module(self, theta: Floats) -> torch.nn.Module:
        """nn.Linear(d, 1, bias=False) in float64."""
        linear = torch.nn.Linear(self.parameters, 1, bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.array(theta, dtype=np.float64))[None, :])
        return linear

    def predict(self, prepared: Prepared, theta: Floats) -> Floats:
        """offset + inputs @ theta."""
        prediction: Floats = prepared.offset + prepared.inputs @ theta
        return prediction

    def judge_rows(self) -> JudgeRows | None:
        """Public rows that the process has not seen."""
        return self.judge

    def displacement_effect(self, inputs: Floats, theta: Floats, displacement: Floats) -> Floats:
        """inputs @ displacement, exactly: the head is linear."""
        effect: Floats = inputs @ displacement
        return effect

    @property
    def survey_cells(self) -> int:
        """Length of a survey; 0 in a task without one."""
        return 0 if self.survey is None else self.survey.cells

    def survey_cell(self, encoded: Encoded) -> Ints:
        """int64[n]: the survey cell of each row, below `survey_cells`.

        Raises:
            RecordError: the task has no survey.
        """
        survey = self._surveyed()
        scaled = self.process.scaled(encoded.attributes)
        return survey.cell_of(self.process, scaled, encoded.locations)

    def survey_rows(self) -> tuple[Floats, Ints]:
        """Inputs float64[n, d] of the survey's synthetic rows, and the cell int64[n] of each.

        Raises:
            RecordError: the task has no survey.
        """
        survey = self._surveyed()
        inputs, _ = self._inputs(survey.attributes, survey.locations)
        return inputs, survey.cell_of(self.process, survey.attributes, survey.locations)

    def public_cells(self) -> Ints:
        """int64[n], the survey cell of each public row that the process was fitted to.

        Raises:
            RecordError: the task has no survey.
        """
        process = self.process
        return self._surveyed().cell_of(process, process.attributes, process.locations)

    def _surveyed(self) -> Survey:
        if self.survey is None:
            raise RecordError("the set-up has no survey: the task adds updates up")
        return self.survey

    def optimiser_vectors(self) -> dict[str, Floats]:
        """gain and ridge, float64[d]."""
        return {"gain": self.gain, "ridge": self.ridge}

    def to_setup(self) -> bytes:
        """The set-up blob."""
        return pack(
            {
                **self.process.to_arrays(),
                **({} if self.survey is None else self.survey.to_arrays()),
                "landmark_attributes": self.landmark_attributes,
                "landmark_locations": self.landmark_locations,
                "projection": self.projection,
                "judge_inputs": self.judge.inputs,
                "judge_offset": self.judge.offset,
                "judge_residual": self.judge.residual,
                "gain": self.gain,
                "ridge": self.ridge,
            }
        )

    @classmethod
    def load(cls, schema: Schema, setup: bytes) -> KernelFamily:
        """Read a set-up blob.

        Raises:
            RecordError: it is not one, or does not fit the schema.
        """
        surveyed = "survey_centers" in read_arrays(setup)
        arrays = unpack(setup, SURVEYED_LAYOUT if surveyed else LAYOUT)
        attributes = len(attribute_names(schema))
        located = location_of(schema.features) is not None
        process = PublicProcess.from_arrays(arrays, attributes=attributes, located=located)
        marks, size = arrays["landmark_attributes"].shape[0], arrays["projection"].shape[1]
        expected = {
            "landmark_attributes": (marks, attributes),
            "landmark_locations": (marks, 2 if located else 0),
            "projection": (marks + len(process.alpha), size),
            "judge_inputs": (len(arrays["judge_residual"]), size),
            "judge_offset": arrays["judge_residual"].shape,
            "gain": (size,),
            "ridge": (size,),
        }
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise RecordError(
                    f"set-up: {name} has shape {arrays[name].shape}, expected {shape}"
                )
        gain, ridge = arrays["gain"].astype(np.float64), arrays["ridge"].astype(np.float64)
        if not (gain > 0).all() or not (ridge >= 0).all():
            raise RecordError("set-up: gain must be above 0 and ridge at least 0")
        return cls(
            process=process,
            landmark_attributes=arrays["landmark_attributes"].astype(np.float64),
            landmark_locations=arrays["landmark_locations"].astype(np.float64),
            projection=arrays["projection"].astype(np.float32),
            judge=JudgeRows(
                inputs=arrays["judge_inputs"].astype(np.float64),
                offset=arrays["judge_offset"].astype(np.float64),
                residual=arrays["judge_residual"].astype(np.float64),
            ),
            gain=gain,
            ridge=ridge,
            survey=Survey.from_arrays(arrays, attributes=attributes, located=located, size=size)
            if surveyed
            else None,
        )
