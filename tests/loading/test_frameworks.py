"""The blocks of docs/loading.md for other frameworks, as they stand there; skipped where a framework is not installed."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.demo import synthetic
from tests.helpers.documents import code_blocks
from tests.test_repository import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")

SIZE = (64, 128)
PAGE = ROOT / "docs/loading.md"

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packs/cityscapes: three images for training, three for validation."""
    root = tmp_path_factory.mktemp("frameworks")
    segdata.convert(synthetic.cityscapes.draw(root / "city", images=6, size=SIZE), root / "packs/cityscapes")
    return root


@pytest.fixture
def run(packs: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the block of a framework and returns the names that it leaves behind."""
    monkeypatch.chdir(packs)
    torch.manual_seed(0)

    def run(framework: str) -> dict[str, Any]:
        (block,) = (
            block
            for block in code_blocks(PAGE, "py")
            if re.search(rf"^(import|from) {framework}\b", block, re.MULTILINE)
        )
        names: dict[str, Any] = {"__name__": "block"}
        exec(compile(block, f"{PAGE.name}, {framework}", "exec"), names)
        return names

    return run


def framework(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


def expected(packs: Path) -> dict[str, tuple[Any, Any]]:
    """Image and label map of each key, read with the pack alone."""
    pack = segdata.open(packs / "packs/cityscapes", labels="cityscapes-19")
    return {sample.key: (sample.image, sample.semantic) for sample in pack}


def test_lightning_trains_a_semantic_model(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = framework("lightning")
    plain = partial(lightning.Trainer, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    monkeypatch.setattr(lightning, "Trainer", plain)
    names = run("lightning")
    assert names["trainer"].global_step == 2 * 2  # three images, two at a time, two epochs
    assert names["trainer"].model.network.last.weight.isfinite().all()


def test_transformers_gets_label_maps_with_their_void(run: Any, packs: Path) -> None:
    framework("transformers")
    names = run("transformers")
    assert len(names["dataset"].classes) == names["config"].num_labels == 19
    batch = names["collate"]([names["dataset"][0], names["dataset"][1]])
    assert batch["pixel_values"].shape == (2, 3, *SIZE)
    maps = {sample.key: sample.semantic for sample in names["dataset"].pack}
    for given, semantic in zip(batch["labels"].numpy(), maps.values(), strict=False):
        assert np.array_equal(given, semantic)
    assert names["model"].decode_head.classifier.weight.grad.abs().sum() > 0


def test_datasets_streams_every_sample_once(run: Any, packs: Path) -> None:
    framework("datasets")
    names = run("datasets")
    truth = expected(packs)
    keys = []
    for row in names["stream"].with_format("numpy"):
        image, semantic = truth[str(row["key"])]
        assert np.array_equal(row["image"], image) and np.array_equal(row["label_map"], semantic)
        keys.append(str(row["key"]))
    assert sorted(keys) == sorted(truth) and keys != list(truth)
    assert names["stream"].num_shards == len(names["parts"]) == 3
    assert names["batch"]["image"].shape[1:] == (*SIZE, 3)


def test_grain_goes_on_where_it_was(run: Any, packs: Path) -> None:
    framework("grain")
    names = run("grain")
    again = next(names["batches"])
    for name in ("image", "label_map"):
        assert np.array_equal(again[name], names["second"][name])
        assert not np.array_equal(names["first"][name], names["second"][name])
    maps = [one.tobytes() for batch in names["dataset"] for one in batch["label_map"]]
    assert sorted(maps) == sorted([semantic.tobytes() for _, semantic in expected(packs).values()] * 2)


def test_fastai_trains_and_validates(run: Any) -> None:
    framework("fastai")
    names = run("fastai")
    ((train, val),) = names["learner"].recorder.values
    assert np.isfinite([train, val]).all()
    assert len(names["train"]) == len(names["val"]) == 3
