# SPDX-License-Identifier: Apache-2.0
"""Plants each mutant of contracts/mutants in a copy of the tree and shows that its test notices it.

    python -m bench.contract_mutants [--only WORD ...]

A mutant is a text of a source under contracts/src that stands there once, what stands in its place,
and the one test that must fail then. The tests are compiled once, without the optimiser (it does
not change what a contract does), so that they fetch the contracts' bytecode from forge's artefacts;
a mutant is compiled alone and put there, and only its test runs. A mutant counts as killed when its
test passes on the untouched copy and fails with the mutant in place. Exit code 1 where one survives
or does not compile, or where its old text does not stand exactly once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = Path("contracts/src")
FORGE = ["node", "contracts/forge.mjs", "test"]
SETTINGS = {
    "FOUNDRY_DYNAMIC_TEST_LINKING": "true",
    "FOUNDRY_OPTIMIZER": "false",
    "FOUNDRY_SOLC": "contracts/mutants/solc.js",
    "FORGE_SNAPSHOT_CHECK": "false",
    "FOUNDRY_FUZZ_RUNS": "64",
}
LEAST_MUTANTS = 60
TEST_SECONDS = 300
BATCH = 12
"""Mutants compiled in one run of the compiler, which holds them all in memory."""
LIBRARY = "BLS12381.sol"

Row = dict[str, Any]


@dataclass(frozen=True)
class Mutant:
    """One planted fault. `file` is below contracts/src, `test` is Contract.test_name."""

    name: str
    file: str
    old: str
    new: str
    test: str

    @property
    def artefacts(self) -> tuple[tuple[str, str], ...]:
        """(source, contract) whose bytecode the mutant changes, as far as its test runs it."""
        if self.file == LIBRARY and self.test.startswith("BLS12381Test."):
            return (("contracts/test/BLS12381.t.sol", "BLS12381Test"),)
        if self.file == LIBRARY:
            return (("contracts/src/ContributorRegistry.sol", "ContributorRegistry"),)
        if self.file == "DeployerLink.sol":
            return (("contracts/src/CovalueToken.sol", "CovalueToken"),)
        if self.file == "ShareTree.sol":
            return (("contracts/src/RevenueShare.sol", "RevenueShare"),)
        if self.file.startswith("ledger/"):
            return (("contracts/src/TaskLedger.sol", "TaskLedger"),)
        return ((f"contracts/src/{self.file}", Path(self.file).stem),)

    def mutated(self) -> str:
        """The whole file with the fault in it; ValueError where `old` is not there once."""
        text = (ROOT / SOURCES / self.file).read_text()
        count = text.count(self.old)
        if count != 1:
            raise ValueError(f"{self.file}: its old text stands {count} times, expected once")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """All of contracts/mutants, in the order of the files."""
    found = []
    for file in sorted((ROOT / "contracts" / "mutants").glob("*.toml")):
        found += [Mutant(**entry) for entry in tomllib.loads(file.read_text())["mutant"]]
    names = [each.name for each in found]
    if len(set(names)) != len(names):
        raise ValueError("two mutants have one name")
    return found


def copy_project(tree: Path) -> None:
    """What forge needs, node_modules by link."""
    for name in ("contracts", "foundry.toml", "package.json"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name)
        else:
            shutil.copy2(source, tree / name)
    (tree / "node_modules").symlink_to((ROOT / "node_modules").resolve())


def forge(tree: Path, tests: list[str]) -> tuple[set[str], set[str], str]:
    """(passed, failed, output) of tests named Contract.test_name."""
    contracts = "|".join(sorted({test.split(".")[0] for test in tests}))
    functions = "|".join(sorted({test.split(".")[1] for test in tests}))
    command = [*FORGE, "--match-contract", f"^({contracts})$", "--match-test", f"^({functions})\\("]
    done = subprocess.run(
        [*command, "--json"],
        cwd=tree,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=TEST_SECONDS,
        check=False,
    )
    passed: set[str] = set()
    failed: set[str] = set()
    start = done.stdout.find("{")
    if start >= 0:
        for suite, found in json.loads(done.stdout[start:].splitlines()[0]).items():
            for signature, outcome in found["test_results"].items():
                test = f"{suite.rpartition(':')[2]}.{signature.partition('(')[0]}"
                (passed if outcome["status"] == "Success" else failed).add(test)
    return passed, failed, done.stdout[-1500:] + done.stderr[-1500:]


def artefact_of(tree: Path, source: str, contract: str) -> Path:
    """Where forge keeps a contract's bytecode."""
    return tree / "out" / Path(source).name / f"{contract}.json"


