# SPDX-License-Identifier: Apache-2.0
"""States on their grids, the step in plain Python, displacements that add up."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dao.errors import RecordError, TaskError
from dao.records import Task
from rounds.phases import release_of
from rounds.state import (
    decode_state,
    decode_update,
    encode_state,
    initial_state,
    state_from_float,
    state_to_float,
    sum_updates,
)
from rounds.step import Displacement, SumSteps, take_back
from tests.unit.rounds.round_world import make_task

D = 5
NEWTON = make_task(parameters=D, rounds=6)
ADAM = make_task(parameters=D, rounds=6, optimiser="adam")
VECTORS = {
    "gain": np.array([0.3, 1.0, 2.0, 0.7, 5.0]),
    "ridge": np.array([0.0, 0.1, 1.0, 3.0, 9.0]),
}


def _sent(task: Task, values: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Updates as they are counted, by made-up addresses, and what they say float64[n, d]."""
    bits = task.model.update_grid_bits
    counted = np.rint(values * 2.0**bits).astype(np.int64)
    by_address = {f"0x{place:040x}": each for place, each in enumerate(counted)}
    return by_address, counted * 2.0**-bits


def _half_even(value: float) -> int:
    return round(Fraction(value) * 2**40)


def _slow_newton(theta: list[int], total: list[float], round_number: int) -> list[int]:
    """One Newton step with Python floats, in the documented order."""
    eta = NEWTON.optimiser.eta_micro[round_number - 1] / 1e6
    out = []
    for i in range(D):
        gain, ridge = float(VECTORS["gain"][i]), float(VECTORS["ridge"][i])
        value = theta[i] * 2.0**-40
        x = -(total[i] / (400.0 * gain)) - ridge * value
        out.append(_half_even(value + (eta * x) / (1.0 + ridge)))
    return out


def _slow_adam(state: list[list[int]], total: list[float], t: int) -> list[list[int]]:
    eta, b1, b2, eps = 0.05, 0.9, 0.99, 1e-6
    p1 = p2 = 1.0
    for _ in range(t):
        p1, p2 = p1 * b1, p2 * b2
    theta, m, v = [], [], []
    for i in range(D):
        g = total[i] / 400.0
        new_m = b1 * (state[1][i] * 2.0**-40) + (1.0 - b1) * g
        new_v = _half_even(b2 * (state[2][i] * 2.0**-40) + (1.0 - b2) * (g * g))
        root = math.sqrt(new_v * 2.0**-40 / (1.0 - p2)) + eps
        move = eta * (new_m / (1.0 - p1)) / root
        theta.append(_half_even(state[0][i] * 2.0**-40 - move))
        m.append(_half_even(new_m))
        v.append(new_v)
    return [theta, m, v]


@pytest.mark.parametrize("optimiser", ["newton", "adam"])
def test_step_is_bit_for_bit_that_of_plain_python(optimiser: str) -> None:
    rng = np.random.default_rng(0)
    task = NEWTON if optimiser == "newton" else ADAM
    state = decode_state(task, initial_state(task, rng.normal(size=D)))
    for t in range(1, 7):
        counted, sent = _sent(task, rng.normal(size=(3, D)) * 200)
        total = np.array([math.fsum(column) for column in sent.T])
        after = SumSteps(task, VECTORS).step(state, counted, number=t)
        if optimiser == "newton":
            assert after.tolist() == [_slow_newton(state[0].tolist(), total.tolist(), t)]
        else:
            assert after.tolist() == _slow_adam(state.tolist(), total.tolist(), t)
        state = after


@pytest.mark.parametrize("task", [NEWTON, ADAM], ids=["newton", "adam"])
def test_displacements_add_up_to_the_trajectory(task) -> None:
    """theta = base + sum of displacements, the base being the run in which nobody sends anything;
    for adam with the real run's second moment held."""
    rng = np.random.default_rng(1)
    steps = SumSteps(task, VECTORS)
    start = decode_state(task, initial_state(task, rng.normal(size=D)))
    real = start
    players = Displacement.zero(task, many=3)
    silent = Displacement(
        phi=state_to_float(task, start[0])[None, :],
        momentum=None if task is NEWTON else np.zeros((1, D)),
    )
    for t in range(1, 7):
        counted, updates = _sent(task, rng.normal(size=(3, D)) * 100)
        real = steps.step(real, counted, number=t)
        options = {"number": t, "state_after": real}
        players = steps.advance(players, steps.weigh(updates, range(3)), **options)
        silent = steps.advance(silent, np.zeros((1, D)), **options)
    together = silent.phi[0] + players.phi.sum(axis=0)
    assert np.allclose(state_to_float(task, real[0]), together, atol=20 * 2.0**-40)
    without = state_to_float(task, take_back(task, real, players.row(1)))
    if task is NEWTON:
        rest = silent.phi[0] + players.phi[0] + players.phi[2]
        assert np.allclose(without[0], rest, atol=20 * 2.0**-40)
    else:
        before = state_to_float(task, real)
        assert np.array_equal(without[[0, 2]], before[[0, 2]])
        rest = players.momentum[0] + players.momentum[2]
        assert np.allclose(without[1], rest, atol=20 * 2.0**-40)


