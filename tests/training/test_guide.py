"""The Python of docs/train.md, as it stands there."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import segdata
from segdata.demo.synthetic import objects
from segdata.training.config import TrainConfig
from tests.helpers.documents import code_blocks

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("without_pages")


def _packs_mine(folder: Path) -> segdata.Pack:
    """packs/mine below a folder, with the splits train and val."""
    raw = objects.draw(folder / "raw", train=2, val=1, height=96, width=128)
    for split in ("train", "val"):
        (raw / f"{split}2017").rename(raw / split)
        (raw / "annotations" / f"instances_{split}2017.json").rename(raw / "annotations" / f"instances_{split}.json")
    segdata.convert(raw, folder / "packs" / "mine")
    return segdata.open(folder / "packs" / "mine")


@pytest.mark.filterwarnings("ignore")
def test_the_data_module_of_the_guide_feeds_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    pytest.importorskip("albumentations", reason="albumentations is not installed")
    (block,) = code_blocks(ROOT / "docs" / "train.md", "py")
    train = _packs_mine(tmp_path).split("train")
    monkeypatch.chdir(tmp_path)
    seen: list[tuple[Any, ...]] = []

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            seen.extend((*target["boxes"].shape, *target["masks"].shape) for _, target in batch.items)
            return torch.stack([self.layer(image[None].float()).mean() for image, _ in batch.items]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    monkeypatch.setattr(
        lightning,
        "Trainer",
        partial(
            lightning.Trainer, max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False
        ),
    )
    exec(compile(block, "docs/train.md", "exec"), {"model": Model()})
    counts = [int((~sample.instances.iscrowd).sum()) for sample in train]
    assert sorted(seen) == sorted(2 * [(count, 4, count, 96, 128) for count in counts])


@pytest.mark.full
def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _packs_mine(tmp_path)
    monkeypatch.chdir(tmp_path)
    program = "\n".join(code_blocks(ROOT / "docs" / "train.md", "python"))
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(program, "docs/train.md", "exec"), names)
    assert names["report"].steps == 1 and len(names["names"]) == len(names["instances"])
    for block in code_blocks(ROOT / "docs" / "train.md", "toml"):
        TrainConfig.from_dict(tomllib.loads(block))
