"""COCO's metrics against pycocotools and faster-coco-eval, on awkward truth and predictions made at random."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from tests.helpers import awkward

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
SIZES = ("all", "small", "medium", "large")
SEEDS = [pytest.param(seed, marks=() if seed < 4 else pytest.mark.full) for seed in range(24)]


def written(folder: Path, seed: int, images: int = 12) -> dict[str, Path]:
    documents = dict(zip(("truth", "bbox", "segm", "both"), awkward.scene(seed, images), strict=True))
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return {name: folder / f"{name}.json" for name in documents}


def official(truth: Path, results: Path, kind: str, *, classes: bool = True) -> dict[str, Any]:
    """What pycocotools says, −1 as None."""
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        judged = COCOeval(known, known.loadRes(str(results)), kind)
        if not classes:
            judged.params.useCats = 0
            judged.params.maxDets = [1, 10, 100, 1000]
        judged.evaluate()
        judged.accumulate()
        if classes:
            judged.summarize()

    def mean(values: Any) -> float | None:
        defined = values[values > -1]
        return float(defined.mean()) if defined.size else None

    precision, recall = judged.eval["precision"], judged.eval["recall"]
    if not classes:
        return {
            f"AR@{most}/{size}": mean(recall[:, 0, index, nth])
            for nth, most in enumerate((1, 10, 100, 1000))
            for index, size in enumerate(SIZES)
        }
    numbers: dict[str, Any] = {
        name: None if value == -1 else float(value) for name, value in zip(NAMES, judged.stats, strict=True)
    }
    numbers["per_category_AP"] = {
        str(number): mean(precision[:, :, nth, 0, -1]) for nth, number in enumerate(judged.params.catIds)
    }
    numbers["per_iou_AP"] = {f"{0.5 + 0.05 * nth:.2f}": mean(precision[nth, :, :, 0, -1]) for nth in range(10)}
    return numbers


def assert_equal(mine: Any, theirs: Any, name: str = "") -> None:
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert_equal(mine[key], value, f"{name}.{key}")
    elif theirs is None or mine is None:
        assert mine is theirs, name
    else:
        assert abs(mine - theirs) <= 1e-12, (name, mine, theirs)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_number_is_that_of_pycocotools(seed: int, tmp_path: Path) -> None:
    files = written(tmp_path, seed)
    for results, kinds in (("bbox", ("bbox",)), ("segm", ("segm", "bbox")), ("both", ("bbox", "segm"))):
        for kind in kinds:
            mine = segdata.evaluate(files[results], files["truth"], metrics=[f"coco-{kind}"]).metrics[f"coco-{kind}"]
            assert_equal(mine, official(files["truth"], files[results], kind), f"{results} by {kind}")


@pytest.mark.parametrize("seed", SEEDS)
def test_recall_without_classes_is_that_of_pycocotools(seed: int, tmp_path: Path) -> None:
    files = written(tmp_path, seed)
    for results in ("bbox", "segm"):
        mine = segdata.evaluate(files[results], files["truth"], metrics=["coco-agnostic"]).metrics["coco-agnostic"]
        assert_equal(mine, official(files["truth"], files[results], results, classes=False), results)
    both = segdata.evaluate(files["both"], files["truth"], metrics=["coco-agnostic"]).metrics["coco-agnostic"]
    assert set(both) == {"bbox", "segm"}
    for kind in both:
        assert_equal(both[kind], official(files["truth"], files["both"], kind, classes=False), kind)


@pytest.mark.parametrize("seed", SEEDS[:2] + SEEDS[4:8])
def test_boundaries_are_those_of_faster_coco_eval(seed: int, tmp_path: Path) -> None:
    import faster_coco_eval

    files = written(tmp_path, seed)
    mine = segdata.evaluate(files["segm"], files["truth"], metrics=["coco-boundary"]).metrics["coco-boundary"]
    known = faster_coco_eval.COCO(str(files["truth"]))
    judged = faster_coco_eval.COCOeval_faster(
        known, known.loadRes(str(files["segm"])), "boundary", print_function=lambda _: None
    )
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    theirs = {name: None if value == -1 else float(value) for name, value in zip(NAMES, judged.stats[:12], strict=True)}
    assert_equal(mine, theirs)


@pytest.mark.parametrize("seed", SEEDS[:1] + SEEDS[4:8])
def test_a_pack_is_as_good_a_truth_as_its_document(seed: int, tmp_path: Path) -> None:
    files = written(tmp_path, seed)
    segdata.convert(files["truth"], tmp_path / "pack", images="none")
    for results, kinds in (("bbox", ("bbox",)), ("both", ("bbox", "segm"))):
        for kind in kinds:
            mine = segdata.evaluate(files[results], tmp_path / "pack", metrics=[f"coco-{kind}"]).metrics[f"coco-{kind}"]
            assert_equal(mine, official(files["truth"], files[results], kind), f"{results} by {kind}")


def test_annotation_number_0_counts_as_no_match_as_in_pycocotools(tmp_path: Path) -> None:
    files = written(tmp_path, 1)
    truth = json.loads(files["truth"].read_text())
    for number, annotation in enumerate(truth["annotations"]):
        annotation["id"] = number
    files["truth"].write_text(json.dumps(truth))
    mine = segdata.evaluate(files["segm"], files["truth"], metrics=["coco-segm"])
    assert_equal(mine.metrics["coco-segm"], official(files["truth"], files["segm"], "segm"))


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from segdata.metrics.coco import blocks

    files = written(tmp_path, 5)
    whole = segdata.evaluate(files["both"], files["truth"], metrics=["coco-segm"]).metrics
    monkeypatch.setattr(blocks, "BLOCK_IMAGES", 2)
    assert_equal(segdata.evaluate(files["both"], files["truth"], metrics=["coco-segm"]).metrics, whole)
    assert np.isfinite(whole["coco-segm"]["AP"])
