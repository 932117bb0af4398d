# SPDX-License-Identifier: Apache-2.0
"""The rule `wiener`, docs/spec/valuation.md §5a: weights from histograms, and the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tests.independent.families import kernel_inputs, squares
from tests.independent.rows import Array
from tests.independent.steps import Walked, to_float
from tests.independent.terms import Integers, Terms


def _nearest(points: Array, centres: Array) -> Array:
    """Place of the nearest centre, the first of equals."""
    return squares(points, centres).argmin(axis=1)


def _erf(values: Array) -> Array:
    return np.array([math.erf(each) for each in values])


def water_level(totals: Array, limit: float) -> float:
    """The level to which totals are cut so that they sum to the limit."""
    left, rest = limit, sorted(totals)
    for place, each in enumerate(rest):
        level = left / (len(rest) - place)
        if each >= level:
            return level
        left -= each
    return math.inf


@dataclass(frozen=True)
class Wiener:
    """Optimiser newton with the rule `wiener`; `histograms` by roster place, zeros of who sent none
    that counts."""

    terms: Terms
    setup: dict[str, Array]
    histograms: Array

    @cached_property
    def _survey(self) -> tuple[Array, Array, Array, Array]:
        """psi of the survey rows, their cells, n_c, and a_c of the anchors."""
        setup = self.setup
        psi = kernel_inputs(setup, setup["survey_attributes"], setup["survey_locations"])
        if setup["survey_locations"].shape[1]:
            rows, anchors = setup["survey_locations"], setup["anchor_locations"]
        else:
            lengths = setup["attribute_lengths"]
            rows = setup["survey_attributes"] / lengths
            anchors = setup["anchor_attributes"] / lengths
        cells, centres = _nearest(rows, setup["survey_centers"]), setup["survey_centers"]
        counts = [
            np.bincount(each, minlength=len(centres))
            for each in (cells, _nearest(anchors, centres))
        ]
        return psi * math.sqrt(setup["rows_per_unit"][0]), cells, counts[0], counts[1]

    @property
    def _noise(self) -> float:
        return float(self.terms.record["policy"]["survey_noise_micro"] / 1e6)

    @property
    def _heard(self) -> Array:
        """K x c, where a histogram stands out of its noise."""
        found: Array = (self.histograms > 1.5 * self._noise) & (self._survey[2] > 0)
        return found

    @cached_property
    def kept(self) -> Array:
        """K x c, what is believed of the histograms."""
        _, _, n, _ = self._survey
        N, K = self.terms.public_n, len(self.histograms)
        found = np.where(self._heard, self.histograms, 0.0)
        found[found.sum(axis=1) == 0] = N / K * n / n.sum()
        totals = found.sum(axis=1)
        if totals.sum() > N:
            level = water_level(totals, N)
            found *= (np.minimum(totals, level) / totals)[:, None]
        return found

    def sizes(self) -> list[float]:
        """How many units each contributor may have, by roster place."""
        unsure = 3 * self._noise * math.sqrt(self.histograms.shape[1])
        sizes, told = self.kept.sum(axis=1), self._heard.any(axis=1)
        least = float(sizes[told].min()) if told.any() else math.inf
        return [
            float(size if heard else min(size, least)) + unsure
            for size, heard in zip(sizes, told, strict=True)
        ]

    @cached_property
    def _clips(self) -> tuple[Array, float]:
        """c of every survey row, and q at the median row."""
        psi = self._survey[0]
        spread = self.setup["spread"][0]
        norms = np.sqrt((psi**2).sum(axis=1))
        c = self.terms.clip / (spread * float(np.median(norms)))
        inside = math.erf(c / math.sqrt(2))
        bell = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        q = (inside - 2 * c * bell + c**2 * (1 - inside)) / inside
        return self.terms.clip / (spread * norms), q

    @cached_property
    def _curvatures(self) -> list[Array]:
        """N_k."""
        psi, cells, n, _ = self._survey
        passed = _erf(self._clips[0] / math.sqrt(2))
        everywhere = (psi * passed[:, None]).T @ psi / len(psi)
        found = []
        for row in self.kept:
            omega = row[cells] / n[cells]
            own = (psi * (omega * passed)[:, None]).T @ psi
            found.append(0.8 * own + 0.2 * omega.sum() * everywhere)
        return found

    @cached_property
    def weights(self) -> list[Array]:
        """W_k = N_k V_k^-1."""
        terms, spread = self.terms, self.setup["spread"][0]
        noise = (terms.sigma * terms.clip) ** 2 / terms.training_rounds
        found = []
        for N_k in self._curvatures:
            V = noise * np.eye(len(N_k)) + spread**2 * self._clips[1] * N_k
            found.append(np.linalg.solve(V, N_k).T)
        return found

    @cached_property
    def _distance(self) -> float:
        """D, how much steps are shortened."""
        _, _, _, a = self._survey
        kept = self.kept
        v = float(np.abs(kept.sum(axis=0) / kept.sum() - a / a.sum()).sum() / 2)
        e = (
            self._noise
            * np.sqrt(self._heard.sum(axis=0)).sum()
            / (math.sqrt(2 * math.pi) * kept.sum())
        )
        return float(1 + 11 * min(1.0, max(0.0, (v - e - 0.2) / 0.08)))

    @cached_property
    def curvature(self) -> Array:
        """J."""
        total = sum(W @ N for W, N in zip(self.weights, self._curvatures, strict=True))
        found: Array = np.diag(1 / self.setup["prior"]) + self._distance * total
        return found

    def weight(self, place: int | None) -> Array:
        """W in the name of a contributor; of the public member for None."""
        if place is not None:
            return self.weights[place]
        size = self.setup["prior"].size
        return np.eye(size) / (self.setup["spread"][0] ** 2 * self._clips[1])

    def step(self, number: int, base: Array, updates: dict[int, Integers]) -> Array:
        """The next state; within one step of the grid whatever the order of sums."""
        theta = to_float(base[0], self.terms.step)
        scale = 2.0 ** -self.terms.kind(number).bits
        pulled = theta / self.setup["prior"]
        for place, update in updates.items():
            pulled = pulled + self.weights[place] @ (np.array(update, dtype=float) * scale)
        moved = theta - self.terms.eta(number) * np.linalg.solve(self.curvature, pulled)
        return self.terms.on_grid(moved[None, :], f"round {number}")

    def advance(
        self, number: int, walked: Walked, own: Array, after: Array, place: int | None
    ) -> Walked:
        """phi_k after a round."""
        pulled = self.weight(place) @ own + walked.phi / self.setup["prior"]
        moved = self.terms.eta(number) * np.linalg.solve(self.curvature, pulled)
        return Walked(walked.phi - moved, walked.momentum)

    def linear(self, number: int) -> tuple[Array, Array]:
        """The matrices A and B of this round's phi' = A phi + B W u."""
        B = -self.terms.eta(number) * np.linalg.inv(self.curvature)
        return np.eye(len(B)) + B / self.setup["prior"][None, :], B
