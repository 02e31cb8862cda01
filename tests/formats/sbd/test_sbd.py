"""SBD: read as SciPy reads its MATLAB files, refused where they are none or hostile, written as others read them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy.io import loadmat

import segdata
from segdata.formats import FORMATS
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.refusals import losses, refused

FIRST = "2008_000001"


def torchvision_reads(path: Path, name: str) -> np.ndarray:
    """The pixels as `torchvision.datasets.SBDataset` takes them."""
    return np.asarray(loadmat(path)[name][0]["Segmentation"][0])


# ---------------------------------------------------------------------- read


def test_objects_and_classes_are_those_of_the_files(tmp_path: Path) -> None:
    source = made.sbd(tmp_path)
    folder = segdata.read(source)
    assert folder.labels.name == "voc"
    assert {name: [folder[i].key for i in members] for name, members in folder.splits.items()} == {
        "train": [FIRST, "2008_000003"], "val": ["2008_000002"], "train_noval": ["2008_000003"]
    }  # fmt: skip
    first, second, third, fourth = folder
    numbers = torchvision_reads(source / f"inst/{FIRST}.mat", "GTinst")
    assert [folder.labels[int(c)].name for c in first.instances.category] == ["person", "cat", "aeroplane", "person"]
    assert first.instances.id.tolist() == [1, 2, 3, 4]
    for number, mask in enumerate(first.instances.masks.dense(), 1):
        assert np.array_equal(mask > 0, numbers == number)
    assert first.semantic is not None
    assert np.array_equal(first.semantic, torchvision_reads(source / f"cls/{FIRST}.mat", "GTcls"))
    assert (second.has_instances, second.has_semantic) == (False, True)
    assert (third.has_instances, len(third.instances), third.has_semantic) == (True, 0, False)
    assert (fourth.has_instances, fourth.has_semantic) == (False, False)


def test_a_table_says_what_the_classes_are_and_255_is_void(tmp_path: Path) -> None:
    folder = segdata.read(made.sbd_classes(tmp_path))
    assert [item.name for item in folder.labels.categories] == ["background", "cat", "kite"]
    semantic = folder[0].semantic
    assert semantic is not None
    values, counts = np.unique(semantic, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True))[2] == 3 * 28 and counts[values == 255] == 4


def test_numbers_off_the_table_are_refused(tmp_path: Path) -> None:
    source = made.sbd(tmp_path / "source")
    bad = np.full((made.HEIGHT, made.WIDTH), 21, np.uint8)
    made.put(source / f"cls/{FIRST}.mat", made.mat("GTcls", Segmentation=bad))
    refused(source, tmp_path / "pack", 4, f"cls/{FIRST}.mat", "a number that is no class", "21, in 1200 pixels")
    made.sbd(source)
    made.put(source / f"inst/{FIRST}.mat", made.mat("GTinst", Segmentation=bad, Categories=np.array([[3], [4]])))
    refused(source, tmp_path / "pack", 4, f"inst/{FIRST}.mat", "no object", "Categories has 2")
    column = np.array([[15], [99]], np.uint8)
    made.put(source / f"inst/{FIRST}.mat", made.mat("GTinst", Segmentation=bad // 21, Categories=column))
    refused(source, tmp_path / "pack", 4, "Categories(2)", "found 99")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--on-error", "skip", "--json")
    assert outcome.code == 3 and outcome.document["instances"] == 1


def matrix(kind: int, shape: tuple[int, ...], rest: bytes, name: bytes = b"GTcls") -> bytes:
    """A MATLAB element of some class; `rest` follows its name."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)

    about = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, about + element(1, name) + rest)


def file_of(element: bytes, *, packed: bool = False) -> bytes:
    if packed:
        content = zlib.compress(element)
        element = struct.pack("<II", 15, len(content)) + content
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + element


