"""`segdata apply`: random edits against a replay with NumPy alone, and everything that was not edited to the last digit."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import segdata
from segdata import Sample
from segdata.errors import InvalidInput, UsageError
from tests.correction import independent
from tests.correction.independent import Edit
from tests.derivation.contents import plain
from tests.helpers import made
from tests.helpers.command import Here, tree
from tests.helpers.samples import SAMPLES, needs_samples

FLAGS = ("iscrowd", "difficult", "truncated", "occluded")


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A random ellipse with a hole."""
    y, x = np.mgrid[:height, :width]
    cy, cx = rng.uniform(0, height), rng.uniform(0, width)
    ry, rx = rng.uniform(2, height / 2), rng.uniform(2, width / 2)
    distance = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2
    mask: np.ndarray = (distance <= 1) & (distance > 0.05)
    mask[int(min(cy, height - 1)), int(min(cx, width - 1))] = True
    return mask


class Drawn:
    """Random edits of a pack's samples, as somebody makes them who sees what is there."""

    def __init__(self, pack: Path, seed: int, *, ops: tuple[str, ...], crowds: bool) -> None:
        self.rng, self.choose = np.random.default_rng(seed), random.Random(seed)
        self.pack = segdata.open(pack)
        self.split_of: dict[int, str] = {}
        for name, members in self.pack.splits.items():
            for index in members.tolist():
                self.split_of.setdefault(index, name)
        self.edits: list[Edit] = []
        self.of_sample: dict[int, list[int]] = {}
        self.flags = FLAGS if crowds else FLAGS[1:]
        self.ops = ops

    def present(self, index: int) -> list[str]:
        """The objects of a sample that are there now."""
        names = [str(row) for row in range(len(self.pack[index].instances))]
        for n, edit in independent.counting(self.edits):
            if n in self.of_sample.get(index, ()):
                names += [f"new-{n}"] if edit["op"] in ("add", "accept") else []
                if edit["op"] == "delete":
                    names.remove(edit["of"])
        return names

    def draw(self, count: int) -> list[Edit]:
        while len(self.edits) < count:
            index = self.choose.randrange(len(self.pack))
            sample = self.pack[index]
            n, op = len(self.edits) + 1, self.choose.choice(self.ops)
            edit: Edit = {"split": self.split_of.get(index), "key": sample.key, "op": op}
            size = sample.height, sample.width
            names = self.present(index)
            if op in ("mask", "delete", "category", "flags") and not names:
                continue
            if op in ("mask", "delete", "category", "flags"):
                edit["of"] = self.choose.choice(names)
            if op in ("mask", "add", "accept", "map"):
                edit |= independent.runs_of(blob(self.rng, *size))
            if op in ("category", "add", "accept", "map"):
                edit["category"] = self.choose.randrange(len(self.pack.labels))
            if op == "flags":
                edit["flags"] = {self.choose.choice(self.flags): self.choose.random() < 0.7}
            if op in ("add", "accept"):
                edit["of"] = f"new-{n}"
            if op == "note":
                edit["text"] = "<b>look</b>"
            if op == "undo":
                last = self._last(index)
                if last is None:
                    continue
                edit["of"] = last
            self.edits.append(edit)
            self.of_sample.setdefault(index, []).append(n)
        return self.edits

    def _last(self, index: int) -> int | None:
        """The last edit of a sample, which nothing builds on: undone, or brought back."""
        numbers = self.of_sample.get(index, [])
        return numbers[-1] if numbers else None

    def of(self, index: int) -> list[tuple[int, Edit]]:
        """The edits of a sample that count."""
        return [(n, edit) for n, edit in independent.counting(self.edits) if n in self.of_sample.get(index, ())]


def described(sample: Sample) -> list[dict[str, Any]]:
    """The objects of a sample as the independent replay has them."""
    instances = sample.instances
    dense = instances.masks.dense()
    return [
        {
            "category": int(instances.category[row]),
            "mask": dense[row].astype(bool),
            **{name: bool(getattr(instances, name)[row]) for name in FLAGS},
        }
        for row in range(len(instances))
    ]


def require_as_replayed(before: Path, after: Path, drawn: Drawn) -> None:
    """Compare every sample with the replay; samples without edits in everything."""
    mine, theirs = segdata.open(before), segdata.open(after)
    assert len(mine) == len(theirs) and mine.keys[:] == theirs.keys[:]
    for index, (old, new) in enumerate(zip(mine, theirs, strict=True)):
        edits = drawn.of(index)
        if not edits:
            assert plain(old) == plain(new)
            continue
        expected = independent.apply(described(old), edits, (old.height, old.width))
        result = described(new)
        assert len(result) == len(expected)
        for one, other in zip(result, expected, strict=True):
            assert {name: one[name] for name in (*FLAGS, "category")} == {
                name: other[name] for name in (*FLAGS, "category")
            }
            assert np.array_equal(one["mask"], other["mask"])
        if old.semantic is not None or any(edit["op"] == "map" for _, edit in edits):
            void = mine.labels.void
            semantic = np.full((old.height, old.width), void) if old.semantic is None else old.semantic.astype(int)
            for _, edit in edits:
                if edit["op"] == "map":
                    semantic[independent.mask_of(edit, old.height, old.width)] = edit["category"]
            assert new.semantic is not None and np.array_equal(new.semantic, semantic)


