"""Packs at addresses: the same samples as in a folder, by few requests."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import UsageError
from tests.helpers import made
from tests.helpers.bucket import Bucket, bucket

__all__ = ["bucket"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards with embedded images."""
    folder = tmp_path_factory.mktemp("remote")
    segdata.convert(made.coco(folder / "source"), folder / "pack", shard_samples=2)
    return folder / "pack"


def contents(pack: segdata.Pack) -> list[Any]:
    return [
        [sample.key, bytes(sample.encoded or b""), sample.image.tolist(), sample.instances.masks.dense().tolist()]
        for sample in pack
    ]


@pytest.mark.parametrize("scheme", ["http", "s3", "gs", "az"])
def test_a_pack_at_an_address_has_the_samples_of_the_folder(pack: Path, bucket: Bucket, scheme: str) -> None:
    bucket.add(pack)
    address = f"{bucket.url}/pack" if scheme == "http" else f"{scheme}://data/pack"
    remote = segdata.open(address, allow_http=True)
    assert bucket.of("GET", "/pack.json")[1:] == []
    assert contents(remote) == contents(segdata.open(pack))
    assert str(remote.path) == address
    assert repr(remote).startswith(f"Pack('{address}'")
    for name in bucket.objects:
        if "annotations" in name or "dataset" in name:
            assert len(bucket.of("GET", f"/{name}")) == 1, name
    assert all(headers["range"] for headers in bucket.of("GET", bucket.the("images-")))
    assert ("authorization" in bucket.of("GET", "/pack.json")[0]) == (scheme in ("s3", "az"))


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'segdata[remote]'")):
        segdata.open("s3://data/pack")


def test_tables_come_from_the_cache_the_second_time(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    segdata.open("s3://data/pack", allow_http=True)
    bucket.server.requests.clear()
    remote = segdata.open("s3://data/pack", allow_http=True)
    assert remote.find(segdata.open(pack)[1].key).id == segdata.open(pack)[1].id
    assert [request.path for request in bucket.server.requests] == ["/data/pack/pack.json"]


def test_a_pickled_pack_opens_the_address_again(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)[1:]
    again = pickle.loads(pickle.dumps(remote))
    assert contents(again) == contents(segdata.open(pack)[1:])


def test_verify_reads_the_tables_and_deep_everything(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    address = segdata.place("s3://data/pack", allow_http=True)
    assert segdata.verify(address).is_good
    assert bucket.of("GET", bucket.the("images-")) == []
    name = bucket.the("images-00001")
    photo = bytes(segdata.open(pack)[2].encoded or b"")
    bucket.objects[name] = bucket.objects[name].replace(photo, photo[:-5] + b"#" + photo[-4:])
    damages = segdata.verify(address, deep=True).damages
    assert {damage.file for damage in damages} == {f"s3://data/{name}"}
    assert any(damage.place == "shard 1, record 0" for damage in damages)


def test_a_dataloader_of_forked_workers_reads_photos(pack: Path, bucket: Bucket) -> None:
    data = pytest.importorskip("torch.utils.data", reason="torch is not installed")
    from segdata.torch import Dataset, collate

    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    _ = remote[0].image
    images = {
        name: [image for batch, _ in data.DataLoader(Dataset(of), 2, collate_fn=collate, **options) for image in batch]
        for name, of, options in (
            ("here", segdata.open(pack), {}),
            ("forked", remote, {"num_workers": 1, "multiprocessing_context": "fork"}),
        )
    }
    assert all((one == other).all() for one, other in zip(images["here"], images["forked"], strict=True))


def test_a_conversion_by_several_processes_has_the_bytes_of_one_from_the_folder(
    pack: Path, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.add(pack)
    place = segdata.place("s3://data/pack", allow_http=True)
    segdata.convert(place, tmp_path / "one", shard_samples=1, workers=2)
    segdata.convert(pack, tmp_path / "other", shard_samples=1, workers=1)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).glob("*.h5")} for name in ("one", "other")]
    assert len(files[0]) == 7 and files[0] == files[1]


def _bytes_of_first(pack: segdata.Pack, answers: Any) -> None:
    answers.put(bytes(pack[0].encoded or b""))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_another_process_reads_photos(pack: Path, bucket: Bucket, method: str) -> None:
    bucket.add(pack)
    remote = segdata.open("s3://data/pack", allow_http=True)
    expected = bytes(remote[0].encoded or b"")
    context: Any = multiprocessing.get_context(method)
    answers = context.SimpleQueue()
    process = context.Process(target=_bytes_of_first, args=(remote, answers))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert answers.get() == expected
    assert bytes(remote[0].encoded or b"") == expected
