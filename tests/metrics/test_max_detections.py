"""How many detections of an image count: numbers of pycocotools under the same limits, and a note of what was cut."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import segdata
from segdata.errors import UsageError
from tests.helpers.command import run_segdata
from tests.metrics.test_coco_awkward import assert_equal, written


def official(truth: Path, results: Path, kind: str, limits: list[int]) -> dict[str, Any]:
    """What pycocotools says with `params.maxDets = limits`; its `summarize` knows three limits, so means are taken here."""
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        judged = COCOeval(known, known.loadRes(str(results)), kind)
        judged.params.maxDets = limits
        judged.evaluate()
        judged.accumulate()
    precision, recall = judged.eval["precision"], judged.eval["recall"]

    def mean(values: Any) -> float | None:
        defined = values[values > -1]
        return float(defined.mean()) if defined.size else None

    numbers = {"AP": mean(precision[..., 0, -1]), "AP50": mean(precision[0, ..., 0, -1])}
    numbers |= {f"AR{limit}": mean(recall[..., 0, nth]) for nth, limit in enumerate(limits)}
    for nth, size in enumerate("sml", 1):
        numbers |= {f"AP{size}": mean(precision[..., nth, -1]), f"AR{size}": mean(recall[..., nth, -1])}
    if len(limits) == 3:
        with contextlib.redirect_stdout(io.StringIO()):
            judged.summarize()
        assert judged.stats[1] == pytest.approx(numbers["AP50"])  # summarize, too, takes the last limit (but for AP)
    return numbers


def dense(folder: Path, count: int) -> tuple[Path, Path]:
    """Two images with `count` objects each, all found; in the second one, only half of them."""
    side = 10 * int(np.ceil(np.sqrt(count)))
    boxes = [[10 * (n % (side // 10)), 10 * (n // (side // 10)), 8, 8] for n in range(count)]
    annotations = [
        {"id": image * count + n + 1, "image_id": image + 1, "category_id": 1, "bbox": box, "area": 64, "iscrowd": 0}
        for image in range(2)
        for n, box in enumerate(boxes)
    ]
    images = [{"id": n, "file_name": f"{n}.png", "width": side, "height": side} for n in (1, 2)]
    truth, results = folder / "truth.json", folder / "results.json"
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    truth.write_text(json.dumps(document))
    found = annotations[:count] + annotations[count : count + count // 2]
    fields = ("image_id", "category_id", "bbox")
    results.write_text(json.dumps([{name: item[name] for name in fields} | {"score": 0.9} for item in found]))
    return results, truth


@pytest.mark.parametrize("limits", [[100, 300, 1000], [1, 10], [7], [1, 10, 100]])
def test_every_limit_gives_the_numbers_of_pycocotools(limits: list[int], tmp_path: Path) -> None:
    files = written(tmp_path, 1)
    for kind in ("bbox", "segm"):
        name = f"coco-{kind}"
        evaluation = segdata.evaluate(files[kind], files["truth"], metrics=[name], max_detections=limits)
        assert_equal(evaluation.metrics[name], official(files["truth"], files[kind], kind, limits))
    assert {name for name in evaluation.metrics[name] if re.fullmatch(r"AR\d+", name)} == {f"AR{n}" for n in limits}


def test_the_limit_lifts_the_cut_of_dense_images(tmp_path: Path) -> None:
    results, truth = dense(tmp_path, 324)
    outcome = run_segdata("evaluate", results, truth, "--max-detections", "100,300,1000", "--json")
    numbers = outcome.document["metrics"]["coco-bbox"]
    assert_equal(numbers, official(truth, results, "bbox", [100, 300, 1000]))
    assert numbers["AR1000"] == pytest.approx((324 + 162) / 648) and outcome.document["notes"] == {}
    without_classes = run_segdata(
        "evaluate", results, truth, "--max-detections", "50,400", "--metric", "coco-agnostic", "--json"
    ).document["metrics"]["coco-agnostic"]
    assert without_classes["AR@50/all"] == pytest.approx(100 / 648)
    assert without_classes["AR@400/all"] == pytest.approx((324 + 162) / 648)


def test_what_is_cut_is_noted_and_the_report_counts_alike(tmp_path: Path) -> None:
    results, truth = dense(tmp_path, 324)
    document = run_segdata("evaluate", results, truth, "--json").document
    (note,) = document["notes"]
    assert document["notes"][note] == 224 + 62  # beyond 100 of 324 and of 162
    assert "in 2 images" in note and "up to 324 objects" in note and "--max-detections" in note
    assert "--max-detections" in run_segdata("evaluate", results, truth).err
    for options, right, missed in (([], 200, 448), (["--max-detections", "1000"], 486, 162)):
        run_segdata("evaluate", results, truth, "--report", tmp_path / "page", *options)
        page = (tmp_path / "page/index.html").read_text()
        cells = re.findall(r"<td[^>]*>(.*?)</td>", page[page.index("cell") :])
        numbers = [re.sub(r"<[^>]+>", "", cell).replace(",", "") for cell in cells]
        assert str(right) in numbers and str(missed) in numbers
        assert ("were not counted" in page) == (not options)


def test_more_objects_than_detections_that_count_are_noted(tmp_path: Path) -> None:
    results, truth = dense(tmp_path, 120)
    records = json.loads(results.read_bytes())
    results.write_text(json.dumps([*records[:90], *records[120:170]]))  # as a network gives them that finds 90 at most
    (note,) = run_segdata("evaluate", results, truth, "--json").document["notes"]
    assert "up to 120 objects" in note and "--max-detections" in note
    files = written(tmp_path, 1)
    truth_of_few = json.loads(files["truth"].read_bytes())
    truth_of_few["annotations"] = truth_of_few["annotations"][:5]
    files["truth"].write_text(json.dumps(truth_of_few))
    notes = run_segdata("evaluate", files["bbox"], files["truth"], "--max-detections", "5000", "--json").document
    assert not any("--max-detections" in note for note in notes["notes"])


def test_limits_that_are_none_or_change_nothing_are_refused(tmp_path: Path) -> None:
    results, truth = dense(tmp_path, 4)
    for text in ("", "many", "1;10", "0,10", "-3"):
        outcome = run_segdata("evaluate", results, truth, f"--max-detections={text}")
        assert outcome.code == UsageError.exit_code and "--max-detections" in outcome.err, text
    with pytest.raises(UsageError, match="counts every detection"):
        segdata.evaluate(results, truth, metrics=["voc-detection"], max_detections=[10])
