"""Compare two dataset folders file by file, with nothing of segdata: the judge of round trips.

python tests/compare.py coco EXPECTED ACTUAL [--ignore GLOB]...
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import json
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from xml.dom import minidom

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import loadmat
from scipy.sparse import issparse

MOST = 20
"""Differences listed of one file."""

LABELS = {
    "coco": (),
    "coco-stuff": ("stuffthingmaps/*.png",),
    "cvat": (),
    "label-studio": (),
    "labelme": (),
    "via": (),
    "voc": ("SegmentationClass/*.png", "SegmentationObject/*.png"),
    "cityscapes": (
        "gt*/*_labelIds.png",
        "gt*/*_instanceIds.png",
        "gt*/*_labelTrainIds.png",
        "gt*/*_color.png",
    ),
    "camvid": (
        "*annot/*.png",
        "LabeledApproved_full/*.png",
        *(f"*{folder}/*.[pP][nN][gG]" for folder in ("labels", "masks", "annotations")),
        "*_mask.png",
    ),
    "sa1b": (),
    "sbd": (),
    "parquet": (),
    "ade20k": ("*.png",),
    "webdataset": (),
    "masks": ("*masks/*.png", "PedMasks/*.png"),
    "yolo": ("masks/*.png",),
}
"""Files whose pixels count, not their bytes."""


def compare(format: str, expected: Path, actual: Path, ignore: Collection[str] = ()) -> list[str]:
    """Differences as readable lines; none when `actual` is `expected` by the rules of exact round trips."""
    there, here = files(expected, ignore), files(actual, ignore)
    lines = [f"{name}: missing" for name in sorted(there - here)]
    lines += [f"{name}: not expected" for name in sorted(here - there)]
    for name in sorted(there & here):
        a, b = expected / name, actual / name
        if name.endswith(".json"):
            differences = list(json_differences(json.loads(a.read_text("utf-8-sig")), json.loads(b.read_bytes()), "$"))
        elif name.endswith(".parquet"):
            differences = list(table_differences(a, b))
        elif name.endswith(".mat"):
            differences = list(matlab_differences(loadmat(a, mat_dtype=True), loadmat(b, mat_dtype=True), "$"))
        elif name.endswith(".tar"):
            differences = list(tar_differences(a, b))
        elif name.endswith(".xml"):
            differences = list(xml_differences(xml(a), xml(b), ""))
            if around(a) != around(b):
                differences.append(f"has {around(b)} around its root, expected {around(a)}")
        elif any(fnmatch.fnmatch(name, pattern) for pattern in LABELS[format]):
            differences = list(label_differences(a, b))
        else:
            differences = [] if a.read_bytes() == b.read_bytes() else ["bytes differ"]
        lines += [f"{name}: {text}" for text in differences[:MOST]]
    return lines


def files(root: Path, ignore: Collection[str]) -> set[str]:
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {
        name
        for name in names
        if not name.startswith(".segdata") and not any(fnmatch.fnmatch(name, pattern) for pattern in ignore)
    }


def table_differences(a: Path, b: Path) -> Iterator[str]:
    """Rows and schema, metadata included; label maps by their pixels."""
    mine, theirs = pq.read_table(a), pq.read_table(b)
    if not mine.schema.equals(theirs.schema, check_metadata=True):
        yield f"schema is {theirs.schema}, expected {mine.schema}"
    for number, (expected, actual) in enumerate(zip(mine.to_pylist(), theirs.to_pylist(), strict=True)):
        for name in ("annotation", "semantic"):
            for row in (expected, actual):
                if row.get(name):
                    row[name]["bytes"] = np.array(Image.open(io.BytesIO(row[name]["bytes"]))).tolist()
        yield from json_differences(_plain(expected), _plain(actual), f"row {number}")


def matlab_differences(a: Any, b: Any, path: str) -> Iterator[str]:
    """Differences of what SciPy reads: names, fields, cells, classes and numbers of arrays."""
    if isinstance(a, dict) or (isinstance(a, np.ndarray) and a.dtype.names):
        first, second = (set(item if isinstance(item, dict) else item.dtype.names or ()) for item in (a, b))
        first, second = ({name for name in names if not name.startswith("__")} for names in (first, second))
        if first != second:
            yield f"{path}: {sorted(second)}, expected {sorted(first)}"
        for name in sorted(first & second):
            yield from matlab_differences(a[name], b[name], f"{path}.{name}")
    elif issparse(a) and issparse(b):
        if a.dtype != b.dtype or a.shape != b.shape or (a != b).nnz:
            yield f"{path}: another sparse matrix"
    elif type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
        yield f"{path}: {type(b).__name__} {b.dtype} {b.shape}, expected {type(a).__name__} {a.dtype} {a.shape}"
    elif a.dtype == object:
        for number, (one, other) in enumerate(zip(a.ravel(), b.ravel(), strict=True)):
            yield from matlab_differences(one, other, f"{path}{{{number}}}")
    elif not np.array_equal(a, b):
        yield f"{path}: other values"


def tar_differences(a: Path, b: Path) -> Iterator[str]:
    """Members by name, JSON by content, label maps by their pixels."""
    with tarfile.open(a) as mine, tarfile.open(b) as theirs:
        expected, actual = ({item.name: tar.extractfile(item) for item in tar} for tar in (mine, theirs))
        if expected.keys() != actual.keys():
            yield f"members are {sorted(actual)}, expected {sorted(expected)}"
        for name in expected.keys() & actual.keys():
            one, other = (file.read() if file else b"" for file in (expected[name], actual[name]))
            if name.endswith(".json"):
                yield from json_differences(json.loads(one), json.loads(other), name)
            elif name.endswith(".seg.png"):
                pixels, others = (np.array(Image.open(io.BytesIO(data))) for data in (one, other))
                yield from [] if np.array_equal(pixels, others) else [f"{name}: pixels differ"]
            elif one != other:
                yield f"{name}: bytes differ"


def _plain(value: Any) -> Any:
    """Bytes as text, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value.hex() if isinstance(value, bytes) else value


