"""`segdata stats`: every figure against a count that uses none of segdata's readers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

import segdata
from segdata.core.masks import Masks
from segdata.statistics import counts as stats
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.samples import SAMPLES, needs_samples


def counted_by_pycocotools(annotations: Path) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """What there is to count in a COCO document: sums, and for each category its own."""
    coco = COCO(str(annotations))
    sums: Counter[str] = Counter(images=len(coco.imgs))
    categories: dict[str, Counter[str]] = {row["name"]: Counter() for row in coco.cats.values()}
    for image_id, image in coco.imgs.items():
        annotations_of_image = coco.loadAnns(coco.getAnnIds(image_id))
        depth = np.zeros((image["height"], image["width"]), int)
        under: dict[str, np.ndarray] = {}
        for annotation in annotations_of_image:
            name = coco.cats[annotation["category_id"]]["name"]
            mask = coco.annToMask(annotation).astype(bool)
            depth += mask
            under[name] = under.get(name, False) | mask
            size = ("small", "medium", "large")[(annotation["area"] >= 32**2) + (annotation["area"] >= 96**2)]
            sums[size] += 1
            categories[name][size] += 1
            categories[name]["instances"] += 1
            sums["crowds"] += annotation["iscrowd"]
            sums["masks_in_parts"] += ndimage.label(mask, np.ones((3, 3)))[1] > 1
            holes = ndimage.label(np.pad(~mask, 1, constant_values=True))[1] - 1
            sums["masks_with_holes"] += holes > 0
        for name, mask in under.items():
            categories[name]["images"] += 1
            categories[name]["pixels"] += int(mask.sum())
        sums["instances"] += len(annotations_of_image)
        sums["empty_images"] += not annotations_of_image
        sums["covered"] += int((depth > 0).sum())
        sums["overlapped"] += int((depth > 1).sum())
        sums["with_overlap"] += bool((depth > 1).any())
        sums["with_masks"] += bool(annotations_of_image)
        sums["pixels"] += depth.size
    return sums, categories


def check_against_pycocotools(counted: dict[str, Any], annotations: Path) -> None:
    sums, categories = counted_by_pycocotools(annotations)
    for name in [
        "images",
        "instances",
        "empty_images",
        "crowds",
        "small",
        "medium",
        "large",
        "masks_in_parts",
        "masks_with_holes",
    ]:
        assert counted[name] == sums[name], name
    assert counted["overlap_share"] == sums["overlapped"] / sums["covered"]
    assert counted["overlap_image_share"] == sums["with_overlap"] / sums["with_masks"]
    assert counted["instances_per_image_mean"] == pytest.approx(sums["instances"] / sums["images"])
    assert [row["name"] for row in counted["categories"]] == list(categories)
    for row in counted["categories"]:
        expected = categories[row["name"]]
        for name in ("instances", "images", "pixels", "small", "medium", "large"):
            assert row[name] == expected[name], (row["name"], name)
        assert row["pixel_share"] == expected["pixels"] / sums["pixels"]


@needs_samples
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_samples_count_as_pycocotools_counts_them(split: str) -> None:
    counted = run_segdata("stats", SAMPLES / "coco", "--json").document["splits"][split]
    check_against_pycocotools(counted, SAMPLES / "coco/annotations" / f"instances_{split}.json")


def test_a_drawn_dataset_and_its_pack_count_alike(drawing: Callable[[str], Path], tmp_path: Path) -> None:
    folder = drawing("coco")
    assert run_segdata("convert", folder, tmp_path / "pack").code == 0
    of_folder, of_pack = (run_segdata("stats", path, "--json").document for path in (folder, tmp_path / "pack"))
    for split, counted in of_folder["splits"].items():
        check_against_pycocotools(counted, folder / "annotations" / f"instances_{split}.json")
    assert of_pack["splits"] == of_folder["splits"]
    assert of_pack["total"] == of_folder["total"]


@needs_samples
def test_voc_samples_count_as_their_files_say(tmp_path: Path) -> None:
    home = SAMPLES / "voc/VOCdevkit/VOC2012"
    keys = (home / "ImageSets/Segmentation/train.txt").read_text().split()
    maps = [np.array(Image.open(home / f"SegmentationClass/{key}.png")) for key in keys]
    counts = np.sum([np.bincount(label.ravel(), minlength=256) for label in maps], axis=0)
    document = run_segdata("stats", home, "--json").document
    counted = document["splits"]["train"]
    assert counted["images"] == len(keys)
    assert counted["void_share"] == counts[255] / counts.sum()
    assert [row["pixels"] for row in counted["categories"]] == counts[:21].tolist()
    assert counted["categories"][0]["images"] == sum(bool((label == 0).any()) for label in maps)
    assert counted["instances"] == sum((home / f"Annotations/{key}.xml").read_text().count("<object>") for key in keys)
    assert counted["difficult"] == sum(
        (home / f"Annotations/{key}.xml").read_text().count("<difficult>1") for key in keys
    )
    sizes = Counter(label.shape for label in maps)
    assert {(row["height"], row["width"]): row["images"] for row in counted["image_sizes"]} == sizes
    shared = {tuple(row["splits"]): row["samples"] for row in document["shared"]}
    trainval = set((home / "ImageSets/Segmentation/trainval.txt").read_text().split())
    assert shared["train", "trainval"] == len(set(keys) & trainval)


def test_labels_are_mapped_before_they_are_counted(tmp_path: Path) -> None:
    folder = made.cityscapes(tmp_path / "cityscapes")
    all_classes, nineteen = (
        run_segdata("stats", folder, "--json", *more).document["total"] for more in ((), ("--labels", "cityscapes-19"))
    )
    assert len(nineteen["categories"]) == 19
    pixels = {row["name"]: row["pixels"] for row in all_classes["categories"]}
    assert all(row["pixels"] == pixels[row["name"]] for row in nineteen["categories"])
    assert nineteen["void_share"] > all_classes["void_share"]


def test_one_split_and_one_that_is_not_there(tmp_path: Path) -> None:
    folder = made.voc(tmp_path / "VOC2012")
    document = run_segdata("stats", folder, "--json", "--split", "train").document
    assert list(document["splits"]) == ["train"]
    assert document["splits"]["train"] == document["total"]
    missing = run_segdata("stats", folder, "--split", "tarin")
    assert missing.code == 10
    assert "train" in missing.err


def test_a_broken_pack_is_an_error_not_a_count(tmp_path: Path) -> None:
    folder = made.coco(tmp_path / "coco")
    assert run_segdata("convert", folder, tmp_path / "pack").code == 0
    shard = next((tmp_path / "pack").glob("annotations-*.h5"))
    shard.write_bytes(shard.read_bytes()[:-40])
    outcome = run_segdata("stats", tmp_path / "pack", "--json")
    assert outcome.code == 8
    assert shard.name in outcome.err


def test_two_datasets_side_by_side(tmp_path: Path) -> None:
    document = made.coco_document()
    one = made.coco(tmp_path / "one", document)
    document["annotations"].append({**document["annotations"][0], "id": 7, "image_id": 12})
    document["categories"].append({"id": 91, "name": "kite", "supercategory": "sports"})
    other = made.coco(tmp_path / "other", document)
    compared = run_segdata("stats", one, "--compare", other, "--json").document["comparison"]
    assert compared["figures"]["instances"] == {"source": 3, "other": 4, "difference": 1}
    assert compared["figures"]["empty_images"] == {"source": 1, "other": 0, "difference": -1}
    assert compared["categories"]["person"]["instances"] == {"source": 1, "other": 2, "difference": 1}
    assert compared["only_in_other"] == ["kite"]
    text = run_segdata("stats", one, "--compare", other).out
    assert "kite" in text and "+1" in text


def test_the_tables_are_for_people(tmp_path: Path) -> None:
    text = run_segdata("stats", made.coco(tmp_path / "coco")).out
    assert max(map(len, text.splitlines()[1:])) <= 100
    assert "person" in text and "instances per image mean" in text


def test_shapes_parts_and_holes_by_hand() -> None:
    ring = np.zeros((9, 9), bool)
    ring[1:8, 1:8] = True
    ring[3:6, 3:6] = False
    ring[4, 4] = True
    corner = np.zeros((9, 9), bool)
    corner[0, 0] = corner[1, 1] = corner[8, 8] = True
    diagonal_hole = np.ones((9, 9), bool)
    diagonal_hole[3, 3] = diagonal_hole[4, 4] = False
    masks = Masks.from_dense(np.stack([ring, corner, diagonal_hole, np.zeros((9, 9), bool), np.ones((9, 9), bool)]))
    parts, holes = stats._parts_and_holes(masks.spans(), masks)
    assert parts.tolist() == [2, 2, 1, 0, 1]
    assert holes.tolist() == [1, 0, 2, 0, 0]


def test_positions_are_the_share_of_boxes_over_a_place() -> None:
    tally = stats.Tally(1)
    cells = np.array([[0, 0, 32, 64], [16, 0, 64, 16]])
    nothing = np.zeros(0, np.int64)
    tally.add(stats._Image((64, 64), Counter(boxes=2), nothing, nothing, nothing, nothing, nothing, cells))
    expected = np.zeros((64, 64))
    for x0, y0, x1, y1 in cells:
        expected[y0:y1, x0:x1] += 0.5
    assert np.array_equal(tally.positions, expected)


def test_pictures_are_drawn(tmp_path: Path) -> None:
    folder = made.coco(tmp_path / "coco")
    outcome = run_segdata("stats", folder, "--plots", tmp_path / "pictures", "--json")
    assert outcome.code == 0, outcome.err
    pictures = [Path(path) for path in outcome.document["pictures"]]
    assert {path.stem for path in pictures} == {
        "categories",
        "object-sizes",
        "objects-per-image",
        "positions",
        "image-sizes",
    }
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.width > 600
            colors = picture.convert("RGB").getcolors(1 << 24)
            assert colors is not None and len(colors) > 20


def test_the_page_has_splits_categories_and_what_occurs_together(tmp_path: Path) -> None:
    """By hand: cat and dog in one image, cat alone in two, dog alone in one, and a category that never occurs."""
    labels = segdata.LabelSpace.of(["cat", "dog", "<i>"])

    def image(key: str, category: list[int]) -> segdata.Sample:
        masks = np.zeros((len(category), 20, 20), np.uint8)
        masks[:, 2:6, 2:6] = 1
        return segdata.Sample.build(key, np.zeros((20, 20, 3), np.uint8), masks=masks, category=category)

    parts = {"train": [image("a", [0, 1]), image("b", [0])], "val": [image("c", [0, 0]), image("d", [1])]}
    segdata.write(parts, tmp_path / "pack", labels=labels)
    counted = segdata.stats(tmp_path / "pack")
    assert counted.total.together.tolist() == [[3, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert counted.splits["val"].together.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    outcome = run_segdata("stats", tmp_path / "pack", "--html", tmp_path / "page.html", "--json")
    assert outcome.code == 0 and outcome.document["page"] == str(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "Never: &lt;i&gt;" in text and "<i>" not in text.partition("Categories")[2]
    for words in (
        "By split",
        "<th>category</th>",
        "in train",
        "in val",
        "Categories in the same image",
        ">.33<",
        ">.50<",
    ):
        assert words in text, words
    assert run_segdata("stats", tmp_path / "pack", "--html", tmp_path / "page.txt").code == 2


def test_without_matplotlib_the_letter_says_what_to_install(tmp_path: Path) -> None:
    folder = made.coco(tmp_path / "coco")
    code = (
        "import sys; sys.modules['matplotlib'] = None; import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else find(name, *a);"
        "from segdata.cli import main; main(sys.argv[1:])"
    )
    arguments = ["stats", str(folder), "--plots", str(tmp_path / "p"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "segdata[plots]" in done.stderr
    assert json.loads(done.stdout)["error"]["exit"] == 2
    assert not (tmp_path / "p").exists()
