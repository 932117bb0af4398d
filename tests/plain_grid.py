# SPDX-License-Identifier: Apache-2.0
"""A Flower Grid in one process: every pushed message is answered at once by a ClientApp."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

App = Callable[[Message, Context], Message]


class PlainGrid(Grid):
    """Nodes 1 to n run `app` with partition ids 0 to n-1. `silent` nodes never answer; `tamper`
    may change or replace a reply; `public_keys` are what the nodes show as theirs."""

    def __init__(
        self, app: App, nodes: int, *, public_keys: dict[int, bytes] | None = None
    ) -> None:
        self.app = app
        self.nodes = list(range(1, nodes + 1))
        self.silent: set[int] = set()
        self.tamper: Callable[[int, Message, Message], Message | None] | None = None
        self.asked: list[tuple[int, str, str]] = []
        self.public_keys = public_keys or {}
        self._replies: dict[str, Message] = {}
        self._run = Run.create_empty(run_id=1)
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(self, *args: object, **kwargs: object) -> Message:
        raise AssertionError("the new API makes messages itself")

    def get_node_ids(self) -> Iterable[int]:
        return self.nodes

    def get_nodes(self) -> Iterable[NodeInfo]:
        return [
            NodeInfo(node_id=node, public_key=self.public_keys.get(node, b""))
            for node in self.nodes
        ]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identifiers = []
        for message in messages:
            identifier = str(uuid4())
            message.metadata.__dict__["_message_id"] = identifier
            identifiers.append(identifier)
            node = message.metadata.dst_node_id
            self.asked.append((node, message.metadata.message_type, message.metadata.group_id))
            if node in self.silent:
                continue
            context = Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": node - 1},
                state=RecordDict(),
                run_config={},
            )
            reply: Message | None = self.app(message, context)
            if self.tamper is not None and reply is not None:
                reply = self.tamper(node, message, reply)
            if reply is not None:
                self._replies[identifier] = reply
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = [key for key in message_ids if key in self._replies]
        return [self._replies.pop(key) for key in found]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        raise AssertionError("the coordinator polls by itself")


def error_reply(message: Message, reason: str) -> Message:
    """A reply that carries an error."""
    return Message(Error(code=2, reason=reason), reply_to=message)
