# SPDX-License-Identifier: Apache-2.0
"""A model family without set-up: a plain torch module on the inputs that a test gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from valuation.family import JudgeRows, Prepared


@dataclass(frozen=True)
class PlainFamily:
    """offset 0; the module is Linear(d, 1) without bias, or tanh layers where `hidden` is given."""

    width: int
    judge: JudgeRows | None
    hidden: int = 0
    gain: float = 1.0
    ridge: float = 0.01
    process: None = None

    @property
    def parameters(self) -> int:
        return sum(each.numel() for each in self._blank().parameters())

    def _blank(self) -> torch.nn.Module:
        if not self.hidden:
            return torch.nn.Linear(self.width, 1, bias=False, dtype=torch.float64)
        return torch.nn.Sequential(
            torch.nn.Linear(self.width, self.hidden, dtype=torch.float64),
            torch.nn.Tanh(),
            torch.nn.Linear(self.hidden, 1, dtype=torch.float64),
        )

    def prepare(self, encoded: object) -> Prepared:
        raise AssertionError("tests of rounds hand over prepared rows")

    def module(self, theta: np.ndarray) -> torch.nn.Module:
        module = self._blank()
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(torch.from_numpy(theta), module.parameters())
        return module

    def predict(self, prepared: Prepared, theta: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.module(theta)(torch.from_numpy(prepared.inputs)).numpy().reshape(-1)

    def judge_rows(self) -> JudgeRows | None:
        return self.judge

    def displacement_effect(self, inputs, theta, displacement) -> np.ndarray:
        if not self.hidden:
            return inputs @ displacement
        step = 1e-5
        ends = [
            self.predict(Prepared(inputs, np.zeros(0), None, np.zeros(0)), theta + s * displacement)
            for s in (step, -step)
        ]
        return (ends[0] - ends[1]) / (2 * step)

    def optimiser_vectors(self) -> dict[str, np.ndarray]:
        if self.hidden:
            return {}
        d = self.parameters
        return {"gain": np.full(d, self.gain), "ridge": np.full(d, self.ridge)}
