"""The loader at an address: the same batches, photos asked for before they are needed, neighbours together."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import NetworkError
from segdata.places import connection
from tests.helpers import made
from tests.helpers.bucket import Bucket, bucket
from tests.helpers.server import Exchange

__all__ = ["bucket"]

IMAGES = 24


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of eight photos."""
    folder = tmp_path_factory.mktemp("ahead")
    segdata.convert(made.coco(folder / "source", made.coco_document(IMAGES)), folder / "pack", shard_samples=8)
    return folder / "pack"


def batches(loader: segdata.Loader) -> list[Any]:
    return [(batch.keys, [image.tobytes() for image in batch.images], batch.category.tolist()) for batch in loader]


def asked(bucket: Bucket) -> int:
    return sum("/images-" in request.path for request in bucket.server.requests)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_a_folder(pack: Path, bucket: Bucket, workers: int) -> None:
    bucket.add(pack)
    remote, local = segdata.open("s3://data/pack", allow_http=True), segdata.open(pack)
    options: dict[str, Any] = {
        "batch_size": 3,
        "shuffle": True,
        "seed": 5,
        "workers": workers,
        "repeat": [1.5] * IMAGES,
    }
    for ahead in (0, 5, 64):
        assert batches(segdata.Loader(remote, read_ahead=ahead, **options)) == batches(segdata.Loader(local, **options))
    loader = segdata.Loader(remote, read_ahead=8, **options)
    for _, _ in zip(range(2), loader, strict=False):
        pass
    again = segdata.Loader(remote, read_ahead=64, **options)
    again.load_state_dict(loader.state_dict())
    assert batches(again) == batches(segdata.Loader(local, **options))[2:]


def test_neighbours_come_by_one_request(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    assert len(batches(segdata.Loader(remote, 4, read_ahead=64))) == IMAGES // 4
    assert asked(bucket) == 3
    for sample in remote:
        _ = sample.encoded
    assert asked(bucket) == 3 + IMAGES


def test_requests_are_in_flight_while_others_are_waited_for(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    order = np.arange(IMAGES).reshape(3, 8).T.reshape(-1, 1)  # no two neighbours in a row
    for name in [name for name in bucket.objects if "images-" in name]:
        bucket.faults[name] = slowly(bucket, 0.05)
    began = time.monotonic()
    for _ in segdata.Loader(remote, batches=order, read_ahead=2):
        pass
    assert asked(bucket) > 8
    assert time.monotonic() - began < 0.05 * IMAGES


def slowly(bucket: Bucket, seconds: float) -> Any:
    def route(x: Exchange) -> None:
        x.stall(seconds)
        name = re.sub("^/data/", "", x.request.path)
        bucket._get(x, bucket.objects[name])

    return route


def test_an_error_ahead_names_its_sample(pack: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRIES", 0)
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    bucket.faults[bucket.the("images-00001")] = lambda x: x.answer(500, b"")
    with pytest.raises(NetworkError, match="500") as failed:
        batches(segdata.Loader(remote, 4, read_ahead=64))
    assert failed.value.key == segdata.open(pack).key(8)
    assert "shard 1" in str(failed.value.place)


def test_a_loader_that_is_left_asks_for_no_more(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    for _ in segdata.Loader(remote, 2, read_ahead=4):
        break
    time.sleep(0.1)
    assert asked(bucket) <= 2
    assert not any(getattr(shard.images, "coming", None) for shard in remote._store.shards)
