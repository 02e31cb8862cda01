"""`--labels FILE.toml`: categories mapped by a table of one's own; and what is said of tables that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made
from tests.helpers.command import run_segdata

TABLE = """
labels = [
    { name = "vehicle", from = ["car"] },
    { name = "animate or brush", id = 40, color = [1, 2, 3], from = ["toothbrush", "person"] },
]
"""


@pytest.mark.parametrize("by_way_of_a_pack", [False, True])
def test_categories_mapped_by_a_table(by_way_of_a_pack: bool, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    if by_way_of_a_pack:
        assert run_segdata("convert", source, tmp_path / "pack").code == 0
    origin = tmp_path / "pack" if by_way_of_a_pack else source
    table = made.put(tmp_path / "map.toml", TABLE)
    outcome = run_segdata("convert", origin, tmp_path / "mapped", "--labels", table, "--to", "coco", "--json")
    assert outcome.code == 0, outcome.err
    before, after = (
        json.loads((root / "annotations/instances_val2017.json").read_text()) for root in (source, tmp_path / "mapped")
    )
    assert [(item["id"], item["name"]) for item in after["categories"]] == [(0, "vehicle"), (40, "animate or brush")]
    to = {1: 40, 3: 0, 90: 40}
    expected = {item["id"]: (to[item["category_id"]], item["segmentation"]) for item in before["annotations"]}
    assert {item["id"]: (item["category_id"], item["segmentation"]) for item in after["annotations"]} == expected


def test_what_a_table_does_not_name_is_left_out_and_counted(tmp_path: Path) -> None:
    source = made.voc(tmp_path / "voc")
    table = made.put(tmp_path / "dogs.toml", '[[labels]]\nname = "pet"\nfrom = ["dog"]\n')
    outcome = run_segdata("convert", source, tmp_path / "pets", "--labels", table, "--to", "camvid", "--allow-loss")
    assert outcome.code == 0, outcome.err
    colors = dict(line.split("\t")[::-1] for line in (tmp_path / "pets/label_colors.txt").read_text().splitlines())
    pet = [int(value) for value in colors["pet"].split()]
    for path in (source / "SegmentationClass").glob("*.png"):
        drawn = np.asarray(Image.open(tmp_path / f"pets/LabeledApproved_full/{path.stem}_L.png"))
        assert np.array_equal((drawn == pet).all(2), np.asarray(Image.open(path)) == 12)  # VOC's dog
    documents = [ElementTree.parse(path) for path in (source / "Annotations").glob("*.xml")]
    names = [node.text for document in documents for node in document.iterfind("object/name")]
    others = {name for name in names if name != "dog"}
    assert others
    for name in others:
        assert f"{names.count(name)} × left out as asked: objects of category {name!r}" in outcome.err + outcome.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('labels = [{ name = "x", from = ["wolf"] }]', ("labels[0].from", "'wolf'", "person, car, toothbrush")),
        ('labels = [{ name = "x", from = [3] }]', ("labels[0].from", "found 3")),
        ('labels = [{ name = "x", from = [] }]', ("labels[0].from", "the list is empty")),
        (
            'labels = [{ name = "a", from = ["car"] }, { name = "b", from = ["car"] }]',
            ("labels[1].from", "'car' again"),
        ),
        ('labels = [{ name = "a", from = ["car"] }, { name = "a", from = ["person"] }]', ("'a' twice",)),
        ("labels = [3]", ("labels[0]", "not a table")),
        ("labels = 3", ("labels", "expected list")),
        ('[[labels]]\nname = "x"', ("labels[0].from", "add from")),
        ("lables = []", ("lables", "did you mean 'labels'?")),
        ("", ("labels", "add labels")),
    ],
)
def test_wrong_tables(text: str, said: tuple[str, ...], tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    table = made.put(tmp_path / "map.toml", text)
    outcome = run_segdata("convert", source, tmp_path / "pack", "--labels", table)
    assert outcome.code == 4
    assert all(part in outcome.err for part in (*said, "map.toml")), outcome.err
    assert not (tmp_path / "pack").exists()


def test_an_unknown_name_says_what_there_is(tmp_path: Path) -> None:
    outcome = run_segdata("convert", made.coco(tmp_path / "source"), tmp_path / "pack", "--labels", "vco")
    assert outcome.code == 10
    assert "voc" in outcome.err and "TOML file" in outcome.err


@pytest.mark.parametrize("options", [("--dry-run",), (), ("--to", "voc", "--allow-loss")])
def test_splits_are_counted_without_what_was_left_out(options: tuple[str, ...], tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    photo = source / "val2017/000000000001.jpg"
    photo.write_bytes(photo.read_bytes()[:-40])
    outcome = run_segdata("convert", source, tmp_path / "target", "--on-error", "skip", "--json", *options)
    assert outcome.code == 3
    assert outcome.document["samples"] == 2
    assert list(outcome.document["splits"].values()) == [2]
