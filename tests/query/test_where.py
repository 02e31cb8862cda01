"""`--where` of `segdata stats` and `segdata convert`."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycocotools.coco import COCO

import segdata
from segdata import Category, LabelMapping, LabelSpace
from segdata.conversion.repair import repair
from tests.helpers import made
from tests.helpers.command import Here, tree
from tests.helpers.samples import SAMPLES, needs_samples


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    segdata.convert(made.coco(root / "coco"), root / "pack", workers=1)
    return root / "pack"


CROWDED = "count(iscrowd) > 0"


def test_stats_counts_the_images_that_are_meant(pack: Path, here: Here) -> None:
    document = here("stats", pack, "--where", CROWDED, "--json").document
    assert document["total"]["images"] == 1 and document["total"]["crowds"] == 1
    assert document["total"]["instances"] == 1  # image 11 of the hand-made document has this one
    assert here("stats", pack, "--where", "width > 1000", "--json").document["total"]["images"] == 0
    assert here("stats", pack, "--where", "width > 1000").code == 0


def test_convert_writes_the_images_that_are_meant(pack: Path, tmp_path: Path, here: Here) -> None:
    done = here("convert", pack, tmp_path / "some", "--where", CROWDED, "--json")
    assert (done.code, done.document["samples"], done.document["instances"]) == (0, 1, 1)
    assert here("convert", pack, tmp_path / "some", "--where", CROWDED).code == 0
    assert "already there" in here("convert", pack, tmp_path / "some", "--where", CROWDED).out
    other = here("convert", pack, tmp_path / "some", "--where", "not any(iscrowd)")
    assert other.code == 4 and f"where: {CROWDED!r} then" in other.err
    assert segdata.open(tmp_path / "some").keys[:] == ["000000000001"]


@needs_samples
def test_a_coco_folder_of_some_images_is_read_by_pycocotools(tmp_path: Path) -> None:
    segdata.convert(SAMPLES / "coco", tmp_path / "pack", workers=1)
    segdata.convert(tmp_path / "pack", tmp_path / "coco", to="coco", where="any(category == 'dog')", workers=1)
    for split in ("train2017", "val2017"):
        name = f"annotations/instances_{split}.json"
        before, after = COCO(str(SAMPLES / "coco" / name)), COCO(str(tmp_path / "coco" / name))
        dogs = {before.anns[id]["image_id"] for id in before.getAnnIds(catIds=before.getCatIds(["dog"]))}
        assert set(after.getImgIds()) == dogs and dogs
        assert {id: after.anns[id] for id in after.anns} == {
            id: each for id, each in before.anns.items() if each["image_id"] in dogs
        }


def test_limit_counts_what_is_meant_and_splits_come_first(pack: Path, tmp_path: Path) -> None:
    assert segdata.convert(pack, tmp_path / "one", where="id >= 11", limit=1, workers=1).samples == 1
    assert segdata.open(tmp_path / "one").keys[:] == ["000000000001"]


def test_names_are_those_of_the_labels_that_are_mapped_to(pack: Path, tmp_path: Path) -> None:
    count = len(segdata.open(pack).labels)
    view = LabelMapping(LabelSpace("view", (Category("one", 1),)), (0, *[None] * (count - 1)))  # person → one
    assert segdata.stats(pack, labels=view, where="any(category == 'one')").total.sums["images"] == 1
    assert segdata.stats(pack, labels=view, where="objects == 1").total.sums["images"] == 1
    with pytest.raises(segdata.errors.InvalidQuery, match="no category 'person'"):
        segdata.stats(pack, labels=view, where="any(category == 'person')")
    segdata.convert(pack, tmp_path / "ones", labels=view, where="objects > 0", workers=1)
    assert len(segdata.open(tmp_path / "ones")) == 1


def test_what_a_query_cannot_be_asked_of_is_refused_with_the_way(tmp_path: Path, pack: Path, here: Here) -> None:
    folder = made.coco(tmp_path / "coco")
    for command in (("stats", folder), ("convert", folder, tmp_path / "new")):
        outcome = here(*command, "--where", "true")
        assert outcome.code == 2 and f"segdata convert {folder} PACK" in outcome.err
    nothing = here("convert", pack, tmp_path / "new", "--where", "width > 1000")
    assert nothing.code == 10 and "means no image" in nothing.err
    wrong = here("convert", pack, tmp_path / "new", "--where", "widht > 1000", "--json")
    assert wrong.code == 2 and wrong.document["error"]["columns"] == [1, 5]
    assert not (tmp_path / "new").exists()


def test_a_pack_of_a_query_is_repaired_from_its_source(pack: Path, tmp_path: Path) -> None:
    target = tmp_path / "some"
    segdata.convert(pack, target, where=CROWDED, workers=1)
    before = tree(target)
    damaged = next(target.glob("annotations-*.h5"))
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    repair(target, pack, workers=1)
    assert tree(target) == before