COCO_OPS = ("mask", "add", "accept", "delete", "category", "flags", "undo", "undo", "note")


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of real objects in each shard, of the real samples."""
    root = tmp_path_factory.mktemp("coco")
    segdata.convert(SAMPLES / "coco", root / "pack", workers=1, shard_samples=7)
    return root / "pack"


@needs_samples
def test_200_edits_of_real_objects_are_those_of_an_independent_replay(coco: Path, tmp_path: Path, here: Here) -> None:
    drawn = Drawn(coco, 1, ops=COCO_OPS, crowds=True)
    file = independent.write(tmp_path / "edits", coco, drawn.draw(200))
    before = tree(coco)
    outcome = here("apply", file, coco, tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["details"]["edits"] == Counter(edit["op"] for _, edit in independent.counting(drawn.edits))
    assert tree(coco) == before
    require_as_replayed(coco, tmp_path / "out", drawn)
    assert segdata.verify(tmp_path / "out", deep=True).is_good
    ids = [number for sample in segdata.open(tmp_path / "out") for number in sample.instances.id.tolist()]
    assert len(set(ids)) == len(ids)


@needs_samples
def test_what_was_not_edited_comes_back_exact_in_coco(coco: Path, tmp_path: Path) -> None:
    drawn = Drawn(coco, 2, ops=COCO_OPS, crowds=True)
    file = independent.write(tmp_path / "edits", coco, drawn.draw(200))
    segdata.apply(file, coco, tmp_path / "out")
    segdata.convert(tmp_path / "out", tmp_path / "json", to="coco")
    pack, checked = segdata.open(coco), 0
    for path in sorted((SAMPLES / "coco" / "annotations").glob("instances_*.json")):
        mine, theirs = json.loads(path.read_text()), COCO(tmp_path / "json" / "annotations" / path.name)
        category_ids = [category.id for category in pack.labels.categories]
        assert {name: mine[name] for name in mine if name != "annotations"} == {
            name: theirs.dataset[name] for name in mine if name != "annotations"
        }
        by_image: dict[int, list[Any]] = {}
        for record in mine["annotations"]:
            by_image.setdefault(record["image_id"], []).append(record)
        for index, sample in enumerate(pack):
            if drawn.split_of[index] not in path.name:
                continue
            old = by_image.get(sample.id, [])
            objects = [
                {"row": row, "record": record, **dict.fromkeys(("mask", "category"))} for row, record in enumerate(old)
            ]
            expected = independent.apply(objects, drawn.of(index), (sample.height, sample.width))
            written = theirs.loadAnns(theirs.getAnnIds(imgIds=[sample.id]))
            assert len(written) == len(expected)
            for item, record in zip(expected, written, strict=True):
                if not item["touched"]:
                    assert record == item["record"]
                    checked += 1
                    continue
                if item["mask"] is not None:
                    assert np.array_equal(theirs.annToMask(record), item["mask"])
                    assert record["area"] == item["mask"].sum()
                    assert record["bbox"] == coco_mask.toBbox(theirs.annToRLE(record)).tolist()
                elif item["touched"] <= {"category", "flags"}:
                    assert record["segmentation"] == item["record"]["segmentation"] or record["iscrowd"]
                if item["category"] is not None:
                    assert record["category_id"] == category_ids[item["category"]]
    assert checked > 100


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("voc")
    segdata.convert(SAMPLES / "voc" / "VOCdevkit" / "VOC2012", root / "pack", workers=1, shard_samples=7)
    return root / "pack"


@needs_samples
def test_200_edits_of_voc_with_label_maps(voc: Path, tmp_path: Path) -> None:
    drawn = Drawn(voc, 3, ops=("mask", "add", "delete", "category", "flags", "map", "undo"), crowds=False)
    file = independent.write(tmp_path / "edits", voc, drawn.draw(200))
    before = tree(voc)
    segdata.apply(file, voc, tmp_path / "out")
    assert tree(voc) == before
    require_as_replayed(voc, tmp_path / "out", drawn)


@needs_samples
def test_files_of_voc_that_were_not_edited_come_back_byte_by_byte(voc: Path, tmp_path: Path) -> None:
    """Edits that VOC can say: flags, categories of objects without masks, objects that go."""
    pack = segdata.open(voc)
    splits = {index: name for name, members in pack.splits.items() for index in members.tolist()}
    edits: list[Edit] = []
    for index in range(0, len(pack), 5):
        sample = pack[index]
        if len(sample.instances):
            place = {"split": splits.get(index), "key": sample.key}
            edits.append({**place, "op": "flags", "of": "0", "flags": {"difficult": True, "occluded": True}})
    keys = {edit["key"] for edit in edits}
    segdata.apply(independent.write(tmp_path / "edits", voc, edits), voc, tmp_path / "out")
    segdata.convert(voc, tmp_path / "before", to="voc")
    segdata.convert(tmp_path / "out", tmp_path / "after", to="voc")
    before, after = tree(tmp_path / "before"), tree(tmp_path / "after")
    assert before.keys() == after.keys() and keys
    other = {name for name in before if before[name] != after[name]}
    assert {name for name in other if not name.startswith(".")} == {f"Annotations/{key}.xml" for key in keys}
    for key in keys:
        text = after[f"Annotations/{key}.xml"].decode()
        assert text.index("<difficult>1</difficult>") and text.index("<occluded>1</occluded>")


# ---------------------------------------------------------------------- what is left


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Three images: a polygon and a mask with ids 101 and 102, a crowd, none."""
    segdata.convert(made.coco(tmp_path / "coco"), tmp_path / "pack", workers=1, shard_samples=1)
    return tmp_path / "pack"


