"""Corrections by hand in Chromium: what the page draws is what the file of edits holds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import segdata
from segdata.core.masks import Masks
from tests.viewer.page.browser import Page

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")

IS_THERE = (
    "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false' && document.querySelector('.edit')"
)
IDLE = "document.querySelector('.edit')?.getAttribute('aria-busy') === 'false'"
LATE = """(ask => {
  window.fetch = async (address, ...rest) => {
    const answer = await ask(address, ...rest);
    await new Promise(done => setTimeout(done, 300));
    return answer;
  };
})(window.fetch)"""
"""Every answer of the server reaches the page late."""
ROWS = "document.querySelectorAll('.object').length"


@pytest.fixture
def corrected(browser: Any, pack: Path, dataset: tuple[Path, Path], tmp_path: Path) -> Iterator[Any]:
    """Opens pages of one server that keeps edits; the file beside them."""
    file = tmp_path / "edits.jsonl"
    viewer = segdata.view(pack, dataset[1], edits=file)
    opened: list[Page] = []

    def open_page(fragment: str) -> Page:
        opened.append(Page(browser, viewer.address, fragment))
        opened[-1].until(IS_THERE)
        return opened[-1]

    try:
        yield open_page, file
        for page in opened:
            page.close()
    finally:
        viewer.stop()


def edits_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()[1:]]


def mask_of(edit: dict[str, Any], height: int, width: int) -> npt.NDArray[np.bool_]:
    """(H, W) the mask of an edit."""
    runs = np.frombuffer(base64.b64decode(edit["runs"]), "<u2")
    masks = Masks(height, width, np.array([edit["frame"]], np.int32), runs, np.array([0, len(runs)]))
    mask: npt.NDArray[np.bool_] = masks.dense()[0].astype(bool)
    return mask


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """A point of an image of 120 × 90 pixels that is fitted, on the screen."""
    box = page("(b => [b.x, b.y, b.width, b.height])(document.querySelector('.plane').getBoundingClientRect())")
    scale = min((box[2] - 8) / 120, (box[3] - 8) / 90, 64)
    return box[0] + box[2] / 2 + (x - 60) * scale, box[1] + box[3] / 2 + (y - 45) * scale


def drag(page: Page, *points: tuple[float, float]) -> None:
    page.tab.mouse.move(*at(page, *points[0]))
    page.tab.mouse.down()
    for point in points[1:]:
        page.tab.mouse.move(*at(page, *point), steps=4)
    page.tab.mouse.up()


def save(page: Page, file: Path, count: int) -> None:
    page.tab.keyboard.press("Enter")
    page.until(f"{IDLE} && !document.querySelector('.draft') && {IS_THERE}")
    assert len(edits_of(file)) == count


def test_a_brush_makes_an_object_that_undo_and_redo_take_and_give(corrected: Any, pack: Path) -> None:
    open_page, file = corrected
    page = open_page("page=sample&sample=0&tool=on")
    before = page(ROWS)
    for _ in range(2):
        page.tab.keyboard.press("[")  # a radius of 5
    page.tab.keyboard.press("d")
    drag(page, (40, 40), (80, 40))
    page.until("document.querySelector('.draft')")
    save(page, file, 1)
    page.until(f"{ROWS} === {before + 1}")
    (edit,) = edits_of(file)
    assert (edit["op"], edit["category"]) == ("add", 0)
    mask = mask_of(edit, 90, 120)
    rows, columns = np.mgrid[:90, :120] + 0.5
    radius = float(edit["frame"][3]) / 2
    expected = np.hypot(np.maximum(np.maximum(40 - columns, columns - 80), 0), rows - 40) <= radius
    assert (mask & expected).sum() / (mask | expected).sum() > 0.9 and mask.sum() > 300
    page.tab.keyboard.press("u")
    page.until(f"{IDLE} && {ROWS} === {before}")
    page.tab.keyboard.press("Shift+U")
    page.until(f"{IDLE} && {ROWS} === {before + 1}")
    assert [line["op"] for line in edits_of(file)] == ["add", "undo", "undo"]
    page.tab.reload()
    page.until(f"{IS_THERE} && {ROWS} === {before + 1}")


def test_keys_pressed_before_the_answers_are_kept_in_order(corrected: Any) -> None:
    open_page, file = corrected
    page = open_page("page=sample&sample=0&tool=on")
    before = page(ROWS)

    page(LATE)
    page.tab.keyboard.press("d")
    drag(page, (40, 40), (80, 40))
    page.until("document.querySelector('.draft')")
    for key in ("Enter", "u", "Shift+U", "u", "Shift+U", "u"):
        page.tab.keyboard.press(key)
    page.until(f"{IDLE} && {ROWS} === {before} && document.querySelector('.edit h2').innerText.includes('6')")
    add, *undos = edits_of(file)
    assert add["op"] == "add"
    assert [(line["op"], line["of"]) for line in undos] == [("undo", number) for number in (1, 2, 1, 4, 1)]


def test_a_polygon_and_an_eraser(corrected: Any) -> None:
    open_page, file = corrected
    page = open_page("page=sample&sample=0&tool=on")
    page.tab.keyboard.press("v")
    for point in ((20, 20), (60, 20), (60, 60), (20, 60)):
        page.tab.mouse.click(*at(page, *point))
    page.tab.keyboard.press("Enter")
    page.until(f"{IDLE} && document.querySelector('.draft')")
    page.tab.keyboard.press("x")
    drag(page, (40, 40), (40, 41))
    save(page, file, 1)
    mask = mask_of(edits_of(file)[0], 90, 120)
    assert not mask[40, 40] and mask[22:58, 22].all() and mask[22, 22:58].all() and not mask[:18].any()


def test_a_box_and_strokes_make_a_mask(corrected: Any, pack: Path) -> None:
    pytest.importorskip("cv2", reason="the extra edit is not installed")
    open_page, file = corrected
    page = open_page("page=sample&sample=0&tool=on")
    page.tab.keyboard.press("b")
    drag(page, (30, 20), (90, 70))
    page.until(f"{IDLE} && document.querySelector('.draft')")
    page.tab.keyboard.press("q")
    drag(page, (55, 40), (65, 50))
    page.until(IDLE)
    page.tab.keyboard.press("w")
    drag(page, (32, 22), (40, 22))
    page.until(IDLE)
    save(page, file, 1)
    edit = edits_of(file)[0]
    mask = mask_of(edit, 90, 120)
    assert mask[45, 60] and not mask[22, 36]
    assert edit["tool"]["name"] == "grabcut"


def test_an_object_is_renamed_flagged_and_deleted(corrected: Any, pack: Path, tmp_path: Path) -> None:
    open_page, file = corrected
    opened = segdata.open(pack)
    number = next(k for k in range(len(opened)) if len(opened[k].instances) > 2)
    page = open_page(f"page=sample&sample={number}&tool=on&object=t1")
    was = int(opened[number].instances.category[1])
    wanted = (was + 1) % len(opened.labels)
    page.tab.select_option(".edit select", str(wanted))
    page.until(f"{IDLE} && document.querySelector('.edit select').value === '{wanted}' && {IS_THERE}")
    page("[...document.querySelectorAll('.edit button')].find(button => button.textContent === 'Occluded').click()")
    page.until(
        f"{IDLE} && {IS_THERE} && document.querySelector('.object.selected .words')?.textContent.includes('occluded')"
    )
    page("document.activeElement.blur()")
    page.tab.keyboard.press("Delete")
    page.until(f"{IDLE} && {IS_THERE} && {ROWS} === {len(opened[number].instances) - 1}")
    assert [(line["op"], line["of"]) for line in edits_of(file)] == [("category", "1"), ("flags", "1"), ("delete", "1")]
    assert (edits_of(file)[0]["category"], edits_of(file)[1]["flags"]) == (wanted, {"occluded": True})


def test_a_prediction_becomes_truth(corrected: Any, pack: Path, dataset: tuple[Path, Path]) -> None:
    open_page, file = corrected
    opened = segdata.open(pack)
    results = json.loads(dataset[1].read_text())
    number = next(k for k in range(len(opened)) if any(r["image_id"] == opened[k].id for r in results))
    page = open_page(f"page=sample&sample={number}&tool=on&of=both&score=0&object=p0")
    page.until("document.querySelector('.edit-row button')?.innerText.includes('Accept')")
    page.tab.keyboard.press("a")
    page.until(f"{IDLE} && document.querySelector('.edit h2').innerText.includes('1 EDIT')")
    (edit,) = edits_of(file)
    assert edit["op"] == "accept" and edit["of"] == "new-1"


def test_of_two_tabs_the_second_is_told_and_loses_nothing(corrected: Any) -> None:
    open_page, file = corrected
    one = open_page("page=sample&sample=0&tool=on")
    other = open_page("page=sample&sample=0&tool=on")
    for page, height in ((one, 20), (other, 60)):
        page.tab.keyboard.press("d")
        drag(page, (30, height), (60, height))
        page.until("document.querySelector('.draft')")
    save(one, file, 1)
    other.tab.keyboard.press("Enter")
    other.until("document.querySelector('.conflict')")
    assert len(edits_of(file)) == 1
    assert "1: new object" in other("document.querySelector('.conflict').innerText")
    assert other("Boolean(document.querySelector('.draft'))")
    other("document.querySelector('.conflict button').click()")
    other.until(f"{IDLE} && !document.querySelector('.draft') && !document.querySelector('.conflict')")
    assert [line["op"] for line in edits_of(file)] == ["add", "add"]
