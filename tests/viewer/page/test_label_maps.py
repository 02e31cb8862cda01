"""Label maps in Chromium: parts of them corrected, and those of other predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata import Sample
from tests.helpers import made
from tests.viewer.page.browser import Open, Page

IS_THERE = "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false'"
IDLE = "document.querySelector('.edit')?.getAttribute('aria-busy') === 'false'"
COLOURS = {0: (128, 64, 128), 1: (70, 130, 180)}


def at(page: Page, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
    """A point of a fitted image on the screen."""
    box = page("(b => [b.x, b.y, b.width, b.height])(document.querySelector('.plane').getBoundingClientRect())")
    scale = min((box[2] - 8) / size[1], (box[3] - 8) / size[0], 64)
    return box[0] + box[2] / 2 + (x - size[1] / 2) * scale, box[1] + box[3] / 2 + (y - size[0] / 2) * scale


def draw(page: Page, size: tuple[int, int], corners: list[tuple[int, int]], category: int) -> None:
    """A polygon that becomes a part of the label map."""
    page.tab.keyboard.press("v")
    for x, y in corners:
        page.tab.mouse.click(*at(page, size, x, y))
    page.tab.keyboard.press("Enter")
    page.until(f"{IDLE} && document.querySelector('.draft')")
    choice = "[...document.querySelectorAll('.draft button')].find(button => button.textContent === 'Label map')"
    page(f"{choice}.click()")
    page.tab.select_option(".draft select", str(category))
    page("document.activeElement.blur()")
    page.tab.keyboard.press("Enter")
    page.until(f"{IDLE} && !document.querySelector('.draft') && {IS_THERE}")


def test_pixels_of_a_label_map_get_a_category_or_void(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")
    segdata.convert(made.cityscapes(tmp_path / "source"), tmp_path / "pack", workers=1)
    pack, file = segdata.open(tmp_path / "pack"), tmp_path / "edits.jsonl"
    before = pack[0].semantic
    assert before is not None
    size = before.shape[0], before.shape[1]
    road = pack.labels.index_of_name["road"]
    viewer = segdata.view(tmp_path / "pack", edits=file)
    page = Page(browser, viewer.address, "page=sample&sample=0&tool=on&layers=map")
    try:
        page.until(f"{IS_THERE} && document.querySelector('canvas[data-map=tmap]')?.dataset.painted")
        draw(page, size, [(2, 2), (10, 2), (10, 8), (2, 8)], road)
        draw(page, size, [(20, 2), (26, 2), (26, 8), (20, 8)], -1)
        page.until("document.querySelector('.edit h2').innerText.includes('2 EDITS')")
        for _ in range(100):
            shown = page.pixels("canvas[data-map=tmap]")
            if not shown[5, 23, 3]:
                break
        page.tab.keyboard.press("u")
        page.until("document.querySelector('.edit h2').innerText.includes('3 EDITS')")
    finally:
        page.close()
        viewer.stop()
    edits = [json.loads(line) for line in file.read_text().splitlines()[1:]]
    assert [(edit["op"], edit.get("category")) for edit in edits] == [("map", road), ("map", None), ("undo", None)]
    expected = before.copy()
    expected[2:8, 2:10] = road
    segdata.apply(file, tmp_path / "pack", tmp_path / "out")
    after = segdata.open(tmp_path / "out")[0].semantic
    assert after is not None and np.array_equal(after, expected)
    assert (shown[2:8, 2:10, :3] == COLOURS[0]).all() and (shown[2:8, 20:26, 3] == 0).all()


def test_label_maps_of_other_predictions_are_shown(open_page: Open, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    maps = {name: rng.integers(0, 2, (20, 30)).astype(np.uint8) for name in ("pack", "ours", "other")}
    labels = segdata.LabelSpace(
        "custom", tuple(segdata.Category(name, n, COLOURS[n]) for n, name in enumerate(("road", "sky")))
    )
    for name, semantic in maps.items():
        sample = Sample.build("image", made.photo(30, 20), semantic=semantic)
        segdata.write({"val": [sample]}, tmp_path / name, labels=labels, workers=1)
    page = open_page(
        tmp_path / "pack",
        "page=sample&sample=0&of=other",
        predictions=tmp_path / "ours",
        other=tmp_path / "other",
    )
    for side, of, name in (("o", "other", "other"), ("p", "predictions", "ours"), ("t", "truth", "pack")):
        page.go(f"page=sample&sample=0&of={of}")
        page.until(f"{IS_THERE} && document.querySelector('canvas[data-map={side}map]')?.dataset.painted")
        expected = np.array([COLOURS[0], COLOURS[1]])[maps[name]]
        assert np.array_equal(page.pixels(f"canvas[data-map={side}map]")[..., :3], expected)
    page.go("page=errors")
    page.until("document.querySelectorAll('[data-change]').length === 3")
