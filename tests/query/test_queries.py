"""Queries against a recount in plain Python, over records that no reader of segdata has touched."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

import segdata
from segdata import Category, Instances, LabelMapping, LabelSpace, Masks, Sample
from segdata.conversion import write as writing
from segdata.pack.read import Pack
from tests.helpers import made
from tests.helpers.samples import SAMPLES, needs_samples

Record = dict[str, Any]
Test = tuple[str, Callable[..., bool]]
"""A condition as a query, and as a function of an object (and its image) or of an image."""

LABELS = LabelSpace(
    "drawn",
    (
        Category("cat", 3, isthing=True, supercategory="animal"),
        Category("dog", 7, isthing=True, supercategory="animal"),
        Category("potted plant", 8, isthing=True),
        Category("sky", 40, isthing=False, supercategory="stuff"),
        Category("d'oh", 41, ignore=True),
    ),
)
FLAGS = ("iscrowd", "difficult", "truncated", "occluded")
COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def drawn_object(rng: random.Random, height: int, width: int, number: int) -> Record:
    """An object with a mask of a rectangle with a hole, or with a box alone; some say nothing of area, box and score."""
    x, y = rng.randrange(width - 4), rng.randrange(height - 4)
    w, h = rng.randint(3, width - x), rng.randint(3, height - y)
    mask = np.zeros((height, width), np.uint8)
    mask[y : y + h, x : x + w] = 1
    mask[y + 1, x + 1] = 0
    has_mask = rng.random() < 0.8
    bbox = [x + rng.choice((0, 0.25)), float(y), w - 0.5, float(h)]
    return {
        "id": number,
        "category": rng.choice(LABELS.categories),
        "mask": mask if has_mask else None,
        "bbox": bbox if not has_mask or rng.random() < 0.7 else None,
        "area": rng.choice((round(w * h * 0.9, 2), None)),
        "score": rng.choice((round(rng.random(), 3), None)),
        **{flag: rng.random() < 0.2 for flag in FLAGS},
    }


def drawn_images(seed: int, count: int = 60) -> list[Record]:
    rng = random.Random(seed)
    images = []
    for index in range(count):
        height, width = rng.randint(8, 30), rng.randint(8, 30)
        objects = [drawn_object(rng, height, width, 100 * index + n) for n in range(rng.choice((0, 0, 1, 2, 5, 9)))]
        name = rng.choice(("a/", "b/", "ü ")) + f"{index:03d}"
        images.append(
            {"key": name, "split": rng.choice(("train", "val")), "id": index if index % 7 else -1}
            | {"height": height, "width": width, "objects": objects, "annotated": bool(objects) or index % 2 == 0}
        )
    return images


def sample_of(image: Record) -> Sample:
    objects, height, width = image["objects"], image["height"], image["width"]
    instances = None
    if image["annotated"]:
        empty = np.zeros((height, width), np.uint8)
        dense = [empty if each["mask"] is None else each["mask"] for each in objects]
        instances = Instances.build(
            [LABELS.categories.index(each["category"]) for each in objects],
            Masks.from_dense(np.array(dense, np.uint8).reshape(-1, height, width)),
            has_mask=[each["mask"] is not None for each in objects],
            bbox=[each["bbox"] or [math.nan] * 4 for each in objects],
            area=[math.nan if each["area"] is None else each["area"] for each in objects],
            score=[math.nan if each["score"] is None else each["score"] for each in objects],
            id=[each["id"] for each in objects],
            iscrowd=[each["iscrowd"] for each in objects],
            difficult=[each["difficult"] for each in objects],
            truncated=[each["truncated"] for each in objects],
            occluded=[each["occluded"] for each in objects],
        )
    return Sample(image["key"], height, width, id=image["id"], instances=instances)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, list[Record]]:
    """A pack of several shards, and its images as they were drawn, in the pack's order."""
    images = sorted(drawn_images(0), key=lambda image: str(image["split"]))
    target = tmp_path_factory.mktemp("drawn") / "pack"
    splits = {name: map(sample_of, [image for image in images if image["split"] == name]) for name in ("train", "val")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "_SHARD", 7)
        segdata.write(splits, target, labels=LABELS)
    pack = segdata.open(target)
    assert len(pack.info["shards"]) > 5
    return pack, images


# ---------------------------------------------------------------------- conditions, in both languages


