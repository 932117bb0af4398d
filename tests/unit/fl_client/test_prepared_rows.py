# SPDX-License-Identifier: Apache-2.0
"""Prepared rows on a disk that fills or fails, and damaged ones: a vault never stays broken."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from failing_disk import Disk
from test_ledger_full_disk import ran
from vault_world import VaultWorld, make_world, small_task, world

from dao.records.task import Calibration
from dao.store import MemoryStore
from fl_client.prepared_rows import keep_rows, load_rows
from fl_client.refusals import Code, Refused
from valuation.family import Prepared
from valuation.private_rows import CalibrationRows, PrivateRows

__all__ = ["world"]


def prepared(world: VaultWorld) -> Path:
    """The folder of the one task's rows."""
    (folder,) = (world.config.folder / "prepared").iterdir()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_disk_that_takes_a_part_of_the_rows(tmp_path: Path) -> None:
    """The kernel bounds the size of files: below that of an array numpy itself says nothing."""
    found = ran("first", tmp_path)
    said = [each["said"] for each in found]
    assert set(said) == {"unavailable", "answered"}
    assert said == sorted(said, reverse=True), "with more room it works"
    assert said.count("unavailable") >= 5


def test_whatever_step_fails_while_rows_are_prepared_they_are_whole_or_not_there(
    tmp_path: Path,
) -> None:
    whole = make_prepared(tmp_path / "whole")
    for stays_full in (False, True):
        refused = 0
        for fails_at in range(1, 60):
            folder = tmp_path / f"{fails_at}-{stays_full}"
            folder.mkdir()
            world = make_world(folder)
            with pytest.MonkeyPatch.context() as patch:
                disk = Disk(fails_at=fails_at, stays_full=stays_full)
                disk.install(patch)
                try:
                    world.open().records.prepared(*world.open().task(world.task.digest()))
                    break
                except Refused as error:
                    said = error
            refused += 1
            assert said.code is Code.UNAVAILABLE
            assert "room on the disk" in (said.hint or "")
            kept = list((world.config.folder / "prepared").iterdir())
            assert [contents(each) for each in kept] in ([], [whole])
            world.open().answer(world.request(1))
            assert contents(prepared(world)) == whole
        assert disk.steps == refused
        assert refused >= 4 + 4 + 4, "four arrays, each written and synced, folders, the rename"


