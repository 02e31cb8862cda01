"""COCO-Stuff's pixel maps: values are ids less 1, written by category names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.catalog import manifest
from segdata.formats import detect
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.refusals import refused
from tests.helpers.samples import SAMPLES, needs_samples


def test_published_facts() -> None:
    labels = manifest.label_space("coco-stuff")
    coco = manifest.label_space("coco")
    assert [item.name for item in labels.categories[:80]] == [item.name for item in coco.categories]
    assert [item.id for item in labels.categories[:80]] == [item.id for item in coco.categories]
    assert [item.id for item in labels.categories[80:]] == list(range(92, 183))
    # as cocostuff's labels.txt has them
    for id, name in {92: "banner", 106: "clouds", 124: "grass", 157: "sky-other", 169: "tree", 182: "wood"}.items():
        assert labels[labels.index_of_id[id]].name == name


def test_a_person_is_0_and_255_is_unlabelled(tmp_path: Path) -> None:
    folder = segdata.read(made.coco_stuff(tmp_path))
    assert folder.labels.name == "coco-stuff"
    assert {name: len(members) for name, members in folder.splits.items()} == {"train2017": 2, "val2017": 1}
    semantic = folder[0].semantic
    assert semantic is not None
    names = {folder.labels[int(value)].name for value in np.unique(semantic) if value != 255}
    assert names == {"sky-other", "person", "wood"}
    assert (semantic == 255).sum() == 10 * made.WIDTH - 60 + 5 * made.WIDTH
    assert not folder[1].has_semantic


def test_values_off_the_table_and_other_sizes_are_refused(tmp_path: Path) -> None:
    source = made.coco_stuff(tmp_path / "source")
    file = source / "stuffthingmaps/train2017/000000000009.png"
    made.put(file, made.png(np.full((made.HEIGHT, made.WIDTH), 11, np.uint8)))  # id 12 is one of COCO's gaps
    refused(source, tmp_path / "pack", 4, "train2017/000000000009.png", "value 11")
    made.put(file, made.png(np.zeros((3, 4), np.uint8)))
    refused(source, tmp_path / "pack", 4, "another size", "map 4 × 3")


def test_beside_documents_of_coco_it_has_to_be_named(tmp_path: Path) -> None:
    source = made.coco_stuff(made.coco(tmp_path / "source"))
    assert detect(source) == "coco"
    outcome = run_segdata("convert", source, tmp_path / "pack", "--from", "coco-stuff", "--json")
    assert outcome.code == 0, outcome.err
    assert segdata.open(tmp_path / "pack").labels.name == "coco-stuff"


@pytest.mark.parametrize("names", [["person", "tree", "spaceship"]])
def test_categories_are_written_by_name(names: list[str], tmp_path: Path) -> None:
    semantic = np.repeat(np.array([0, 1, 2, 255], np.uint8), 10)[None].repeat(4, axis=0)
    sample = segdata.Sample.build("a", Image.new("RGB", (40, 4)), semantic=semantic, labels=names)
    segdata.write([sample], tmp_path / "pack", labels=names)
    target = tmp_path / "target"
    outcome = run_segdata("convert", tmp_path / "pack", target, "--to", "coco-stuff", "--allow-loss", "--json")
    assert outcome.code == 0, outcome.err
    (file,) = target.rglob("stuffthingmaps/**/*.png")
    assert np.array_equal(np.unique(np.asarray(Image.open(file))), [0, 168, 255])
    losses = {kind: item["count"] for kind, item in outcome.document["problems"]["losses"].items()}
    assert losses["pixels of category 'spaceship'"] == 40
    assert json.dumps(losses).count("pixels of category") == 1


@needs_samples
def test_real_maps_come_back(tmp_path: Path) -> None:
    source = SAMPLES / "coco_stuff"
    outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
    assert outcome.code == 0, outcome.err
    pack = segdata.open(tmp_path / "pack")
    assert len(pack) == 10 and {name: len(members) for name, members in pack.splits.items()} == {
        "train2017": 7, "val2017": 3
    }  # fmt: skip
    ids = np.array([*(item.id for item in pack.labels.categories), *[256] * (256 - len(pack.labels))])
    for sample in pack:
        split = "train2017" if (source / f"train2017/{sample.key}.jpg").exists() else "val2017"
        stored = np.asarray(Image.open(source / f"stuffthingmaps/{split}/{sample.key}.png"))
        assert sample.semantic is not None and np.array_equal(ids[sample.semantic] - 1, stored)
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco-stuff")
    assert compare("coco-stuff", source, tmp_path / "back") == []