FIRST = {"split": "train2017", "key": "000000000000"}


def square(size: int = 5) -> Edit:
    mask = np.zeros((made.HEIGHT, made.WIDTH), bool)
    mask[2 : 2 + size, 3 : 3 + size] = True
    return independent.runs_of(mask)


def first(pack: Path) -> Edit:
    """What edits call the first sample of the pack."""
    opened = segdata.open(pack)
    return {"split": next(iter(opened.splits)), "key": opened.key(0)}


def test_shards_without_edits_and_images_are_links(pack: Path, tmp_path: Path) -> None:
    file = independent.write(tmp_path / "edits", pack, [{**first(pack), "op": "delete", "of": "0"}])
    report = segdata.apply(file, pack, tmp_path / "out")
    inodes = {path.stat().st_ino for path in pack.glob("*.h5")}
    links = sorted(path.name.split("-")[0] for path in (tmp_path / "out").glob("*.h5") if path.stat().st_ino in inodes)
    assert links == ["annotations", "annotations", "images", "images", "images"]
    assert report.copied == 0 and report.linked == sum(path.stat().st_size for path in pack.glob("images-*.h5")) + sum(
        path.stat().st_size
        for path in pack.glob("annotations-*.h5")
        if path.stat().st_ino in {item.stat().st_ino for item in (tmp_path / "out").iterdir()}
    )


def test_the_pack_names_the_pack_and_the_edits(pack: Path, tmp_path: Path, here: Here) -> None:
    file = independent.write(tmp_path / "edits", pack, [{**first(pack), "op": "delete", "of": "0"}])
    assert here("apply", file, pack, tmp_path / "out").code == 0
    import hashlib

    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (pack / "pack.json", file)]
    parents = json.loads((tmp_path / "out" / "pack.json").read_bytes())["provenance"]["parents"]
    assert parents == [{"name": "pack", "sha256": digests[0]}, {"name": "edits", "sha256": digests[1]}]
    shown = here("info", tmp_path / "out").out
    assert "apply of pack" in shown and digests[1][:12] in shown


def test_the_difference_is_the_edits(pack: Path, tmp_path: Path) -> None:
    edits = [
        {**first(pack), "op": "category", "of": "0", "category": 1},
        {**first(pack), "op": "flags", "of": "1", "flags": {"iscrowd": True}},
        {**first(pack), "op": "add", "of": "new-3", "category": 0, **square(20)},
    ]
    segdata.apply(independent.write(tmp_path / "edits", pack, edits), pack, tmp_path / "out")
    difference = segdata.diff(pack, tmp_path / "out")
    assert len(difference.changes) == 1 and difference.changes[0]["key"] == first(pack)["key"]
    objects = difference.changes[0]["objects"]
    names = [category.name for category in segdata.open(pack).labels.categories]
    assert [item["category"] for item in objects["added"]] == [names[0]] and "removed" not in objects
    changes = {item["id"]: item["changes"] for item in objects["changed"]}
    assert set(changes[101]) - {"extra"} == {"category"} and set(changes[102]) - {"extra"} == {"flags"}
    assert not difference.removed and not difference.added and not difference.splits


