"""What the server answers about a pack, against the source's own JSON and files, counted with nothing of segdata."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import segdata
from tests.helpers import made
from tests.helpers.samples import SAMPLES, needs_samples
from tests.viewer import client as reading
from tests.viewer.client import Client

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")


def records(root: Path) -> list[dict[str, Any]]:
    """The images of all COCO documents of a folder, in the pack's order, each with its split and annotations."""
    images = []
    for document in sorted((root / "annotations").glob("instances_*.json")):
        content = json.loads(document.read_text())
        names = {category["id"]: category["name"] for category in content["categories"]}
        of_image: dict[int, list[dict[str, Any]]] = {}
        for item in content["annotations"]:
            of_image.setdefault(item["image_id"], []).append({**item, "category": names[item["category_id"]]})
        for image in content["images"]:
            split = document.stem.removeprefix("instances_")
            images.append({**image, "split": split, "objects": of_image.get(image["id"], [])})
    return images


def random_query(rng: np.random.Generator, names: list[str]) -> tuple[str, Callable[[dict[str, Any]], bool]]:
    """A query, and the same in Python over a record of COCO."""
    name = str(rng.choice(names))
    area, number, width = int(rng.integers(20, 5000)), int(rng.integers(0, 5)), int(rng.integers(5, 200))
    parts: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
        (f"any(category == '{name}')", lambda image: any(o["category"] == name for o in image["objects"])),
        (f"objects >= {number}", lambda image: len(image["objects"]) >= number),
        (
            f"count(area > {area} and not iscrowd) > {number}",
            lambda image: sum(o["area"] > area and not o["iscrowd"] for o in image["objects"]) > number,
        ),
        ("any(iscrowd)", lambda image: any(o["iscrowd"] for o in image["objects"])),
        ("split == 'val2017'", lambda image: image["split"] == "val2017"),
        (f"all(width < {width})", lambda image: all(o["bbox"][2] < width for o in image["objects"])),
        (f"id > {3 * number}", lambda image: image["id"] > 3 * number),
        (f"key like '*{number}'", lambda image: image["file_name"].endswith(f"{number}.jpg")),
        (
            f"any(category == '{name}' and area < {area})",
            lambda image: any(o["category"] == name and o["area"] < area for o in image["objects"]),
        ),
        ("width > height", lambda image: image["width"] > image["height"]),
    ]
    one, other = (parts[int(row)] for row in rng.choice(len(parts), 2, replace=False))
    if rng.random() < 0.3:
        return f"not ({one[0]}) or {other[0]}", lambda image: not one[1](image) or other[1](image)
    return f"{one[0]} and ({other[0]})", lambda image: one[1](image) and other[1](image)


def require_equal_counts(client: Client, images: list[dict[str, Any]], seed: int) -> None:
    """Thirty random queries, and what they count, equal to a recount."""
    rng = np.random.default_rng(seed)
    categories = client.get("pack").document["labels"]["categories"]
    names = [category["name"] for category in categories if category["objects"]]
    by_id = {image["id"]: image for image in images}
    order = [by_id[tile["id"]] for tile in client.get("tiles", ids=",".join(map(str, range(len(images))))).document]
    assert len({id(image) for image in order}) == len(images)
    some = 0
    for _ in range(30):
        query, is_meant = random_query(rng, names)
        meant = [image for image in order if is_meant(image)]
        some += 0 < len(meant) < len(images)
        answer = client.get("ids", where=query)
        assert [order[i]["id"] for i in answer.numbers] == [image["id"] for image in meant], query
        assert answer.headers["x-segdata-total"] == str(len(meant))
        facets = client.get("facets", where=query).document
        objects = [o for image in meant for o in image["objects"]]
        assert (facets["images"], facets["objects"]) == (len(meant), len(objects))
        assert facets["splits"] == {s: sum(i["split"] == s for i in meant) for s in facets["splits"]}
        for category, (of_images, of_objects) in zip(categories, facets["categories"], strict=True):
            assert of_objects == sum(o["category"] == category["name"] for o in objects)
            assert of_images == sum(any(o["category"] == category["name"] for o in i["objects"]) for i in meant)
        assert facets["crowds"] == sum(any(o["iscrowd"] for o in i["objects"]) for i in meant)
        assert facets["sizes"]["small"] == sum(o["area"] < 32**2 for o in objects)
        assert facets["sizes"]["medium"] == sum(32**2 <= o["area"] < 96**2 for o in objects)
        assert facets["sizes"]["large"] == sum(o["area"] >= 96**2 for o in objects)
    assert some > 10


@pytest.mark.parametrize("seed", range(3))
def test_counts_of_random_queries_are_those_of_a_recount(client: Client, dataset: tuple[Path, Path], seed: int) -> None:
    require_equal_counts(client, records(dataset[0]), seed)


@needs_samples
def test_counts_of_real_images_are_those_of_a_recount(tmp_path: Path) -> None:
    segdata.convert(SAMPLES / "coco", tmp_path / "pack", images="none", workers=1)
    viewer = segdata.view(tmp_path / "pack")
    try:
        require_equal_counts(Client(viewer.address), records(SAMPLES / "coco"), 7)
    finally:
        viewer.stop()