def test_displacements_are_taken_apart_stacked_and_forgotten_by_rows() -> None:
    rng, steps = np.random.default_rng(2), SumSteps(ADAM, {})
    many = Displacement.zero(ADAM, many=4)
    after = np.abs(rng.integers(1, 2**40, size=(3, D)))
    for t in (1, 2):
        many = steps.advance(many, rng.normal(size=(4, D)), number=t, state_after=after)
    again = Displacement.stacked([many.row(place) for place in range(4)])
    assert np.array_equal(again.phi, many.phi)
    assert np.array_equal(again.momentum, many.momentum)
    many.forget(2)
    assert not many.phi[2].any()
    assert not many.momentum[2].any()
    kept = [0, 1, 3]
    assert np.array_equal(many.phi[kept], again.phi[kept])
    assert np.array_equal(many.momentum[kept], again.momentum[kept])


def test_going_back_is_the_transpose_of_advancing() -> None:
    """<c, advance(phi, u)> = <before, phi> + <sent, u> for any c, phi, u."""
    rng, steps = np.random.default_rng(3), SumSteps(NEWTON, VECTORS)
    covectors, phi, sent = rng.normal(size=(3, 4, D))
    nothing = np.zeros((1, D), dtype=np.int64)
    moved = steps.advance(Displacement(phi, None), 300 * sent, number=2, state_after=nothing)
    before, weighed = steps.back(covectors, number=2)
    np.testing.assert_allclose(
        covectors @ moved.phi.T, before @ phi.T + weighed @ (300 * sent).T, rtol=1e-12, atol=1e-12
    )


def test_sums_of_updates_are_exact_even_at_the_edge_of_the_range() -> None:
    edge = 2**62 - 1
    updates = [np.array([edge, -edge, 1]), np.array([edge, -edge, 2]), np.array([edge, edge, -3])]
    total = sum_updates(updates, length=3)
    assert total.tolist() == [float(3 * edge), float(-edge), 0.0]
    assert sum_updates([], length=2).tolist() == [0.0, 0.0]


def test_bytes_of_wrong_length_or_range_are_refused() -> None:
    with pytest.raises(RecordError, match="39 bytes, expected 40"):
        decode_update(release_of(NEWTON, 1), bytes(39))
    for edge in (2**62, -(2**62), -(2**63)):
        with pytest.raises(RecordError, match="integer 1 is"):
            decode_update(
                release_of(NEWTON, 1), np.array([0, edge, 0, 0, 0]).astype("<i8").tobytes()
            )
    with pytest.raises(RecordError, match="second moment"):
        decode_state(ADAM, encode_state(np.full((3, D), -1)))
    inside = np.array([2**62 - 1, -(2**62) + 1, 0, 1, -1])
    assert (
        decode_update(release_of(NEWTON, 1), inside.astype("<i8").tobytes()).tolist()
        == inside.tolist()
    )


def test_a_model_that_leaves_its_range_is_the_tasks_fault() -> None:
    with pytest.raises(TaskError, match="range"):
        state_from_float(NEWTON, np.array([1e30]))
    with pytest.raises(TaskError, match="range"):
        state_from_float(NEWTON, np.array([np.nan]))


def test_a_round_or_a_set_up_that_does_not_fit_is_refused() -> None:
    state = decode_state(NEWTON, initial_state(NEWTON, np.zeros(D)))
    for number in (0, 7):
        with pytest.raises(TaskError, match="6 rounds"):
            SumSteps(NEWTON, VECTORS).step(state, {}, number=number)
    with pytest.raises(TaskError, match="gain"):
        SumSteps(NEWTON, {})
    with pytest.raises(TaskError, match="ridge"):
        SumSteps(NEWTON, VECTORS | {"ridge": np.zeros(D + 1)})
    constants = ADAM.optimiser.model_copy(update={"beta2_micro": 10**6})
    with pytest.raises(TaskError, match="below 1"):
        SumSteps(ADAM.model_copy(update={"optimiser": constants}), {})
