"""docs/semantic.md: its Python runs as it stands there, and it names every network and its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

import segdata
from segdata.models.registry import MODELS
from segdata.models.semantic.networks.settings import SETTINGS
from tests.helpers import made, tiny_training
from tests.helpers.documents import code_blocks
from tests.test_repository import ROOT

PAGE = ROOT / "docs" / "semantic.md"


def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segdata.convert(made.camvid_fastai(tmp_path / "CamVid"), tmp_path / "packs/camvid")
    monkeypatch.chdir(tmp_path)
    segdata.train("packs/camvid", "runs/camvid", {"model": "unet", **tiny_training.SEMANTIC}, device="cpu")
    names: dict[str, object] = {}
    exec(compile("\n".join(code_blocks(PAGE, "python")), PAGE.name, "exec"), names)
    image, label_map, refined = names["image"], names["label_map"], names["refined"]
    assert image.shape[:2] == label_map.shape == refined.shape  # type: ignore[attr-defined]


def test_every_network_is_named() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name in SETTINGS if not name.startswith("smp:") and f"`{name}`" not in text] == []
    assert SETTINGS.keys() <= MODELS.keys()
