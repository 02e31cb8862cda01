"""All images in Chromium: tiles, filters, keys, the address; narrow screens; texts that are markup."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from tests.helpers.samples import needs_samples
from tests.viewer.page.browser import Open

TOTAL = "document.querySelector('.total')?.textContent"
PAYLOAD = "<img src=x onerror=window.hits.push(1)>\"'`</script><script>window.hits.push(2)</script>\u202e{{7*7}}"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 images of 24 × 16 pixels, the i-th as red as i says; every fifth has a dog, every seventh a crowd of cats."""
    root = tmp_path_factory.mktemp("many")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (root / "train2017").mkdir()
    for number in range(600):
        name = f"{number:06}.png"
        Image.new("RGB", (24, 16), (number % 256, 80, 40)).save(root / "train2017" / name)
        images.append({"id": number + 1000, "file_name": name, "width": 24, "height": 16})
        for category, is_there, crowd in ((1, number % 5 == 0, 0), (2, number % 7 == 0, 1)):
            if is_there:
                square = [2, 2, 2 + category * 4, 2, 2 + category * 4, 10, 2, 10]
                shape = {"size": [16, 24], "counts": [34, 8, 342]} if crowd else [square]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number + 1000, "category_id": category, "iscrowd": crowd}
                    | {"segmentation": shape, "bbox": [2, 2, 4, 8], "area": 8 if crowd else 32}
                )
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    (root / "annotations").mkdir()
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(document))
    segdata.convert(root, root / "pack")
    return root / "pack"


def test_the_end_is_reached_with_few_elements(open_page: Open, many: Path) -> None:
    page = open_page(many)
    page.until("document.querySelectorAll('img.there').length > 8")
    page("(() => { const tiles = document.querySelector('.tiles'); tiles.scrollTop = tiles.scrollHeight; })()")
    page.until("document.querySelector('.tiles').innerText.includes('000599')")
    last = "[...document.querySelectorAll('.tile:not([hidden])')].find(tile => tile.innerText.includes('000599'))"
    page.until(f"{last}.querySelector('img.there')?.naturalWidth > 0")
    box = page(f"(({{top, bottom}}) => [top, bottom])({last}.getBoundingClientRect())")
    assert 0 < box[0] < box[1] <= 800
    assert page("document.querySelectorAll('.tile').length") <= 120  # three screens of 6 × 5, and rows that are cut


def test_pictures_on_the_screen_are_asked_for_before_masks(open_page: Open, many: Path) -> None:
    page = open_page(many)
    page.until("document.querySelectorAll('img.there').length > 30")
    names = page("performance.getEntriesByType('resource').map(({name}) => new URL(name).pathname)")
    on_screen = page("""[...document.querySelectorAll('.tile:not([hidden])')].filter(tile => {
        const {top, bottom} = tile.getBoundingClientRect();
        return bottom > 0 && top < innerHeight;
    }).map(tile => tile.querySelector('.key').textContent)""")
    assert len(on_screen) > 20  # the last row is cut
    asked = {number: names.index(f"/api/thumb/{number}") for number in map(int, on_screen)}
    assert max(asked.values()) < min(at for at, name in enumerate(names) if name.startswith("/api/masks/"))


def test_filters_and_their_counts(open_page: Open, many: Path) -> None:
    page = open_page(many)
    page.until(f"{TOTAL} === '600 images'")
    line = "[...document.querySelectorAll('.line')].find(line => line.innerText.startsWith('{}'))"
    page.until(f"{line.format('dog')}.querySelector('.figure').textContent === '120'")
    page(f"{line.format('dog')}.click()")
    page.until(f"{TOTAL} === '120 of 600'")
    page.until(f"{line.format('cat')}.querySelector('.figure').textContent === '18'")  # every 35th, from 0 to 595
    page(f"{line.format('Crowds')}.click()")
    page.until(f"{TOTAL} === '18 of 600'")
    page(f"{line.format('dog')}.click()")  # now those without dogs
    page.until(f"{TOTAL} === '68 of 600'")  # 86 multiples of 7, less the 18
    page.tab.keyboard.press("/")
    page.until("document.activeElement.id === 'query'")
    page.tab.keyboard.type("key like '0001*'")
    page.tab.keyboard.press("Enter")
    kept = [number for number in range(100, 200) if number % 7 == 0 and number % 5]
    page.until(f"{TOTAL} === '{len(kept)} of 600'")
    page.tab.go_back()
    page.until(f"{TOTAL} === '68 of 600'")


