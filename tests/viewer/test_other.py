"""Two predictions for one pack, compared over HTTP; the numbers are counted by hand from tests/viewer/pair.py."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import segdata
from segdata import Sample
from segdata.errors import LabelMismatch, UsageError
from tests.helpers.command import run_segdata
from tests.viewer import pair
from tests.viewer.client import Client, masks

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return pair.make(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def both(files: tuple[Path, Path, Path]) -> Iterator[Client]:
    viewer = segdata.view(*files)
    client = Client(viewer.address)
    client.ready("compared")
    yield client
    viewer.stop()


def test_what_both_count_and_where_which_is_better(both: Client) -> None:
    compared = both.get("compared").document
    assert compared["by"] == "f1"
    assert compared["images"] == {"better": 1, "worse": 1, "equal": 2, "none": 1}
    ours, other = compared["totals"]
    assert ours == {"tp": 4, "fp": 1, "fn": 1, "f1": 0.8, "precision": 0.8, "recall": 0.8}
    assert [other[name] for name in ("tp", "fp", "fn", "recall")] == [4, 2, 1, 0.8]
    assert (other["f1"], other["precision"]) == pytest.approx((8 / 11, 4 / 6))
    assert compared["categories"] == [[2, 1, 1, 3, 1, 0], [2, 0, 0, 1, 1, 1]]


def test_thresholds_and_queries_count_anew(both: Client) -> None:
    assert both.get("compared", score=0.5).document["images"] == {"better": 1, "worse": 0, "equal": 3, "none": 1}
    of_cats = both.get("compared", where="any(category == 'cat')").document
    assert of_cats["images"] == {"better": 1, "worse": 0, "equal": 1, "none": 0}
    assert of_cats["categories"] == [[1, 1, 0, 1, 1, 0], [2, 0, 0, 1, 0, 1]]


def test_queries_and_orders_know_the_other_predictions(both: Client) -> None:
    for where, numbers in (
        ("f1 > other_f1", [0]),
        ("f1 < other_f1", [1]),
        ("f1 == other_f1", [2, 4]),
        ("f1 == none or other_f1 == none", [3]),
        ("other_fn > 0", [0]),
        ("other_fp > 0", [3, 4]),
        ("other_tp >= 1 and other_iou == 1", [0, 1, 2, 4]),
    ):
        assert both.get("ids", where=where).numbers == numbers, where
    assert both.get("ids", sort="-change").numbers == [0, 2, 4, 1, 3]
    assert both.get("ids", sort="change").numbers == [1, 2, 4, 0, 3]


def test_one_image_of_the_other_predictions(both: Client) -> None:
    tiles = both.get("tiles", ids="0,3").document
    assert tiles[0]["f1"] == 1 and tiles[0]["other"] == {"f1": pytest.approx(2 / 3), "tp": 1, "fp": 0, "fn": 1}
    assert tiles[1]["f1"] is None and tiles[1]["other"] == {"f1": 0, "tp": 0, "fp": 1, "fn": 0}
    shown = masks(both.get("masks/3", of="other").body)
    assert shown["category"].tolist() == [1] and shown["frame"].tolist() == [list(pair.PLACES[pair.CAT])]
    assert len(masks(both.get("masks/3", of="predictions").body)["category"]) == 0
    assert both.get("matches/1").document["truth"] == [-1]
    assert both.get("matches/1", of="other").document["truth"] == [0]
    names = [both.get("pack").document[side]["name"] for side in ("predictions", "other")]
    assert names == ["ours.json", "other.json"]


def test_label_maps_alone_are_compared_by_their_miou(tmp_path: Path) -> None:
    """Left and right half of four images; the IoU of each half that is wrong is 0, or a third where half of it is."""
    road, sky = 0, 1

    def maps(*rows: tuple[int, int]) -> list[np.ndarray]:
        return [np.repeat(np.array([row], np.uint8), 20, axis=0).repeat(15, axis=1) for row in rows]

    truth = maps((road, sky), (road, sky), (road, sky), (road, road))
    ours = maps((road, sky), (road, road), (sky, road), (road, road))
    other = maps((road, road), (road, sky), (sky, road), (road, road))
    for name, side in (("pack", truth), ("ours", ours), ("other", other)):
        samples = [Sample.build(f"image {n}", size=(20, 30), semantic=each) for n, each in enumerate(side)]
        segdata.write({"val": samples}, tmp_path / name, labels=["road", "sky"], workers=1)
    viewer = segdata.view(tmp_path / "pack", tmp_path / "ours", tmp_path / "other")
    try:
        client = Client(viewer.address)
        compared = client.ready("compared")
        assert compared["by"] == "miou"
        assert compared["images"] == {"better": 1, "worse": 1, "equal": 2, "none": 0}
        assert client.get("ids", sort="-miou").numbers == [0, 3, 1, 2]
        assert client.get("ids", where="miou > other_miou").numbers == [0]
        assert client.get("ids", where="miou < other_miou and miou == 0.25").numbers == [1]
        for number in range(4):
            for of, side in (("truth", truth), ("predictions", ours), ("other", other)):
                answer = client.get(f"semantic/{number}", of=of)
                assert answer.headers["x-segdata-size"] == "20,30,1"
                shown = np.frombuffer(gzip.decompress(answer.body), np.uint8).reshape(20, 30)
                assert np.array_equal(shown, side[number])
    finally:
        viewer.stop()


def test_predictions_that_are_the_same_are_equal_everywhere(files: tuple[Path, Path, Path]) -> None:
    pack, ours, _ = files
    viewer = segdata.view(pack, ours, ours)
    try:
        compared = Client(viewer.address).ready("compared")
    finally:
        viewer.stop()
    assert compared["images"] == {"better": 0, "worse": 0, "equal": 4, "none": 1}
    assert compared["totals"][0] == compared["totals"][1]


def test_images_that_one_leaves_out_count_for_neither(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Other predictions of image 0 alone: a pack of predictions is about the images that it has."""
    pack, ours, _ = files
    one = segdata.open(pack)[0]
    segdata.write([one], tmp_path / "one", labels=segdata.open(pack).labels, workers=1)
    viewer = segdata.view(pack, ours, tmp_path / "one")
    try:
        compared = Client(viewer.address).ready("compared")
    finally:
        viewer.stop()
    assert compared["images"] == {"better": 0, "worse": 0, "equal": 1, "none": 4}
    assert [(side["tp"], side["fp"], side["fn"]) for side in compared["totals"]] == [(2, 0, 0)] * 2


def test_without_other_predictions_the_errors_say_what_to_do(compared: Client) -> None:
    assert compared.get("pack").document["other"] is None
    for name, query, status in (
        ("ids", {"where": "other_f1 < f1"}, 400),
        ("ids", {"sort": "change"}, 400),
        ("compared", {}, 404),
        ("masks/0", {"of": "other"}, 404),
        ("matches/0", {"of": "other"}, 404),
    ):
        answer = compared.get(name, **query)
        assert answer.status == status, name
        assert answer.document["error"]["fix"] == "segdata view PACK PREDICTIONS OTHER", answer.document


def test_other_predictions_of_other_categories_are_refused(
    files: tuple[Path, Path, Path], dataset: tuple[Path, Path]
) -> None:
    pack, ours, other = files
    foreign = dataset[0].with_name("foreign")
    if not foreign.exists():
        segdata.convert(dataset[0], foreign, workers=1, images="none")
    with pytest.raises(LabelMismatch):
        segdata.view(pack, ours, foreign)
    refused = run_segdata("view", pack, ours, foreign, "--no-open")
    assert refused.code == 4 and "person" in refused.err
    with pytest.raises(UsageError, match="compared with predictions"):
        segdata.view(pack, None, other)
