"""Sheets, pages and what notebooks show: one legend, one size of letters, options that do what they say."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.errors import NotThere, UsageError
from segdata.viz import overlay as draw
from segdata.viz import picture_file, sheet
from segdata.viz.selection import select
from tests.helpers.command import run_segdata

LABELS = segdata.LabelSpace.of(["cat", "dog", "<b>"])


def sample(key: str, height: int, width: int, category: list[int]) -> segdata.Sample:
    """Objects side by side, each as high as half the image."""
    masks = np.zeros((len(category), height, width), np.uint8)
    for index in range(len(category)):
        masks[index, height // 4 : 3 * height // 4, 10 * index + 1 : 10 * index + 9] = 1
    image = np.full((height, width, 3), 20, np.uint8)
    return segdata.Sample.build(key, image, masks=masks, category=category)


SAMPLES = [
    sample("a", 60, 80, [0, 0, 1]),
    sample("b", 90, 40, [1, 2]),
    sample("c", 300, 400, []),
    sample("d", 50, 50, [2]),
]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    segdata.write({"train": SAMPLES[:3], "val": SAMPLES[3:]}, tmp_path / "pack", labels=LABELS)
    return tmp_path / "pack"


def test_a_sheet_has_its_width_and_one_legend_for_all() -> None:
    rows = draw.legend_rows(SAMPLES, LABELS, draw.Look())
    assert [(name, count) for _, name, count in rows] == [("objects", ""), ("cat", "2"), ("dog", "2"), ("<b>", "2")]
    assert [color for color, name, _ in draw.legend_rows(SAMPLES, LABELS, draw.Look(color_by="instance"))] == [None] * 4
    for columns in (1, 3, 9):
        assert sheet.sheet(SAMPLES, LABELS, columns=columns).shape[1] == 1600
    three, one = sheet.sheet(SAMPLES[:3], LABELS), sheet.sheet(SAMPLES[:1], LABELS)
    assert len(one) > len(three) > 500
    assert len(sheet.sheet([sample("narrow", 4000, 1, [])], LABELS)) < 4 * 1600 + 200


def test_letters_have_one_size_whatever_the_size_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()
    font = draw._font

    def noted(size: int, text: str) -> object:
        sizes.add(size)
        return font(size, text)

    monkeypatch.setattr(draw, "_font", noted)
    sheet.sheet(SAMPLES, LABELS)
    assert sizes == {13, 15}, "names at objects, and everything else"


def test_colours_of_objects_boxes_and_opacity() -> None:
    one = SAMPLES[0]
    plain = draw.overlay(one, LABELS, legend=False, title=False, names=False)
    single = draw.overlay(one, LABELS, legend=False, title=False, names=False, color_by="instance")
    scale = len(plain) // 60
    inside = [(0, 30 * scale, (10 * index + 5) * scale) for index in (0, 1)]
    (first, second) = ([picture[y, x].tolist() for _, y, x in inside] for picture in (plain, single))
    hue = [np.argmax(color) for color in first]
    assert hue[0] == hue[1], "one category has one hue"
    assert first != second and np.argmax(second[0]) != np.argmax(second[1])
    opaque = draw.overlay(one, LABELS, legend=False, title=False, names=False, opacity=1.0)
    assert opaque[30 * scale, 5 * scale].tolist() == list(draw.color_of(LABELS, 0))
    clear = draw.overlay(one, LABELS, legend=False, title=False, names=False, opacity=0.0)
    assert clear[30 * scale, 5 * scale].tolist() == [20, 20, 20]
    boxed = draw.overlay(one, LABELS, legend=False, title=False, names=False, boxes=True)
    assert (boxed != plain).any()
    wrong: list[dict[str, Any]] = [{"opacity": 1.5}, {"color_by": "size"}]
    for options in wrong:
        with pytest.raises(UsageError):
            draw.overlay(one, LABELS, **options)


def test_outlines_can_be_seen_on_dark_and_on_bright_pictures() -> None:
    """Outlines differ from the fill and from what lies around by a third of the range of brightness on black."""
    one = SAMPLES[0]
    for grey in (0, 20):
        image = np.full((60, 80, 3), grey, np.uint8)
        picture = draw.overlay(one, LABELS, legend=False, title=False, names=False, image=image).astype(int)
        scale = len(picture) // 60
        line, fill = picture[30 * scale, scale].max(), picture[30 * scale, 5 * scale].max()
        assert line - fill > 85 and line - grey > 85


def test_samples_are_chosen_at_random_by_a_seed_and_by_category() -> None:
    assert [one.key for one in select(SAMPLES, LABELS, 2)] == ["a", "b"]
    assert [one.key for one in select(SAMPLES, LABELS, 9, categories=["dog", "<b>"])] == ["a", "b", "d"]
    drawn = {seed: tuple(one.key for one in select(SAMPLES, LABELS, 3, seed=seed)) for seed in range(20)}
    assert drawn[3] == tuple(one.key for one in select(SAMPLES, LABELS, 3, seed=3)) and len(set(drawn.values())) > 5
    assert all(len(set(keys)) == 3 for keys in drawn.values())
    with pytest.raises(NotThere) as refused:
        select(SAMPLES, LABELS, 1, categories=["dogg"])
    assert "close are dog" in str(refused.value.why)
    with pytest.raises(NotThere, match="no sample has 'cat'"):
        select(SAMPLES[1:], LABELS, 1, categories=["cat"])


@pytest.mark.parametrize(("ending", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP")])
def test_a_picture_is_written_as_its_name_says(ending: str, kind: str, tmp_path: Path) -> None:
    picture_file.save(np.zeros((20, 30, 3), np.uint8), tmp_path / f"x.{ending}")
    with Image.open(tmp_path / f"x.{ending}") as image:
        assert (image.format, image.size) == (kind, (30, 20))


def test_pdf_is_written_and_other_endings_are_refused(tmp_path: Path) -> None:
    picture_file.save(np.zeros((20, 30, 3), np.uint8), tmp_path / "x.pdf")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    for name in ("x.bmp", "x", "x.html"):
        with pytest.raises(UsageError, match="cannot be written as"):
            picture_file.save(np.zeros((2, 3, 3), np.uint8), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pdf"]


def test_show_writes_sheets_and_pages_and_refuses_options_without_effect(pack: Path, tmp_path: Path) -> None:
    words = ("show", pack, "--json")
    done = run_segdata(*words, "--random", 3, "--seed", 1, "--category", "<b>", "-o", tmp_path / "s.webp")
    assert done.code == 0 and sorted(done.document["samples"]) == ["b", "d"] and done.document["size"][1] == 1600
    page = tmp_path / "page.html"
    done = run_segdata(*words, "--html", page, "--color-by", "instance", "--boxes", "--opacity", 0.3)
    assert done.code == 0 and done.document["samples"] == ["a", "b", "c", "d"]
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 4 and "&lt;b&gt;" in text and "<b>" not in text
    assert "4 of 4 samples" in text and "a: 80 × 60; 2 cat, 1 dog" in text and "<script" not in text
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    for more in (
        ["a", "--random", 2], ["a", "--category", "cat"], ["--count", 1, "--random", 2], ["--seed", 1],
        ["--html", page, "-o", tmp_path / "x.png"], ["--html", tmp_path / "x.txt"], ["--opacity", 2],
    ):  # fmt: skip
        assert run_segdata(*words, *more).code == 2, more


def test_notebooks_show_samples_packs_and_folders(pack: Path) -> None:
    whole = segdata.open(pack)
    shown = whole[0]._repr_png_()
    assert shown is not None and whole[0].labels is not None and whole[0].labels.digest == whole.labels.digest
    with Image.open(io.BytesIO(shown)) as image:
        assert np.array_equal(np.asarray(image), draw.overlay(whole[0], whole.labels))
    assert SAMPLES[0]._repr_png_() is not None, "a sample that knows no names shows numbers"
    text = whole._repr_html_()
    assert text.count("data:image/jpeg") == 4 and "&lt;b&gt;" in text
    assert whole.split("val")._repr_html_().count("data:image/jpeg") == 1
