"""One image in Chromium: what is painted equals the pack, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import segdata
from segdata.core.sample import Sample
from segdata.viz.overlay import color_of
from tests.helpers.samples import needs_samples
from tests.viewer.page.browser import Open, Page

FLAT = "layers=photo,masks&fill=1"
"""Masks without outline and transparency: every pixel has its category's colour, or none."""

IS_THERE = "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false'"


def on_top(sample: Sample) -> npt.NDArray[np.int64]:
    """(H, W) the smallest object at each pixel, −1 for none; of equal ones the first."""
    masks = sample.instances.masks
    top = np.full((sample.height, sample.width), -1)
    dense = masks.dense().astype(bool)
    sizes = dense.sum(axis=(1, 2))
    for number in sorted(range(len(dense)), key=lambda k: (-sizes[k], -k)):
        top[dense[number]] = number
    return top


def painted(pack: Any, sample: Sample, top: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) the colours of what is on top."""
    colors = np.array([[*color_of(pack.labels, int(index)), 255] for index in sample.instances.category] + [[0] * 4])
    picture: npt.NDArray[np.uint8] = colors[top].astype(np.uint8)
    return picture


def number_of(pack: Any, sample: Sample) -> int:
    return [other.key for other in pack].index(sample.key)


def require_equal(page: Page, pack: Any, number: int) -> None:
    sample = pack[number]
    page.go(f"page=sample&sample={number}&{FLAT}")
    page.until(f"{IS_THERE} && document.querySelector('.walk .title').textContent === {sample.key!r}")
    page.wait_for_overlay(painted(pack, sample, on_top(sample)))


@needs_samples
@pytest.mark.parametrize("name", ["coco", "voc", "coco_panoptic", "peer_datumaro/cityscapes_dataset/dataset"])
def test_the_overlay_equals_the_masks_of_real_images(open_page: Open, real: Callable[[str], Path], name: str) -> None:
    path = real(name)
    pack = segdata.open(path)
    page = open_page(path, f"page=sample&sample=0&{FLAT}")
    for number in range(0, len(pack), 3):
        require_equal(page, pack, number)


def test_the_overlay_equals_the_masks_of_large_drawn_frames(
    open_page: Open, drawing: Callable[[str], Path], tmp_path: Path
) -> None:
    segdata.convert(drawing("cityscapes"), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    page = open_page(tmp_path / "pack", f"page=sample&sample=0&{FLAT}")
    for number in range(len(pack)):
        require_equal(page, pack, number)


@needs_samples
def test_one_object_alone_is_whole_where_others_cover_it(open_page: Open, real: Callable[[str], Path]) -> None:
    path = real("coco")
    pack = segdata.open(path)
    covered = max(range(len(pack)), key=lambda k: int((pack[k].instances.masks.dense().sum(axis=0) > 1).sum()))
    sample = pack[covered]
    dense = sample.instances.masks.dense().astype(bool)
    page = open_page(path, f"page=sample&sample={covered}&{FLAT}")
    for number in sorted(range(len(dense)), key=lambda k: -int(dense[k].sum()))[:4]:
        others = ",".join(f"t{other}" for other in range(len(dense)) if other != number)
        page.go(f"page=sample&sample={covered}&{FLAT}&hide={others}")
        page.until(f"{IS_THERE} && document.querySelectorAll('.object input:checked').length === 1")
        page.wait_for_overlay(dense[number][..., None] * np.uint8(255), slice(3, 4))


@needs_samples
def test_the_label_map_equals_the_packs(open_page: Open, real: Callable[[str], Path]) -> None:
    path = real("voc")
    pack = segdata.open(path)
    number = next(k for k in range(len(pack)) if pack[k].semantic is not None)
    semantic = pack[number].semantic
    colors = np.zeros((256, 4), np.uint8)
    for index in range(len(pack.labels)):
        colors[index] = [*color_of(pack.labels, index), 255]
    page = open_page(path, f"page=sample&sample={number}&layers=photo,map")
    page.until("document.querySelector('canvas[data-map=tmap][data-painted]')")
    expected = colors[semantic]
    assert np.array_equal(page.pixels("canvas[data-map=tmap]"), expected)


@needs_samples
def test_the_pixel_under_the_pointer_is_told(open_page: Open, real: Callable[[str], Path]) -> None:
    path = real("coco")
    pack = segdata.open(path)
    sample = pack[0]
    top = on_top(sample)
    number = int(np.bincount(top[top >= 0]).argmax())
    rows, columns = np.nonzero(top == number)
    y, x = int(rows[len(rows) // 2]), int(columns[len(columns) // 2])
    page = open_page(path, f"page=sample&sample=0&zoom=8,{x + 0.5},{y + 0.5}")
    page.until(IS_THERE)
    box = page(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])(document.querySelector('.plane').getBoundingClientRect())"
    )
    page.tab.mouse.move(*box)
    shown = page.until("document.querySelector('.readout .pixel') && document.querySelector('.readout').innerText")
    name = pack.labels.categories[int(sample.instances.category[number])].name
    assert f"{x}, {y}" in shown and name in shown and f"id {sample.instances.id[number]}" in shown


@needs_samples
def test_keys_work_one_image(open_page: Open, real: Callable[[str], Path]) -> None:
    page = open_page(real("coco"), "page=sample&sample=0")
    page.until(IS_THERE)
    press = page.tab.keyboard.press
    press("ArrowRight")
    page.until("location.hash.includes('sample=1')")
    press("k")
    page.until(f"location.hash.includes('sample=0') && {IS_THERE}")
    press("1")
    page.until("location.hash.includes('off=') && document.querySelectorAll('.group input:not(:checked)').length === 1")
    press("o")
    page.until("!/layers=[^&]*masks/.test(location.hash)")
    press("f")
    page.until("location.hash.includes('fill=0')")
    press("ArrowDown")
    page.until("/object=t\\d+/.test(location.hash)")
    press("Escape")
    page.until("!location.hash.includes('object=')")
    press("?")
    page.until("document.querySelector('dialog[open]')")
    press("Escape")
    page.until("!document.querySelector('dialog')")
    press("Escape")
    page.until("document.querySelector('main.grid-page')")
