# SPDX-License-Identifier: Apache-2.0
"""What of an update only its sender could have known.

Whoever has no rows can send again what was published, under fresh noise of its own: the sum of the
round before pushes the model on in a good direction, and by what a coalition is worth that would be
paid as if it were the sender's. So contributors are scored by their **own parts**: what is left of
an update after least squares on what everybody could know when it was made. The rest belongs to
every coalition, as the public member's gradient does. With r_j^t the own part of contributor j in
training round t, known to contributor k are, in this order,

- the gradient of the public rows at the round's base,
- the sum over the others of the mean of all their earlier own parts,
- the sum of the others' own parts in each of the last ROUNDS training rounds, the newest first,
- of every other contributor that mean, and the last of its own parts.

Every direction taken out takes honest signal and noise with it. So there are at most one in
DIMENSIONS of d: of the first three as many as fit, the last where all of them fit. They are own
parts, and not updates, so that who copies somebody cannot make the copied one's next updates look
known. Honest contributors lose what is alike in all their gradients, from the second round on; in
the first nothing is known but the public rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np

from dao.records import Task
from rounds.norm_clips import clipped_updates
from rounds.phases import kind_of, release_of
from rounds.state import Floats, decode_state, decode_update, state_to_float, update_to_float
from rounds.step import Steps
from rounds.stretch import ScoredRound, Stretch, heard_receipts, public_gradient
from valuation.family import Family

ROUNDS, DIMENSIONS = 4, 12
RIDGE = 1e-6
"""Added to the products of known directions of length 1, of which some are nearly alike."""


def stretches_of(
    task: Task,
    family: Family,
    steps: Steps,
    roster: Sequence[str],
    parts: Sequence[Sequence[ScoredRound]],
) -> Iterator[Stretch]:
    """A task's stretches, from its first round on, with everybody's own parts."""
    own = OwnParts(task, family, steps, roster)
    for rounds in parts:
        yield Stretch(task, family, steps, roster, rounds, own.of(rounds))


class OwnParts:
    """Own parts of a task's rounds, which must come one after the other."""

    def __init__(self, task: Task, family: Family, steps: Steps, roster: Sequence[str]) -> None:
        self._task, self._family, self._steps, self._roster = task, family, steps, roster
        shape = (len(roster), task.model.parameters)
        self._most = task.model.parameters // DIMENSIONS
        self._times = np.zeros(len(roster))
        self._means, self._last = np.zeros(shape), np.zeros(shape)
        self._recent: deque[Floats] = deque(maxlen=ROUNDS)

    def of(self, rounds: Sequence[ScoredRound]) -> tuple[Floats, ...]:
        """float64[K, d] of each training round among the next rounds; 0 of who does not count."""
        return tuple(
            self._next(each)
            for each in rounds
            if kind_of(self._task, each.record.position.round) == "train"
        )

    def _next(self, each: ScoredRound) -> Floats:
        updates = self._heard(each)
        counts = updates.any(axis=1)
        own = self._own(updates, self._known(each))
        own[~counts] = 0.0
        self._last[counts] = own[counts]
        self._times[counts] += 1.0
        self._means[counts] += (own[counts] - self._means[counts]) / self._times[counts, None]
        self._recent.append(own)
        return own

    def _heard(self, each: ScoredRound) -> Floats:
        """float64[K, d]: the round's counted updates as the step took them."""
        release = release_of(self._task, each.record.position.round)
        named = {receipt.body.contributor for receipt in heard_receipts(each.record)}
        # All of them, in roster order: what is heard of one may hang on the others.
        sent = {
            address: decode_update(release, each.updates[address])
            for address in self._roster
            if address in named
        }
        heard = self._steps.hear(clipped_updates(sent, each.record.norm_clips))
        counted = {receipt.body.contributor for receipt in each.record.receipts}
        updates = np.zeros_like(self._means)
        for place, address in enumerate(self._roster):
            if address in counted:
                updates[place] = update_to_float(release, heard[address])
        return updates

    def _known(self, each: ScoredRound) -> Floats:
        """float64[K, m, d]: the public rows' gradient, and sums over the others."""
        known, rows = [], self._family.judge_rows()
        if rows is not None:
            theta = state_to_float(self._task, decode_state(self._task, each.base_state)[0])
            gradient = public_gradient(self._task, self._family, rows, theta)
            known.append(np.broadcast_to(gradient, self._means.shape))
        known += [one.sum(axis=0) - one for one in (self._means, *reversed(self._recent))]
        return np.stack(known[: max(1, self._most)], axis=1)

    def _own(self, updates: Floats, known: Floats) -> Floats:
        """float64[K, d]: updates less what was known."""
        if not self._most:
            return updates.copy()
        if known.shape[1] + 2 * (len(updates) - 1) > self._most:
            return _rest(updates, known)
        own = np.zeros_like(updates)
        for place in np.flatnonzero(updates.any(axis=1)):
            others = np.arange(len(updates)) != place
            everything = np.vstack((known[place], self._means[others], self._last[others]))
            own[place] = _rest(updates[None, place], everything[None])[0]
        return own


def _rest(updates: Floats, known: Floats) -> Floats:
    """float64[B, d]: updates [B, d] less their part along known [B, m, d]; zeros are not known."""
    products = known @ known.transpose(0, 2, 1)
    lengths = np.sqrt(np.einsum("bmm->bm", products))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)[:, :, None]
    scaled = products * scale * scale.transpose(0, 2, 1) + RIDGE * np.eye(known.shape[1])
    along = scale * np.linalg.solve(scaled, scale * (known @ updates[:, :, None]))
    rest: Floats = updates - (along.transpose(0, 2, 1) @ known)[:, 0]
    return rest
