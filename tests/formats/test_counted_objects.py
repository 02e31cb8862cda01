"""The report counts the objects that were written, also where an annotation tool's file has more elements than objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

import segdata
from tests.helpers import made


def in_cvat(root: Path) -> int:
    """Objects of an `annotations.xml`: elements of a group are one."""
    count = 0
    for image in ElementTree.parse(root / "annotations.xml").getroot().iter("image"):
        count += len({shape.get("group_id") or number for number, shape in enumerate(image)})
    return count


def in_via(root: Path) -> int:
    documents = [json.loads(path.read_text()) for path in root.rglob("via_*.json")]
    return sum(len(image["regions"]) for document in documents for image in document.values())


def in_label_studio(root: Path) -> int:
    tasks = [task for path in root.rglob("*.json") if path.name[0] != "." for task in json.loads(path.read_text())]
    return sum(len(annotation["result"]) for task in tasks for annotation in task["annotations"])


COUNTS = {"cvat": in_cvat, "via": in_via, "label-studio": in_label_studio}


@pytest.mark.parametrize("to", COUNTS)
@pytest.mark.parametrize(("make", "count"), [(made.coco, 3), (made.camvid, 4)])
def test_objects_and_segments_are_counted(make: Callable[[Path], Path], count: int, to: str, tmp_path: Path) -> None:
    report = segdata.convert(make(tmp_path / "source"), tmp_path / "target", to=to, allow_loss=True)
    assert report.instances == COUNTS[to](tmp_path / "target") == count
    assert not [remark for remark in report.problems["remarks"] if "annotations are empty" in remark]
