# SPDX-License-Identifier: Apache-2.0
"""The coordinator's journal: durable, append-only, one writer."""

import multiprocessing
import os
from pathlib import Path

import pytest

from fl_server.journal import Journal, JournalError, read_entries

HEADER = {"chain_id": 31337, "ledger": "0x" + "11" * 20, "task_id": 1, "task_digest": "ab" * 32}


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    with Journal(path, header=HEADER) as journal:
        journal.append("answers", round=1, answers=[])
        journal.append("signed", round=1, digest="d1")
        journal.append("signed", round=2, digest="d2")
    with Journal(path, header=HEADER) as journal:
        assert [entry["kind"] for entry in journal.entries] == [
            "header",
            "answers",
            "signed",
            "signed",
        ]
        found = journal.find("signed", round=2)
        assert found is not None
        assert found["digest"] == "d2"
        assert journal.find("signed", round=3) is None
    assert read_entries(path) == journal.entries


def test_a_journal_of_another_task_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    Journal(path, header=HEADER).close()
    with pytest.raises(JournalError, match="another task"):
        Journal(path, header=HEADER | {"task_digest": "cd" * 32})


def _try_open(path: str, answer: "multiprocessing.Queue[str]") -> None:
    try:
        Journal(Path(path), header=HEADER).close()
        answer.put("opened")
    except JournalError as error:
        answer.put(error.message)


def test_a_second_coordinator_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    with Journal(path, header=HEADER):
        context = multiprocessing.get_context("spawn")
        answer: multiprocessing.Queue[str] = context.Queue()
        process = context.Process(target=_try_open, args=(str(path), answer))
        process.start()
        said = answer.get(timeout=30)
        process.join()
    assert "another coordinator" in said


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_promise_13_a_torn_line_is_cut_off_and_the_rest_stands(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "task.jsonl"
    with Journal(path, header=HEADER) as journal:
        journal.append("signed", round=1, digest="d1")
        journal.append("signed", round=2, digest="d2")
    data = path.read_bytes()
    path.write_bytes(data[:-cut])
    with Journal(path, header=HEADER) as journal:
        assert journal.find("signed", round=1) is not None
        assert journal.find("signed", round=2) is None
        journal.append("signed", round=2, digest="d2")
    assert path.read_bytes() == data


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "task.jsonl"
    with Journal(path, header=HEADER) as journal:
        journal.append("signed", round=1, digest="d1")
    path.write_bytes(path.read_bytes().replace(b'"kind":"signed"', b'"kind":5       '))
    with pytest.raises(JournalError, match="line 2"):
        Journal(path, header=HEADER)


def test_promise_13_an_entry_is_on_disk_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    real = os.fsync
    path = tmp_path / "task.jsonl"

    def watched(descriptor: int) -> None:
        real(descriptor)
        synced.append(path.read_bytes())

    with Journal(path, header=HEADER) as journal:
        monkeypatch.setattr(os, "fsync", watched)
        journal.append("signed", round=1, digest="d1")
        assert b"d1" in synced[-1]