def json_differences(a: Any, b: Any, path: str) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            if key not in b:
                yield f"{path}.{key} is missing"
            elif key not in a:
                yield f"{path}.{key} is not expected"
            else:
                yield from json_differences(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield f"{path} has {len(b)} items, expected {len(a)}"
        for index, (x, y) in enumerate(zip(a, b, strict=False)):
            yield from json_differences(x, y, f"{path}[{index}]")
    else:
        are_numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (a, b))
        if a != b or (type(a) is not type(b) and not are_numbers):
            yield f"{path} is {b!r}, expected {a!r}"


def xml_differences(a: ElementTree.Element, b: ElementTree.Element, path: str) -> Iterator[str]:
    path = f"{path}/{a.tag}"
    if a.tag != b.tag:
        yield f"{path} is <{b.tag}>"
        return
    # Blanks between elements are layout; a leaf's blanks are its text.
    x, y = (item.text or "" if len(item) == 0 else (item.text or "").strip() for item in (a, b))
    if x != y or (a.tail or "").strip() != (b.tail or "").strip():
        yield f"{path} has text {b.text!r} … {b.tail!r}, expected {a.text!r} … {a.tail!r}"
    if a.attrib != b.attrib:
        yield f"{path} has attributes {b.attrib}, expected {a.attrib}"
    if [item.tag for item in a] != [item.tag for item in b]:
        yield f"{path} has children {[item.tag for item in b]}, expected {[item.tag for item in a]}"
        return
    for one, other in zip(a, b, strict=True):
        yield from xml_differences(one, other, path)


def xml(path: Path) -> ElementTree.Element:
    """The document with its comments and processing instructions."""
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    return ElementTree.parse(path, ElementTree.XMLParser(target=builder)).getroot()


def around(path: Path) -> list[str]:
    """What stands at the top of the document, in order."""
    nodes = minidom.parse(str(path)).childNodes
    return [node.tagName if isinstance(node, minidom.Element) else node.toxml() for node in nodes]


def label_differences(a: Path, b: Path) -> Iterator[str]:
    with Image.open(a) as x, Image.open(b) as y:
        if x.mode != y.mode or x.size != y.size:
            yield f"is {y.mode} {y.size}, expected {x.mode} {x.size}"
            return
        if x.mode == "P" and x.getpalette() != y.getpalette():
            yield "palette differs"
        if x.info.get("transparency") != y.info.get("transparency"):
            yield "transparency differs"
        differ = np.asarray(x) != np.asarray(y)
        if differ.any():
            yield f"{int(differ.sum())} values differ, the first at {np.argwhere(differ)[0].tolist()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=sorted(LABELS))
    parser.add_argument("expected", type=Path)
    parser.add_argument("actual", type=Path)
    parser.add_argument("--ignore", action="append", default=[])
    arguments = parser.parse_args()
    lines = compare(arguments.format, arguments.expected, arguments.actual, arguments.ignore)
    print("\n".join(lines) or "equal")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
