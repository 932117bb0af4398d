# SPDX-License-Identifier: Apache-2.0
"""An audit that was interrupted goes on, and finds no less than one that begins anew."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit.task
import audit.training
from audit.checks import Progress
from audit.kept_file import KeptFile
from audit.kept_rounds import KeptRounds, pack, unpack
from audit.report import AuditReport
from dao.cid import parse_cid
from rounds.replay import ReplayPoint, replay_round
from tests.independent.forging import Forger
from tests.independent.liar_town import Federation
from tests.independent.verdicts import HeldStore

LENGTH = 2
"""Rounds of a checkpoint in these federations."""


class Interrupted(Exception):
    """Somebody pressed a key."""


@dataclasses.dataclass
class Auditor:
    """Audits a federation with a folder of its own, and sees which rounds are recomputed."""

    federation: Federation
    store: HeldStore
    folder: Path
    patch: pytest.MonkeyPatch
    recomputed: list[tuple[int, ReplayPoint]] = dataclasses.field(default_factory=list)

    def audit(self, *, stop_before: int | None = None, seen: Any = None) -> AuditReport:
        """Interrupted raised before round `stop_before` is looked at."""

        def tell(each: Progress) -> None:
            if stop_before is not None and each.place == f"round {stop_before}":
                raise Interrupted

        def replayed(given: Any, point: ReplayPoint, signed: Any) -> ReplayPoint:
            self.recomputed.append((signed.record.position.round, point))
            return replay_round(given, point, signed)

        self.recomputed.clear()
        self.patch.setattr(audit.training, "replay_round", replayed)
        chain = seen or self.federation.seen
        self.patch.setattr(audit.task, "read_chain", lambda _dao, _task_id: chain)
        town = self.federation.played.town
        return audit.task.audit_task(
            town.dao,
            self.store,
            town.task_id,
            allow_seeded=True,
            tell=tell,
            keep_in=self.folder,
        )

    def interrupt(self) -> None:
        """Stop in the second checkpoint."""
        with pytest.raises(Interrupted):
            self.audit(stop_before=LENGTH + 1)

    def kept(self) -> list[Path]:
        """What lies in the folder."""
        return sorted(self.folder.iterdir()) if self.folder.exists() else []


def auditor_of(federation: Federation, folder: Path, patch: pytest.MonkeyPatch) -> Auditor:
    store = HeldStore(folder / "store", federation.blocks)
    return Auditor(federation, store, folder / "kept", patch)


@pytest.fixture
def auditor(federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditor:
    return auditor_of(federation, tmp_path, monkeypatch)


def said(report: AuditReport) -> str:
    failure = report.first_failure
    return "" if failure is None else f"{failure.place}: {failure.detail}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the last bit, field by field."""
    if dataclasses.is_dataclass(one) and not isinstance(one, type):
        names = [each.name for each in dataclasses.fields(one)]
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in names
        )
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, Mapping):
        # also in order: floats are added up in it
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_an_interrupted_audit_goes_on_from_the_last_checkpoint(auditor: Auditor) -> None:
    fresh = auditor.audit()
    points = dict(auditor.recomputed)
    rounds = auditor.federation.seen.task.last_round
    assert list(points) == list(range(1, rounds + 1))
    assert auditor.kept() == [], "nothing is kept of an audit that passed"
    auditor.interrupt()
    assert len(auditor.kept()) == 1
    resumed = auditor.audit()
    assert (said(resumed), resumed.rounds_kept, fresh.rounds_kept) == ("", LENGTH, 0)
    assert [number for number, _ in auditor.recomputed] == list(range(LENGTH + 1, rounds + 1))
    assert resumed.checks == fresh.checks
    for number, point in auditor.recomputed:
        assert same(point, points[number]), f"before round {number}"
    assert auditor.kept() == []


@pytest.mark.promise(7)
def test_promise_7_a_byte_flipped_or_taken_away_since_is_found_when_it_goes_on(
    auditor: Auditor,
) -> None:
    auditor.interrupt()
    chooser = random.Random(11)
    records = [signed["record"] for signed in Forger(auditor.federation).records[:LENGTH]]
    cids = {each["body"]["update"]["cid"] for record in records for each in record["receipts"]}
    cids |= {record[name]["cid"] for record in records for name in ("base_model", "model")}
    for cid in chooser.sample(sorted(cids), k=4):
        path = auditor.store.block_path(parse_cid(cid))
        whole = path.read_bytes()
        spoilt = bytearray(whole)
        spoilt[chooser.randrange(len(whole))] ^= chooser.randrange(1, 256)
        path.write_bytes(bytes(spoilt))
        damaged = auditor.audit().first_failure
        path.unlink()
        missing = auditor.audit().first_failure
        path.write_bytes(whole)
        assert damaged is not None
        assert missing is not None
        assert cid in damaged.detail
        assert cid in missing.detail
        assert (damaged.fault, missing.fault) == ("unreadable", "withheld")
        assert auditor.recomputed == [], "it was found among the rounds that were kept"


def test_what_was_kept_is_not_used_for_another_history(auditor: Auditor) -> None:
    auditor.interrupt()
    forger = Forger(auditor.federation)
    path = ("receipts", 0, "body", "event", "clip_norm_nano")
    forged = forger.forge("record 1", (path, 12345))
    auditor.store.hold(forged.blocks)
    report = auditor.audit(seen=forged.seen)
    assert report.rounds_kept == 0
    assert said(report).startswith("round 1: ")


def test_what_was_kept_and_leads_elsewhere_is_thrown_away(auditor: Auditor) -> None:
    auditor.interrupt()
    (path,) = auditor.kept()
    kept = unpack(path.read_bytes())
    assert kept is not None
    elsewhere = dataclasses.replace(kept.point, last_record="ab" * 32)
    KeptFile(auditor.folder, path.name).write(pack(KeptRounds(kept.roots, elsewhere)))
    report = auditor.audit()
    assert (said(report), report.rounds_kept) == ("", 0)
    assert len(auditor.recomputed) == auditor.federation.seen.task.last_round


def test_spoilt_or_foreign_files_are_not_used(
    newton: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor = auditor_of(newton, tmp_path, monkeypatch)
    auditor.interrupt()
    (path,) = auditor.kept()
    whole, chooser = path.read_bytes(), random.Random(5)
    for _ in range(200):
        spoilt = bytearray(whole)
        spoilt[chooser.randrange(len(whole))] ^= chooser.randrange(1, 256)
        assert unpack(bytes(spoilt)) is None
    assert unpack(whole[: len(whole) // 2]) is None
    assert unpack(b"") is None
    path.chmod(0o666)
    assert auditor.audit().rounds_kept == 0
