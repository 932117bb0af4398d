# SPDX-License-Identifier: Apache-2.0
"""Both model families: what they compute, that they learn, that a false set-up is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from valuation_world import Blobs, sales

from dao.errors import RecordError
from dao.records import NewtonOptimiser, Task
from valuation.covariance import covariance
from valuation.encode import Encoded, encode, target_to_value
from valuation.family import Family, optimiser_vectors
from valuation.kernel import KernelFamily
from valuation.loading import load_family
from valuation.metrics import r2
from valuation.mlp import MlpFamily
from valuation.rows import check_frame


def family_of(built: tuple[Task, Blobs]) -> Family:
    task, blobs = built
    return load_family(task, blobs.content[task.model.setup.sha256])


def rows_for(task: Task, count: int, seed: int) -> Encoded:
    frame = sales(count, seed=seed)
    accepted = check_frame(task, frame, with_target=True).accepted
    assert accepted.mean() > 0.99
    return encode(task, frame[accepted], with_target=True)


def start_of(built: tuple[Task, Blobs]) -> np.ndarray:
    task, blobs = built
    state = np.frombuffer(blobs.content[task.model.initial.sha256], dtype="<i8")
    return state[: task.model.parameters] * 2.0**-task.model.model_grid_bits


def test_kernel_inputs_are_posterior_covariances_with_landmarks(
    kernel_task: tuple[Task, Blobs],
) -> None:
    """inputs = (k(x, Z) - k(x, P) (K + noise)^-1 k(P, Z)) R for one matrix R."""
    family = family_of(kernel_task)
    assert isinstance(family, KernelFamily)
    process, task = family.process, kernel_task[0]
    marks = (family.landmark_attributes, family.landmark_locations)
    anchors = (process.attributes, process.locations)
    rows = rows_for(task, 30, seed=4)
    prepared = family.prepare(rows)
    x = (process.scaled(rows.attributes), rows.locations)
    k = covariance(process.hyper, *anchors, *anchors) + process.hyper.noise * np.eye(
        len(process.alpha)
    )
    posterior = covariance(process.hyper, *x, *marks) - covariance(
        process.hyper, *x, *anchors
    ) @ np.linalg.solve(k, covariance(process.hyper, *anchors, *marks))
    upper = family.projection[: len(marks[0])].astype(np.float64)
    expected = posterior @ upper
    scale = np.sqrt((expected**2).mean(axis=0))
    assert (np.abs(prepared.inputs - expected) / scale).max() < 1e-3  # the projection is float32
    # On the landmarks themselves the features are orthogonal.
    features = family.prepare(
        Encoded(
            attributes=process.center + process.scale * marks[0],
            locations=marks[1],
            target=None,
            units=np.arange(len(marks[0]), dtype=np.int64),
            unit_keys=np.zeros(len(marks[0]), dtype=np.uint64),
        )
    ).inputs
    gram = features.T @ features
    norms = np.sqrt(np.diag(gram))
    strong = slice(0, 20)
    cosine = (gram / np.outer(norms, norms))[strong, strong] - np.eye(20)
    assert np.abs(cosine).max() < 0.02


def test_the_clip_norm_and_schedule_follow_the_recipe(kernel_task: tuple[Task, Blobs]) -> None:
    task, blobs = kernel_task
    assert isinstance(task.optimiser, NewtonOptimiser)
    # 1.75 / (t + 5): the task is one of the rule wiener
    assert task.optimiser.eta_micro[:3] == (350_000, 291_667, 250_000)
    assert len(task.optimiser.eta_micro) == task.policy.rounds == 30
    noise = task.policy.noise_multiplier_micro * task.policy.clip_norm_nano * 1e-15
    assert 2.0**-task.model.update_grid_bits <= noise / 256
    vectors = optimiser_vectors(blobs.content[task.model.setup.sha256])
    assert set(vectors) == {"gain", "ridge"}
    assert np.array_equal(vectors["gain"], family_of(kernel_task).optimiser_vectors()["gain"])


@pytest.mark.parametrize("name", ["kernel_task", "mlp_task"])
def test_predictions_and_displacements(name: str, request: pytest.FixtureRequest) -> None:
    built = request.getfixturevalue(name)
    task, family = built[0], family_of(built)
    theta = start_of(built) + 0.1 * np.random.default_rng(0).normal(size=family.parameters)
    prepared = family.prepare(rows_for(task, 25, seed=2))
    module = family.module(theta)
    flat = torch.nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    assert np.array_equal(flat, theta)
    output = module(torch.from_numpy(prepared.inputs)).detach().numpy()[:, 0]
    assert np.allclose(family.predict(prepared, theta), prepared.offset + output, atol=1e-10)
    move = np.random.default_rng(1).normal(size=family.parameters)
    step = 1e-5
    slope = family.predict(prepared, theta + step * move) - family.predict(
        prepared, theta - step * move
    )
    effect = family.displacement_effect(prepared.inputs, theta, move)
    assert np.allclose(effect, slope / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["kernel_task", "mlp_task"])
def test_offset_plus_residual_is_the_target_and_judges_are_public(
    name: str, request: pytest.FixtureRequest
) -> None:
    built = request.getfixturevalue(name)
    task, family = built[0], family_of(built)
    rows = rows_for(task, 25, seed=2)
    prepared = family.prepare(rows)
    assert prepared.residual is not None
    assert rows.target is not None
    assert np.allclose(prepared.offset + prepared.residual, rows.target, atol=1e-12)
    judges = family.judge_rows()
    assert judges is not None
    assert judges.inputs.shape == (50, prepared.inputs.shape[1])
    public = family.prepare(encode(task, sales(150, seed=1), with_target=True))
    for i in (0, 20, 49):
        distance = np.abs(public.inputs - judges.inputs[i]).max(axis=1)
        match = int(np.argmin(distance))
        assert distance[match] < 1e-6
        assert public.residual is not None
        assert public.residual[match] == pytest.approx(judges.residual[i], abs=1e-6)


def learn(
    built: tuple[Task, Blobs], rows: Encoded, *, noisy: bool, rounds: int | None = None
) -> np.ndarray:
    """Every round by plain loops over torch's own gradients; one contributor."""
    task, family = built[0], family_of(built)
    policy, vectors = task.policy, family.optimiser_vectors()
    prepared = family.prepare(rows)
    assert prepared.residual is not None
    x, y = torch.from_numpy(prepared.inputs), torch.from_numpy(prepared.residual)
    clip = policy.clip_norm_nano * 1e-9
    deviation = policy.noise_multiplier_micro * 1e-6 * clip if noisy else 0.0
    random = np.random.default_rng(0)
    theta = start_of(built).copy()
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    huber = task.model.huber_micro * 1e-6 or math.inf
    for t in range(1, (rounds or policy.rounds) + 1):
        module = family.module(theta)
        parameters = dict(module.named_parameters())

        def loss(
            p: dict, row: torch.Tensor, goal: torch.Tensor, module: torch.nn.Module = module
        ) -> torch.Tensor:
            miss = torch.func.functional_call(module, p, (row[None],))[0, 0] - goal
            size = miss.abs()
            tail = huber * (size - 0.5 * huber) if math.isfinite(huber) else size
            return torch.where(size <= huber, 0.5 * miss**2, tail)

        each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(
            {k: v.detach() for k, v in parameters.items()}, x, y
        )
        rows_gradient = torch.cat([g.reshape(len(x), -1) for g in each.values()], dim=1).numpy()
        norms = np.linalg.norm(rows_gradient, axis=1)
        total = (rows_gradient * np.minimum(1.0, clip / np.maximum(norms, 1e-12))[:, None]).sum(0)
        total += deviation * random.normal(size=len(theta))
        eta = task.optimiser.eta_micro[t - 1] * 1e-6
        if task.optimiser.kind == "newton":
            ridge = vectors["ridge"]
            move = -total / (policy.public_n * vectors["gain"]) - ridge * theta
            theta = theta + eta * move / (1 + ridge)
        else:
            g = total / policy.public_n
            first, second = 0.9 * first + 0.1 * g, 0.99 * second + 0.01 * g * g
            theta = theta - eta * (first / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.99**t)) + 1e-8)
    return theta