HOSTILE: dict[str, tuple[bytes, str]] = {
    "text": (b"no MATLAB file at all", "level 5"),
    "level 7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + b"\x89HDF\r\n\x1a\n", "cut short"),
    "cut short": (made.mat("GTcls", Segmentation=np.eye(30, 40))[:-20], "cut short"),
    "another structure": (made.mat("Other", Segmentation=np.eye(30, 40)), "no structure GTcls"),
    "an object": (file_of(matrix(3, (1, 1), b"\0" * 64)), "object of class 3"),
    "a function": (file_of(matrix(16, (1, 1), b"\0" * 64)), "object of class 16"),
    "many cells": (file_of(matrix(1, (1 << 30, 1), b"\0" * 64)), "1,073,741,824 items"),
    "many numbers": (file_of(matrix(9, (1 << 20, 1 << 20), b"\0" * 64), packed=True), "1,099,511,627,776 items"),
    "negative": (file_of(matrix(9, (-1, 4), b"\0" * 64)), "-1 rows"),
    "deep": (file_of(reduce(lambda inner, _: matrix(1, (1, 1), inner), range(12), b"")), "levels"),
    "a bomb": (file_of(b"\x0e\0\0\0\0\0\0\x20" + b"\0" * (300 << 20), packed=True), "more than 256 MiB"),
    "no image": (made.mat("GTcls", Segmentation=np.zeros((0, 0))), "no image"),
    "text as pixels": (made.mat("GTcls", Segmentation="abc"), "no array of numbers"),
    "fractions": (made.mat("GTcls", Segmentation=np.full((30, 40), 0.5)), "whole numbers"),
    "other size": (made.mat("GTcls", Segmentation=np.zeros((40, 30))), "another size"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_damaged_files_are_refused(case: str, tmp_path: Path) -> None:
    data, text = HOSTILE[case]
    source = made.sbd(tmp_path / "source")
    made.put(source / f"cls/{FIRST}.mat", data)
    refused(source, tmp_path / "pack", 4, f"cls/{FIRST}.mat", text)


# ---------------------------------------------------------------------- other formats


@pytest.mark.parametrize("to", [name for name in FORMATS if name != "sbd"])
def test_what_only_sbd_says_is_counted(to: str, tmp_path: Path) -> None:
    counts = losses(made.sbd(tmp_path / "source"), to, tmp_path / "target")
    assert counts["boundaries and further fields of cls/"] == 2
    assert counts["boundaries and further fields of inst/"] == 2


@pytest.fixture(scope="module")
def coco(drawing: Callable[[str], Path]) -> Path:
    return drawing("coco")


def test_coco_to_sbd(coco: Path, tmp_path: Path) -> None:
    counts = losses(coco, "sbd", tmp_path / "target")
    rows = [row.split(":")[0] for row in (tmp_path / "target/labelmap.txt").read_text().splitlines()[1:]]
    hidden = 0
    for path in sorted((coco / "annotations").glob("instances_*.json")):
        api = COCO(path)
        names = {item["id"]: item["name"] for item in api.dataset["categories"]}
        listed = {Path(item["file_name"]).stem for item in api.dataset["images"]}
        split = path.stem.removeprefix("instances_")
        assert set((tmp_path / f"target/{split}.txt").read_text().split()) == listed
        for image in api.dataset["images"]:
            key = Path(image["file_name"]).stem
            numbers = torchvision_reads(tmp_path / f"target/inst/{key}.mat", "GTinst")
            classes = torchvision_reads(tmp_path / f"target/cls/{key}.mat", "GTcls")
            categories = loadmat(tmp_path / f"target/inst/{key}.mat")["GTinst"][0]["Categories"][0].ravel()
            whole = np.zeros(numbers.shape, bool)
            for item in api.imgToAnns[image["id"]]:
                whole |= api.annToMask(item) > 0
            assert np.array_equal(numbers > 0, whole) and np.array_equal(classes > 0, whole)
            assert numbers.max() == len(categories)
            for number, value in enumerate(categories.tolist(), 1):
                assert set(classes[numbers == number].tolist()) == {value}
                assert rows[value] in {names[item["category_id"]] for item in api.imgToAnns[image["id"]]}
            hidden += len(api.imgToAnns[image["id"]]) - len(categories)
    assert hidden >= 0 and counts["crowd flags"] > 0


def test_boundaries_are_where_neighbours_differ(tmp_path: Path) -> None:
    mask = np.zeros((1, 4, 5), bool)
    mask[0, 1:3, 1:3] = True
    sample = segdata.Sample.build("a", Image.new("RGB", (5, 4)), masks=mask, category=["dog"], labels=["dog"])
    segdata.write([sample], tmp_path / "pack", labels=["dog"])
    losses(tmp_path / "pack", "sbd", tmp_path / "target")
    (boundary,) = loadmat(tmp_path / "target/inst/a.mat")["GTinst"][0]["Boundaries"][0].ravel()
    expected = [[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert boundary.toarray().astype(int).tolist() == expected
    column: Any = loadmat(tmp_path / "target/cls/a.mat")["GTcls"][0]["Boundaries"][0]
    assert column.shape == (20, 1)
    assert [number for number in range(20) if column[number, 0].nnz] == [11]  # the dog is VOC's class 12
