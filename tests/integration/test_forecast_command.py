# SPDX-License-Identifier: Apache-2.0
"""`covalue task forecast`, as a stranger types it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.commands import load_command
from demo.market import TARGET, generate_market

TITLE = "Homes <script>alert(1)</script> & $money$"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(load_command("task"), list(arguments))


def forecast(*more: str) -> dict[str, Any]:
    done = run("forecast", "task.toml", "--json", *more)
    assert done.exit_code == 0, done.output

    def no_number(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    found: dict[str, Any] = json.loads(done.stdout, parse_constant=no_number)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("forecast")
    market = generate_market(150 + 900, 3)
    market.iloc[:150].to_csv(place / "public.csv", index=False)
    market.iloc[150:].to_csv(place / "mine.csv", index=False)
    draft = run(
        "new",
        str(place / "public.csv"),
        *("--target", TARGET, "--public-n", "720", "--contributors", "3", "--title", TITLE),
        *("--output", str(place / "task.toml")),
    )
    assert draft.exit_code == 0, draft.output
    return place


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def swept(folder: Path) -> dict[str, Any]:
    """Four settings in one run, with a page of pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return forecast(
            *("--data", "mine.csv", "--contributors", "3,12", "--epsilon", "1,8"),
            *("--rounds", "20", "--out", "page.html"),
        )


def test_every_combination_is_told_with_accuracy_epsilon_and_payouts(swept: dict[str, Any]) -> None:
    settings = swept["settings"]
    assert [(each["contributors"], round(each["epsilon"])) for each in settings] == [
        (3, 1),
        (3, 8),
        (12, 1),
        (12, 8),
    ]
    for each in settings:
        assert each["rounds"] == 20
        assert each["trained"]["rows"] == swept["test_rows"]
        assert len(each["r2_by_round"]) == 21
        assert each["r2_by_round"][0] == pytest.approx(each["public_only"]["r2"])
        assert {"cod", "prd", "prb", "mki", "fsd", "ppe10", "mdape"} <= set(each["trained"])
        assert each["studies"][0]["group"] == "all"
        payouts = each["payouts"]
        amounts = [int(one["payout_wei"]) for one in payouts["contributors"]]
        assert payouts["seed_blocks"] == "simulated"
        assert {one["standard_error_pico"] for one in payouts["contributors"]} == {0}
        assert len(amounts) == each["contributors"]
        assert sum(amounts) == int(payouts["total_wei"]) <= int(payouts["budget_wei"])
        assert sum(one["units"] for one in payouts["contributors"]) == each["trained_rows"]
    strict, loose = settings[0], settings[1]
    assert loose["trained"]["r2"] > strict["trained"]["r2"], "less noise, better model"
    assert swept["trained_rows"] + swept["test_rows"] + swept["refused_rows"] <= 900


def test_a_setting_among_others_gives_what_it_gives_alone(swept: dict[str, Any]) -> None:
    """Rows are prepared once for all settings; that changes nothing, not a byte of the model."""
    alone = forecast(
        "--data", "mine.csv", "--contributors", "12", "--epsilon", "1", "--rounds", "20"
    )
    (found,) = alone["settings"]
    same = swept["settings"][2]
    assert found["model_sha256"] == same["model_sha256"]
    assert found["payouts"] == same["payouts"]
    assert found["trained"] == pytest.approx(same["trained"], rel=1e-9)
    other = forecast(
        *("--data", "mine.csv", "--contributors", "12", "--epsilon", "1", "--rounds", "20"),
        *("--seed", "1", "--no-payouts"),
    )["settings"][0]
    assert other["model_sha256"] != found["model_sha256"]
    assert other["payouts"] is None


def test_the_page_loads_nothing_and_no_title_gets_out_of_its_place(
    folder: Path, swept: dict[str, Any]
) -> None:
    page = (folder / "page.html").read_text()
    assert "<svg" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $money$" in page
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!#)([^"']*)""", page)
    assert not [link for link in outside if not link.startswith("#")]
    assert "url(http" not in page
    for each in swept["settings"]:
        assert f"{each['trained']['r2']:.3f}" in page


def test_a_person_reads_tables_and_finds_the_picture(folder: Path) -> None:
    done = run(
        *("forecast", "task.toml", "--rounds", "8", "--contributors", "2,60", "--out", "shown.png")
    )
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "rows are imagined" in told
    assert "upper estimate" in told
    assert "the task admits at most 50" in told
    assert "Ratio study (2 contributors, 8 rounds, epsilon 8)" in told
    assert "Payouts (2 contributors" in told
    assert (folder / "shown.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_rows_that_are_not_what_the_task_expects_are_pointed_out(folder: Path) -> None:
    lines = (folder / "mine.csv").read_text().splitlines()
    (folder / "few.csv").write_text("\n".join([*lines[:200], lines[1].replace(",", ",x", 1)]))
    found = forecast("--data", "few.csv", "--rounds", "4")
    assert found["refused_rows"] == 1
    (remark,) = found["settings"][0]["remarks"]
    assert "the task expects 720 units" in remark


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epsilon", "1,two"), "expected numbers with commas"),
        (("--contributors", "2.5"), "expected a whole number"),
        (("--epsilon", "1", "--noise", "2"), "both epsilon and noise"),
        (("--epsilon", "-1"), "above 0"),
        (("--out", "page.pdf"), ".html or .png"),
        (("--out", "nowhere/page.html"), "no such folder"),
        (("--data", "nowhere.csv"), "cannot read"),
        (("--data", "few.csv", "--contributors", "500"), "units for 500 contributors"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    lines = (folder / "mine.csv").read_text().splitlines()
    (folder / "few.csv").write_text("\n".join(lines[:200]))
    done = run("forecast", "task.toml", "--json", *arguments)
    assert done.exit_code == 2, done.output
    assert words in json.loads(done.stdout)["error"]


def test_without_matplotlib_pictures_are_refused_before_the_work_and_tables_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "matplotlib" else real(name, *more),
    )
    done = run("forecast", "task.toml", "--json", "--out", "page.html")
    assert done.exit_code == 2
    said = json.loads(done.stdout)
    assert "pictures need matplotlib" in said["error"]
    assert "covalue[demo]" in said["hint"]
    assert forecast("--data", "mine.csv", "--rounds", "2")["settings"]


def test_an_mlp_without_public_rows_needs_given_ones(folder: Path) -> None:
    text = (folder / "task.toml").read_text()
    bare = text.replace('public_rows = "public.csv"\n', "").replace('"kernel"', '"mlp"')
    bare = bare.replace('rule = "wiener"', 'rule = "sum"')
    (folder / "bare.toml").write_text(bare.replace("hidden = [32]", "hidden = [4]"))
    refused = run("forecast", "bare.toml", "--json")
    assert refused.exit_code == 2
    assert "no public rows to imagine" in json.loads(refused.stdout)["error"]
    done = run("forecast", "bare.toml", "--json", "--data", "mine.csv", "--rounds", "3")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"][0]["payouts"] is None
