# SPDX-License-Identifier: Apache-2.0
"""From task.toml and public rows to the canonical task record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dao.errors import InputError, TaskError
from dao.records import BlobRef, ModelSpec, Task, ValidationPart
from valuation.blueprint import Accounting, Blueprint, draw_blueprint
from valuation.encode import Encoded
from valuation.features import FitPlan
from valuation.fit import SetupBundle, fit_kernel_setup, fit_mlp_setup
from valuation.public_fit import PublicFit
from valuation.task_warnings import task_warnings
from valuation.taskfile import TaskFile
from valuation.terms import aggregation_of, survey_cells_of, terms_of


@dataclass(frozen=True)
class Findings:
    """What validation says: with errors the task cannot be built; warnings are for the voters."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def build_task(
    taskfile: TaskFile,
    public_csv: bytes | None,
    put: Callable[[bytes], BlobRef],
    *,
    bundle_sha256: str,
    accounting: Accounting,
    fits: PublicFit | None = None,
) -> Task:
    """The canonical task; fits the set-up (some seconds) and stores every blob it names.

    Args:
        taskfile: see `parse_taskfile`.
        public_csv: bytes of the public rows where the task names some.
        put: stores bytes and returns their reference.
        bundle_sha256: of the app bundle that Flower may ship.
        accounting: the module `privacy.accounting`.
        fits: for building many tasks from the same public rows: one object for all of them.

    Raises:
        TaskError: a field is wrong. InputError: the public rows are.
    """
    plan = draw_blueprint(taskfile, public_csv, accounting=accounting)
    bundle = fit_setup(plan, fits=fits)
    policy = plan.policy.model_copy(update={"clip_norm_nano": bundle.clip_norm_nano})
    model = ModelSpec(
        family=taskfile.model.family,
        parameters=bundle.parameters,
        hidden=bundle.hidden,
        update_grid_bits=bundle.update_grid_bits,
        model_grid_bits=bundle.model_grid_bits,
        setup=put(bundle.setup),
        initial=put(bundle.initial),
        huber_micro=bundle.huber_micro,
    )
    return Task(
        kind="covalue.task/1",
        title=taskfile.title,
        asset_class=taskfile.asset_class,
        target=plan.schema.target,
        features=plan.schema.features,
        unit=plan.schema.unit,
        policy=policy,
        model=model,
        optimiser=bundle.optimiser,
        aggregation=aggregation_of(taskfile, policy.rounds),
        calibration=plan.calibration,
        public_rows=None if public_csv is None else put(public_csv),
        parts=tuple(
            ValidationPart(
                holder=part.holder.lower(), commitment=part.commitment.removeprefix("0x")
            )
            for part in taskfile.part
        ),
        terms=terms_of(taskfile),
        bundle_sha256=bundle_sha256,
        licence=taskfile.licence,
    )


def validate_taskfile(
    taskfile: TaskFile, public_csv: bytes | None, *, accounting: Accounting
) -> Findings:
    """Errors that keep the task from being built, and warnings. Fits nothing, so it is quick."""
    try:
        plan = draw_blueprint(taskfile, public_csv, accounting=accounting)
        aggregation_of(taskfile, plan.policy.rounds)
        terms_of(taskfile)
    except InputError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Findings(errors=(error.message + hint,), warnings=())
    return Findings(errors=(), warnings=tuple(task_warnings(plan)))


def fit_setup(plan: Blueprint, *, fits: PublicFit | None = None) -> SetupBundle:
    """The public set-up of a blueprint; `fits` as in `build_task`."""
    taskfile, policy = plan.taskfile, plan.policy
    contributors = taskfile.privacy.expected_contributors or taskfile.terms.min_contributors
    fit_plan = FitPlan(
        public_n=policy.public_n,
        contributors=contributors,
        noise_multiplier=policy.noise_multiplier_micro * 1e-6,
        rounds=policy.rounds,
        rows_per_unit=rows_per_unit(plan.public, plan.schema.unit.max_rows),
        seed=taskfile.model.seed,
        survey_cells=survey_cells_of(taskfile),
        # A forecast may try more contributors than the task admits.
        matrices=max(taskfile.terms.max_contributors, contributors),
    )
    if taskfile.model.family == "mlp":
        return fit_mlp_setup(
            plan.schema, plan.public, fit_plan, hidden=taskfile.model.hidden, fits=fits
        )
    if plan.public is None:
        raise TaskError("family 'kernel' needs public rows")
    return fit_kernel_setup(plan.schema, plan.public, fit_plan, fits=fits)


def rows_per_unit(public: Encoded | None, max_rows: int) -> float:
    """Mean number of rows that count per unit, in the public rows (1 without)."""
    if public is None:
        return 1.0
    counts = np.minimum(np.bincount(public.units), max_rows)
    return float(counts[counts > 0].mean())