def test_a_new_mask_costs_the_polygons_which_is_counted(pack: Path, tmp_path: Path) -> None:
    edits = [{**first(pack), "op": "mask", "of": "0", **square()}]
    report = segdata.apply(independent.write(tmp_path / "edits", pack, edits), pack, tmp_path / "out")
    remarks = {kind: item["count"] for kind, item in report.problems["remarks"].items()}
    assert remarks["not in the new pack: polygons of objects with another mask"] == 1
    instances = segdata.open(tmp_path / "out")[0].instances
    assert instances.bbox[0].tolist() == [3, 2, 5, 5] and instances.area[0] == 25
    assert len(instances.polygons[0]) == 0 and instances.id.tolist() == [101, 102]


def test_only_some_ops(pack: Path, tmp_path: Path, here: Here) -> None:
    edits = [
        {**first(pack), "op": "add", "of": "new-1", "category": 0, **square()},
        {**first(pack), "op": "category", "of": "new-1", "category": 1},
        {**first(pack), "op": "category", "of": "0", "category": 1},
        {**first(pack), "op": "delete", "of": "1"},
    ]
    file = independent.write(tmp_path / "edits", pack, edits)
    outcome = here("apply", file, pack, tmp_path / "out", "--only", "category", "--json")
    assert outcome.code == 0, outcome.err
    instances = segdata.open(tmp_path / "out")[0].instances
    assert instances.category[0] == 1 and len(instances) == 2
    remarks = outcome.document["problems"]["remarks"]
    assert remarks["not in the new pack: edits of objects that --only leaves out"]["count"] == 1
    assert here("apply", file, pack, tmp_path / "no", "--only", "paint").code == 2


def test_the_same_again_does_nothing_and_other_packs_are_refused(pack: Path, tmp_path: Path, here: Here) -> None:
    file = independent.write(tmp_path / "edits", pack, [{**first(pack), "op": "delete", "of": "0"}])
    assert here("apply", file, pack, tmp_path / "out").code == 0
    before = tree(tmp_path / "out")
    assert "already there" in here("apply", file, pack, tmp_path / "out").out and tree(tmp_path / "out") == before
    again = here("apply", file, tmp_path / "out", tmp_path / "twice")
    assert again.code == 4 and "other annotations in 1 of 3 tables, the first is of shard 0" in again.err
    assert not (tmp_path / "twice").exists()
    assert here("apply", file, pack, pack).code == 2
    with pytest.raises(InvalidInput, match="another pack"):
        segdata.apply(file, tmp_path / "out", tmp_path / "twice")
    with pytest.raises(UsageError):
        segdata.apply(file, pack, tmp_path / "out", only=["delete"])


def test_edits_of_other_categories_or_splits_say_so(pack: Path, tmp_path: Path) -> None:
    file = independent.write(tmp_path / "edits", pack, [])
    segdata.split(pack, tmp_path / "split", {"a": 0.5, "b": 0.5})
    with pytest.raises(InvalidInput, match="the same annotations, but other splits"):
        segdata.apply(file, tmp_path / "split", tmp_path / "out")
    document = made.coco_document()
    document["categories"][0]["name"] = "something else"
    segdata.convert(made.coco(tmp_path / "other", document), tmp_path / "relabelled", workers=1)
    with pytest.raises(InvalidInput, match="another label space; 3 annotation tables, the pack has 1"):
        segdata.apply(file, tmp_path / "relabelled", tmp_path / "out")


def test_a_torn_last_line_is_left_out_with_exit_code_3(pack: Path, tmp_path: Path, here: Here) -> None:
    edits = [{**first(pack), "op": "delete", "of": "0"}, {**first(pack), "op": "delete", "of": "1"}]
    file = independent.write(tmp_path / "edits", pack, edits)
    file.write_bytes(file.read_bytes()[:-7])
    outcome = here("apply", file, pack, tmp_path / "out")
    assert outcome.code == 3 and "line 3" in outcome.err and "torn" in outcome.err
    assert segdata.open(tmp_path / "out")[0].instances.id.tolist() == [102]


def test_a_mask_that_the_object_never_had_is_refused(pack: Path, tmp_path: Path) -> None:
    masks = segdata.open(pack)[0].instances.masks
    edits = [
        {**first(pack), "op": "mask", "of": "0", **square(), "was": independent.digest(masks[0])},
        {
            **first(pack),
            "op": "mask",
            "of": "0",
            **square(6),
            "was": independent.digest(independent.mask_of(square(), made.HEIGHT, made.WIDTH)),
        },
    ]
    segdata.apply(independent.write(tmp_path / "edits", pack, edits), pack, tmp_path / "out")
    edits[1]["was"] = independent.digest(masks[1])
    with pytest.raises(InvalidInput, match="another mask than the object has") as caught:
        segdata.apply(independent.write(tmp_path / "other", pack, edits), pack, tmp_path / "out2")
    assert caught.value.place == "line 3, was"
