# SPDX-License-Identifier: Apache-2.0
"""The committed bundle: no code in it, and it builds to what is committed."""

import tomllib
from importlib import import_module
from pathlib import Path

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fl_client.bundle import APP_FOLDER, bundle_bytes, bundle_sha256
from fl_client.bundle.build import contents, main, matches


def test_it_holds_a_pyproject_and_nothing_else() -> None:
    assert set(contents(bundle_bytes())) == {"pyproject.toml", ".info/CONTENT"}
    assert len(bundle_bytes()) < 1000


def test_its_components_are_installed_apps() -> None:
    project = tomllib.loads(contents(bundle_bytes())["pyproject.toml"].decode())
    components = project["tool"]["flwr"]["app"]["components"]
    found = {}
    for name, place in components.items():
        module, _, attribute = place.partition(":")
        found[name] = getattr(import_module(module), attribute)
    assert isinstance(found["serverapp"], ServerApp)
    assert isinstance(found["clientapp"], ClientApp)
    assert project["tool"]["flwr"]["app"]["config"] == {"task-id": 0}


def test_the_folder_builds_to_the_committed_bundle(tmp_path: Path) -> None:
    assert main(["--check"]) == 0
    assert len(bundle_sha256()) == 64
    changed = tmp_path / "app"
    changed.mkdir()
    text = (APP_FOLDER / "pyproject.toml").read_text()
    (changed / "pyproject.toml").write_text(text.replace("task-id", "job-id"))
    assert not matches(bundle_bytes(), changed)
