# SPDX-License-Identifier: Apache-2.0
"""Who is left out before scores are given, and what a replay takes from a record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dao.errors import ReplayMismatch
from rewards.shapley import quadratic_shapley
from rounds.games import CurvedGame, QuadraticGame
from rounds.harm import Harmless, drop_harmful
from rounds.own_parts import stretches_of
from rounds.score import score_stretch
from rounds.stretch import ScoredRound, Stretch
from tests.plain_scores import plain_scores
from tests.unit.rounds.round_world import BLOCK, World, make_world
from valuation.family import JudgeRows

GAMES = st.tuples(st.integers(1, 6), st.integers(2, 20), st.integers(0, 2**32 - 1))


def _game(players: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=rows), random.normal(size=(players, rows)) * random.uniform(0.1, 1.5)


def _value(residual: np.ndarray, effects: np.ndarray, members: frozenset[int]) -> float:
    return -float(np.mean((residual - effects[sorted(members)].sum(axis=0)) ** 2))


@given(GAMES)
@settings(max_examples=60)
def test_who_harms_is_dropped_as_when_every_coalition_is_valued(game) -> None:
    residual, effects = _game(*game)
    players = len(effects)
    slow, dropped = plain_scores(lambda who: _value(residual, effects, who), players)
    curved = CurvedGame(
        lambda thetas: -np.mean((residual - thetas) ** 2, axis=1),
        base=np.zeros(len(residual)),
        members=effects,
    )
    for found in (
        drop_harmful(QuadraticGame(residual, effects), players),
        drop_harmful(curved, players),
    ):
        assert found.dropped == tuple(dropped)
        assert found.scores == pytest.approx(
            [slow[i] if i in dropped else 0.0 for i in range(players)]
        )
    left = list(found.left)
    stay = quadratic_shapley(residual, effects[left])
    assert stay == pytest.approx([slow[place] for place in left])
    assert (stay >= -1e-12).all()
    nobody, together = (_value(residual, effects, frozenset(who)) for who in ((), left))
    assert stay.sum() == pytest.approx(together - nobody, abs=1e-9)


def test_two_that_cancel_each_other_out_gain_nothing_and_cost_nobody_anything() -> None:
    random = np.random.default_rng(5)
    residual = random.normal(size=50)
    honest = residual * np.array([[0.3], [0.2], [0.1]]) + 0.02 * random.normal(size=(3, 50))
    alone = drop_harmful(QuadraticGame(residual, honest), 3)
    expected = quadratic_shapley(residual, honest)
    assert alone.left == (0, 1, 2)
    for size in (0.5, 5.0, 500.0):
        pair = size * random.normal(size=50) * np.array([[1.0], [-1.0]])
        everybody = np.vstack((honest, pair))
        assert max(quadratic_shapley(residual, everybody)[3:]) > 0.0, "one of them would be paid"
        found = drop_harmful(QuadraticGame(residual, everybody), 5)
        assert found.left == (0, 1, 2)
        assert max(found.scores[3:]) < 0.0
        left = quadratic_shapley(residual, everybody[list(found.left)])
        assert left == pytest.approx(expected)


class _Fixed:
    """A game of given scores, the same whoever is dropped."""

    def __init__(self, scores_pico: Sequence[int]) -> None:
        self._scores = np.array(scores_pico) / 1e12

    def scores(self) -> np.ndarray:
        return self._scores

    def drop(self, place: int) -> None:
        pass


def _replayed(scores_pico: Sequence[int], recorded: Sequence[int]) -> Harmless:
    return drop_harmful(_Fixed(scores_pico), len(scores_pico), recorded=recorded, place="here.")


@pytest.mark.promise(7)
def test_promise_7_a_replay_follows_the_record_within_the_tolerance_and_no_further() -> None:
    assert _replayed([5_000, -5_000, 7_000], [1]).dropped == (1,)
    # Almost 0: another processor may have dropped it, or not.
    assert _replayed([5_000, -900, 7_000], []).dropped == ()
    assert _replayed([5_000, 900, 7_000], [1]).dropped == (1,)
    # Almost the same: another one may have come first.
    assert _replayed([-5_000, -5_900, 7_000], [0, 1]).dropped == (0, 1)
    for recorded, named in (
        ([], r"dropped\[0\]"),  # who harms is kept
        ([0], r"dropped\[0\]"),  # who does not is dropped
        ([2, 1], r"dropped\[0\]"),  # the worst is not the first
        ([1, 2, 2], r"dropped\[2\]"),  # twice
        ([1, 2, 7], r"dropped\[2\]"),  # nobody's place
        ([1], r"dropped\[1\]"),
    ):
        with pytest.raises(ReplayMismatch, match=r"here\." + named):
            _replayed([50_000, -90_000, -30_000], recorded)
    assert _replayed([50_000, -90_000, -30_000], [1, 2]).left == (0,)
    with pytest.raises(ReplayMismatch, match="dropped"):
        _replayed([-50_000], [0, 0])


LOUD = 250.0


def _truth(world: World) -> np.ndarray:
    found: np.ndarray = np.linalg.lstsq(*world.rows[world.addresses[0]], rcond=None)[0]
    return found


def _scored(world: World) -> tuple[Stretch, JudgeRows]:
    states = [*world.states[1:], world.state]
    rounds = [
        ScoredRound(record=record, base_state=base, model=model, updates=updates)
        for record, base, model, updates in zip(
            world.records, world.states, states, world.updates, strict=True
        )
    ]
    random = np.random.default_rng(99)
    inputs = random.normal(size=(60, world.family.width))
    rows = JudgeRows(inputs, np.zeros(60), inputs @ _truth(world))
    parts = stretches_of(world.task, world.family, world.steps(), world.addresses, [rounds])
    return next(parts), rows


def _cancelling(*, width: int = 6, hidden: int = 0) -> World:
    """The last two of six send each other's contrary, as long as the norm bound lets them: so the
    model stays as it is."""
    world = make_world(contributors=6, width=width, rows=300, public_n=1_200, hidden=hidden)
    one, other = world.addresses[-2:]
    loud = np.random.default_rng(7).normal(size=world.task.model.parameters)
    if not hidden:  # what they send is of no use to anybody
        truth = _truth(world)
        loud -= truth * (truth @ loud) / (truth @ truth)
    loud *= LOUD / np.linalg.norm(loud)

    def pair(number, answers):
        for address, sign in ((one, 1.0), (other, -1.0)):
            noise = np.random.default_rng(number).normal(size=len(loud))
            sent = np.rint((sign * loud + noise) * 2.0**world.task.model.update_grid_bits)
            answers[address] = world.answer(address, number, sent.astype("<i8").tobytes())
        return answers

    world.answer_hook = pair
    return world


def test_accounts_that_cancel_each_other_out_are_left_out_of_a_played_task() -> None:
    """The others score as among themselves."""
    world = _cancelling().play(3)
    assert all(len(record.receipts) == 6 for record in world.records), "nobody was excluded"
    stretch, rows = _scored(world)
    scores = score_stretch(stretch, rows, BLOCK)
    assert set(scores.dropped) >= {4, 5}
    assert max(scores.scores_pico[4:]) < 0
    again = score_stretch(stretch, rows, BLOCK, dropped=scores.dropped)
    assert again == scores
    with pytest.raises(ReplayMismatch, match=r"dropped\[0\]"):
        score_stretch(stretch, rows, BLOCK, dropped=())


def test_each_of_two_that_cancel_each_other_out_is_known_from_the_other() -> None:
    """From the second round on neither sends anything that is its own, but noise."""
    world = _cancelling(width=24, hidden=8).play(4)
    (stretch, _) = _scored(world)
    first, *later = (np.linalg.norm(own[4:], axis=1) for own in stretch.own)
    assert (first > 0.9 * LOUD).all()
    assert all((each < 0.2 * first).all() for each in later)
