# SPDX-License-Identifier: Apache-2.0
"""The report as HTML: one file, nothing loaded, no script, foreign text stays text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from check_world import inspect, make_schema, market

from dao.errors import InputError
from demo.market import TARGET
from fl_client.check.page import render_page, write_page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title><b>",
    "&lt;i&gt;",
    "$file ${task}",
    "\u202egnp.exe",
    "\x1b[31m",
]
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Tags with their attributes, whether they nest, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def hostile_page() -> str:
    frame = market(60, 2)
    frame["property_type"] = [HOSTILE[i % len(HOSTILE)] for i in range(60)]
    frame.loc[frame.index[:7], "rooms"] = HOSTILE
    frame.iloc[20] = frame.iloc[19]
    frame["building_age_years"] = "5"
    frame[HOSTILE[0]] = HOSTILE[1]
    frame.loc[frame.index[30:40], "owner"] = "one"
    schema = make_schema(other=False)
    listed = tuple(
        each.model_copy(update={"values": (*each.values, *HOSTILE[:3])})
        if each.kind == "category"
        else each
        for each in schema.features
    )
    report = inspect(frame, type(schema)(schema.target, listed, schema.unit))
    assert report.drift is not None
    assert report.rejections
    assert report.unseen
    assert report.units.crowded
    assert report.duplicates.rows
    return render_page(report, task=HOSTILE[0])


def test_foreign_text_stays_text_and_nothing_is_loaded() -> None:
    page = hostile_page()
    reader = read(page)
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "a", "form", "i"}
    for tag, attributes in reader.tags:
        assert not {"src", "href", "xlink:href", "onerror", "onload", "srcset"} & set(attributes), (
            tag
        )
    assert "url(" not in page
    assert "@import" not in page
    assert "://" not in page
    assert "default-src 'none'" in page
    shown = "".join(reader.text)
    for text in HOSTILE[:5]:
        assert text in shown
    assert not {"\u202e", "\x1b"} & set(page)


def test_every_finding_stands_on_the_page() -> None:
    frame = market(60, 2)
    frame.loc[frame.index[3], TARGET] = "5"
    frame.loc[frame.index[4], "property_type"] = "castle"
    frame.iloc[20] = frame.iloc[19]
    frame["agent"] = "x"
    page = render_page(inspect(frame), task="homes of 2020")
    shown = " ".join("".join(read(page).text).split())
    assert f"{TARGET}: below the lower bound" in shown
    assert "castle" in shown
    assert "homes of 2020" in shown
    assert "agent" in shown
    assert "Nothing of it was sent anywhere" in shown
    assert "Population stability index" in shown
    # the location's map, and a picture for each column that has one
    columns = len(inspect(frame).drift.columns)  # type: ignore[union-attr]
    assert page.count("<svg ") == columns + 1


def test_a_page_without_public_rows_says_why() -> None:
    page = render_page(inspect(market(30, 2), public=None), task="t")
    assert "Not compared: the task names no public rows" in page
    assert "<svg" not in page


def test_a_report_replaces_only_a_report_and_is_for_its_owner(tmp_path: Path) -> None:
    page = render_page(inspect(market(30, 2)), task="t")
    path = tmp_path / "report.html"
    write_page(path, "<!doctype html>\n<!-- covalue data check -->\nold")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    write_page(path, page)
    assert path.read_text(encoding="utf-8") == page
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("my notes")
    with pytest.raises(InputError, match="no earlier report"):
        write_page(path, page)
    assert path.read_text() == "my notes"
    with pytest.raises(InputError, match="cannot write"):
        write_page(tmp_path / "nowhere" / "report.html", page)