def box_of(each: Record) -> list[float]:
    if each["bbox"] is not None:
        return list(each["bbox"])
    rows, columns = np.nonzero(each["mask"])
    x, y = columns.min(), rows.min()
    return [float(x), float(y), float(columns.max() + 1 - x), float(rows.max() + 1 - y)]


def pixels_of(each: Record) -> int:
    return 0 if each["mask"] is None else int(each["mask"].sum())


def area_of(each: Record) -> float:
    """As annotated, else of the mask, else NaN, which no comparison but != holds for."""
    if each["area"] is not None:
        return float(each["area"])
    return math.nan if each["mask"] is None else float(pixels_of(each))


NUMBERS: dict[str, tuple[Callable[[Record, Record], float], float]] = {
    "area": (lambda each, image: area_of(each), 400),
    "pixels": (lambda each, image: pixels_of(each), 400),
    "x": (lambda each, image: box_of(each)[0], 20),
    "y": (lambda each, image: box_of(each)[1], 20),
    "width": (lambda each, image: box_of(each)[2], 20),
    "height": (lambda each, image: box_of(each)[3], 20),
    "score": (lambda each, image: math.nan if each["score"] is None else each["score"], 1),
    "id": (lambda each, image: each["id"], 6000),
    "width * height": (lambda each, image: box_of(each)[2] * box_of(each)[3], 400),
    "pixels / (image.width * image.height)": (
        lambda each, image: pixels_of(each) / (image["width"] * image["height"]),
        1,
    ),
    "2 * x + width - 3": (lambda each, image: 2 * box_of(each)[0] + box_of(each)[2] - 3, 40),
    "image.objects": (lambda each, image: len(image["objects"]), 9),
}


def condition_of_objects(rng: random.Random) -> Test:
    kind = rng.choice(("number", "number", "range", "category", "flag", "group", "known"))
    if kind == "number":
        name, sign = rng.choice(list(NUMBERS)), rng.choice(list(COMPARISONS))
        value, most = NUMBERS[name]
        limit = round(rng.uniform(0, most), 2)
        return f"{name} {sign} {limit}", lambda each, image: COMPARISONS[sign](value(each, image), limit)
    if kind == "range":
        name = rng.choice(list(NUMBERS))
        value, most = NUMBERS[name]
        low, high = sorted(round(rng.uniform(0, most), 2) for _ in range(2))
        return f"{name} in {low}..{high}", lambda each, image: low <= value(each, image) <= high
    if kind == "category":
        chosen = rng.sample(LABELS.categories, 2)
        quoted = [rng.choice((str(each.id), '"' + each.name + '"')) for each in chosen]
        word, wanted = rng.choice((("in", True), ("not in", False)))
        return f"category {word} ({', '.join(quoted)})", lambda each, image: (each["category"] in chosen) == wanted
    if kind == "flag":
        flag = rng.choice(FLAGS)
        return flag, lambda each, image: each[flag]
    if kind == "group":
        return rng.choice(
            [
                ("supercategory == 'animal'", lambda each, image: each["category"].supercategory == "animal"),
                ("supercategory != animal", lambda each, image: each["category"].supercategory != "animal"),
                ("supercategory == none", lambda each, image: each["category"].supercategory is None),
                ("isthing == false", lambda each, image: each["category"].isthing is False),
                ("isthing", lambda each, image: bool(each["category"].isthing)),
                ("ignore", lambda each, image: each["category"].ignore),
                ("category like '*o*'", lambda each, image: "o" in each["category"].name),
            ]
        )
    return rng.choice(
        [
            ("area == none", lambda each, image: math.isnan(area_of(each))),
            ("area != none", lambda each, image: not math.isnan(area_of(each))),
            ("score = none", lambda each, image: each["score"] is None),
            ("not has_mask", lambda each, image: each["mask"] is None),
            ("isthing = none", lambda each, image: each["category"].isthing is None),
        ]
    )


