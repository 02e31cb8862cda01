"""Results → pack with scores → results: every way gives the same numbers, by the official reader, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import segdata
from segdata.errors import LossyConversion
from tests.helpers.command import run_segdata
from tests.helpers.samples import METRICS
from tests.metrics.test_coco_awkward import assert_equal, official, written


@pytest.mark.parametrize(
    ("results", "kinds"), [("bbox", ("bbox",)), ("segm", ("segm", "bbox")), ("both", ("bbox", "segm"))]
)
def test_coco_results_through_a_pack(results: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    files = written(tmp_path, 11)
    pack = tmp_path / "pack"
    report = segdata.convert(files[results], pack, source_format="coco-results", truth=files["truth"])
    assert report.instances == len(json.loads(files[results].read_text()))
    segdata.convert(pack, tmp_path / "again", to="coco-results")
    (again,) = (tmp_path / "again").glob("instances_*.json")
    for kind in kinds:
        theirs = official(files["truth"], files[results], kind)
        mine = segdata.evaluate(pack, files["truth"], metrics=[f"coco-{kind}"]).metrics[f"coco-{kind}"]
        assert_equal(mine, theirs)
        assert_equal(official(files["truth"], again, kind), theirs)


def test_boxes_and_masks_of_a_detector_go_into_two_files(tmp_path: Path) -> None:
    files = written(tmp_path, 12)
    segdata.convert(files["both"], tmp_path / "boxes-sized", source_format="coco-results", truth=files["truth"])
    pack = tmp_path / "pack"
    with_mask_areas(tmp_path / "boxes-sized", pack)
    segdata.convert(pack, tmp_path / "again", to="coco-results")
    names = sorted(path.name for path in (tmp_path / "again").glob("instances_*.json"))
    assert [name.split("_")[-2] for name in names] == ["bbox", "segm"]
    for name, kind in zip(names, ("bbox", "segm"), strict=True):
        mine = segdata.evaluate(pack, files["truth"], metrics=[f"coco-{kind}"]).metrics[f"coco-{kind}"]
        assert_equal(official(files["truth"], tmp_path / "again" / name, kind), mine)


def with_mask_areas(source: Path, target: Path) -> None:
    """The same predictions as a detector gives them: sizes are those of the masks."""
    from dataclasses import replace

    from segdata.core.findings import Findings
    from segdata.pack import layout
    from segdata.pack.write import commit, write_dataset, write_shard

    pack = segdata.open(source)
    samples = [
        sample.with_annotations(
            instances=replace(sample.instances, area=sample.instances.masks.areas.astype(float)),
            semantic=None,
            extra={},
        )
        for sample in pack
    ]
    target.mkdir()
    findings = Findings()
    receipt = write_shard(target, 0, samples, pack.labels, images="none", image_bytes=0, findings=findings, left_out=[])
    dataset = write_dataset(target, {name: members.tolist() for name, members in pack.splits.items()}, [])
    index = {**json.loads(json.dumps(dict(pack.info))), "dataset": dataset["entry"], "shards": [receipt["entry"]]}
    index.pop("crc32")
    commit(target, target, [receipt, dataset], index)
    assert (target / layout.INDEX).exists()


def test_voc_results_through_a_pack(tmp_path: Path) -> None:
    folder = METRICS / "voc_detection"
    report = segdata.convert(folder / "results", tmp_path / "pack", source_format="voc-results", truth=folder)
    assert report.instances > 50
    segdata.convert(tmp_path / "pack", tmp_path / "again", to="voc-results")
    official_names = {path.name for path in (folder / "results").iterdir()}
    again = tmp_path / "again/results/VOC2012/Main"
    assert official_names <= {path.name.replace("_Main_val_", "_val_") for path in again.iterdir()}
    assert len(list(again.glob("comp3_det_val_*.txt"))) == 20
    metrics = [
        segdata.evaluate(results, folder, metrics=["voc-detection"]).metrics
        for results in (folder / "results", tmp_path / "pack", tmp_path / "again")
    ]
    for name, block in metrics[0]["voc-detection"].items():
        for other in metrics[1:]:
            assert_equal(other["voc-detection"][name], block)


def test_a_truth_has_no_scores_to_write(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    segdata.convert(files["truth"], tmp_path / "pack", images="none")
    with pytest.raises(LossyConversion, match="objects without a score"):
        segdata.convert(tmp_path / "pack", tmp_path / "out", to="coco-results")


def test_results_without_their_truth_are_refused_with_the_way_to_do_it(tmp_path: Path) -> None:
    files = written(tmp_path, 3)
    outcome = run_segdata("convert", files["bbox"], tmp_path / "pack", "--from", "coco-results")
    assert outcome.code == 2 and "--truth" in outcome.err
