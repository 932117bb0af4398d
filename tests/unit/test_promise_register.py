# SPDX-License-Identifier: Apache-2.0
"""Every numbered promise of docs/SPEC.md has tests that bear its number, and planted faults whose
patches fit the tree and name one of these tests. `make faults` runs them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.run import HERE, PROMISES, ROOT, Fault, patched_files, read_fault

FAULTS = [read_fault(patch) for patch in sorted(HERE.glob("*.patch"))]
NUMBERED = re.compile(r"test_promise_(\d+)_")


@dataclass(frozen=True)
class NumberedTest:
    """A test function; `numbers` are the promises in its markers and its name."""

    file: str
    name: str
    named: int | None
    marked: frozenset[int]

    @property
    def numbers(self) -> frozenset[int]:
        """All promises that it bears."""
        return self.marked if self.named is None else self.marked | {self.named}


def marked_numbers(function: ast.FunctionDef) -> frozenset[int]:
    """N of each `@pytest.mark.promise(N)`."""
    found = set()
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.promise":
            (number,) = decorator.args
            found.add(ast.literal_eval(number))
    return frozenset(found)


def functions_in(file: Path) -> Iterator[NumberedTest]:
    """The test functions of one file."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            named = NUMBERED.match(node.name)
            yield NumberedTest(
                file=str(file.relative_to(ROOT)),
                name=node.name,
                named=None if named is None else int(named[1]),
                marked=marked_numbers(node),
            )


TESTS = [
    test for file in sorted((ROOT / "tests").rglob("test_*.py")) for test in functions_in(file)
]


def test_the_specification_counts_the_same_promises() -> None:
    """All of SPEC's but 11, which it says belongs to the paid API."""
    chapter = (ROOT / "docs" / "SPEC.md").read_text().split("## 5. Promises")[1].split("\n## ")[0]
    numbers = {int(number) for number in re.findall(r"^(\d+)\. ", chapter, flags=re.M)}
    assert numbers == {*PROMISES, 11}
    assert "Promise 11 belongs to the paid API" in chapter


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_has_tests_and_faults(number: int) -> None:
    assert [test.name for test in TESTS if number in test.numbers]
    assert [fault.patch.name for fault in FAULTS if fault.promise == number]


def test_markers_and_names_agree() -> None:
    contradicting = [
        f"{test.file}::{test.name}"
        for test in TESTS
        if not test.numbers <= {*PROMISES}
        or (test.marked and test.named is not None and test.named not in test.marked)
    ]
    assert not contradicting


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.patch.stem)
def test_a_fault_fits_the_tree_and_names_a_test_of_its_promise(fault: Fault) -> None:
    changed = patched_files(fault, ROOT)
    assert all(text != place.read_text() for place, text in changed.items())
    assert not any("tests" in place.relative_to(ROOT).parts for place in changed)
    if fault.test.startswith("forge:"):
        sources = (ROOT / "contracts" / "test").glob("*.t.sol")
        name = fault.test.removeprefix("forge:")
        assert any(f"function {name}(" in source.read_text() for source in sources)
        return
    file, _, name = fault.test.partition("::")
    named = [test for test in TESTS if (test.file, test.name) == (file, name.partition("[")[0])]
    assert [test for test in named if fault.promise in test.numbers], fault.test


def test_a_patch_that_fits_no_more_is_noticed(tmp_path: Path) -> None:
    patch = tmp_path / "1-some.patch"
    patch.write_text(
        "Promise: 1\nTest: a\nWhy: b\n\n"
        "--- a/f.py\n+++ b/f.py\n@@ -7,3 +7,3 @@\n one\n-two\n+2\n three\n"
    )
    fault, file = read_fault(patch), tmp_path / "f.py"
    for text in ("zero\none\ntwo\nthree\n", "one\ntwo\n3\n", "two\nthree\n"):
        file.write_text(text)
        assert patched_files(fault, tmp_path) == {file: text.replace("two", "2")}
    for text in ("one\nthree\n", "one\ntwo\nthree\none\ntwo\nthree\n", "1\ntwo\n3\ntwo\n"):
        file.write_text(text)
        with pytest.raises(ValueError, match="times in the file"):
            patched_files(fault, tmp_path)
