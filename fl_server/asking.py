# SPDX-License-Identifier: Apache-2.0
"""Asking the roster's nodes through a Flower Grid, with an own interval and time limit.

`Grid.send_and_receive` sleeps three seconds between looks and waits for silent nodes without end;
here messages are pushed and pulled separately, nodes that come online later are asked then, and a
vault whose chain endpoint failed is asked again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from dao.errors import CovalueError
from fl_server.context import CoordinatorContext
from fl_server.wire import refusal_code

Reply = TypeVar("Reply")

AGAIN = frozenset({"unavailable", "error"})
"""Refusals that may pass by themselves."""
AGAIN_SECONDS = 5.0


class QuorumError(CovalueError):
    """Too few of the roster answered or co-signed; nothing was fixed or committed."""


@dataclass
class Answers(Generic[Reply]):
    """What came back so far."""

    replies: dict[str, Reply] = field(default_factory=dict)
    """By contributor's address."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Code by contributor (or `node <id>` where the owner is not known)."""
    silent: frozenset[str] = frozenset()
    """Contributors whose node was asked and did not reply."""


@dataclass(frozen=True)
class _Asked:
    node: int
    owner: str | None


class Question(Generic[Reply]):
    """One message to every node of the roster, and what comes back.

    `take` turns a reply into (address, reply) or None; it is given the node's owner where the
    registry knows the node's key. The first reply for an address is kept. Nodes of `not_asked` are
    left alone: whoever is judged out must not spend privacy for nothing.
    """

    def __init__(
        self,
        grid: Grid,
        context: CoordinatorContext,
        *,
        message_type: str,
        content: RecordDict,
        group: str,
        take: Callable[[Message, str | None], tuple[str, Reply] | None],
        not_asked: frozenset[str] = frozenset(),
    ) -> None:
        self._grid = grid
        self._context = context
        self._type = message_type
        self._content = content
        self._group = group
        self._take = take
        self._not_asked = not_asked
        self._pending: dict[str, _Asked] = {}
        self._done: set[int] = set()
        self._again_at: dict[int, float] = {}
        self._answers: Answers[Reply] = Answers()

    def ask(self, *, seconds: float, enough: int | None = None) -> Answers[Reply]:
        """Ask and collect until everyone asked has replied, or time is up.

        After `seconds` `enough` replies will do (by default a quorum of the task); below that the
        coordinator waits on, up to `timing.patience`. They also do once every node has replied or
        refused.
        """
        started = time.monotonic()
        warned = False
        asked = len(self._context.roster) - len(self._not_asked)
        quorum = min(self._context.quorum if enough is None else enough, asked)
        while True:
            self._push()
            self._pull()
            elapsed = time.monotonic() - started
            answered = len(self._answers.replies)
            settled = not self._pending and not self._again_at and len(self._done) >= asked
            if answered >= asked or elapsed >= max(seconds, self._context.timing.patience):
                break
            if answered >= quorum and (settled or elapsed >= seconds):
                break
            if elapsed >= seconds and not warned:
                self._context.tell(
                    "waiting",
                    0,
                    answered=answered,
                    quorum=quorum,
                    group=self._group,
                    refusals=self._answers.refusals,
                )
                warned = True
            time.sleep(self._context.timing.poll)
        self._answers.silent = frozenset(
            each.owner
            for each in self._pending.values()
            if each.owner is not None and each.owner not in self._answers.replies
        )
        return self._answers

    def _push(self) -> None:
        now = time.monotonic()
        self._again_at = {node: at for node, at in self._again_at.items() if at > now}
        busy = {each.node for each in self._pending.values()} | self._done | set(self._again_at)
        fresh: list[_Asked] = []
        owners = self._context.node_owners
        for info in self._grid.get_nodes():
            owner = owners.get(hashlib.sha256(info.public_key).digest())
            known = owner or self._context.answered_from.get(info.node_id)
            if known in self._not_asked or info.node_id in busy:
                continue
            if owner is not None or not owners:
                fresh.append(_Asked(node=info.node_id, owner=owner))
        messages = [
            Message(
                self._content,
                each.node,
                self._type,
                ttl=self._context.timing.patience,
                group_id=self._group,
            )
            for each in fresh
        ]
        if messages:
            identifiers = [str(each) for each in self._grid.push_messages(messages)]
            self._pending |= dict(zip(identifiers, fresh, strict=True))

    def _pull(self) -> None:
        if not self._pending:
            return
        for message in self._grid.pull_messages(list(self._pending)):
            asked = self._pending.pop(message.metadata.reply_to_message_id, None)
            if asked is not None:
                self._take_one(message, asked)

    def _take_one(self, message: Message, asked: _Asked) -> None:
        code = refusal_code(message)
        taken = self._take(message, asked.owner) if code is None else None
        if taken is None:
            code = code or "malformed"
            self._answers.refusals[asked.owner or f"node {asked.node}"] = code
            if code in AGAIN:
                self._again_at[asked.node] = time.monotonic() + AGAIN_SECONDS
            else:
                self._done.add(asked.node)
            return
        self._done.add(asked.node)
        address, reply = taken
        self._context.answered_from.setdefault(asked.node, address)
        self._answers.refusals.pop(address, None)
        self._answers.replies.setdefault(address, reply)
