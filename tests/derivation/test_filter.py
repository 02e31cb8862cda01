"""`segdata filter`: images by one query, objects by another, against the source's JSON and what `convert` makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

import segdata
from tests.helpers import made
from tests.helpers.command import Here
from tests.helpers.samples import SAMPLES, needs_samples


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images: two objects with ids 101 and 102, a crowd, none."""
    root = tmp_path_factory.mktemp("coco")
    segdata.convert(made.coco(root / "coco"), root / "pack", workers=1)
    return root / "pack"


def test_where_drops_images_and_objects_drops_objects(pack: Path, tmp_path: Path, here: Here) -> None:
    for name, options, keys, ids in (
        ("images", ["--where", "any(iscrowd)"], ["000000000001"], [908400535506]),
        ("objects", ["--objects", "not iscrowd"], ["000000000000", "000000000001", "000000000002"], [101, 102]),
        ("both", ["--where", "objects > 0", "--objects", "iscrowd"], ["000000000000", "000000000001"], [908400535506]),
    ):
        outcome = here("filter", pack, "-o", tmp_path / name, *options, "--json")
        assert outcome.code == 0 and outcome.document["samples"] == len(keys), outcome.err
        made_pack = segdata.open(tmp_path / name)
        assert made_pack.keys[:] == keys
        assert [number for sample in made_pack for number in sample.instances.id.tolist()] == ids
        assert segdata.verify(tmp_path / name).is_good


def test_what_is_left_out_is_counted_in_the_pack(pack: Path, tmp_path: Path, here: Here) -> None:
    here("filter", pack, "-o", tmp_path / "new", "--where", "objects > 0", "--objects", "iscrowd")
    remarks = here("info", tmp_path / "new", "--json").document["report"]["remarks"]
    counts = {kind: remark["count"] for kind, remark in remarks.items() if kind.startswith("left out as asked")}
    assert counts == {
        "left out as asked: images that --where does not mean": 1,
        "left out as asked: objects that --objects does not mean": 2,
    }


def test_the_same_filter_again_does_nothing_and_another_one_is_refused(pack: Path, tmp_path: Path, here: Here) -> None:
    command = ("filter", pack, "-o", tmp_path / "new", "--objects", "not iscrowd")
    assert here(*command).code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()}
    assert "already there" in here(*command).out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()} == before
    assert here("filter", pack, "-o", tmp_path / "new", "--objects", "iscrowd").code != 0


def test_mistakes(pack: Path, tmp_path: Path, here: Here) -> None:
    target = tmp_path / "new"
    for options, code, text in (
        ([], 2, "--where"),
        (["--where", "objects > 99"], 10, "means no image"),
        (["--objects", "any(iscrowd)"], 2, "asked of objects"),
        (["--where", "iscrowd"], 2, "write any(iscrowd)"),
        (["--objects", "catgory == 'x'"], 2, "did you mean 'category'"),
    ):
        outcome = here("filter", pack, "-o", target, *options)
        assert outcome.code == code and text in outcome.err, outcome.err
        assert not target.exists()
    assert here("filter", pack, "-o", pack, "--objects", "iscrowd").code == 2
    folder = made.coco(tmp_path / "coco")
    outcome = here("filter", folder, "-o", target, "--objects", "iscrowd")
    assert outcome.code == 10 and "segdata convert" in outcome.err


def test_images_that_are_meant_are_those_that_convert_writes(pack: Path, tmp_path: Path) -> None:
    where = "objects > 0"
    segdata.filter(pack, tmp_path / "one", where=where)
    segdata.convert(pack, tmp_path / "other", where=where, workers=1)
    assert not segdata.diff(tmp_path / "one", tmp_path / "other")


def test_label_maps_stay_and_emptied_images_too(tmp_path: Path) -> None:
    semantic = np.zeros((4, 4), np.uint8)
    masks = np.ones((1, 4, 4), np.uint8)
    samples = [segdata.Sample.build("a", size=(4, 4), masks=masks, category=[0], semantic=semantic)]
    segdata.write(samples, tmp_path / "pack", labels=["x"], workers=1)
    segdata.filter(tmp_path / "pack", tmp_path / "none", objects="area > 100")
    (sample,) = segdata.open(tmp_path / "none")
    assert sample.has_instances and len(sample.instances) == 0
    assert sample.semantic is not None and np.array_equal(sample.semantic, semantic)


@needs_samples
def test_real_objects_are_those_that_pycocotools_selects(tmp_path: Path) -> None:
    """COCO's area range and crowds, written as COCO again."""
    segdata.convert(SAMPLES / "coco", tmp_path / "pack", workers=1)
    segdata.filter(tmp_path / "pack", tmp_path / "large", objects="area in 9217..1e9 and not iscrowd")
    segdata.convert(tmp_path / "large", tmp_path / "coco", to="coco", allow_loss=True, workers=1)
    for split in ("train2017", "val2017"):
        name = f"annotations/instances_{split}.json"
        before = COCO(str(SAMPLES / "coco" / name))
        after = json.loads((tmp_path / "coco" / name).read_text())
        expected = [
            id for id in before.getAnnIds(areaRng=[9216, 1e9], iscrowd=False) if before.anns[id]["area"] >= 9217
        ]
        assert sorted(item["id"] for item in after["annotations"]) == sorted(expected) and expected
        assert {item["id"] for item in after["images"]} == set(before.getImgIds())
