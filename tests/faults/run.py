# SPDX-License-Identifier: Apache-2.0
"""Plants each fault of this folder in a copy of the tree and shows that its test fails.

A fault is a patch whose head says what it breaks::

    Promise: 3
    Test: tests/unit/fl_client/test_vault.py::test_promise_3_same_bytes_when_asked_again
    Why: the stored reply is not looked up

`Test` is a pytest node id, or `forge:NAME` for a Solidity test. A fault counts as caught when the
test passes on the untouched copy and fails (not: errors while loading) on the patched one.
Exit code 1 when any fault is not caught, when a promise that needs one has none, or when a patch
no longer applies. Words on the command line choose the faults whose names hold one of them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROMISES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13)
"""Promise 11 belongs to the paid API (docs/SPEC.md)."""
PYTEST_TESTS_FAILED = 1
TEST_SECONDS = 240
"""For one test; a fault that makes it hang longer is not caught."""
MOST_CONTEXT = 3
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


@dataclass(frozen=True)
class Fault:
    """One patch and the test that must notice it."""

    patch: Path
    promise: int
    test: str
    why: str


def read_fault(patch: Path) -> Fault:
    """Parse the head of a patch; ValueError where a line is missing."""
    head = patch.read_text().split("\ndiff ", 1)[0]
    found = dict(re.findall(r"^(Promise|Test|Why): (.+)$", head, flags=re.M))
    missing = {"Promise", "Test", "Why"} - found.keys()
    if missing:
        raise ValueError(f"{patch.name}: no line {', '.join(sorted(missing))} above the diff")
    return Fault(patch=patch, promise=int(found["Promise"]), test=found["Test"], why=found["Why"])


def copy_tree(target: Path) -> None:
    """The tracked and the not ignored files, as they are now; node_modules by link."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    if (ROOT / "node_modules").is_dir():
        (target / "node_modules").symlink_to(ROOT / "node_modules")


def patched_files(fault: Fault, tree: Path) -> dict[Path, str]:
    """What the files of a tree become; ValueError where a hunk does not fit its file."""
    changed: dict[Path, str] = {}
    lines = iter(fault.patch.read_text().splitlines())
    place = tree
    for line in lines:
        if line.startswith("+++ b/"):
            place = tree / line.removeprefix("+++ b/")
        found = HUNK.match(line)
        if found is not None:
            hunk, old_left, new_left = [], int(found[1] or 1), int(found[2] or 1)
            while old_left or new_left:
                hunk.append(next(lines) or " ")  # an editor may have cut an empty line's space
                old_left -= hunk[-1][0] != "+"
                new_left -= hunk[-1][0] != "-"
            text = changed.get(place) or place.read_text()
            changed[place] = apply_hunk(text, hunk, what=f"{fault.patch.name}: {line}")
    if not changed:
        raise ValueError(f"{fault.patch.name}: holds no hunk")
    return changed


def apply_hunk(text: str, hunk: list[str], *, what: str) -> str:
    """Replace a hunk's old lines, which must stand exactly once; their line number does not matter.

    Where they do not, the outermost lines of context are left out, one after the other: what
    others write beside a fault does not spoil it."""
    count = 0
    for spared in range(MOST_CONTEXT + 1):
        if spared and hunk[0][0] == " ":
            hunk = hunk[1:]
        if spared and hunk[-1][0] == " ":
            hunk = hunk[:-1]
        old = "".join(each[1:] + "\n" for each in hunk if each[0] != "+")
        new = "".join(each[1:] + "\n" for each in hunk if each[0] != "-")
        count = text.count(old) if old else 0
        if count == 1:
            return text.replace(old, new)
        if count > 1:
            break
    raise ValueError(f"{what}: its lines stand {count} times in the file, expected once")


def run_tests(tree: Path, tests: list[str]) -> tuple[bool, bool, str]:
    """(all passed, failed properly, output) of tests in `tree`, all of pytest or all of forge."""
    if tests[0].startswith("forge:"):
        names = "|".join(test.removeprefix("forge:") for test in tests)
        command = ["node", "contracts/forge.mjs", "test", "--match-test", f"^({names})\\("]
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += [f"--timeout={TEST_SECONDS}", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_SECONDS * (len(tests) + 1),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, False, f"no end after {TEST_SECONDS * (len(tests) + 1)} s"
    output = done.stdout + done.stderr
    if tests[0].startswith("forge:"):
        passed = done.returncode == 0 and output.count("[PASS]") >= len(tests)
        return passed, "[FAIL" in output, output
    return done.returncode == 0, done.returncode == PYTEST_TESTS_FAILED, output


def failing_untouched(tree: Path, tests: list[str]) -> dict[str, str]:
    """Output by test of those that do not pass in the untouched tree; tried together first."""
    found = {}
    for forge in (False, True):
        chosen = sorted({test for test in tests if test.startswith("forge:") is forge})
        if not chosen or run_tests(tree, chosen)[0]:
            continue
        for test in chosen:
            passed, _, output = run_tests(tree, [test])
            if not passed:
                found[test] = output
    return found


def complaint(output: str) -> str:
    """The line in which pytest or forge says why a test failed."""
    for pattern in (r"^E +(\S.*)", r"^\[(FAIL.*)", r"(\w+Error\b.*)"):
        found = re.search(pattern, output, flags=re.M)
        if found is not None:
            return found[1][:160]
    return ""


def try_fault(fault: Fault, tree: Path) -> tuple[bool, str]:
    """Whether the fault is caught, and what its test, or else what went wrong, says.

    The tree is as before afterwards."""
    try:
        changed = patched_files(fault, tree)
    except (OSError, ValueError) as error:
        return False, f"the patch does not apply any more: {error}"
    before = {place: place.read_bytes() for place in changed}
    try:
        for place, text in changed.items():
            place.write_text(text)
        passed, failed, output = run_tests(tree, [fault.test])
    finally:
        for place, data in before.items():
            place.write_bytes(data)
    if passed:
        return False, "NOT CAUGHT: the test still passes"
    if not failed:
        return False, f"the test did not run to a failure:\n{output[-2000:]}"
    return True, complaint(output)


def main() -> int:
    faults = [read_fault(patch) for patch in sorted(HERE.glob("*.patch"))]
    chosen = sys.argv[1:]
    if chosen:
        faults = [each for each in faults if any(word in each.patch.name for word in chosen)]
    problems = [
        f"promise {number} has no planted fault"
        for number in PROMISES
        if not chosen and number not in {each.promise for each in faults}
    ]
    caught = 0
    with tempfile.TemporaryDirectory(prefix="covalue-faults-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        failing = failing_untouched(tree, [each.test for each in faults])
        for fault in faults:
            started = time.monotonic()
            if fault.test in failing:
                is_caught, said = False, failing[fault.test][-2000:]
                said = f"the test does not pass on the untouched tree:\n{said}"
            else:
                is_caught, said = try_fault(fault, tree)
            seconds = time.monotonic() - started
            caught += is_caught
            verdict = "caught" if is_caught else "ESCAPED"
            name = fault.patch.stem
            print(f"{verdict} ({seconds:2.0f} s)  {name}: {fault.why}\n    {said}", flush=True)
            if not is_caught:
                problems.append(f"{name}: {said.splitlines()[0]}")
    print(f"{len(faults)} faults planted, {caught} caught")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
