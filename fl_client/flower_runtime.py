# SPDX-License-Identifier: Apache-2.0
"""The one module that touches Flower's internals (flwr 1.41.0, pinned).

Flower's public API ends at `ClientApp`, `ServerApp` and `Grid`. Two things that Covalue needs lie
behind it: taking a message from a SuperNode as an external executor (`NodeLink`), and building and
submitting the bundle byte for byte (`flwr run` would zip it anew, and another zlib would give
another hash). `tests/unit/fl_client/test_flower_contract.py` holds every name
and signature used here, so that an upgrade of Flower fails there first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flwr.app import Context, Error, Message
from flwr.cli.build import build_fab_from_disk
from flwr.common.config import parse_config_args
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.runtime.tracing import RuntimeTracingInterceptor
from flwr.supernode.runtime.run_clientapp import (
    pull_task_input,
    push_message,
    push_task_output,
)

from dao.errors import CovalueError

FLOWER_VERSION = "1.41.0"
ACQUIRE_TASK = "/flwr.proto.Runtime/AcquireTask"


class NodeUnreachableError(CovalueError):
    """The SuperNode's Runtime API does not answer."""


@dataclass(frozen=True)
class Work:
    """One message for the ClientApp, as the SuperNode hands it out."""

    message: Message
    context: Context
    bundle_sha256: str
    """Computed here from the bundle's bytes; the hash that the SuperNode states is not believed."""


class NodeLink:
    """An executor's connection to the Runtime API of one SuperNode.

    `address` is host:port on this machine (plain HTTP on the loopback interface); `secret` is the
    content of the file given to the SuperNode as `--superexec-auth-secret-file`.
    """

    def __init__(self, address: str, secret: bytes) -> None:
        self._address = address
        self._acquirer = self._client(
            SuperExecAuthHttpInterceptor(
                master_secret=secret, protected_methods=frozenset({ACQUIRE_TASK})
            ),
            retry=False,
        )

    def _client(self, interceptor: ProtobufClientInterceptor, *, retry: bool) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            interceptors=[
                RuntimeTracingInterceptor(),
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                interceptor,
            ],
            retry_invoker=make_simple_http_retry_invoker() if retry else None,
        )

    def serve_one(self, answer: Callable[[Work], Message]) -> bool:
        """Take the oldest waiting message, answer it, push the reply. False when none waits.

        `answer` must return a reply for any input and raise nothing that names data: whatever it
        raises is replaced by a bare error reply. The bundle is hashed and dropped, never unpacked.
        """
        try:
            response = self._acquirer.AcquireTask(
                AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
            )
        except httpx.HTTPError as error:
            raise NodeUnreachableError(
                f"the SuperNode at {self._address} does not hand out work: {error}",
                hint="start it with --isolation process and the same --superexec-auth-secret-file",
            ) from error
        if not response.HasField("task") or not response.token:
            return False
        client = self._client(RuntimeTokenHttpInterceptor(response.token), retry=True)
        try:
            with _heartbeat(client):
                self._handle(client, answer)
        except httpx.HTTPError as error:
            raise NodeUnreachableError(
                f"the SuperNode at {self._address} went away during a message: {error}",
                hint="it is asked again; the stored reply goes out then",
            ) from error
        finally:
            client.close()
        return True

    @staticmethod
    def _handle(client: RuntimeHttpClient, answer: Callable[[Work], Message]) -> None:
        context: Context | None = None
        sub_status, details = SubStatus.FAILED, "executor failed"
        try:
            message, context, _run, fab = pull_task_input(client)
            digest = hashlib.sha256(fab.content).hexdigest()
            try:
                reply = answer(Work(message=message, context=context, bundle_sha256=digest))
            except Exception:
                reply = error_reply(message, "internal")
                push_message(client, reply, context)
                raise
            push_message(client, reply, context)
            sub_status, details = SubStatus.COMPLETED, ""
        finally:
            push_task_output(client, context, sub_status, details)

    def close(self) -> None:
        """Close the connection."""
        self._acquirer.close()


@contextmanager
def _heartbeat(client: RuntimeHttpClient) -> Iterator[None]:
    sender = HeartbeatSender(make_task_heartbeat_fn_http(client))
    sender.start()
    try:
        yield
    finally:
        if sender.is_running:
            sender.stop()


def error_reply(message: Message, code: str) -> Message:
    """A reply that carries nothing but one code of the closed list of `refusals.py`."""
    error = Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=f"covalue:{code}")
    return Message(error, reply_to=message)


def build_bundle(folder: Path) -> bytes:
    """Zip a folder into a Flower app bundle (FAB); the folder's pyproject.toml must be valid."""
    return build_fab_from_disk(folder)


@dataclass(frozen=True)
class RunStatus:
    """A run as the SuperLink shows it: `status` is pending, starting, running or finished, and
    `sub_status` (completed, failed, stopped) says how it finished."""

    status: str
    sub_status: str
    details: str


class SuperLinkControl:
    """The coordinator's connection to its own SuperLink's Control API over TLS.

    `address` is host:port, `root_certificate` the PEM bytes of the deployment's own CA.
    """

    def __init__(self, address: str, *, root_certificate: bytes) -> None:
        self._address = address
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=root_certificate,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def ready(self) -> bool:
        """Whether the SuperLink answers."""
        try:
            self._client.ListRuns(ListRunsRequest(limit=1))
        except httpx.TransportError:
            return False
        return True

    def registered_keys(self) -> dict[int, bytes]:
        """Node id to the PEM public key of every SuperNode that is registered."""
        with self._translated("list the SuperNodes"):
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        return {node.node_id: node.public_key for node in nodes if node.status != "unregistered"}

    def register_node(self, public_key_pem: bytes, *, name: str) -> int:
        """Let the SuperNode with this key take part; returns its node id."""
        with self._translated("register the SuperNode"):
            response = self._client.RegisterNode(
                RegisterNodeRequest(public_key=public_key_pem, name=name)
            )
        return int(response.node_id)

    def submit(self, bundle: bytes, *, overrides: list[str]) -> int:
        """Start a run of a bundle, byte for byte; returns Flower's run id.

        `overrides` are run-config entries such as `task-id=1`, whose keys stand in the bundle.
        """
        request = StartRunRequest(
            fab=fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})),
            override_config=user_config_to_proto(parse_config_args(overrides)),
            federation="",
            app_spec="",
        )
        with self._translated("start a run"):
            response = self._client.StartRun(request)
        if not response.HasField("run_id"):
            raise CovalueError(
                "the SuperLink did not start a run of the bundle",
                hint="look into its log; is another run still going?",
            )
        return int(response.run_id)

    def run_status(self, run_id: int) -> RunStatus:
        """How a run stands."""
        with self._translated("show the run"):
            runs = self._client.ListRuns(ListRunsRequest(run_id=run_id)).run_dict
        if run_id not in runs:
            raise CovalueError(f"the SuperLink knows no run {run_id}")
        status = runs[run_id].status
        return RunStatus(status.status, status.sub_status, status.details)

    def stop_run(self, run_id: int) -> None:
        """Stop a run; harmless when it has finished."""
        with self._translated("stop the run"):
            self._client.StopRun(StopRunRequest(run_id=run_id))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise CovalueError(
                f"the SuperLink at {self._address} did not {action}: {error}",
                hint="is it running, with the certificate of coordinator.certificates?",
            ) from error
