"""What a browser cannot show as it is: more rows than an element is high, larger images than a canvas, a pack that went."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata import Sample
from tests.helpers import made
from tests.viewer.page.browser import Open, Page

IS_THERE = "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false'"
TILES = "document.querySelector('.tiles')"
MANY = 3_000_000


def few(root: Path, count: int = 3) -> Path:
    samples = [Sample.build(f"{n}", made.photo(40, 30, seed=n), category=[], masks=[]) for n in range(count)]
    segdata.write(samples, root, labels=["dog"], workers=1)
    return root


def shown(page: Page) -> list[list[float]]:
    """Position, from 1, and top on the screen, of the tiles that are seen."""
    script = """[...document.querySelectorAll('.tile:not([hidden])')].map(tile =>
        [Number(tile.getAttribute('aria-posinset')), tile.getBoundingClientRect().top]).sort((a, b) => a[0] - b[0])"""
    rows: list[list[float]] = page(script)
    return [row for row in rows if 0 <= row[1] < 800]


def test_three_million_images_have_a_scaled_scrollbar(open_page: Open, tmp_path: Path) -> None:
    """The numbers of three images, again and again; their rows are higher than any element of a browser."""
    page = open_page(few(tmp_path / "pack"))
    page.until("document.querySelectorAll('img.there').length === 3")
    numbers = np.arange(MANY, dtype="<u4") % 3
    page.context.route(
        "**/api/ids?*",
        lambda route: route.fulfill(body=numbers.tobytes(), headers={"Content-Type": "application/octet-stream"}),
    )
    page.tab.reload()
    page.until(f"document.querySelector('.total')?.textContent.startsWith('{MANY:,}')")
    assert page("document.querySelector('.spacer').getBoundingClientRect().height") == 30_000_000
    page(f"(() => {{ {TILES}.scrollTop = {TILES}.scrollHeight; }})()")
    page.until(f"[...document.querySelectorAll('.tile')].some(tile => tile.getAttribute('aria-posinset') === '{MANY}')")
    assert shown(page)[-1][0] == MANY
    page(f"(() => {{ {TILES}.scrollTop = {TILES}.scrollHeight / 2; }})()")
    middle = (
        "tile => Math.abs(tile.getAttribute('aria-posinset') / 1_500_000 - 1) < 0.1 && tile.querySelector('.there')"
    )
    page.until(f"[...document.querySelectorAll('.tile:not([hidden])')].filter({middle}).length > 8")
    before = {int(position): top for position, top in shown(page)}
    assert 0.45 * MANY < min(before) < 0.55 * MANY
    page.tab.mouse.move(700, 500)
    page.tab.mouse.wheel(0, 120)  # as far as rows that are not scaled
    first = int(max(before))
    script = f"document.querySelector('[aria-posinset=\"{first}\"]').getBoundingClientRect().top"
    page.until(f"Math.abs({script} - {before[first] - 120}) < 2")
    page.tab.keyboard.press("Home")
    page.until("document.querySelector('[aria-posinset=\"1\"]:not([hidden]) img.there')")
    assert page("document.querySelectorAll('.tile').length") < 200


def test_an_image_larger_than_a_canvas_is_shown_smaller_and_says_so(browser: Any, tmp_path: Path) -> None:
    image = np.zeros((60, 70_000, 3), np.uint8)
    image[:, 35_000:] = (200, 30, 30)
    masks = np.zeros((1, 60, 70_000), bool)
    masks[0, 20:41, 1_000:69_001] = True
    sample = Sample.build("strip", image, masks=masks, category=[0])
    segdata.write(iter([sample]), tmp_path / "pack", labels=["dog"], workers=1)
    viewer = segdata.view(tmp_path / "pack", edits=tmp_path / "edits.jsonl")
    page = Page(browser, viewer.address, "page=sample&sample=0&fill=1&layers=photo,masks&tool=on")
    try:
        page.until(IS_THERE)
        note = page.until("document.querySelector('[role=note]')?.innerText")
        assert "every 3rd pixel" in note and "cannot be corrected here" in note
        assert page("document.querySelector('.edit') === null")
        overlay = page.overlay()
        assert overlay.shape[:2] == (20, 23_334)
        assert np.array_equal(overlay[..., 3] > 0, masks[0, ::3, ::3])
        page.go("page=sample&sample=0&layers=photo&zoom=8,35000,30")
        page.until("document.querySelector('.plane').width > 300")
        page.tab.wait_for_timeout(300)
        left, right = (page.pixels(".plane")[400, x, :3].tolist() for x in (200, 800))
        assert left != right
    finally:
        page.close()
        viewer.stop()


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_pack_that_went_is_said_with_a_button(open_page: Open, tmp_path: Path, what: str) -> None:
    folder = few(tmp_path / "pack")
    page = open_page(folder)
    page.until("document.querySelectorAll('img.there').length === 3")
    shutil.rmtree(folder)
    if what == "replaced":
        few(folder, 4)
    page.go("page=sample&sample=1")
    page.until("document.querySelector('.gate h1')?.textContent === 'The pack was changed'")
    assert page("document.querySelector('.gate').getAttribute('role')") == "alert"
    assert page("document.querySelector('.gate button').textContent") == "Load again"
    assert "Traceback" not in page("document.body.innerText")
    with page.tab.expect_navigation():
        page("document.querySelector('.gate button').click()")
    page.until("document.querySelector('.gate h1')?.textContent === 'The pack was changed'")
