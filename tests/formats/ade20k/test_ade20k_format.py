"""ADE20K: maps, objects, parts and hidden pixels; read, written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.errors import SegdataError
from tests.helpers import made
from tests.helpers.compare import compare
from tests.helpers.samples import SAMPLES, needs_samples


def official(folder: Path, name: str) -> tuple[np.ndarray, list[dict[str, Any]], dict[str, np.ndarray]]:
    """Classes, records and instance masks, decoded as the dataset's page describes them."""
    pixels = np.array(Image.open(folder / f"{name}_seg.png")).astype(int)
    records = json.loads((folder / f"{name}.json").read_bytes().decode("latin-1"))["annotation"]["object"]
    masks = {
        record["instance_mask"]: np.array(Image.open(folder / record["instance_mask"]))
        for record in records
        if record.get("instance_mask")
    }
    return pixels[..., 0] // 10 * 256 + pixels[..., 1], records, masks


def test_maps_objects_and_names(tmp_path: Path) -> None:
    root = made.ade20k(tmp_path / "source")
    segdata.convert(root, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert {name: [pack.keys[index] for index in members] for name, members in pack.splits.items()} == {
        "training": ["street/ADE_1"],
        "validation": ["ADE_2", "ADE_3"],
    }
    assert [(c.id, c.name) for c in pack.labels.categories] == [(401, "car, auto"), (1831, "person, individual")]
    sample = pack[0]
    numbers, records, masks = official(root / "training/street", "ADE_1")
    ids = np.array([*(category.id for category in pack.labels.categories), *[0] * 254])
    assert sample.semantic is not None and np.array_equal(ids[sample.semantic], numbers)
    wholes = [record for record in records if record["parts"]["part_level"] == 0]
    instances = sample.instances
    assert instances.id.tolist() == [record["id"] for record in wholes]
    assert instances.has_mask.tolist() == [True, True, False]
    for index, record in enumerate(wholes[:2]):
        assert np.array_equal(instances.masks[index], masks[record["instance_mask"]] == 255)
    assert instances.occluded.tolist() == [True, False, False] and instances.truncated.tolist() == [False, True, False]
    assert pack[1].has_instances and len(pack[1].instances) == 0 and pack[2].semantic is None


def test_it_comes_back(tmp_path: Path) -> None:
    root = made.ade20k(tmp_path / "source")
    segdata.convert(root, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="ade20k")
    assert compare("ade20k", root, tmp_path / "back") == []


def test_documents_in_latin_1_are_read(tmp_path: Path) -> None:
    root = made.ade20k(tmp_path / "source")
    text = json.dumps({"annotation": {"note": "caf\u00e9", "object": []}}, ensure_ascii=False)
    made.put(root / "validation/ADE_3.json", text.encode("latin-1"))
    segdata.convert(root, tmp_path / "back", to="ade20k")
    assert json.loads((tmp_path / "back/validation/ADE_3.json").read_text()) == json.loads(text)


def test_other_formats_count_parts_and_hidden_pixels(tmp_path: Path) -> None:
    segdata.convert(made.ade20k(tmp_path / "source"), tmp_path / "pack")
    lost = segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco", allow_loss=True).problems["losses"]
    assert lost["parts of objects"]["count"] == 1
    assert lost["hidden pixels of objects (the visible ones stay)"]["count"] == 1


def test_parts_leave_with_their_object(tmp_path: Path) -> None:
    """Without cars, no door: documents, maps of objects and PNG files agree."""
    segdata.convert(made.ade20k(tmp_path / "source"), tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "people", keep=["person, individual"])
    segdata.convert(tmp_path / "people", tmp_path / "back", to="ade20k", allow_loss=True)
    (map_file,) = (tmp_path / "back").rglob("ADE_1_seg.png")
    numbers, records, masks = official(map_file.parent, "ADE_1")
    assert [record["raw_name"].partition(",")[0] for record in records] == ["person"] and len(masks) == 1
    assert len(list((map_file.parent / "ADE_1").iterdir())) == 1 and not list((tmp_path / "back").rglob("*_parts_*"))
    assert set(np.unique(numbers).tolist()) == {0, records[0]["name_ndx"]}


@pytest.mark.parametrize("name", ["coco", "voc", "cityscapes", "masks"])
def test_overlaps_of_other_formats_are_hidden_pixels(name: str, tmp_path: Path) -> None:
    """Visible and hidden pixels together are the mask; visible ones are on top in no two objects."""
    segdata.convert(made.ALL[name](tmp_path / "source"), tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "ade", to="ade20k", allow_loss=True)
    written = {path.stem.removesuffix("_seg"): path for path in (tmp_path / "ade").rglob("*_seg.png")}
    samples = [sample for sample in segdata.open(tmp_path / "pack") if sample.has_instances]
    assert samples
    for sample in samples:
        path = written[sample.key.rpartition("/")[2]]
        _, records, masks = official(path.parent, path.stem.removesuffix("_seg"))
        assert len(records) == len(sample.instances)
        seen = np.zeros((sample.height, sample.width), int)
        for index, record in enumerate(records):
            if record.get("instance_mask"):
                values = masks[record["instance_mask"]]
                assert np.array_equal(values != 0, sample.instances.masks[index] != 0)
                seen += values == 255
        assert seen.max(initial=0) <= 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name_ndx": "x"}, "class is not known"),
        ({"id": -1}, "id is no number"),
        ({"instance_mask": "ADE_1/none.png"}, "none.png"),
    ],
)
def test_a_wrong_object_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    root = made.ade20k(tmp_path / "source")
    path = root / "training/street/ADE_1.json"
    document = json.loads(path.read_text())
    document["annotation"]["object"][1] |= changes
    made.put(path, document)
    with pytest.raises(SegdataError) as refused:
        segdata.convert(root, tmp_path / "pack")
    assert words in str(refused.value) and refused.value.exit_code in (4, 10)


def test_masks_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = made.ade20k(tmp_path / "source")
    path = root / "training/street/ADE_1.json"
    document = json.loads(path.read_text())
    document["annotation"]["object"][0]["instance_mask"] = "../../../outside.png"
    made.put(path, document)
    with pytest.raises(SegdataError) as refused:
        segdata.convert(root, tmp_path / "pack")
    assert refused.value.exit_code == 11


def test_a_map_of_another_size_or_class_is_refused(tmp_path: Path) -> None:
    root = made.ade20k(tmp_path / "source")
    path = root / "training/street/ADE_1_seg.png"
    pixels = np.array(Image.open(path))
    for changed, words in ((pixels[1:], "another size"), (pixels + np.uint8(1), "no document names")):
        made.put(path, made.png(changed))
        with pytest.raises(SegdataError, match=words) as refused:
            segdata.convert(root, tmp_path / "pack")
        assert refused.value.exit_code == 4


@needs_samples
def test_the_published_layout(tmp_path: Path) -> None:
    source = SAMPLES / "formats/layouts_made/ade20k2020_dataset/dataset"
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert [len(sample.instances) for sample in pack] == [2, 2] and list(pack.keys) == ["street/1", "2"]
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="ade20k")
    assert compare("ade20k", source, tmp_path / "back") == []