def condition_of_images(rng: random.Random) -> Test:
    kind = rng.choice(("any", "all", "count", "count", "size", "other"))
    if kind == "size":
        sign, limit = rng.choice(list(COMPARISONS)), rng.randint(8, 30)
        return f"{limit} {sign} width", lambda image: COMPARISONS[sign](limit, image["width"])
    if kind == "other":
        return rng.choice(
            [
                ("split == 'val'", lambda image: image["split"] == "val"),
                ("split != val", lambda image: image["split"] != "val"),
                ("key like 'a/*'", lambda image: image["key"].startswith("a/")),
                ("key not like '*7'", lambda image: not image["key"].endswith("7")),
                ("key like 'ü ??[3-5]'", lambda image: image["key"][0] == "ü" and image["key"][-1] in "345"),
                ("key in ('a/001', \"b/002\", 'ü 003')", lambda image: image["key"] in ("a/001", "b/002", "ü 003")),
                ("id == none", lambda image: image["id"] == -1),
                ("id in 10..30", lambda image: 10 <= image["id"] <= 30),
                ("id in (1, 5, 20..25, width)", lambda image: image["id"] in (1, 5, *range(20, 26), image["width"])),
                ("10 < width <= 20", lambda image: 10 < image["width"] <= 20),
                ("width / height > 1.5", lambda image: image["width"] / image["height"] > 1.5),
                ("has_instances", lambda image: image["annotated"]),
                ("objects > 2", lambda image: len(image["objects"]) > 2),
                ("-width ** 2 <= -200", lambda image: -(image["width"] ** 2) <= -200),
            ]
        )
    text, test = joined(rng, condition_of_objects, 2)
    if kind == "count":
        sign, limit = rng.choice(list(COMPARISONS)), rng.randint(0, 4)
        return f"count({text}) {sign} {limit}", lambda image: COMPARISONS[sign](
            sum(bool(test(each, image)) for each in image["objects"]), limit
        )
    function = any if kind == "any" else all
    return f"{kind}({text})", lambda image: function(test(each, image) for each in image["objects"])


def joined(rng: random.Random, draw: Callable[[random.Random], Test], depth: int) -> Test:
    """One to three conditions with and, or, not and brackets between them."""
    if depth == 0 or rng.random() < 0.3:
        return draw(rng)
    (one, first), (other, second) = joined(rng, draw, depth - 1), joined(rng, draw, depth - 1)
    word = rng.choice(("and", "or", "and not"))
    if word == "and":
        return f"({one}) and ({other})", lambda *record: first(*record) and second(*record)
    if word == "or":
        return f"({one}) OR ({other})", lambda *record: first(*record) or second(*record)
    return f"({one}) && not ({other})", lambda *record: first(*record) and not second(*record)


def keys_of(pack: Pack, is_meant: Any) -> list[str]:
    assert is_meant.dtype == np.bool_ and is_meant.shape == (len(pack),)
    return [pack.key(int(index)) for index in np.flatnonzero(is_meant)]


@pytest.mark.parametrize("seed", range(60))
def test_random_queries_choose_what_plain_python_chooses(drawn: tuple[Pack, list[Record]], seed: int) -> None:
    pack, images = drawn
    text, test = joined(random.Random(seed), condition_of_images, 2)
    expected = [image["key"] for image in images if test(image)]
    assert keys_of(pack, pack.matching(text)) == expected, text
    assert [sample.key for sample in pack.select(text)] == expected
    val = pack.split("val")
    of_val = [image["key"] for image in images if image["split"] == "val" and test(image)]
    assert keys_of(val, val.matching(text)) == of_val


@pytest.mark.parametrize("seed", range(30))
def test_random_queries_of_objects(drawn: tuple[Pack, list[Record]], seed: int) -> None:
    pack, images = drawn
    text, test = joined(random.Random(seed), condition_of_objects, 2)
    expected = [test(each, image) for image in images for each in image["objects"]]
    assert pack.matching_objects(text).tolist() == expected, text


def test_the_random_queries_are_no_formality(drawn: tuple[Pack, list[Record]]) -> None:
    """Most of them choose some images and leave out some."""
    _, images = drawn
    counts = [
        sum(map(test, images))
        for _, test in (joined(random.Random(seed), condition_of_images, 2) for seed in range(60))
    ]
    assert sum(0 < count < len(images) for count in counts) > 40


