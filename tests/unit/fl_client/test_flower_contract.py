# SPDX-License-Identifier: Apache-2.0
"""What Covalue uses of Flower's internals must be there, with the shapes it relies on.

When this file fails after an upgrade of flwr, `fl_client/flower_runtime.py` is the one place to
change; the live half of the contract is tests/integration/test_executor_bundle.py.
"""

import ast
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

from fl_client import flower_runtime

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.simulation"}
"""Flower's public API, as its documentation draws it."""


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_pinned_version_is_installed() -> None:
    assert version("flwr") == flower_runtime.FLOWER_VERSION == "1.41.0"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pull_task_input", ["client"]),
        ("push_message", ["client", "message", "context"]),
        ("push_task_output", ["client", "context", "sub_status", "details"]),
        ("make_task_heartbeat_fn_http", ["client"]),
        ("make_simple_http_retry_invoker", []),
        ("build_fab_from_disk", ["app"]),
        ("fab_to_proto", ["fab"]),
        ("user_config_to_proto", ["user_config"]),
    ],
)
def test_functions_take_what_we_give_them(name: str, expected: list[str]) -> None:
    assert parameters(getattr(flower_runtime, name)) == expected


def test_the_runtime_client_is_built_as_we_build_it() -> None:
    for client in (flower_runtime.RuntimeHttpClient, flower_runtime.ControlHttpClient):
        assert parameters(client.from_server_address) == [
            "server_address",
            "insecure",
            "root_certificates",
            "interceptors",
            "retry_invoker",
        ]
    for method in ("AcquireTask", "PullTaskInput", "PushMessages", "PushTaskOutput"):
        assert parameters(getattr(flower_runtime.RuntimeHttpClient, method)) == ["self", "request"]
    for method in ("StartRun", "StopRun", "ListRuns", "ListNodes", "RegisterNode"):
        assert parameters(getattr(flower_runtime.ControlHttpClient, method)) == ["self", "request"]


def test_the_interceptors_take_what_we_give_them() -> None:
    assert parameters(flower_runtime.RuntimeTokenHttpInterceptor) == ["token"]
    assert parameters(flower_runtime.RuntimeVersionHttpInterceptor) == ["component_name"]
    assert parameters(flower_runtime.SuperExecAuthHttpInterceptor) == [
        "master_secret",
        "protected_methods",
    ]


def test_the_protected_method_is_the_one_the_client_calls() -> None:
    source = inspect.getsource(flower_runtime.RuntimeHttpClient.AcquireTask)
    assert f'"{flower_runtime.ACQUIRE_TASK}"' in source


def test_a_run_and_a_bundle_have_the_fields_we_read() -> None:
    assert parameters(flower_runtime.Fab) == ["hash_str", "content", "verifications"]
    fields = {field.name for field in flower_runtime.StartRunRequest.DESCRIPTOR.fields}
    assert {"fab", "override_config", "federation", "app_spec"} <= fields
    node_fields = flower_runtime.ListNodesRequest.DESCRIPTOR.file.message_types_by_name
    assert "ListNodesResponse" in node_fields


def test_nobody_else_touches_flowers_internals() -> None:
    offenders = []
    for room in ("fl_client", "fl_server", "demo", "cli", "audit", "dao", "rounds", "inference"):
        for path in (ROOT / room).rglob("*.py"):
            if path.name == "flower_runtime.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
                offenders += [
                    f"{path.relative_to(ROOT)}: {module}"
                    for module in modules
                    if module.split(".")[0] == "flwr" and module not in PUBLIC
                ]
    assert offenders == []
