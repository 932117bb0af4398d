# SPDX-License-Identifier: Apache-2.0
"""Poisson-sampled local steps against a brute force, and what their sample and noise must be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dao.errors import TaskError
from dao.records import PrivacyPolicy, Sampling
from privacy.mechanism import Release, encode_update, least_grid_bits
from privacy.noise import SecureNoise, SeededNoise
from privacy.sampling import sampled_rows, sampled_update

Floats = NDArray[np.float64]
CLIP = 1.5
SIGMA = 0.7


def policy(*, rate: float = 0.3, steps: int = 4, eta: float = 0.05) -> PrivacyPolicy:
    return PrivacyPolicy(
        mechanism="gaussian-poisson",
        clip_norm_nano=round(CLIP * 1e9),
        noise_multiplier_micro=round(SIGMA * 1e6),
        rounds=3,
        sampling=Sampling(
            rate_micro=round(rate * 1e6),
            steps=steps,
            eta_micro=round(eta * 1e6),
            local_units=50,
        ),
        survey_noise_micro=0,
        calibration_noise_micro=0,
        delta_e12=10_000_000,
        epsilon_micro=8_000_000,
        public_n=500,
    )


class Recorded:
    """Chances and noise that a test has written down, handed out one after the other."""

    seeded = True

    def __init__(self, uniforms: list[Floats], normals: list[Floats]) -> None:
        self._uniforms, self._normals = list(uniforms), list(normals)

    def uniform(self, n: int) -> Floats:
        drawn = self._uniforms.pop(0)
        assert len(drawn) == n
        return drawn

    def gaussian(self, n: int) -> Floats:
        drawn = self._normals.pop(0)
        assert len(drawn) == n
        return drawn

    @property
    def used_up(self) -> bool:
        return not self._uniforms and not self._normals


def linear_at(theta: Floats) -> nn.Module:
    module = nn.Linear(len(theta), 1, bias=False).double()
    module.weight.data = torch.from_numpy(np.array(theta))[None]
    return module


def mlp_at(theta: Floats) -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    nn.utils.vector_to_parameters(torch.from_numpy(np.array(theta)), module.parameters())
    return module


def rows(n_units: int = 12, *, seed: int = 0) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Units of one to four rows, their rows mixed up; at most two rows of each count."""
    generator = np.random.default_rng(seed)
    units = np.repeat(np.arange(100, 100 + n_units), generator.integers(1, 5, n_units))
    units = generator.permutation(units)
    return generator.normal(size=(len(units), 3)), 3 * generator.normal(size=len(units)), units


def by_brute_force(
    module_at: Any,
    theta: Floats,
    data: tuple[Floats, Floats, NDArray[np.int64]],
    uniforms: list[Floats],
    normals: list[Floats],
    task: PrivacyPolicy,
) -> Floats:
    """The same by autograd, one row at a time, without any of the product's privacy code."""
    inputs, targets, units = data
    assert task.sampling is not None
    rate = task.sampling.rate_micro / 1e6
    place, total = theta.copy(), np.zeros_like(theta)
    for chances, normal in zip(uniforms, normals, strict=True):
        step = np.zeros_like(theta)
        for name, chance in zip(sorted(set(units.tolist())), chances, strict=True):
            if chance > rate:
                continue
            gradient = np.zeros_like(theta)
            for row in np.flatnonzero(units == name)[:2]:
                module = module_at(place)
                error = module(torch.from_numpy(inputs[row])) - targets[row]
                loss = torch.nn.functional.huber_loss(
                    error, torch.zeros_like(error), reduction="sum", delta=2.0
                )
                loss.backward()
                gradient += np.concatenate(
                    [each.grad.numpy().reshape(-1) for each in module.parameters()]
                )
            step += gradient * min(1.0, CLIP / np.linalg.norm(gradient))
        noisy = step + SIGMA * CLIP * normal
        total += noisy
        place -= task.sampling.eta_micro / 1e6 * noisy / (rate * task.sampling.local_units)
    return total


@pytest.mark.parametrize(("module_at", "size"), [(linear_at, 3), (mlp_at, 21)])
def test_the_update_is_that_of_a_brute_force_with_the_same_chances_and_noise(
    module_at: Any, size: int
) -> None:
    generator = np.random.default_rng(1)
    data, task = rows(), policy(eta=1.0)
    uniforms = [generator.random(12) for _ in range(4)]
    normals = [generator.normal(size=size) for _ in range(4)]
    theta = 0.1 * generator.normal(size=size)
    source = Recorded(uniforms, normals)
    found = sampled_update(
        module_at, theta, *data, policy=task, max_rows=2, huber=2.0, noise=source, random=source
    )
    assert source.used_up
    expected = by_brute_force(module_at, theta, data, uniforms, normals, task)
    # Each step is rounded to a grid of at most 1/256 of its noise, and the next one sees that.
    assert np.abs(found - expected).max() < 4 * SIGMA * CLIP / 256
    still = by_brute_force(module_at, theta, data, uniforms, normals, policy(eta=1e-6))
    assert np.abs(found - still).max() > 20 * SIGMA * CLIP / 256, "the model moves between steps"


