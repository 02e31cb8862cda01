"""`segdata.write`: what is in memory becomes a pack, equal to what pycocotools and Pillow make of the same."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import segdata
from segdata.errors import InvalidAnnotation, InvalidImage, InvalidInput, NotThere, SegdataError, UsageError

HEIGHT, WIDTH = 40, 60
LABELS = ["cat", "dog"]
RING = [5.0, 5.0, 41.5, 7.25, 20.0, 30.0]
TRIANGLE = np.array(RING).reshape(-1, 2)
PIXELS = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def block(y: int, x: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + 9, x : x + 12] = True
    return mask


def drawn(ring: list[float]) -> np.ndarray:
    """A polygon as pycocotools draws it."""
    rle = coco_mask.merge(coco_mask.frPyObjects([ring], HEIGHT, WIDTH))
    mask: np.ndarray = coco_mask.decode(rle)
    return mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded: dict[str, Any] = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded


MASKS: dict[str, tuple[Any, np.ndarray]] = {
    "an array": (np.stack([block(1, 2), block(20, 40)]), np.stack([block(1, 2), block(20, 40)])),
    "an array of 0 and 255": (np.stack([block(1, 2)]) * np.uint8(255), np.stack([block(1, 2)])),
    "an array of two columns": (np.ones((2, HEIGHT, WIDTH), np.float32), np.ones((2, HEIGHT, WIDTH))),
    "arrays": ([block(3, 4), block(3, 10)], np.stack([block(3, 4), block(3, 10)])),
    "RLE": (
        [rle(block(7, 7)), {**rle(block(9, 1)), "counts": rle(block(9, 1))["counts"].decode()}],
        np.stack([block(7, 7), block(9, 1)]),
    ),
    "uncompressed RLE": ([{"size": [HEIGHT, WIDTH], "counts": [40, 3, 2357]}], np.eye(1, HEIGHT * WIDTH)[:, None] * 0),
    "polygons": (
        [[RING], [[0, 0, 9, 0, 9, 9], RING]],
        np.stack([drawn(RING), drawn(RING) | drawn([0, 0, 9, 0, 9, 9])]),
    ),
    "rings and points": ([RING, TRIANGLE, [TRIANGLE]], np.stack([drawn(RING)] * 3)),
    "a mixture": (
        [block(1, 1), None, rle(block(2, 2)), [RING]],
        np.stack([block(1, 1), block(0, 0) & False, block(2, 2), drawn(RING)]),
    ),
}
column = np.zeros((HEIGHT, WIDTH), bool)
column[:3, 1] = True
MASKS["uncompressed RLE"] = ([{"size": [HEIGHT, WIDTH], "counts": [40, 3, 2357]}], column[None])


@pytest.mark.parametrize("form", MASKS)
def test_masks_of_any_form_are_the_pixels_of_pycocotools(form: str, tmp_path: Path) -> None:
    masks, expected = MASKS[form]
    sample = segdata.Sample.build("a", PIXELS, masks=masks, category=[1] * len(masks))
    segdata.write([sample], tmp_path / "pack", labels=LABELS)
    instances = segdata.open(tmp_path / "pack")[0].instances
    assert np.array_equal(instances.masks.dense(), expected)
    assert instances.has_mask.tolist() == [item is not None for item in masks]
    assert instances.category.tolist() == [1] * len(masks)


def test_polygons_come_back_and_reach_coco(tmp_path: Path) -> None:
    sample = segdata.Sample.build("a", PIXELS, masks=[[RING], block(0, 0)], category=["dog", "cat"], labels=LABELS)
    segdata.write([sample], tmp_path / "pack", labels=LABELS)
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco")
    document = next((tmp_path / "coco/annotations").glob("*.json"))
    from pycocotools.coco import COCO

    coco = COCO(str(document))
    first, second = coco.loadAnns(coco.getAnnIds())
    assert first["segmentation"] == [RING] and coco.loadCats(first["category_id"])[0]["name"] == "dog"
    assert np.array_equal(coco.annToMask(second), block(0, 0)) and [item["id"] for item in coco.loadCats([1, 2])] == [
        1,
        2,
    ]


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (lambda folder: PIXELS, PIXELS),
        (lambda folder: PIXELS[:, :, 0], np.stack([PIXELS[:, :, 0]] * 3, 2)),
        (lambda folder: PIXELS[:, :, :1], np.stack([PIXELS[:, :, 0]] * 3, 2)),
        (lambda folder: Image.fromarray(PIXELS), PIXELS),
        (
            lambda folder: Image.fromarray(PIXELS).convert("P"),
            np.asarray(Image.fromarray(PIXELS).convert("P").convert("RGB")),
        ),
        (lambda folder: encoded("BMP"), PIXELS),
        (lambda folder: saved(folder / "x.png"), PIXELS),
        (lambda folder: str(saved(folder / "x.png")), PIXELS),
    ],
    ids=["array", "grey", "one channel", "Pillow", "palette", "bytes", "path", "text"],
)
def test_images_of_any_form_keep_their_pixels(
    image: Callable[[Path], Any], expected: np.ndarray, tmp_path: Path
) -> None:
    sample = segdata.Sample.build("folder/a", image(tmp_path), category=[])
    segdata.write([sample], tmp_path / "pack", labels=LABELS)
    written = segdata.open(tmp_path / "pack")[0]
    assert np.array_equal(written.image, expected)
    assert written.key == "folder/a" and written.file.startswith("folder/a.")
    assert written.has_instances and not written.has_semantic


def saved(path: Path) -> Path:
    path.write_bytes(encoded("PNG"))
    return path


def test_label_maps_columns_and_records_are_kept(tmp_path: Path) -> None:
    semantic = np.full((HEIGHT, WIDTH), 255, np.int64)
    semantic[:3] = 1
    sample = segdata.Sample.build(
        "a",
        size=(HEIGHT, WIDTH),
        semantic=semantic,
        id=7,
        extra={"camera": "left"},
        category=[0, 1],
        bbox=[[1, 2, 3, 4], [5, 6, 7, 8]],
        iscrowd=[False, True],
        score=[0.25, 0.5],
        area=[12.5, 3],
    )
    segdata.write([sample], tmp_path / "pack", labels=["background", "thing"])
    pack = segdata.open(tmp_path / "pack")
    written = pack[0]
    assert written.semantic is not None and np.array_equal(written.semantic, semantic)
    assert written.id == 7 and written.extra == {"camera": "left"} and written.encoded is None
    assert written.instances.bbox.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert written.instances.iscrowd.tolist() == [False, True] and written.instances.score.tolist() == [0.25, 0.5]
    assert not written.instances.has_mask.any() and written.instances.area.tolist() == [12.5, 3]
    assert [category.id for category in pack.labels.categories] == [0, 1]


ARRAY = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
WRONG: dict[str, tuple[type[SegdataError], str, dict[str, Any]]] = {
    "float image": (InvalidImage, "float64", {"image": np.zeros((4, 4, 3))}),
    "channels first": (InvalidImage, "transpose", {"image": np.zeros((3, 40, 60), np.uint8)}),
    "no image": (InvalidImage, "size", {}),
    "another size": (InvalidImage, "size", {"image": ARRAY, "size": (3, 3)}),
    "no file": (NotThere, "nowhere", {"image": "nowhere.png"}),
    "no image file": (InvalidImage, "no image", {"image": b"text"}),
    "mask of another size": (
        InvalidAnnotation,
        r"masks\[1\]",
        {"masks": [block(0, 0), np.ones((2, 9))], "category": [0, 0]},
    ),
    "one mask": (InvalidAnnotation, "one mask an object", {"masks": block(0, 0), "category": [0]}),
    "probabilities": (InvalidAnnotation, "mask > 0.5", {"masks": [block(0, 0) * 0.4], "category": [0]}),
    "too few categories": (InvalidAnnotation, "2 entries for 1", {"masks": [block(0, 0)] * 2, "category": [0]}),
    "no category": (InvalidAnnotation, "no category", {"masks": [block(0, 0)]}),
    "unknown name": (InvalidAnnotation, "cat, dog", {"category": ["cow"], "labels": LABELS}),
    "names without labels": (InvalidAnnotation, "labels=", {"category": ["cat"]}),
    "one number": (InvalidAnnotation, "no list", {"category": 3}),
    "half a category": (InvalidAnnotation, "whole numbers", {"category": [0.5]}),
    "RLE without counts": (InvalidAnnotation, "no an RLE|not an RLE", {"masks": [{"size": [4, 4]}], "category": [0]}),
    "RLE of another size": (
        InvalidAnnotation,
        r"\(3, 4\)",
        {"masks": [{"size": [3, 4], "counts": [12]}], "category": [0]},
    ),
    "RLE that is too short": (
        InvalidAnnotation,
        "add up",
        {"masks": [{"size": [40, 60], "counts": [1]}], "category": [0]},
    ),
    "two points": (InvalidAnnotation, "three points", {"masks": [[[1, 2, 3, 4]]], "category": [0]}),
    "not finite": (InvalidAnnotation, "finite", {"masks": [[[1, 2, 3, 4, 5, np.nan]]], "category": [0]}),
    "text as mask": (InvalidAnnotation, "neither", {"masks": ["mask"], "category": [0]}),
    "bbox of four numbers": (InvalidAnnotation, r"\(N, 4\)", {"category": [0], "bbox": [1, 2, 3, 4]}),
    "float map": (InvalidAnnotation, "float", {"semantic": np.zeros((HEIGHT, WIDTH))}),
    "negative map": (InvalidAnnotation, "255", {"semantic": np.full((HEIGHT, WIDTH), -1)}),
    "map of another size": (InvalidAnnotation, "another size", {"semantic": np.zeros((3, 3), np.uint8)}),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_named_with_the_key(what: str) -> None:
    kind, words, arguments = WRONG[what]
    if arguments.keys() & {"masks", "category", "semantic"}:
        arguments = {"image": ARRAY, **arguments}
    with pytest.raises(kind, match=words) as caught:
        segdata.Sample.build("the key", **arguments)
    assert caught.value.key == "the key"


def some(count: int, *, wrong: int = -1) -> Iterator[segdata.Sample]:
    for number in range(count):
        category = [2 if number == wrong else number % 2]
        yield segdata.Sample.build(
            f"{number:05d}", np.full((4, 4), number % 256, np.uint8), masks=[np.eye(4)], category=category
        )


class Lazy:
    """A sequence that makes its samples when they are asked for."""

    def __init__(self, count: int, wrong: int = -1) -> None:
        self.count, self.wrong = count, wrong

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> segdata.Sample:
        category = [2 if index == self.wrong else index % 2]
        pixels = np.full((4, 4), index % 256, np.uint8)
        return segdata.Sample.build(f"{index:05d}", pixels, masks=[np.eye(4)], category=category)


def test_streams_and_sequences_give_the_same_pack_in_several_shards(tmp_path: Path) -> None:
    reports = [
        segdata.write({"train": samples, "val": some(3)}, tmp_path / name, labels=LABELS, workers=workers)
        for name, samples, workers in (("a", some(1100), 1), ("b", Lazy(1100), 2), ("c", list(some(1100)), 2))
    ]
    assert [dict(report.splits) for report in reports] == [{"train": 1100, "val": 3}] * 3
    indices = [segdata.open(tmp_path / name).info for name in "abc"]
    assert indices[0]["shards"] == indices[1]["shards"] == indices[2]["shards"] and len(indices[0]["shards"]) == 4
    pack = segdata.open(tmp_path / "b", split="train")
    assert [pack[index].image[0, 0, 0] for index in (0, 700, 1099)] == [0, 700 % 256, 1099 % 256]
    assert segdata.verify(tmp_path / "b", deep=True).is_good


@pytest.mark.parametrize("samples", [lambda: some(20, wrong=7), lambda: Lazy(20, wrong=7)], ids=["stream", "sequence"])
def test_a_sample_that_is_not_valid_stops_or_is_left_out(samples: Callable[[], Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidAnnotation, match=r"found \[2\]") as caught:
        segdata.write(samples(), tmp_path / "pack", labels=LABELS)
    assert caught.value.key == "00007" and not (tmp_path / "pack").exists()
    report = segdata.write(samples(), tmp_path / "pack", labels=LABELS, on_error="skip")
    assert report.samples == 19 and report.skipped == 1
    assert "00007" not in segdata.open(tmp_path / "pack").keys


@pytest.mark.parametrize("as_list", [False, True])
def test_a_key_twice_in_a_split_is_refused_and_in_two_splits_is_not(as_list: bool, tmp_path: Path) -> None:
    twice = [*some(2), *some(1)]
    with pytest.raises(InvalidInput, match="same key") as caught:
        segdata.write(twice if as_list else iter(twice), tmp_path / "pack", labels=LABELS)
    assert caught.value.key == "00000" and not (tmp_path / "pack").exists()
    segdata.write({"a": some(1), "b": some(1)}, tmp_path / "pack", labels=LABELS)
    assert list(segdata.open(tmp_path / "pack").keys) == ["00000", "00000"]


@pytest.mark.parametrize("key", ["../a", "/a", "", "a\\b", "a/../b"])
def test_keys_that_lead_elsewhere_are_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(SegdataError):
        segdata.write([segdata.Sample.build(key, ARRAY)], tmp_path / "pack", labels=LABELS)
    assert not (tmp_path / "pack").exists()


def test_nothing_to_write_other_objects_and_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no samples"):
        segdata.write([], tmp_path / "pack", labels=LABELS)
    with pytest.raises(UsageError, match="dict is no sample"):
        segdata.write([{"image": ARRAY}], tmp_path / "pack", labels=LABELS)  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="unlike the first"):
        mixed = [segdata.Sample.build("a", ARRAY), segdata.Sample.build("b", size=(3, 3))]
        segdata.write(mixed, tmp_path / "pack", labels=LABELS)
    assert not (tmp_path / "pack").exists()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        segdata.write(some(1), tmp_path / "pack", labels=LABELS)
    segdata.write(some(1), tmp_path / "pack", labels=LABELS, force=True)
    assert (tmp_path / "pack/letter.txt").read_text() == "mine" and len(segdata.open(tmp_path / "pack")) == 1


def test_names_that_are_no_utf8_are_escaped_in_other_formats(tmp_path: Path) -> None:
    sample = segdata.Sample.build(os.fsdecode(b"b\xe4r"), PIXELS, masks=[block(0, 0)], category=[0])
    segdata.write([sample], tmp_path / "pack", labels=LABELS)
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco")
    assert (tmp_path / "coco/images/b%E4r.png").read_bytes() == sample.encoded
    assert list(segdata.read(tmp_path / "coco").keys) == ["b%E4r"]


MISUSED: dict[str, Callable[[Path], Any]] = {
    "labels as text": lambda path: segdata.write(some(1), path, labels="cat"),
    "labels as mapping": lambda path: segdata.write(some(1), path, labels={0: "cat", 1: "dog"}),  # type: ignore[dict-item]
    "labels as numbers": lambda path: segdata.write(some(1), path, labels=[1, 2]),  # type: ignore[list-item]
    "a label without a name": lambda path: segdata.write(some(1), path, labels=[""]),
    "one sample": lambda path: segdata.write(next(some(1)), path, labels=LABELS),  # type: ignore[arg-type]
    "a key that is no text": lambda path: segdata.Sample.build(5, ARRAY),  # type: ignore[arg-type]
    "an id that is no number": lambda path: segdata.Sample.build("a", ARRAY, id="x"),  # type: ignore[arg-type]
    "extra of arrays": lambda path: segdata.write(
        [segdata.Sample.build("a", ARRAY, extra={"x": ARRAY})], path, labels=LABELS
    ),
    "a negative box": lambda path: segdata.Sample.build("a", ARRAY, category=[0], bbox=[[9, 9, -3, 4]]),
    "corners": lambda path: segdata.Sample.build("a", ARRAY, category=[0], bbox=[[40, 10, 59, 30]]),
    "on_error": lambda path: segdata.write(some(1), path, labels=LABELS, on_error="ignore"),  # type: ignore[arg-type]
    "convert on_error": lambda path: segdata.convert(path, path, on_error="ignore"),  # type: ignore[arg-type]
    "convert crowds": lambda path: segdata.convert(path, path, crowds="object"),  # type: ignore[arg-type]
    "convert exif": lambda path: segdata.convert(path, path, exif="turn"),  # type: ignore[arg-type]
    "convert images": lambda path: segdata.convert(path, path, images="emb"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", MISUSED)
def test_values_that_cannot_be_meant_are_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(SegdataError) as caught:
        MISUSED[what](tmp_path / "pack")
    assert caught.value.exit_code in (2, 4) and not (tmp_path / "pack").exists()


def test_one_name_stands_for_a_list_of_one(tmp_path: Path) -> None:
    segdata.write({"train": some(3), "val": some(2)}, tmp_path / "pack", labels=LABELS)
    report = segdata.convert(tmp_path / "pack", tmp_path / "dogs", splits="val", keep="dog")
    assert report.samples == 2 and report.instances == 1


def test_an_error_of_the_generator_reaches_the_user_and_leaves_the_old_pack(tmp_path: Path) -> None:
    segdata.write(some(2), tmp_path / "pack", labels=LABELS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "pack").iterdir()}

    def broken() -> Iterator[segdata.Sample]:
        yield from some(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        segdata.write(broken(), tmp_path / "pack", labels=LABELS, force=True, on_error="skip")
    assert {path.name: path.read_bytes() for path in (tmp_path / "pack").iterdir()} == before
    segdata.write(some(3), tmp_path / "pack", labels=LABELS, force=True)
    assert len(list((tmp_path / "pack").glob("annotations-*.h5"))) == 1


KILLED = """
import os, signal, sys
import numpy as np
import segdata

def samples():
    for number in range(900):
        if number == 600:
            os.kill(os.getpid(), signal.SIGKILL)
        yield segdata.Sample.build(str(number), np.zeros((4, 4), np.uint8), category=[])

segdata.write(samples(), sys.argv[1], labels=["cat"])
"""


def test_a_killed_run_leaves_no_pack_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "pack")], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(NotThere):
        segdata.open(tmp_path / "pack")
    assert segdata.write(some(2), tmp_path / "pack", labels=LABELS).samples == 2
    assert not list((tmp_path / "pack").glob(".work-*"))
