"""Errors and statistics in Chromium, compared with counts of the drawn documents."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from tests.viewer.page.browser import Open

ALL_MISSED = "score=1"
"""No drawn prediction has this score, so every object that counts is missed."""

TOTAL = "document.querySelector('.total')?.textContent"
IS_THERE = "document.querySelector('main.sample')?.getAttribute('aria-busy') === 'false'"


@pytest.fixture(scope="module")
def objects(dataset: tuple[Path, Path]) -> list[dict[str, Any]]:
    """The annotations of the drawn dataset, with the names of their categories."""
    scores = [result["score"] for result in json.loads(dataset[1].read_text())]
    assert max(scores) < 1
    annotations = []
    for file in sorted((dataset[0] / "annotations").glob("instances_*.json")):
        document = json.loads(file.read_text())
        names = {category["id"]: category["name"] for category in document["categories"]}
        annotations += [item | {"name": names[item["category_id"]]} for item in document["annotations"]]
    return annotations


def test_a_cell_of_the_matrix_filters_the_images(
    open_page: Open, pack: Path, dataset: tuple[Path, Path], objects: list[dict[str, Any]]
) -> None:
    counted = [item for item in objects if not item["iscrowd"]]
    missed = Counter(item["name"] for item in counted)
    page = open_page(pack, f"page=errors&{ALL_MISSED}", predictions=dataset[1])
    page.until("document.querySelector('.matrix')")
    rows = page(
        "[...document.querySelectorAll('.matrix tbody tr')].map(row => [row.querySelector('th').textContent.trim(), "
        "...[...row.querySelectorAll('td')].map(cell => cell.textContent.trim())])"
    )
    assert {row[0]: row[1] for row in rows if row[0] != "not there"} == {name: str(n) for name, n in missed.items()}
    assert not any(text for row in rows for text in row[2:])
    page("document.querySelector('.matrix a[aria-label^=\"dog, predicted missed\"]').click()")
    images = len({item["image_id"] for item in counted if item["name"] == "dog"})
    page.until(f"{TOTAL} === '{images} of 30'")
    assert "missed dog" in page("document.querySelector('.cell-filter').innerText")
    page.tab.go_back()
    page.until("document.querySelector('.matrix')")


def test_missed_objects_have_their_colour(
    open_page: Open, pack: Path, dataset: tuple[Path, Path], objects: list[dict[str, Any]]
) -> None:
    opened = segdata.open(pack)
    number = next(k for k in range(len(opened)) if len(opened[k].instances) > 2 and opened[k].instances.iscrowd.any())
    fragment = f"page=sample&sample={number}&of=truth&color=match&layers=photo,masks&fill=1&{ALL_MISSED}"
    page = open_page(pack, fragment, predictions=dataset[1])
    page.until(f"{IS_THERE} && document.querySelector('.legend')")
    instances = opened[number].instances
    dense = instances.masks.dense().astype(bool)
    order = sorted(range(len(dense)), key=lambda k: (-int(dense[k].sum()), -k))
    expected = np.zeros((*dense.shape[1:], 4), np.uint8)
    for k in order:
        expected[dense[k]] = (150, 150, 150, 255) if instances.iscrowd[k] else (221, 120, 180, 255)
    assert np.array_equal(page.overlay(), expected)
    missed = int((~instances.iscrowd).sum())
    assert f"missed (FN) {missed}" in page("document.querySelector('.legend').innerText")


def test_predictions_below_the_score_are_not_drawn(open_page: Open, pack: Path, dataset: tuple[Path, Path]) -> None:
    results = json.loads(dataset[1].read_text())
    opened = segdata.open(pack)
    number = max(range(len(opened)), key=lambda k: sum(r["image_id"] == opened[k].id for r in results))
    scores = sorted(r["score"] for r in results if r["image_id"] == opened[number].id)
    page = open_page(pack, f"page=sample&sample={number}&of=predictions&score=0", predictions=dataset[1])
    rows = "[...document.querySelectorAll('.object')].length"
    page.until(f"{IS_THERE} && {rows} === {len(scores)}")
    for _ in range(4):
        page.tab.keyboard.press("p")  # all four views, and back
    page.until("location.hash.includes('of=predictions')")
    middle = scores[len(scores) // 2]
    page.go(f"page=sample&sample={number}&of=predictions&score={middle}")
    page.until(f"{rows} === {sum(score >= middle for score in scores)}")


@pytest.mark.parametrize("of", ["both", "swipe"])
def test_truth_and_predictions_beside_each_other(
    open_page: Open, pack: Path, dataset: tuple[Path, Path], of: str
) -> None:
    page = open_page(pack, f"page=sample&sample=0&of={of}&color=match", predictions=dataset[1])
    page.until(f"{IS_THERE} && document.querySelector('.legend')")
    assert page("document.querySelectorAll('.plane').length") == (2 if of == "both" else 1)
    page.tab.keyboard.press("+")
    page.until("/zoom=/.test(location.hash)")
    if of == "swipe":
        box = page("(b => [b.x, b.y, b.width, b.height])(document.querySelector('.plane').getBoundingClientRect())")
        page.tab.mouse.move(box[0] + box[2] / 2, box[1] + box[3] / 2)
        page.tab.mouse.down()
        page.tab.mouse.move(box[0] + box[2] / 4, box[1] + box[3] / 2, steps=4)
        page.tab.mouse.up()
        page.until("location.hash.includes('divider=0.25')")


def test_the_worst_images_come_first(open_page: Open, pack: Path, dataset: tuple[Path, Path]) -> None:
    page = open_page(pack, "page=errors&score=0.3", predictions=dataset[1])
    page.until("document.querySelectorAll('.worst img.there').length > 5")
    values = [float(text) for text in page("[...document.querySelectorAll('.worst b')].map(b => b.textContent)")]
    assert values == sorted(values) and values[0] < values[-1]
    page("document.querySelector('.worst a').click()")
    page.until(f"{IS_THERE} && document.querySelectorAll('.plane').length === 2")


def test_statistics_are_those_of_the_documents(open_page: Open, pack: Path, objects: list[dict[str, Any]]) -> None:
    page = open_page(pack, "page=statistics")
    page.until("document.querySelector('.figures tbody tr')")
    lines = page(
        "[...document.querySelectorAll('.figures-list dt')].map(d => [d.textContent, d.nextSibling.textContent])"
    )
    shown = dict(lines)
    assert (shown["Images"], shown["Objects"]) == ("30", str(len(objects)))
    rows = page(
        "[...document.querySelectorAll('.figures tbody tr')].map(r => [r.cells[0].textContent, r.cells[1].textContent])"
    )
    assert dict(rows) == {name: str(n) for name, n in Counter(item["name"] for item in objects).items()}
    small = sum(item["area"] < 1024 for item in objects)
    assert shown["Small objects (< 32² px)"] == str(small)


@pytest.mark.parametrize("fragment", ["page=errors", "page=statistics", "page=sample&sample=0&of=both", ""])
def test_a_narrow_screen_has_everything(open_page: Open, pack: Path, dataset: tuple[Path, Path], fragment: str) -> None:
    page = open_page(pack, fragment, predictions=dataset[1], size=(390, 844))
    page.until("document.querySelector('.matrix, .figures, .plane, img.there')")
    assert page("document.documentElement.scrollWidth") == 390
