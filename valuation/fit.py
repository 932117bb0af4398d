# SPDX-License-Identifier: Apache-2.0
"""From public rows to the public set-up of a task: features or networks, initial weights, clip
norm, optimiser, grids. Sees no private row; all numbers follow from public ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dao.records import AdamOptimiser, NewtonOptimiser, Optimiser
from valuation.encode import Encoded, indicator_columns
from valuation.family import Family, JudgeRows
from valuation.features import FitPlan, build_features
from valuation.kernel import KernelFamily
from valuation.landmarks import location_box
from valuation.mlp import MlpFamily, draw_frequencies
from valuation.process import FittedProcess
from valuation.public_fit import PublicFit
from valuation.schema import Floats, Schema, location_of
from valuation.survey import draw_survey

MODEL_GRID_BITS = 40
SURVEYED_GRID_BITS = 30
"""A step of the rule `wiener` goes through matrix products: processors differ by some 1e-11."""
ETA, SURVEYED_ETAS = 1.5, (1.5, 1.75)
"""Steps shrink as this over t + 5: for the rule `sum`, and for `wiener` where updates tell little
and where they tell much (tuned on held-out seeds)."""
NOISE_GRID_RATIO = 256
"""The grid of updates is at least this many times finer than the noise."""
MLP_CLIP_FACTOR = 0.15
"""Clip norm = this * residual spread * sqrt(inputs) (tuned on held-out seeds)."""
MLP_HUBER_SPREADS = 2.5
ADAM_ETA = 0.025
BARE_CLIP_FACTOR = 0.03
BARE_ADAM_ETA = 0.035
"""Without public rows residuals shrink from about 1 to a third while the network learns, and it
has further to go: a smaller clip norm and longer steps (tuned on held-out seeds)."""


@dataclass(frozen=True)
class SetupBundle:
    """All that the set-up decides of a task.

    Attributes:
        setup: the set-up blob. initial: the initial model state, int64 little-endian.
        parameters: d. hidden: layer widths (mlp).
        clip_norm_nano: C in 1e-9, rounded up. huber_micro: 0 = squared loss.
        update_grid_bits, model_grid_bits: see `dao.records.ModelSpec`.
        optimiser: with one step size per round.
        loo_residual: float64[n], what the public rows alone miss of each public row.
    """

    setup: bytes
    initial: bytes
    parameters: int
    hidden: tuple[int, ...]
    clip_norm_nano: int
    huber_micro: int
    update_grid_bits: int
    model_grid_bits: int
    optimiser: Optimiser
    loo_residual: Floats


def fit_kernel_setup(
    schema: Schema, public: Encoded, plan: FitPlan, *, fits: PublicFit | None = None
) -> SetupBundle:
    """Set-up of the kernel family.

    Args:
        public: encoded public rows with target, 30 or more.
        fits: what earlier set-ups from the same rows left for this one.

    Raises:
        TaskError: too few public rows.
    """
    fits = fits or PublicFit()
    fitted = fits.process(public, indicator_columns(schema), seed=plan.seed)
    box = location_box(location_of(schema.features))
    features = build_features(fitted, fits.basis(fitted, plan, box=box), plan)
    empty = JudgeRows(np.zeros((0, len(features.gain))), np.zeros(0), np.zeros(0))
    family = KernelFamily(
        process=fitted.process,
        landmark_attributes=features.landmark_attributes,
        landmark_locations=features.landmark_locations,
        projection=features.projection,
        judge=empty,
        gain=features.gain,
        ridge=features.ridge,
        survey=None,
    )
    if plan.survey_cells:
        survey = draw_survey(
            fitted.process,
            cells=plan.survey_cells,
            prior=features.prior,
            spread=fitted.spread,
            rows_per_unit=plan.rows_per_unit,
            box=box,
            seed=plan.seed + 2,
        )
        family = replace(family, survey=survey)
    family = replace(family, judge=_judge(family, public, fitted))
    d = family.parameters
    return SetupBundle(
        setup=family.to_setup(),
        initial=np.zeros(d, dtype="<i8").tobytes(),
        parameters=d,
        hidden=(),
        clip_norm_nano=math.ceil(features.clip_norm * 1e9),
        huber_micro=0,
        update_grid_bits=update_grid_bits(plan.noise_multiplier * features.clip_norm),
        model_grid_bits=SURVEYED_GRID_BITS if plan.survey_cells else MODEL_GRID_BITS,
        optimiser=NewtonOptimiser(
            kind="newton",
            eta_micro=newton_schedule(
                plan.rounds, step=plan.between(*SURVEYED_ETAS) if plan.survey_cells else ETA
            ),
        ),
        loo_residual=fitted.loo_residual,
    )


def fit_mlp_setup(
    schema: Schema,
    public: Encoded | None,
    plan: FitPlan,
    *,
    hidden: tuple[int, ...],
    fits: PublicFit | None = None,
) -> SetupBundle:
    """Set-up of the mlp family, with or without public rows; `fits` as in `fit_kernel_setup`."""
    fitted: FittedProcess | None = None
    if public is not None:
        fits = fits or PublicFit()
        fitted = fits.process(public, indicator_columns(schema), seed=plan.seed)
    frequencies, phases = draw_frequencies(
        location_of(schema.features), public=public is not None, seed=plan.seed + 2
    )
    bare = MlpFamily(
        hidden=hidden,
        attributes=len(indicator_columns(schema)),
        frequencies=frequencies,
        phases=phases,
        process=None if fitted is None else fitted.process,
        judge=None,
    )
    family, spread, residual = bare, 1.0, np.zeros(0)
    if fitted is not None and public is not None:
        family = replace(bare, judge=_judge(bare, public, fitted))
        spread, residual = fitted.spread, fitted.loo_residual
    huber = MLP_HUBER_SPREADS * spread if fitted is not None else 1.0
    factor = BARE_CLIP_FACTOR if fitted is None else MLP_CLIP_FACTOR
    eta = BARE_ADAM_ETA if fitted is None else ADAM_ETA
    clip_norm = factor * spread * math.sqrt(family.widths[0]) * math.sqrt(plan.rows_per_unit)
    zeros = np.zeros(family.parameters, dtype="<i8").tobytes()
    theta = family.initial_theta(seed=plan.seed + 3)
    start = np.rint(theta * 2.0**MODEL_GRID_BITS).astype("<i8").tobytes()
    return SetupBundle(
        setup=family.to_setup(),
        initial=start + zeros + zeros,
        parameters=family.parameters,
        hidden=hidden,
        clip_norm_nano=math.ceil(clip_norm * 1e9),
        huber_micro=round(huber * 1e6),
        update_grid_bits=update_grid_bits(plan.noise_multiplier * clip_norm),
        model_grid_bits=MODEL_GRID_BITS,
        optimiser=AdamOptimiser(
            kind="adam",
            eta_micro=adam_schedule(plan.rounds, eta=eta),
            beta1_micro=900_000,
            beta2_micro=990_000,
            stabiliser_nano=10,
        ),
        loo_residual=residual,
    )


def _judge(family: Family, public: Encoded, fitted: FittedProcess) -> JudgeRows:
    """The public rows that the process has not seen, as the family reads them."""
    prepared = family.prepare(public.take(fitted.held))
    assert prepared.residual is not None
    return JudgeRows(prepared.inputs, prepared.offset, prepared.residual)


def update_grid_bits(noise_std: float) -> int:
    """Least bits with 2**-bits <= noise / 256, within what the record allows."""
    return min(60, max(-40, math.ceil(math.log2(NOISE_GRID_RATIO / noise_std))))


def newton_schedule(rounds: int, *, step: float) -> tuple[int, ...]:
    """eta_t = min(1, step / (t + 5)) for t = 0 .. T-1, in 1e-6."""
    return tuple(round(1e6 * min(1.0, step / (t + 5))) for t in range(rounds))


def adam_schedule(rounds: int, *, eta: float) -> tuple[int, ...]:
    """Half a cosine from eta down to a tenth of it, in 1e-6."""
    waves = (0.5 * (1.0 + math.cos(math.pi * t / rounds)) for t in range(rounds))
    return tuple(round(1e6 * eta * (0.9 * wave + 0.1)) for wave in waves)