def test_a_wrong_query_shows_its_column(open_page: Open, many: Path) -> None:
    page = open_page(many, "has=dog")
    page.until(f"{TOTAL} === '120 of 600'")
    page.tab.keyboard.press("/")
    page.until("document.activeElement.id === 'query'")
    page.tab.keyboard.type("objects > 1 and widht > 3")
    page.tab.keyboard.press("Enter")
    page.until("document.querySelector('.query-error')")
    assert page("document.querySelector('.query-error mark').textContent") == "widht"
    assert "Column 17:" in page("document.querySelector('.query-error').innerText")
    assert page(TOTAL) == "120 of 600"  # what was shown stays


def test_keys_move_between_images(open_page: Open, many: Path) -> None:
    page = open_page(many)
    page.until("document.querySelectorAll('img.there').length > 8")
    press = page.tab.keyboard.press
    press("ArrowRight")
    press("ArrowRight")
    press("ArrowDown")
    columns = page(
        "Math.round(document.querySelector('.spacer').clientWidth / document.querySelector('.tile').clientWidth - 0.5)"
    )
    page.until(f"document.activeElement.dataset.position === '{2 + columns}'")
    press("End")
    page.until("document.activeElement.dataset.position === '599'")
    press("Enter")
    page.until("document.querySelector('main.sample .title')?.textContent === '000599'")
    press("Escape")
    page.until("document.activeElement.dataset.position === '599'")


def test_an_image_is_reached_by_key_and_id(open_page: Open, many: Path) -> None:
    page = open_page(many)
    page.until(f"{TOTAL} === '600 images'")
    page.tab.keyboard.press("g")
    page.until("document.activeElement.id === 'find'")
    page.tab.keyboard.type("1321")
    page.until("document.querySelectorAll('.found [role=option]').length === 1")
    page.tab.keyboard.press("Enter")
    page.until("document.querySelector('main.sample .title')?.textContent === '000321'")


def test_the_address_gives_the_same_view_in_another_profile(open_page: Open, many: Path) -> None:
    page = open_page(many, "has=dog&sort=-key&tile=large&where=objects+%3E+1")
    page.until(f"{TOTAL} === '18 of 600'")
    page.tab.keyboard.press("Home")
    page.tab.keyboard.press("Enter")
    page.until("document.querySelector('main.sample .title')?.textContent === '000595'")
    for key in ("2", "+", "+", "c"):
        page.tab.keyboard.press(key)
    page.until("/off=/.test(location.hash) && /zoom=/.test(location.hash) && /color=object/.test(location.hash)")
    fragment = page("location.hash.slice(1)")
    other = open_page(many, fragment)
    other.until("document.querySelector('main.sample .title')?.textContent === '000595'")
    look = "document.querySelector('.tools').innerText + [...document.querySelectorAll('[aria-pressed=true]')].map(b => b.innerText)"
    assert other(look) == page(look)
    assert np.array_equal(other.overlay(), page.overlay())
    assert np.array_equal(other.pixels(".plane"), page.pixels(".plane"))
    assert other("location.hash.slice(1)") == fragment
    for tab in (page, other):
        tab.tab.reload()
        tab.until("document.querySelector('main.sample .title')?.textContent === '000595'")
        assert tab("location.hash.slice(1)") == fragment


def test_without_token_the_page_asks_for_it_and_keeps_the_view(open_page: Open, many: Path) -> None:
    page = open_page(many, "has=dog")
    page.until(f"{TOTAL} === '120 of 600'")
    token = page("localStorage.getItem('segdata-token')")
    assert token not in page("location.href")
    page("localStorage.clear()")
    page.tab.reload()
    page.until("document.body.innerText.includes('needs its token')")
    page.tab.fill(".gate input", f"http://127.0.0.1:1/#token={token}")
    page.tab.keyboard.press("Enter")
    page.until(f"{TOTAL} === '120 of 600'")


