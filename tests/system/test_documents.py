"""Documents of every kind with a lone surrogate, which JSON can say and no text has: a declared error, or kept."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec import Struct

import segdata
from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, SegdataError, UsageError
from segdata.system import documents
from segdata.training.config import TrainConfig
from tests.helpers import made

LONE = "\ud800"


class Document(Struct):
    """Any document."""

    kind: Literal["one", "other"]
    count: int = 0


@pytest.mark.parametrize("document", [{LONE: 1, "kind": "one"}, {"kind": LONE}, {"kind": "one", "count": LONE}])
def test_a_document_of_ours(document: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DamagedData, match="the receipt is damaged"):
        documents.parse_json(json.dumps(document).encode(), Document, "the receipt", tmp_path / "receipt.json")
    with pytest.raises(DamagedData, match="the receipt is damaged"):
        documents.typed(document, Document, "the receipt", tmp_path / "receipt.json")


def test_settings() -> None:
    with pytest.raises(UsageError, match="backbone"):
        TrainConfig.from_dict({"model": "maskrcnn", "backbone": LONE})


def test_a_label_space() -> None:
    with pytest.raises(InvalidInput):
        LabelSpace.from_dict({"name": "a", "categories": [{"name": "cat", "id": LONE}]})


@pytest.mark.parametrize("member", ["iscrowd", "bbox", "area", "category_id", "id", "segmentation", LONE])
def test_an_annotation_of_coco(member: str, tmp_path: Path) -> None:
    document = made.coco_document()
    document["annotations"][0][member] = LONE
    made.coco(tmp_path / "coco", document)
    with contextlib.suppress(SegdataError):
        segdata.convert(tmp_path / "coco", tmp_path / "pack")
        assert len(segdata.open(tmp_path / "pack"))