def variants(tree: Path, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """What contracts/variants.mjs makes of jobs, by id."""
    done = subprocess.run(
        ["node", "contracts/variants.mjs"],
        cwd=tree,
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_compiler(tree: Path, chosen: list[Mutant]) -> None:
    """RuntimeError unless untouched sources give the bytecode that forge's own artefacts hold: else
    a test could fail for another reason than the mutant."""
    places = sorted({place for mutant in chosen for place in mutant.artefacts})
    jobs = [
        {"id": contract, "source": source, "contract": contract, "changed": {}}
        for source, contract in places
    ]
    codes = variants(tree, jobs)
    for source, contract in places:
        kept = json.loads(artefact_of(tree, source, contract).read_text())["bytecode"]["object"]
        if codes[contract] != kept:
            raise RuntimeError(f"{contract}: contracts/variants.mjs does not compile as forge does")


def compiled(tree: Path, chosen: list[Mutant]) -> dict[Mutant, list[str] | str]:
    """Creation bytecode for each of a mutant's artefacts, or why there is none."""
    found: dict[Mutant, list[str] | str] = {}
    jobs: list[dict[str, Any]] = []
    for index, mutant in enumerate(chosen):
        try:
            changed = {str(SOURCES / mutant.file): mutant.mutated()}
        except (OSError, ValueError) as error:
            found[mutant] = str(error)
            continue
        jobs += [
            {"id": f"{index}_{place}", "source": source, "contract": contract, "changed": changed}
            for place, (source, contract) in enumerate(mutant.artefacts)
        ]
    for job, code in variants(tree, jobs).items():
        mutant = chosen[int(job.split("_")[0])]
        if isinstance(code, dict):
            found[mutant] = f"does not compile: {code['error'][:300]}"
        elif isinstance(known := found.setdefault(mutant, []), list):
            known.append(code)
    return found


def try_mutant(tree: Path, mutant: Mutant, codes: list[str]) -> tuple[bool, str]:
    """Whether the mutant's test fails with its bytecode in place, and what forge says."""
    places = [artefact_of(tree, source, contract) for source, contract in mutant.artefacts]
    before = [place.read_text() for place in places]
    try:
        for place, text, code in zip(places, before, codes, strict=True):
            artefact = json.loads(text)
            if artefact["bytecode"]["object"] == code:
                return False, "its bytecode is the untouched one"
            artefact["bytecode"]["object"] = code
            place.write_text(json.dumps(artefact))
        passed, failed, output = forge(tree, [mutant.test])
    except subprocess.TimeoutExpired:
        return False, f"no end after {TEST_SECONDS} s"
    finally:
        for place, text in zip(places, before, strict=True):
            place.write_text(text)
    if mutant.test in failed:
        return True, ""
    return False, "its test still passes" if mutant.test in passed else f"did not run:\n{output}"


def run(chosen: list[Mutant], *, verbose: bool = True) -> dict[Mutant, str]:
    """Why each mutant survived; "" for the killed. RuntimeError where a test fails untouched."""
    with tempfile.TemporaryDirectory(prefix="covalue-mutants-") as folder:
        tree = Path(folder)
        copy_project(tree)
        tests = sorted({each.test for each in chosen})
        passed, _, output = forge(tree, tests)
        missing = [test for test in tests if test not in passed]
        if missing:
            raise RuntimeError(f"without any mutant these do not pass: {missing}\n{output}")
        check_compiler(tree, chosen)
        result = {}
        codes: dict[Mutant, list[str] | str] = {}
        for place, mutant in enumerate(chosen):
            if place % BATCH == 0:
                codes = compiled(tree, chosen[place : place + BATCH])
            code = codes[mutant]
            killed, said = (
                (False, code) if isinstance(code, str) else try_mutant(tree, mutant, code)
            )
            result[mutant] = "" if killed else said
            if verbose:
                verdict = "killed  " if killed else "SURVIVED"
                test = re.sub(r"^\w+\.", "", mutant.test)
                print(f"{verdict} {mutant.name}: {test} {said}".rstrip(), flush=True)
        return result


def rows() -> list[Row]:
    """How many mutants there are, and how many survive."""
    result = run(mutants(), verbose=False)
    survived = [mutant.name for mutant, why in result.items() if why]
    return [
        {
            "name": "mutants of the contracts",
            "ours": len(result),
            "peer": "none",
            "value": len(result),
            "unit": "mutants",
            "bar": f">= {LEAST_MUTANTS}",
            "holds": len(result) >= LEAST_MUTANTS,
        },
        {
            "name": "mutants of the contracts that no test notices",
            "ours": len(survived),
            "peer": ", ".join(survived) or "none",
            "value": len(survived),
            "unit": "mutants",
            "bar": "= 0",
            "holds": not survived,
        },
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="in name or file")
    words = parser.parse_args().only
    chosen = [m for m in mutants() if not words or any(w in m.name + m.file for w in words)]
    result = run(chosen)
    survived = sum(bool(why) for why in result.values())
    print(f"{len(result)} mutants, {len(result) - survived} killed, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
