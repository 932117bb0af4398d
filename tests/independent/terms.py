# SPDX-License-Identifier: Apache-2.0
"""What a task says of its rounds, docs/spec/rounds.md §0, and vectors of integers, §1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.independent.facts import Differs, must
from tests.independent.rows import Array

LIMIT = 2**62
Integers = list[int]


@dataclass(frozen=True)
class Kind:
    """What a round asks for: length L, sensitivity D, noise deviation s, grid 2^-bits, and the
    event that its receipts state (without `seeded`)."""

    name: str
    length: int
    sensitivity: float
    noise: float
    bits: int
    event: dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """A task record and numbers read from it."""

    record: Any

    def __post_init__(self) -> None:
        policy = self.record["policy"]
        rule = self.record["aggregation"]["rule"]
        must(rule in ("sum", "wiener"), "task", f"the rule {rule} is beyond this verifier")
        must(policy["sampling"] is None, "task", "sampled steps are beyond this verifier")
        must(not policy["calibration_noise_micro"], "task", "calibration is beyond this verifier")

    @property
    def clip(self) -> float:
        """C."""
        return float(self.record["policy"]["clip_norm_nano"] / 1e9)

    @property
    def sigma(self) -> float:
        """Noise in multiples of C."""
        return float(self.record["policy"]["noise_multiplier_micro"] / 1e6)

    @property
    def public_n(self) -> float:
        """N, the number that divides."""
        return float(self.record["policy"]["public_n"])

    @property
    def surveys(self) -> int:
        """1 where the first round is a survey, else 0."""
        return int(self.record["policy"]["survey_noise_micro"] > 0)

    @property
    def training_rounds(self) -> int:
        """T."""
        return int(self.record["policy"]["rounds"])

    @property
    def rounds(self) -> int:
        """All rounds."""
        return self.surveys + self.training_rounds

    @property
    def adam(self) -> bool:
        """Whether the optimiser is adam; else it is newton."""
        return bool(self.record["optimiser"]["kind"] == "adam")

    @property
    def wiener(self) -> bool:
        """Whether updates are weighed by the rule `wiener`."""
        return bool(self.record["aggregation"]["rule"] == "wiener")

    @property
    def step(self) -> float:
        """One step of the model's grid."""
        return float(2.0 ** -self.record["model"]["model_grid_bits"])

    def training(self, number: int) -> int:
        """t of the round with a number; below 1 for a survey."""
        return number - self.surveys

    def eta(self, number: int) -> float:
        """Rate of the training round with a number."""
        return float(self.record["optimiser"]["eta_micro"][self.training(number) - 1] / 1e6)

    def kind(self, number: int) -> Kind:
        """What the round with a number asks for."""
        policy = self.record["policy"]
        event = {
            "clip_norm_nano": policy["clip_norm_nano"],
            "mechanism": policy["mechanism"],
            "noise_multiplier_micro": policy["noise_multiplier_micro"],
            "sampling": None,
        }
        if number > self.surveys:
            length, bits = (
                self.record["model"]["parameters"],
                self.record["model"]["update_grid_bits"],
            )
            return Kind("training", length, self.clip, self.sigma * self.clip, bits, event)
        noise = policy["survey_noise_micro"] / 1e6
        bits = math.ceil(math.log2(256 / noise))
        event |= {
            "clip_norm_nano": 10**9,
            "mechanism": "gaussian-histogram",
            "noise_multiplier_micro": policy["survey_noise_micro"],
        }
        return Kind("survey", self.record["aggregation"]["survey_cells"], 1.0, noise, bits, event)

    def read_state(self, data: bytes, place: str) -> Array:
        """S x d integers of a model state's bytes, as int64."""
        vectors = 3 if self.adam else 1
        length = self.record["model"]["parameters"]
        must(len(data) == 8 * vectors * length, place, "not the size of a model state")
        found: Any = np.frombuffer(data, "<i8").reshape(vectors, length)
        must(bool((np.abs(found.astype(object)) < LIMIT).all()), place, "an integer out of range")
        must(vectors == 1 or bool((found[2] >= 0).all()), place, "a negative second moment")
        return found

    def on_grid(self, values: Array, place: str) -> Array:
        """Floats as integers of the model's grid, half to even."""
        scaled = np.rint(values * 2.0 ** self.record["model"]["model_grid_bits"])
        if not bool((np.abs(scaled) < float(LIMIT)).all()):
            raise Differs(place, "the model leaves its range")
        found: Any = scaled.astype(np.int64)
        return found


def fixed(value: float) -> int:
    """A score as recorded: 1e-12, half to even, within +-(2^53 - 1)."""
    most = 2**53 - 1
    return int(max(-most, min(most, round(value * 1e12))))


def slack(recorded: int) -> int:
    """How far a recomputed score may be from the recorded one, in pico (rewards.md §3)."""
    return 1000 + abs(recorded) // 10**6


def near(recomputed: float, recorded: int, place: str) -> None:
    """Whether a float agrees with a recorded score."""
    off = abs(fixed(recomputed) - recorded)
    must(off <= slack(recorded), place, f"recorded {recorded}, recomputed {fixed(recomputed)}")
