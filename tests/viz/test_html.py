"""Pages hold everything inside, run nothing, and show hostile names as text; charts are the same text every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from segdata.viz import charts
from segdata.viz import html as page

HOSTILE = "<script>alert(1)</script>\" onload='x' \u202e$\\frac{1}{0}$ _hidden"


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def hostile_page() -> str:
    pytest.importorskip("matplotlib")
    curve = charts.curves(HOSTILE, {HOSTILE: ([1, 2], [0.5, 0.25]), "other": ([1], [1])}, HOSTILE, HOSTILE)
    parts = [
        page.heading(HOSTILE),
        page.note(HOSTILE),
        page.table([HOSTILE, "value"], [[HOSTILE, 1.0], ["b", None]]),
        page.picture(b"data", HOSTILE),
        page.folded(HOSTILE, ["inside"]),
        charts.svg(curve),
        charts.svg(charts.bars(HOSTILE, {HOSTILE: 1.0})),
        charts.svg(charts.matrix(HOSTILE, np.eye(2), [HOSTILE, "b"], [HOSTILE, "b"], "x", "y")),
    ]
    return page.page(HOSTILE, parts)


def test_hostile_names_stay_text_and_nothing_is_loaded_from_elsewhere() -> None:
    tags = _Tags(hostile_page())
    assert "script" not in tags.tags
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    links = [value for name, value in tags.attributes if name in ("src", "href", "xlink:href", "action")]
    assert links and all(value and value.startswith(("data:", "#")) for value in links)
    policy = dict(tags.attributes)["content"]
    assert policy is not None
    assert "default-src 'none'" in hostile_page()
    assert "\u202e" not in hostile_page()


def test_numbers_in_tables() -> None:
    text = page.table(["name", "AP"], [["a", 0.123456], ["b", None], ["c", float("nan")]])
    assert re.findall(r'<td class="number">(.*?)</td>', text) == ["0.1235", "n/a", "n/a"]


def test_charts_depend_on_their_numbers_alone() -> None:
    pytest.importorskip("matplotlib")
    texts = {charts.svg(charts.histogram("weights", [1, 2, 3], [0, 1, 2, 3], "x", "y")) for _ in range(2)}
    assert len(texts) == 1
    assert texts.pop().startswith("<svg")
    assert charts.png(charts.bars("a", {"b": 1.0}))[:8] == b"\x89PNG\r\n\x1a\n"