def test_the_model_is_looked_at_once_for_all_steps() -> None:
    made = []

    def counted(theta: Floats) -> nn.Module:
        made.append(theta.copy())
        return mlp_at(theta)

    source = SeededNoise(b"once")
    start = np.full(21, 0.1)
    found = sampled_update(
        counted, start, *rows(), policy=policy(), max_rows=2, huber=2.0, noise=source, random=source
    )
    assert len(made) == 1
    assert np.array_equal(start, made[0])
    assert np.array_equal(start, np.full(21, 0.1)), "the caller's parameters are not moved"
    assert np.abs(found).max() > 0


@pytest.mark.promise(1)
def test_an_empty_sample_still_adds_its_noise() -> None:
    """Nobody is taken in any step: what leaves is the sum of the steps' noise, not zero."""
    normals = [np.random.default_rng(2).normal(size=3) for _ in range(4)]
    source = Recorded([np.full(12, 0.99)] * 4, normals)
    found = sampled_update(
        linear_at,
        np.zeros(3),
        *rows(),
        policy=policy(),
        max_rows=2,
        huber=None,
        noise=source,
        random=source,
    )
    assert source.used_up
    assert np.abs(found - SIGMA * CLIP * sum(normals)).max() < 4 * SIGMA * CLIP / 256
    assert np.abs(found).min() > 0


def test_a_contributor_without_rows_sends_noise() -> None:
    inputs, targets, units = rows()
    noise = SecureNoise()
    found = sampled_update(
        mlp_at,
        np.zeros(21),
        inputs[:0],
        targets[:0],
        units[:0],
        policy=policy(),
        max_rows=2,
        huber=None,
        noise=noise,
        random=noise,
    )
    assert found.shape == (21,)
    assert np.abs(found).max() > 0


def test_each_step_lies_on_its_grid_and_the_sum_can_be_encoded() -> None:
    source = SeededNoise(b"grid")
    task = policy(steps=9)
    found = sampled_update(
        linear_at,
        np.zeros(3),
        *rows(),
        policy=task,
        max_rows=2,
        huber=None,
        noise=source,
        random=source,
    )
    scaled = np.ldexp(found, least_grid_bits(SIGMA * CLIP))
    assert np.array_equal(scaled, np.rint(scaled))
    deviation = SIGMA * CLIP * math.sqrt(9)
    release = Release(
        length=3, sensitivity=9 * CLIP, deviation=deviation, grid_bits=least_grid_bits(deviation)
    )
    integers = np.frombuffer(encode_update(found, release), dtype="<i8")
    assert np.abs(np.ldexp(integers.astype(float), -release.grid_bits) - found).max() < (
        deviation / 256
    )


def test_units_are_taken_whole_and_each_by_its_own_chance() -> None:
    units = np.array([5, 3, 5, 9, 3, 5])
    taken = sampled_rows(units, 0.5, Recorded([np.array([0.6, 0.5, 0.1])], []))
    assert taken.tolist() == [0, 2, 3, 5], "units 5 and 9, of the sorted 3, 5, 9"


@pytest.mark.parametrize("rate", [1e-6, 0.013, 0.5, 0.9])
def test_the_sampling_rate_is_the_tasks(rate: float) -> None:
    """40 samples of 50,000 units: sizes as those of a binomial, pairs of units independent."""
    units = np.arange(50_000)
    source = SecureNoise()
    sizes = np.array([len(sampled_rows(units, rate, source)) for _ in range(40)])
    n = len(units) * len(sizes)
    deviation = math.sqrt(n * rate * (1 - rate))
    assert abs(sizes.sum() - n * rate) < 5 * max(deviation, 1.0)
    spread = sizes.var(ddof=1) / max(50_000 * rate * (1 - rate), 1e-9)
    if rate > 1e-3:
        # chi-square with 39 degrees of freedom lies within these with probability 1 - 1e-6
        assert 0.2 < spread < 2.6
    first, second = (sampled_rows(units, rate, source) for _ in range(2))
    both = len(np.intersect1d(first, second))
    assert abs(both - 50_000 * rate**2) < 5 * math.sqrt(50_000 * rate**2) + 5


def test_rate_one_takes_everybody_and_uniforms_are_never_zero() -> None:
    drawn = SecureNoise().uniform(200_000)
    assert 0.0 < drawn.min() <= drawn.max() <= 1.0
    assert abs(drawn.mean() - 0.5) < 5 * math.sqrt(1 / 12 / len(drawn))
    assert np.array_equal(np.ldexp(drawn, 53), np.rint(np.ldexp(drawn, 53)))
    assert len(sampled_rows(np.arange(1000), 1.0, SecureNoise())) == 1000


def test_samples_differ_from_step_to_step_and_a_seed_draws_them_again() -> None:
    def sizes(source: Any) -> list[list[int]]:
        return [sampled_rows(np.arange(200), 0.2, source).tolist() for _ in range(3)]

    first = sizes(SeededNoise(b"a"))
    assert first == sizes(SeededNoise(b"a")) != sizes(SeededNoise(b"b"))
    assert first[0] != first[1] != first[2]


def test_a_full_batch_task_has_no_sampled_steps() -> None:
    whole = policy().model_copy(update={"sampling": None})
    noise = SecureNoise()
    with pytest.raises(TaskError, match="no sampled steps"):
        sampled_update(
            linear_at,
            np.zeros(3),
            *rows(),
            policy=whole,
            max_rows=2,
            huber=None,
            noise=noise,
            random=noise,
        )