@pytest.mark.parametrize("fragment", ["", "page=sample&sample=0"])
def test_a_narrow_screen_needs_no_scrolling_sideways(open_page: Open, many: Path, fragment: str) -> None:
    page = open_page(many, fragment, size=(390, 844))
    page.until("document.querySelector('main') && !document.querySelector('[aria-busy=true]')")
    page.until("document.querySelector('.picture img.there, .plane, .figures')")
    assert page("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('main > *, .bar > *, .tools > *')].filter(e => e.getBoundingClientRect().right > 391)"
    assert page(f"{wide}.map(e => e.className)") == []


@needs_samples
def test_what_cannot_be_decoded_says_so(open_page: Open, tmp_path: Path, many: Path) -> None:
    root = tmp_path / "broken"
    (root / "val2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(buffer, "JPEG")
    data = buffer.getvalue()
    scan = data.index(b"\xff\xda") + 14
    (root / "val2017" / "bad.jpg").write_bytes(data[:scan] + bytes(len(data) - scan - 2) + data[-2:])
    Image.new("RGB", (20, 20), "green").save(root / "val2017" / "good.png")
    images = [{"id": k, "file_name": name, "width": 20, "height": 20} for k, name in enumerate(("bad.jpg", "good.png"))]
    document = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "dog"}]}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    segdata.convert(root, tmp_path / "pack")
    page = open_page(tmp_path / "pack")
    page.until("document.querySelector('.trouble:not(:empty)') && document.querySelectorAll('img.there').length === 1")
    page.until("document.querySelector('.key')?.textContent === 'bad'")
    page.go("page=sample&sample=0")
    page.until("document.querySelector('.photo-error')")
    page.go("page=sample&sample=1")
    page.until("document.querySelector('.title')?.textContent === 'good' && !document.querySelector('.photo-error')")


def test_markup_in_every_text_is_shown_and_runs_nothing(open_page: Open, tmp_path: Path) -> None:
    root = tmp_path / "hostile"
    split = "val2017<img src=x onerror=window.hits.push(3)>".replace("/", "")
    (root / split).mkdir(parents=True)
    (root / "annotations").mkdir()
    name = PAYLOAD.replace("/", "")
    Image.new("RGB", (40, 30), "green").save(root / split / f"{name}.png")
    long = "long" * 2500
    document = {
        "info": {"description": PAYLOAD},
        "images": [{"id": 1, "file_name": f"{name}.png", "width": 40, "height": 30, PAYLOAD: PAYLOAD}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": k, "iscrowd": 0, "area": 100, "bbox": [1, 1, 10, 10]}
            | {"segmentation": [[1, 1, 11, 1, 11, 11, 1, 11]], "note": PAYLOAD}
            for k in (1, 2)
        ],
        "categories": [
            {"id": 1, "name": PAYLOAD, "supercategory": PAYLOAD},
            {"id": 2, "name": long, "supercategory": "x"},
        ],
    }
    captions = document | {"annotations": [{"id": 9, "image_id": 1, "caption": PAYLOAD}]}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(captions))
    target = tmp_path / re.sub("/", "", PAYLOAD)[:60]
    segdata.convert(root, target)
    page = open_page(target)
    page.tab.add_init_script("window.hits = []")
    page.tab.reload()
    shown = PAYLOAD.replace("/", "")
    page.until("document.querySelectorAll('img.there').length === 1 && document.querySelectorAll('.line').length > 1")
    for fragment in ("", "page=sample&sample=0&object=t0", "page=sample&sample=0&object=t1", "page=statistics"):
        page.go(fragment)
        page.until("document.querySelector('main') && !document.querySelector('[aria-busy=true]')")
        if fragment.startswith("page=sample"):
            page.until(f"document.querySelector('.title').textContent === {json.dumps(shown)}")
            page.until("document.querySelectorAll('details').length === 1")
            page("document.querySelector('details').open = true")
            assert page("document.querySelectorAll('.captions li').length") == 1
        page.until(f"document.body.innerText.includes({json.dumps(PAYLOAD[:30])})")
        assert page("document.documentElement.scrollWidth") == 1280
    assert page("window.hits") == []
    assert page("document.querySelectorAll('[onerror], [src=x], body script').length") == 0
