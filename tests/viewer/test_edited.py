"""Counts, filters, orders, matches and statistics of a pack with edits are those of the pack that `apply` makes of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.core.sample import Sample
from tests.correction import independent
from tests.viewer import pair
from tests.viewer.client import Client

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")

QUERIES = (
    "objects > 2",
    "any(category == 'dog' and area > 200)",
    "all(has_mask) and count(pixels > 50) >= 2",
    "count(iscrowd) == 1 or any(difficult)",
    "any(x < 5 and y < 5 and width <= 8)",
    "split == 'val2017' and not any(score == none) or key like '*1'",
    "any(id > 20) and codec == 'jpeg' and width > 10 and has_instances",
    "tp > 1",
    "fn > 0 and f1 < 0.9",
    "any(matched and iou > 0.7)",
    "any(not matched and not iscrowd)",
    "any(score > 0.5)",
)


def edit(client: Client, i: int, **fields: Any) -> None:
    after = client.get(f"edits/{i}").document["last"]
    answer = client.post(f"/api/edits?v={client.version}", {"i": i, "after": after, **fields})
    assert answer.status == 200, answer.body


def edit_at_random(client: Client, pack: Path) -> list[int]:
    """Edits of every kind in some images; the numbers of the images."""
    rng = np.random.default_rng(7)
    samples = segdata.open(pack)
    numbers = [i for i, sample in enumerate(samples) if len(sample.instances) > 1][:9:2]
    for i in numbers:
        mask = np.zeros((samples[i].height, samples[i].width), bool)
        mask[1 : rng.integers(6, 20), 2 : rng.integers(7, 20)] = True
        edit(client, i, op="add", category=int(rng.integers(0, len(samples.labels))), **independent.runs_of(mask))
        edit(client, i, op="mask", of="0", **independent.runs_of(mask.T if mask.shape[0] == mask.shape[1] else mask))
        edit(client, i, op="flags", of="0", flags={"iscrowd": bool(rng.integers(2)), "difficult": True})
        edit(client, i, op="category", of="1", category=int(rng.integers(0, len(samples.labels))))
    edit(client, numbers[0], op="delete", of="1")
    edit(client, numbers[1], op="delete", of="1")
    edit(client, numbers[1], op="undo", of=client.get(f"edits/{numbers[1]}").document["last"])
    return numbers


@pytest.fixture(scope="module")
def sides(
    pack: Path, dataset: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, Client, list[int]]]:
    """A server of the pack and its edits, one of the pack that was made of both, and the images that were edited."""
    folder = tmp_path_factory.mktemp("edited")
    viewer = segdata.view(pack, dataset[1], edits=folder / "edits.jsonl")
    client = Client(viewer.address)
    before = client.ready("confusion")
    numbers = edit_at_random(client, pack)
    assert client.ready("confusion") != before
    segdata.apply(folder / "edits.jsonl", pack, folder / "out")
    other = segdata.view(folder / "out", dataset[1])
    applied = Client(other.address)
    applied.ready("confusion")
    yield client, applied, numbers
    viewer.stop()
    other.stop()


def facets(client: Client, **query: Any) -> dict[str, Any]:
    document: dict[str, Any] = client.get("facets", **query).document
    del document["problems"]  # the new pack's report is about its making
    return document


@pytest.mark.parametrize("where", QUERIES)
def test_queries_mean_the_images_as_they_are_now(sides: tuple[Client, Client, list[int]], where: str) -> None:
    client, applied, _ = sides
    for at in ({}, {"iou": 0.7, "score": 0.4}):
        numbers = client.get("ids", where=where, **at).numbers
        assert numbers == applied.get("ids", where=where, **at).numbers
        assert len(numbers) > 0
        assert facets(client, where=where, **at) == facets(applied, where=where, **at)


def test_counts_orders_and_matches_are_of_the_images_as_they_are_now(sides: tuple[Client, Client, list[int]]) -> None:
    client, applied, edited = sides
    assert facets(client) == facets(applied)
    for sort in ("objects", "-area", "f1", "-fp", "iou", "-tp", "key"):
        assert client.get("ids", sort=sort).numbers == applied.get("ids", sort=sort).numbers
    everything = ",".join(map(str, client.get("ids").numbers))
    documents = [side.get("tiles", ids=everything).document for side in (client, applied)]
    for tile in (tile for document in documents for tile in document):
        tile.pop("problem", None)
    assert documents[0] == documents[1]
    for name in ("confusion", "worst"):
        assert client.get(name, score=0.3).document == applied.get(name, score=0.3).document
    for label in client.get("confusion").document["labels"]:
        cell = f"{label},none"
        assert client.get("ids", cell=cell).numbers == applied.get("ids", cell=cell).numbers
    for i in edited:
        assert client.get(f"matches/{i}").document == applied.get(f"matches/{i}").document
    categories = [side.get("pack").document["labels"]["categories"] for side in (client, applied)]
    assert categories[0] == categories[1]


def test_statistics_are_of_the_images_as_they_are_now(sides: tuple[Client, Client, list[int]]) -> None:
    client, applied, _ = sides
    documents = [side.ready("statistics") for side in (client, applied)]
    for document in documents:
        for name in ("source", "problems"):
            document.pop(name, None)
    assert documents[0] == documents[1]


def test_a_deleted_object_is_neither_missed_nor_counted(tmp_path: Path) -> None:
    """By hand: image 1 has a dog that our predictions miss, and that the other ones find."""
    pack, ours, other = pair.make(tmp_path)
    viewer = segdata.view(pack, ours, other, edits=tmp_path / "edits.jsonl")
    try:
        client = Client(viewer.address)
        client.ready("compared")
        tag = client.get("ids", where="fn > 0").headers["etag"]
        assert client.get("ids", where="fn > 0").numbers == [1]
        assert client.get("facets").document["objects"] == 5
        edit(client, 1, op="delete", of="0")
        assert client.get("ids", where="fn > 0").numbers == []
        assert client.get("ids", where="fn > 0").headers["etag"] != tag
        counts = client.get("facets").document
        assert [counts[name] for name in ("objects", "tp", "fp", "fn")] == [4, 4, 1, 0]
        assert client.get("ids", where="other_fp > 0").numbers == [1, 3, 4]
        compared = client.ready("compared")
        assert [total["fp"] for total in compared["totals"]] == [1, 3]
        edit(client, 1, op="undo", of=1)
        assert client.get("ids", where="fn > 0").numbers == [1]
        assert client.get("facets").document["objects"] == 5
    finally:
        viewer.stop()


def test_a_label_map_counts_as_it_is_now(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    maps = rng.integers(0, 3, (2, 3, 20, 30)).astype(np.uint8)
    for name, side in (("pack", 0), ("predicted", 1)):
        samples = [Sample.build(f"image {n}", size=(20, 30), semantic=each) for n, each in enumerate(maps[side])]
        segdata.write({"val": samples}, tmp_path / name, labels=["road", "sky", "tree"], workers=1)
    viewer = segdata.view(tmp_path / "pack", tmp_path / "predicted", edits=tmp_path / "edits.jsonl")
    try:
        client = Client(viewer.address)
        patch = np.zeros((20, 30), bool)
        patch[2:9, 3:20] = True
        edit(client, 1, op="map", category=2, **independent.runs_of(patch))
        maps[0, 1][patch] = 2
        expected = np.zeros((3, 3), int)
        np.add.at(expected, (maps[0].ravel(), maps[1].ravel()), 1)
        matrix = np.array(client.ready("confusion")["matrix"])
        assert np.array_equal(matrix[:3, :3], expected)
        truth, predicted = maps[0, 1], maps[1, 1]
        ious = [((truth == k) & (predicted == k)).sum() / ((truth == k) | (predicted == k)).sum() for k in range(3)]
        values = {item["i"]: item["value"] for item in client.get("worst", by="miou").document}
        assert values[1] == pytest.approx(np.mean(ious))
    finally:
        viewer.stop()