def test_orders_are_those_of_the_values(client: Client, dataset: tuple[Path, Path]) -> None:
    by_id = {image["id"]: image for image in records(dataset[0])}
    tiles = client.get("tiles", ids=",".join(map(str, range(30)))).document
    images = [by_id[tile["id"]] for tile in tiles]
    values: dict[str, Callable[[dict[str, Any]], Any]] = {
        "index": lambda image: 0,
        "key": lambda image: image["file_name"],
        "objects": lambda image: len(image["objects"]),
        "size": lambda image: image["width"] * image["height"],
        "area": lambda image: sum(o["area"] for o in image["objects"]),
    }
    for name, value in values.items():
        rising = sorted(range(30), key=lambda i: (value(images[i]), i))
        assert client.get("ids", sort=name).numbers == rising
    falling = client.get("ids", sort="-objects").numbers
    assert falling == sorted(range(30), key=lambda i: (-len(images[i]["objects"]), i))
    assert client.get("ids", sort="-index").numbers == list(range(29, -1, -1))


def test_masks_are_those_of_the_source(client: Client, dataset: tuple[Path, Path]) -> None:
    by_id = {image["id"]: image for image in records(dataset[0])}
    objects = 0
    for i in range(30):
        tile = client.get(f"sample/{i}").document
        columns = reading.masks(client.get(f"masks/{i}").body)
        planes = reading.dense(columns)
        image = by_id[tile["id"]]
        assert (columns["height"], columns["width"]) == (image["height"], image["width"])
        assert columns["bits"] == 2 and len(planes) == len(image["objects"]) == len(tile["objects"])
        row_of = {number: row for row, number in enumerate(columns["id"].tolist())}
        for item in image["objects"]:
            row = row_of[item["id"]]
            assert np.array_equal(planes[row], coco_mask.decode(item["segmentation"]))
            assert columns["bbox"][row].tolist() == item["bbox"] and columns["area"][row] == item["area"]
            assert bool(columns["flags"][row] & 1) == bool(item["iscrowd"]) and columns["flags"][row] & 16
            assert np.isnan(columns["score"][row])
            objects += 1
    assert objects > 60


def test_predicted_masks_have_their_scores(compared: Client, client: Client, dataset: tuple[Path, Path]) -> None:
    results = json.loads(dataset[1].read_text())
    for i in range(0, 30, 5):
        number = compared.get(f"sample/{i}").document["id"]
        columns = reading.masks(compared.get(f"masks/{i}", of="predictions").body)
        expected = [item for item in results if item["image_id"] == number]
        assert sorted(columns["score"].tolist()) == sorted(item["score"] for item in expected)
        planes = reading.dense(columns)
        total = sum(int(coco_mask.area(item["segmentation"])) for item in expected)
        assert int(planes.sum()) == total
    answer = client.get("masks/0", of="predictions")
    assert answer.status == 404 and "PREDICTIONS" in answer.document["error"]["fix"]


def test_pictures_are_made_anew_and_exact_ones_are_equal(client: Client, dataset: tuple[Path, Path]) -> None:
    for i in (0, 20):
        tile = client.get(f"sample/{i}").document
        source = dataset[0] / tile["file"]
        pixels = np.asarray(Image.open(source))
        exact = client.get(f"image/{i}", exact=1)
        assert exact.headers["content-type"] == "image/png"
        assert np.abs(np.asarray(Image.open(io.BytesIO(exact.body))).astype(int) - pixels).max() <= 1
        picture = client.get(f"image/{i}")
        assert picture.headers["content-type"] == "image/jpeg" and picture.body != source.read_bytes()
        assert np.abs(np.asarray(Image.open(io.BytesIO(picture.body))).astype(int) - pixels).mean() < 4
        for side in (16, 60, 160):
            thumb = Image.open(io.BytesIO(client.get(f"thumb/{i}", side=side).body))
            assert thumb.size == (min(side, 120), round(90 * min(side, 120) / 120))


@pytest.mark.parametrize("orientation", [3, 6])
def test_pictures_are_not_turned_and_carry_nothing_of_the_file(tmp_path: Path, orientation: int) -> None:
    made.coco(tmp_path / "coco")
    path = tmp_path / "coco/val2017/000000000000.jpg"
    path.write_bytes(made.turned_photo(orientation))
    segdata.convert(tmp_path / "coco", tmp_path / "pack", workers=1, on_error="skip")
    viewer = segdata.view(tmp_path / "pack")
    try:
        client = Client(viewer.address)
        for name in ("thumb/0", "image/0"):
            answer = client.get(name)
            assert answer.status == 200 and b"Exif" not in answer.body
    finally:
        viewer.stop()


