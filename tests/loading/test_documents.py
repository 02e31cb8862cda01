"""The examples of docs/loading.md, as they stand there, on drawn datasets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.demo import synthetic
from tests.helpers.documents import code_blocks

ROOT = Path(__file__).resolve().parents[2]

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")
pytest.importorskip("albumentations", reason="albumentations is not installed")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All names that the examples leave behind."""
    root = tmp_path_factory.mktemp("examples")
    segdata.convert(synthetic.coco.draw(root / "coco", images=4), root / "packs/coco")
    segdata.convert(synthetic.cityscapes.draw(root / "city", images=2, size=(64, 128)), root / "packs/cityscapes")
    before = Path.cwd()
    os.chdir(root)
    try:
        names: dict[str, Any] = {"root": root}
        for block in code_blocks(ROOT / "docs/loading.md", "python"):
            exec(block, names)
            if "maskrcnn_resnet50_fpn" in block:
                names["mask_rcnn"] = names["model"]
        return names
    finally:
        os.chdir(before)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_both_models_were_trained_for_a_step(names: dict[str, Any]) -> None:
    for weights in (
        names["mask_rcnn"].roi_heads.mask_predictor.mask_fcn_logits.weight,
        names["model"].classifier.high_classifier.weight,
    ):
        assert torch.isfinite(weights.grad).all()
        assert weights.grad.abs().sum() > 0


def test_what_was_cropped_away_is_gone_from_every_column(names: dict[str, Any]) -> None:
    for image, target in names["dataset"]:
        assert image.shape[1:] == (96, 96)
        assert (
            len({len(target[name]) for name in ("boxes", "masks", "labels", "area", "iscrowd", "difficult", "index")})
            == 1
        )


def test_albumentations_give_the_same_for_any_number_of_workers(names: dict[str, Any]) -> None:
    pack = segdata.open(names["root"] / "packs/coco")

    def items(workers: int) -> list[Any]:
        loader = segdata.Loader(pack, 2, workers=workers, transform=names["Albumentations"](names["steps"]))
        return [item for batch in loader for item in batch.items or ()]

    assert any(not np.array_equal(item.image, sample.image) for item, sample in zip(items(0), pack, strict=True))
    for one, other in zip(items(0), items(3), strict=True):
        assert np.array_equal(one.image, other.image) and np.array_equal(one.masks, other.masks)
        assert len(one.masks) == len(one.boxes) == len(one.category) == len(one.iscrowd) == len(one.index)
