"""Pages hold everything inside, run nothing, and show hostile names as text; charts are the same text every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from segdata.metrics.report import charts as report
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


def points(svg: str) -> list[float]:
    """Every size of letters in a chart, in points."""
    return [float(size) for size in re.findall(r"font(?:-size)?: (?:[a-z]+ )*([\d.]+)px", svg)]


def test_letters_of_charts_have_eleven_pixels_on_a_page_of_1400() -> None:
    """1 point is 4/3 pixels. A page has 1,142 pixels for charts: two in a row have 561 each, three small ones 368."""
    pytest.importorskip("matplotlib")
    names = [f"category {number}" for number in range(20)]
    line = np.linspace(0, 1, 9), np.linspace(0, 1, 9)
    wide = {
        561: [
            charts.svg(charts.curves("Loss", {"a": line, "b": line}, "updates", "loss")),
            charts.svg(charts.bars("Objects", dict.fromkeys(names, 1.0))),
            charts.svg(charts.histogram("Weights", [1, 2], [0, 1, 2], "values")),
        ],
        1142: [charts.svg(charts.matrix("Confusion", np.full((20, 20), 0.5), names, names, "x", "y"))],
        368: [
            report.curves([line], line),
            report.scores(np.ones(3), np.zeros(3), 0.5),
            report.sizes(("small", "large"), [3, 4], [1, 2]),
        ],
    }
    for room, figures in wide.items():
        for svg in figures:
            width = 4 / 3 * float(re.findall(r'width="([\d.]+)pt"', svg)[0])
            scale = min(room / width, 1.0) if room == 1142 else room / width
            assert points(svg) and min(points(svg)) * 4 / 3 * scale >= 11, (room, width, min(points(svg)))


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