def test_label_maps_are_those_of_the_source(tmp_path: Path) -> None:
    made.voc(tmp_path / "VOCdevkit/VOC2012")
    segdata.convert(tmp_path / "VOCdevkit/VOC2012", tmp_path / "pack", workers=1)
    viewer = segdata.view(tmp_path / "pack")
    try:
        client = Client(viewer.address)
        document = client.get("pack").document
        assert document["has_semantic"]
        maps = 0
        for i in range(document["samples"]):
            answer = client.get(f"semantic/{i}")
            if answer.status == 404:
                continue
            maps += 1
            height, width, size = map(int, answer.headers["x-segdata-size"].split(","))
            values = np.frombuffer(gzip.decompress(answer.body), f"<u{size}").reshape(height, width)
            key = client.get(f"sample/{i}").document["key"]
            source = np.asarray(Image.open(tmp_path / f"VOCdevkit/VOC2012/SegmentationClass/{key}.png"))
            assert np.array_equal(values, source)
        assert maps
    finally:
        viewer.stop()


def test_a_pack_without_images_says_so(dataset: tuple[Path, Path], tmp_path: Path) -> None:
    segdata.convert(dataset[0], tmp_path / "pack", images="none", workers=1)
    viewer = segdata.view(tmp_path / "pack")
    try:
        client = Client(viewer.address)
        assert client.get("pack").document["has_images"] is False
        for name in ("thumb/0", "image/0"):
            answer = client.get(name)
            assert answer.status == 404 and "--images embed" in answer.document["error"]["fix"]
        assert client.get("masks/0").status == 200
    finally:
        viewer.stop()


def test_images_that_the_report_names_are_counted_and_shown(tmp_path: Path) -> None:
    segdata.convert(made.yolo(tmp_path / "source"), tmp_path / "pack")
    viewer = segdata.view(tmp_path / "pack")
    try:
        client = Client(viewer.address)
        numbers = np.frombuffer(client.get("ids", where="problem").body, "<u4").tolist()
        assert client.get("facets").document["problems"] == len(numbers) == 4
        assert all(tile["problem"] for tile in client.get("tiles", ids=",".join(map(str, numbers))).document)
    finally:
        viewer.stop()


def test_samples_are_named_by_key_and_by_number(client: Client) -> None:
    assert client.get("find", text="001003").document["ids"] == client.get("find", text="1003").document["ids"]
    (number,) = client.get("find", text="1010").document["ids"]
    assert client.get(f"sample/{number}").document["id"] == 1010
    assert client.get("find", text="nowhere").document["ids"] == []


@pytest.mark.parametrize(
    ("query", "columns"), [("any(category == 'dgo')", [17, 21]), ("objcts > 3", [1, 6]), ("objects >", None)]
)
def test_mistakes_in_queries_have_their_place(client: Client, query: str, columns: list[int] | None) -> None:
    for name in ("ids", "facets"):
        answer = client.get(name, where=query)
        assert answer.status == 400
        error = answer.document["error"]
        assert error["message"] and error["place"] and (columns is None or error["columns"] == columns)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("ids", {"sort": "nothing"}),
        ("ids", {"iou": "x"}),
        ("facets", {"score": "nan"}),
        ("facets", {"score": "2"}),
        ("tiles", {"ids": "1,x"}),
        ("thumb/0", {"side": "1000000"}),
        ("thumb/0", {"side": "-5"}),
        ("masks/0", {"of": "../x"}),
    ],
)
def test_odd_words_are_refused_with_what_is_expected(client: Client, name: str, query: dict[str, str]) -> None:
    answer = client.get(name, **query)
    assert answer.status == 400 and answer.document["error"]["message"]


def test_what_a_browser_has_already_is_not_sent_again(client: Client) -> None:
    for name in ("ids", "thumb/0", "image/1"):
        first = client.get(name)
        again = client.raw(
            f"/api/{name}?v={client.version}", X_Segdata_Token=client.token, If_None_Match=first.headers["etag"]
        )
        assert again.status == 304 and again.body == b""
    assert client.get("ids", where="objects > 2").headers["etag"] != client.get("ids").headers["etag"]


def test_statistics_are_those_of_the_command(client: Client, pack: Path) -> None:
    expected = json.loads(json.dumps(segdata.stats(pack).as_dict(), default=str))
    document = client.ready("statistics")
    assert document["total"] == expected["total"] and document["splits"] == expected["splits"]


def test_names_of_any_characters_are_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\u202e\x07\ud800'\""
    document = made.coco_document()
    document["categories"][0]["name"] = name[:-3]
    made.coco(tmp_path / "coco", document)
    segdata.convert(tmp_path / "coco", tmp_path / "pack", images="none", workers=1, on_error="skip")
    viewer = segdata.view(tmp_path / "pack")
    try:
        client = Client(viewer.address)
        answer = client.get("pack")
        assert answer.headers["content-type"] == "application/json" and answer.body.isascii()
        assert name[:-3] in [category["name"] for category in answer.document["labels"]["categories"]]
        assert client.get("ids", where=f"any(category == '{'x' * 50}')").status == 400
    finally:
        viewer.stop()


def test_many_at_once_get_the_same_answers(client: Client) -> None:
    names = [f"{kind}/{i}" for i in range(30) for kind in ("thumb", "masks", "image")]
    expected = [client.get(name).body for name in names]
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda name: client.get(name).body, names * 2)) == expected * 2
