"""What a console shows of the public objects: one short line each; digests see everything."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata.core import reprs
from segdata.core.labels import Category, LabelMapping, LabelSpace
from segdata.core.masks import Masks
from segdata.core.reprs import in_full
from segdata.core.sample import Instances
from segdata.sets.filters import Filter
from tests.helpers import made

CATS = LabelSpace("pets", (Category("cat", 1), Category("dog", 2)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.coco(tmp_path_factory.mktemp("coco") / "photos")


@pytest.fixture(scope="module")
def pack(folder: Path) -> segdata.Pack:
    segdata.convert(folder, folder.parent / "pack")
    return segdata.open(folder.parent / "pack")


def test_the_examples_of_the_module_are_true() -> None:
    assert doctest.testmod(reprs).failed == 0


def test_objects_of_an_image_are_counted() -> None:
    masks = Masks.from_dense(np.ones((3, 4, 5), np.uint8))
    instances = Instances.build([0, 1, 1], masks)
    assert repr(instances) == "Instances(3 objects, 2 categories)"
    assert repr(Instances.build([0], masks[:1], score=[0.5])) == "Instances(1 object, 1 category, scores 0.50 to 0.50)"
    assert repr(Instances.none(4, 5)) == "Instances(0 objects, 0 categories)"
    assert repr(masks) == "Masks(3 masks, 4×5)"
    assert repr(instances.polygons) == "Polygons(3 objects, 0 polygons)"


def test_packs_and_folders_name_their_splits_with_counts(pack: segdata.Pack, folder: Path) -> None:
    assert repr(pack) == f"Pack({str(pack.path)!r}, 3 samples, labels 'coco')"
    assert repr(pack.splits) == str(pack.splits) == "Splits(val2017: 3)"
    assert repr(segdata.read(folder).splits) == "Splits(val2017: 3)"
    assert repr(pack.keys).startswith("3 keys: 0000000000")
    assert list(pack.splits) == ["val2017"] and pack.splits["val2017"].tolist() == [0, 1, 2]


def test_label_spaces_and_mappings_name_a_few_categories() -> None:
    assert repr(CATS) == "LabelSpace('pets', 2 categories: cat, dog)"
    assert repr(LabelMapping(CATS, (0, None, 1))) == f"LabelMapping(2 of 3 categories, to {CATS!r})"
    assert repr(segdata.ReadOptions()) == "ReadOptions()"
    assert repr(segdata.ReadOptions(follow_links=True)) == "ReadOptions(follow_links=True)"


def test_every_public_object_is_one_short_line(pack: segdata.Pack, folder: Path, tmp_path: Path) -> None:
    short = Path("pack")
    problems = {"remarks": {"x": 1} | dict.fromkeys(map(str, range(500)))}
    values = [
        pack[0],
        pack[0].instances.extra,
        segdata.read(folder),
        segdata.Loader(pack, 2),
        next(iter(segdata.Loader(pack, 2))),
        segdata.stats(pack.path),
        segdata.verify(pack.path),
        segdata.list_datasets(root=tmp_path)[0],
        segdata.Fetched("camvid", short, (), (), 0),
        segdata.Prepared("camvid", short, 1, 2, {"train": 1}, problems, None, False),
        segdata.ConvertReport("coco", "pack", short, 1, 2, {"train": 1}, problems),
        CATS[0],
    ]
    for value in values:
        text = repr(value)
        assert text.startswith(f"{type(value).__name__}(") and "\n" not in text, text
        assert len(text.replace(str(folder.parent), "")) < 120, text
    assert repr(values[9]) == "Prepared('pack', 1 sample, 2 objects)"
    assert repr(values[10]) == "ConvertReport('pack', pack, 1 sample, 2 objects)"


def test_reports_of_training_and_evaluation_are_one_short_line() -> None:
    pytest.importorskip("torch")
    train = segdata.TrainReport(Path("run"), 1200, 3, 10, {"AP": 0.5}, 0.5, 0, ())
    assert repr(train) == "TrainReport('run', 1,200 updates, 3 epochs, best 0.500)"
    predict = segdata.PredictReport(Path("pack"), 2, 1, {"skipped": []}, 0.5)
    assert repr(predict) == "PredictReport('pack', 2 samples, 1 object)"


def test_digests_of_options_see_what_the_short_line_leaves_out() -> None:
    mapping = LabelMapping(CATS, (0, None))
    assert in_full(mapping) == (
        "LabelMapping(target=LabelSpace(name='pets', categories=("
        "Category(name='cat', id=1, color=None, isthing=None, supercategory=None, ignore=False), "
        "Category(name='dog', id=2, color=None, isthing=None, supercategory=None, ignore=False))), table=(0, None))"
    )
    assert in_full(Filter(1.5, True)) == repr(Filter(1.5, True))
    assert in_full((mapping,)) == f"({in_full(mapping)},)" and in_full(None) == "None"