def make_prepared(folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    world = make_world(folder)
    world.open().answer(world.request(1))
    return contents(prepared(world))


def test_files_and_folders_are_durable_before_the_rename(
    world: VaultWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the rename must not leave empty files under the final name."""
    done: list[int | str] = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda handle: (done.append(os.fstat(handle).st_ino), sync(handle))
    )
    monkeypatch.setattr(
        os, "rename", lambda *paths: (done.append(Path(paths[1]).name), rename(*paths))
    )
    world.open().answer(world.request(1))
    folder = prepared(world)
    at = done.index(folder.name)
    inside = {path.stat().st_ino for path in (folder, *folder.rglob("*"))}
    assert inside <= set(done[:at])
    assert folder.parent.stat().st_ino in done[at:]


def _cut(length: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:length])


def _as_other(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    return lambda path: np.save(path, change(np.load(path)), allow_pickle=True)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": _cut(0),
    "header": _cut(100),
    "data": _cut(-1),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "garbage": lambda path: path.write_bytes(b"garbage" * 100),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "fewer rows": _as_other(lambda array: array[:-1]),
    "other type": _as_other(lambda array: array.astype(np.float32)),
    "objects": _as_other(lambda array: array.astype(object)),
    "no rows": _as_other(lambda array: array[0]),
    "turned": _as_other(lambda array: np.asfortranarray(np.stack([array, array]))),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_rows_are_prepared_again(
    world: VaultWorld, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    (tmp_path / "whole").mkdir()
    other = make_world(tmp_path / "whole")
    first = world.open().answer(world.request(1))
    folder = prepared(world)
    whole = contents(folder)
    files = sorted(folder.rglob("*.npy"))
    assert [path.stem for path in files] == ["inputs", "offset", "residual", "units"]
    for number, path in enumerate(files, start=2):
        damage(path)
        answer = world.open().answer(world.request(number))
        assert answer == other.open().answer(world.request(number))
        assert contents(prepared(world)) == whole
    assert world.open().answer(world.request(1)) == first


def test_survey_and_calibration_are_kept_and_missed(tmp_path: Path) -> None:
    """Every array comes back; with any one gone or cut short there are no prepared rows. That no
    row calibrates is no damage."""
    generator = np.random.default_rng(0)
    plain = small_task(MemoryStore())
    task = plain.model_copy(
        update={
            "policy": plain.policy.model_copy(update={"survey_noise_micro": 1}),
            "calibration": Calibration.model_construct(),
        }
    )

    def some(count: int) -> Prepared:
        return Prepared(
            inputs=np.asfortranarray(generator.normal(size=(count, 3))),
            offset=generator.normal(size=count),
            residual=generator.normal(size=count),
            units=generator.integers(0, 9, count),
        )

    def flat(rows: PrivateRows) -> list[np.ndarray]:
        assert rows.survey is not None
        assert rows.calibration is not None
        held = rows.calibration
        parts = [*vars(rows.training).values(), *vars(held.prepared).values()]
        return [*parts, rows.survey, held.difficulty, held.locations]

    for held in (0, 5):
        rows = PrivateRows(
            training=some(11),
            survey=generator.integers(0, 4, 11),
            calibration=CalibrationRows(
                some(held), generator.normal(size=held), np.ones((held, 2))
            ),
        )
        folder = tmp_path / f"of {held}"
        assert load_rows(folder, task) is None
        for kept in (keep_rows(rows, task, folder), load_rows(folder, task)):
            assert kept is not None
            for found, expected in zip(flat(kept), flat(rows), strict=True):
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == expected.dtype
        files = list(folder.rglob("*.npy"))
        assert len(files) == 11
        for path in files:
            for damage in ("gone", "data"):
                whole = path.read_bytes()
                DAMAGE[damage](path)
                assert load_rows(folder, task) is None
                path.write_bytes(whole)
        assert load_rows(folder, task) is not None
        assert load_rows(folder, plain) is not None


def test_any_bit_turned_in_a_header_is_found(world: VaultWorld) -> None:
    """The header says how the rest is read: numpy parses it as Python, and believes it."""
    world.open().answer(world.request(1))
    folder = prepared(world)
    whole = contents(folder)
    vault = world.open()
    task = vault.task(world.task.digest())
    rows = vault.records.prepared(*task)
    path = folder / "training" / "inputs.npy"
    data = path.read_bytes()
    header = data.index(b"\n") + 1
    generator = np.random.default_rng(0)
    for place in range(header):
        turned = bytearray(data)
        turned[place] ^= 1 << int(generator.integers(0, 8))
        path.write_bytes(bytes(turned))
        again = world.open().records.prepared(*task)
        np.testing.assert_array_equal(again.training.inputs, rows.training.inputs)
        if path.read_bytes() == bytes(turned):
            path.write_bytes(data)  # white space: it means the same
        assert contents(prepared(world)) == whole


@pytest.mark.parametrize("place", ["prepared", "prepared/KEY"])
def test_a_file_in_the_place_of_the_folder(world: VaultWorld, place: str) -> None:
    first = world.open().answer(world.request(1))
    path = world.config.folder / place.replace("KEY", prepared(world).name)
    shutil.rmtree(path)
    path.write_text("x")
    if place == "prepared":
        with pytest.raises(Refused, match="cannot write") as caught:
            world.open().answer(world.request(2))
        assert caught.value.code is Code.UNAVAILABLE
        assert "move it away" in (caught.value.hint or "")
        path.unlink()
    world.open().answer(world.request(2))
    assert world.open().answer(world.request(1)) == first


@pytest.mark.timeout(60)
def test_records_that_are_no_file_are_named(world: VaultWorld) -> None:
    records = world.config.records
    kept = records.read_bytes()
    for make, words in (
        (lambda: None, "No such file"),
        (records.mkdir, "it is a folder, not a file"),
        (lambda: os.mkfifo(records), "it is a named pipe, not a file"),
    ):
        records.unlink(missing_ok=True) if not records.is_dir() else records.rmdir()
        make()
        with pytest.raises(Refused) as caught:
            world.open().answer(world.request(1))
        assert caught.value.code is Code.DATA
        assert words in caught.value.message
        assert caught.value.hint
    records.unlink()
    records.write_bytes(kept)
    world.open().answer(world.request(1))
