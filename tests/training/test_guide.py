"""The Python of docs/train.md, as it stands there."""

from __future__ import annotations

import re
import tomllib
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import segdata
from segdata.demo.synthetic import objects
from segdata.training.config import TrainConfig

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.mark.filterwarnings("ignore")
def test_the_data_module_of_the_guide_feeds_lightning(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    text = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
    prepare = re.search(r"^def prepare\(.*?(?=\n\n\nfor )", text, re.MULTILINE | re.DOTALL)
    (block,) = re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert prepare is not None
    seen: list[tuple[Any, ...]] = []

    class Model(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            seen.extend(tuple(target["boxes"].shape) for _, target in batch)
            return torch.stack([self.layer(image[None].float()).mean() for image, _ in batch]).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def trainer(**options: Any) -> Any:
        return lightning.Trainer(
            max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **options
        )

    there = types.SimpleNamespace(Trainer=trainer, LightningDataModule=lightning.LightningDataModule)
    names = {"segdata": segdata, "np": np, "torch": torch, "model": Model(), "lightning": there}
    monkeypatch.setattr(segdata, "open", lambda path, split, inner=segdata.open: inner(pack, split=f"{split}2017"))
    exec(compile(prepare[0] + "\n" + block, "docs/train.md", "exec"), names)
    train = segdata.open("packs/mine", split="train")
    assert sorted(seen) == sorted(2 * [(int((~sample.instances.iscrowd).sum()), 4) for sample in train])


@pytest.mark.full
def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = objects.draw(tmp_path / "raw", train=2, val=1, height=96, width=128)
    for split in ("train", "val"):
        (raw / f"{split}2017").rename(raw / split)
        (raw / "annotations" / f"instances_{split}2017.json").rename(raw / "annotations" / f"instances_{split}.json")
    segdata.convert(raw, tmp_path / "packs" / "mine")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "docs" / "train.md").read_text()
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(program, "docs/train.md", "exec"), names)
    assert names["report"].steps == 1 and len(names["names"]) == len(names["instances"])
    for block in re.findall(r"^```py\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        compile(block, "docs/train.md", "exec")
    for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        TrainConfig.from_dict(tomllib.loads(block))
