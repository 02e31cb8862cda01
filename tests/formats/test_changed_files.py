"""Changed annotation files: whatever is in them, only declared errors come out."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import SegdataError
from tests.helpers import made

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    10**30,
    "",
    "x",
    "../x",
    [],
    [[]],
    [1],
    {},
    {"a": 1},
    [[0] * 6],
    [["a"]],
]


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything in a JSON document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(inside for key, value in inner for inside in places(value, (*path, key)))]


def change(document: Any, path: tuple[Any, ...], value: Any, *, remove: bool) -> Any:
    if not path:
        return value
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if remove:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def only_declared_errors(source: Path, target: Path) -> None:
    for on_error in ("stop", "skip"):
        try:
            report = segdata.convert(source, target, on_error=on_error, dry_run=True)
        except SegdataError as error:
            assert error.exit_code in (4, 8, 10, 11), error
            assert error.message
        else:
            assert on_error == "skip" or not report.skipped


def changes(document: Any, every: int) -> Iterator[Any]:
    """The document with every place of it in turn removed, and replaced by each odd value; each `every`-th of them."""
    return itertools.islice(_changes(document), 0, None, every)


def _changes(document: Any) -> Iterator[Any]:
    for path in places(document):
        if path:
            yield change(deepcopy(document), path, None, remove=True)
        for value in ODD:
            yield change(deepcopy(document), path, value, remove=False)


EVERY = [5, pytest.param(1, marks=pytest.mark.full)]


@pytest.mark.parametrize("every", EVERY)
def test_changed_coco_documents(every: int, tmp_path: Path) -> None:
    made.coco(tmp_path)
    for document in changes(made.coco_document(), every):
        made.put(tmp_path / "annotations/instances_val2017.json", json.dumps(document))
        only_declared_errors(tmp_path, tmp_path / "target")


@pytest.mark.parametrize("every", EVERY)
def test_changed_cityscapes_polygons(every: int, tmp_path: Path) -> None:
    source = made.cityscapes(tmp_path)
    (file,) = source.rglob("*polygons.json")
    for document in changes(json.loads(file.read_text()), every):
        made.put(file, json.dumps(document))
        only_declared_errors(source, source / "target")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("coco", "*.json"),
        ("voc", "Annotations/*.xml"),
        ("voc", "Segmentation*/*.png"),
        ("voc", "ImageSets/*/*.txt"),
        ("cityscapes", "*.json"),
        ("cityscapes", "*Ids.png"),
        ("camvid", "*.txt"),
        ("camvid", "*_L.png"),
        ("camvid_fastai", "*.txt"),
        ("camvid_segnet", "*.txt"),
    ],
)
def test_changed_bytes(name: str, pattern: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    source = made.ALL[name](tmp_path / "source")
    for file in sorted(source.rglob(pattern)):
        good = file.read_bytes()
        if not good:
            continue
        for _ in range(25):
            bad = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                position = rng.randrange(len(bad))
                action = rng.randrange(3)
                if action == 0:
                    bad[position] = rng.randrange(256)
                elif action == 1:
                    del bad[position : position + rng.randint(1, 20)]
                else:
                    bad[position:position] = rng.choice(
                        [b"\0", b"9" * 30, b"<a>", b'"', b"[[", b"\n", b"&amp;", b"-", b"\xff\xfe"]
                    )
                if not bad:
                    bad = bytearray(b" ")
            file.write_bytes(bytes(bad))
            only_declared_errors(source, tmp_path / "target")
        file.write_bytes(good)