def accuracy(built: tuple[Task, Blobs], theta: np.ndarray) -> float:
    task, family = built[0], family_of(built)
    rows = rows_for(task, 1_000, seed=77)
    assert rows.target is not None
    estimate = target_to_value(task.target, family.predict(family.prepare(rows), theta))
    return r2(target_to_value(task.target, rows.target), estimate)


def test_the_kernel_family_learns_under_noise(kernel_task: tuple[Task, Blobs]) -> None:
    rows = rows_for(kernel_task[0], 3_000, seed=50)
    before = accuracy(kernel_task, start_of(kernel_task))
    after = accuracy(kernel_task, learn(kernel_task, rows, noisy=True))
    assert after > before + 0.25 * (1 - before)


def test_the_mlp_family_learns_without_public_rows(bare_task: tuple[Task, Blobs]) -> None:
    rows = rows_for(bare_task[0], 3_000, seed=50)
    before = accuracy(bare_task, start_of(bare_task))
    after = accuracy(bare_task, learn(bare_task, rows, noisy=True))
    assert before < 0.2
    assert after > 0.75


def test_a_set_up_with_another_shape_name_or_nan_is_refused(
    kernel_task: tuple[Task, Blobs],
) -> None:
    task, blobs = kernel_task
    good = blobs.content[task.model.setup.sha256]
    arrays = load(good)
    changes: list[tuple[dict[str, np.ndarray], str]] = [
        ({**arrays, "extra": np.zeros(1)}, "expected"),
        ({**arrays, "gain": arrays["gain"][:-1]}, "gain has shape"),
        ({**arrays, "gain": np.zeros_like(arrays["gain"])}, "above 0"),
        ({**arrays, "alpha": arrays["alpha"] * np.nan}, "NaN"),
        ({**arrays, "projection": arrays["projection"].astype(np.float64)}, "float32"),
        ({**arrays, "projection": arrays["projection"][:, :-1]}, "shape"),
    ]
    for changed, words in changes:
        with pytest.raises(RecordError, match=words):
            load_family(task, save(changed))
    with pytest.raises(RecordError, match="safetensors"):
        load_family(task, good[:-1])
    with pytest.raises(RecordError, match="safetensors"):
        load_family(task, b"")
    with pytest.raises(RecordError, match="expected"):
        load_family(
            task.model_copy(
                update={
                    "public_rows": None,
                    "model": task.model.model_copy(update={"family": "mlp", "hidden": (8,)}),
                }
            ),
            good,
        )


def test_the_mlp_has_the_layers_that_the_task_names(mlp_task: tuple[Task, Blobs]) -> None:
    family = family_of(mlp_task)
    assert isinstance(family, MlpFamily)
    kinds = [type(layer).__name__ for layer in family.module(start_of(mlp_task)).children()]
    assert kinds == ["Linear", "Tanh", "Linear", "Scale"]
    assert family.widths[1:] == (32, 1)
    # Attributes, 32 waves for each of three bandwidths, and the offset.
    assert family.widths[0] == family.attributes + 96 + 1
