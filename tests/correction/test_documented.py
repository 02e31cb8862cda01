"""The writer in docs/view.md writes what the page says, and what it writes is applied."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from tests.helpers import made
from tests.helpers.documents import code_blocks
from tests.test_repository import ROOT


def test_the_writer_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segdata.convert(made.coco(tmp_path / "coco"), tmp_path / "packs" / "coco", workers=1)
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in code_blocks(ROOT / "docs" / "view.md", "python") if "zlib" in block)
    exec(block, {})
    segdata.apply("packs/coco.edits.jsonl", "packs/coco", "packs/corrected")
    assert segdata.open("packs/corrected")[0].instances.id.tolist() == [102]


def test_the_page_names_every_op_and_member() -> None:
    from segdata.correction.edits import OPS, AnyEdit, Header

    page = (ROOT / "docs" / "view.md").read_text()
    kinds = AnyEdit.__args__
    assert {kind.__struct_config__.tag for kind in kinds} == {*OPS, "note", "undo"}
    for kind in (*kinds, Header):
        for name in (kind.__struct_config__.tag, *kind.__struct_fields__):
            assert name is None or f"`{name}`" in page or f'"{name}"' in page, name