def test_the_same_under_a_view_that_leaves_categories_out(drawn: tuple[Pack, list[Record]]) -> None:
    pack, images = drawn
    animals = LabelSpace("animals", (Category("animal", 5), Category("plant", 6)))
    viewed = pack.viewed(LabelMapping(animals, (0, 0, 1, None, None)))
    kept = {"cat", "dog", "potted plant"}

    def names(image: Record) -> list[str]:
        return [each["category"].name for each in image["objects"] if each["category"].name in kept]

    tests: list[Test] = [
        ("any(category == 'animal')", lambda image: bool({"cat", "dog"} & {*names(image)})),
        ("all(category == 'animal')", lambda image: "potted plant" not in names(image)),
        ("count(category != 'animal') == 1", lambda image: names(image).count("potted plant") == 1),
        ("objects == 2 and count() == 2", lambda image: len(names(image)) == 2),
    ]
    for text, test in tests:
        assert viewed.matching(text).tolist() == [test(image) for image in images], text
    assert viewed.matching_objects("true").sum() == sum(len(names(image)) for image in images)
    with pytest.raises(segdata.errors.InvalidQuery, match="no category 'dog'"):
        viewed.matching("any(category == 'dog')")


# ---------------------------------------------------------------------- real data, counted by pycocotools


def by_pycocotools(document: Path) -> dict[str, set[str]]:
    """Query → keys of the images that it means, by the records of a COCO document."""
    coco = COCO(str(document))
    records = {image["id"]: coco.loadAnns(coco.getAnnIds(image["id"])) for image in coco.imgs.values()}
    name_of = {category["id"]: category["name"] for category in coco.cats.values()}
    first = min(name_of.values())

    def images(test: Callable[[Record, list[Record]], bool]) -> set[str]:
        return {image["file_name"][:-4] for image in coco.imgs.values() if test(image, records[image["id"]])}

    return {
        f"any(category == '{first}')": images(lambda image, all: any(name_of[a["category_id"]] == first for a in all)),
        "any(category == 1 and area > 32**2)": images(
            lambda image, all: any(a["category_id"] == 1 and a["area"] > 1024 for a in all)
        ),
        "count(iscrowd) > 0": images(lambda image, all: any(a["iscrowd"] for a in all)),
        "objects == 0": images(lambda image, all: not all),
        "count(width > height) >= 2": images(lambda image, all: sum(a["bbox"][2] > a["bbox"][3] for a in all) >= 2),
        "any(pixels > 0.2 * image.width * image.height)": images(
            lambda image, all: any(coco.annToMask(a).sum() > 0.2 * image["width"] * image["height"] for a in all)
        ),
        "width < height": images(lambda image, all: image["width"] < image["height"]),
    }


def check_coco(folder: Path, tmp_path: Path) -> int:
    segdata.convert(folder, tmp_path / "pack", images="none", workers=1)
    pack = segdata.open(tmp_path / "pack")
    chosen = 0
    for split in pack.splits:
        document = folder / "annotations" / f"instances_{split}.json"
        for text, expected in by_pycocotools(document).items():
            assert {sample.key for sample in pack.split(split).select(text)} == expected, text
            chosen += len(expected)
    return chosen


def test_a_coco_document_is_counted_as_pycocotools_counts_it(tmp_path: Path) -> None:
    assert check_coco(made.coco(tmp_path / "coco"), tmp_path) > 2


@needs_samples
def test_real_coco_images(tmp_path: Path) -> None:
    assert check_coco(SAMPLES / "coco", tmp_path) > 50


@needs_samples
def test_splits_of_voc_overlap_as_their_lists_say(tmp_path: Path) -> None:
    root = SAMPLES / "voc/VOCdevkit/VOC2012"
    segdata.convert(root, tmp_path / "pack", images="none", workers=1)
    pack = segdata.open(tmp_path / "pack")
    train, val = (
        {*(root / f"ImageSets/Segmentation/{name}.txt").read_text().split()} & {*pack.keys} for name in ("train", "val")
    )
    both = [("split == train and split == val", train & val), ("split in (train, val)", train | val)]
    for text, expected in [*both, ("split == train and split != val", train - val), ("split == none", set())]:
        assert {sample.key for sample in pack.select(text)} == expected, text


def test_images_that_the_report_names_are_asked_for(tmp_path: Path) -> None:
    segdata.convert(made.yolo(tmp_path / "source"), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    remarked = {Path(pack.key(int(index))).name for index in np.flatnonzero(pack.matching("problem"))}
    assert remarked == {"turned_2", "turned_6", "hole", "beyond"}
    assert np.array_equal(pack.matching("not problem"), ~pack.matching("problem"))
