"""What can be wrong with a place: each is told with file, shard and record, or mended, and nothing hangs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import segdata
from segdata.errors import DamagedData, DiskError, NetworkError, NotThere, SegdataError, SignInError, Unsafe, UsageError
from segdata.places import cache as caches
from segdata.places import connection
from tests.helpers import made
from tests.helpers.bucket import SECRET, Bucket, bucket
from tests.helpers.command import Here
from tests.helpers.dataset import mounted
from tests.helpers.server import Exchange, Route, once, redirect, serving

__all__ = ["bucket"]

PLACE = "s3://data/pack"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards with embedded images."""
    folder = tmp_path_factory.mktemp("bad")
    segdata.convert(made.coco(folder / "source"), folder / "pack", shard_samples=2)
    return folder / "pack"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "RETRIES", 1)
    monkeypatch.setattr(connection, "TIMEOUT", timedelta(seconds=0.5))
    monkeypatch.setattr(connection, "FIRST_WAIT", timedelta(milliseconds=10))


def opened(**options: Any) -> segdata.Pack:
    return segdata.open(PLACE, allow_http=True, **options)


def status(code: int, **headers: object) -> Route:
    return lambda x: x.answer(code, b"" if x.request.method == "HEAD" else b"<Error/>", **headers)


def cut(x: Exchange) -> None:
    if "range" in x.request.headers:
        first, last = map(int, x.request.headers["range"].removeprefix("bytes=").split("-"))
        x.head(206, content_length=last + 1 - first, content_range=f"bytes {first}-{last}/{last + 1}", etag='"e"')
    else:
        x.head(200, content_length=1 << 20, etag='"e"')
    x.send(b"{" * 100)
    x.cut()


def silent(x: Exchange) -> None:
    x.stall(20)


def whole_file(bucket: Bucket) -> Route:
    """Requests for a part get everything."""

    def route(x: Exchange) -> None:
        x.request.headers.pop("range", None)
        bucket._get(x, bucket.objects[x.request.path.removeprefix("/data/")])

    return route


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (status(404), NotThere, "there is no pack at s3://data/pack"),
        (status(403), SignInError, "the server says 403 Forbidden"),
        (lambda x: x.answer(400, b"<Error><Code>ExpiredToken</Code></Error>"), SignInError, "does not let us in"),
        (status(401), SignInError, "the place does not let us in"),
        (status(503, retry_after=1), NetworkError, "the server says 503 Service Unavailable"),
        (status(500), NetworkError, "the server says 500 Internal Server Error"),
        (cut, NetworkError, "2 attempts were made"),
        (silent, NetworkError, "2 attempts were made"),
    ],
)
def test_what_the_server_says_about_the_index(
    fault: Route, kind: type[SegdataError], words: str, pack: Path, bucket: Bucket
) -> None:
    bucket.add(pack)
    bucket.faults["pack/pack.json"] = fault
    with pytest.raises(kind) as failed:
        opened()
    assert words in str(failed.value)
    assert failed.value.file == "s3://data/pack/pack.json"
    assert failed.value.fix


@pytest.mark.parametrize("fault", [status(503, retry_after=0), status(500), cut])
@pytest.mark.parametrize("name", ["pack.json", "annotations-00000", "images-00000"])
def test_one_bad_answer_is_asked_for_again(name: str, fault: Route, pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    bucket.faults[bucket.the(name)] = once(
        fault, lambda x: bucket._get(x, bucket.objects[x.request.path.removeprefix("/data/")])
    )
    assert bytes(opened()[0].encoded or b"") == bytes(segdata.open(pack)[0].encoded or b"")


def damaged(bucket: Bucket, name: str, change: Callable[[bytes], bytes | None]) -> str:
    name = bucket.the(name)
    data = change(bucket.objects.pop(name))
    if data is not None:
        bucket.objects[name] = data
    return f"s3://data/{name}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: None, "a file of the pack is missing"),
        (lambda data: data[:-1], "it ends after"),
        (lambda data: data[:-1] + b"#", "expected SHA-256"),
    ],
)
def test_a_table_that_is_not_what_was_recorded(
    change: Callable[[bytes], bytes | None], words: str, pack: Path, bucket: Bucket
) -> None:
    bucket.add(pack)
    file = damaged(bucket, "annotations-00001", change)
    with pytest.raises(DamagedData) as failed:
        opened()
    assert words in str(failed.value) and failed.value.file == file
    assert [damage.file for damage in segdata.verify(segdata.place(PLACE, allow_http=True)).damages] == [file]


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_photo_that_is_not_what_was_recorded_is_named(is_gone: bool, pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    photo = bytes(segdata.open(pack)[2].encoded or b"")
    file = damaged(
        bucket, "images-00001", lambda data: None if is_gone else data.replace(photo, photo[:-9] + b"#" + photo[-8:])
    )
    remote = opened()
    with pytest.raises(DamagedData) as failed:
        for _ in segdata.Loader(remote):
            pass
    assert failed.value.file == file
    assert failed.value.key == remote.key(2)
    assert failed.value.place in ("shard 1, record 0", remote.place(2))


def test_a_server_without_ranges_is_told(pack: Path, bucket: Bucket) -> None:
    bucket.add(pack)
    bucket.faults[bucket.the("images-00000")] = whole_file(bucket)
    with pytest.raises(NetworkError, match="does not give a part of a file"):
        _ = opened()[0].encoded


# ---------------------------------------------------------------------- the cache


def test_photos_are_kept_and_damage_in_the_cache_is_fetched_again(pack: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.add(pack)
    expected = [sample.image.tolist() for sample in segdata.open(pack)]

    def read() -> int:
        bucket.server.requests.clear()
        remote = opened(cache=tmp_path / "cache")
        assert [sample.image.tolist() for sample in remote] == expected
        assert [sample.instances.masks.dense().sum() for sample in remote]
        return len(bucket.server.requests)

    assert read() == 1 + 3 + 3  # the index, three files, three photos
    assert read() == 1
    kept = sorted((tmp_path / "cache" / caches.FOLDER).iterdir())
    assert sorted(path.suffix for path in kept) == [".images"] * 2 + [".table"] * 3
    for path in kept:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path.write_bytes(data)
    assert 1 < read() <= 7
    assert read() == 1


def test_the_cache_keeps_its_limit_and_touches_nothing_else(pack: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.add(pack)
    folder = tmp_path / "cache" / caches.FOLDER
    mine = [made.put(tmp_path / "cache/thesis.txt", "years"), made.put(folder / "thesis.table", "of work")]
    old = made.put(folder / f"{'0' * 64}.table", bytes(100_000))
    remote = opened(cache=tmp_path / "cache", cache_limit=90_000)
    assert len([sample.image for sample in remote]) == 3
    assert not old.exists()
    assert all(path.exists() for path in mine)
    assert sum(path.stat().st_blocks * 512 for path in folder.iterdir() if path not in mine) <= 90_000


def test_a_full_disk_is_told(pack: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.add(pack)
    with mounted(tmp_path / "small", "size=16k") as folder, pytest.raises(DiskError, match="space"):
        _ = [sample.image for sample in opened(cache=folder)]


# ---------------------------------------------------------------------- addresses and secrets


@pytest.mark.parametrize(
    "address",
    [
        f"s3://me:{SECRET}@data/pack",
        f"https://{SECRET}@example.org/pack",
        f"https://example.org/pack?X-Amz-Signature={SECRET}",
        f"az://container/pack#{SECRET}",
    ],
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(address: str, here: Here, tmp_path: Path) -> None:
    for command in (["verify", address], ["push", tmp_path, address], ["pull", address, tmp_path], ["stats", address]):
        done = here(*command, "--json")
        assert done.code == UsageError.exit_code == 2, command
        assert SECRET not in done.out + done.err
        assert "must hold no user, password, query or fragment" in done.out


@pytest.mark.parametrize(
    "address", ["s3://", "s3://bucket//pack", "s3://bucket/../pack", "ftp://host/pack", "s3://b/./p"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="no address of a pack"):
        segdata.place(address)


def test_plain_http_has_to_be_allowed(pack: Path, bucket: Bucket, here: Here) -> None:
    bucket.add(pack)
    for address in (PLACE, f"{bucket.url}/pack"):
        with pytest.raises(Unsafe, match="plain http"):
            segdata.open(address)
        assert here("verify", address).code == Unsafe.exit_code == 11
        assert bucket.server.requests == []
        assert here("verify", address, "--allow-http").code == 0
        bucket.server.requests.clear()


def test_a_folder_is_asked_for_where_files_are_linked(here: Here) -> None:
    done = here("sample", PLACE, "-o", "out", "--number", 1)
    assert (done.code, "segdata pull s3://data/pack PACK" in done.err) == (2, True)


def test_no_secret_is_printed_written_or_sent_elsewhere(
    pack: Path, bucket: Bucket, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for command in (
        ["push", pack, PLACE],
        ["verify", PLACE, "--deep"],
        ["convert", PLACE, "again"],
        ["pull", PLACE, "copy"],
    ):
        done = here(*command, "--allow-http", "--json")
        assert done.code == 0, done
        said.append(done.out + done.err)
    with serving() as other:
        for fault in (status(403), status(500), cut, redirect(f"{other.url}/data/pack/pack.json", 307)):
            bucket.faults["pack/pack.json"] = fault
            done = here("verify", PLACE, "--allow-http", "--debug")
            assert done.code > 0
            said.append(done.out + done.err)
        assert all("authorization" not in request.headers for request in other.requests)
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    said += [data.decode("latin-1") for data in bucket.objects.values()]
    said += [json.dumps(request.headers) + request.path for request in bucket.server.requests]
    assert not any(SECRET in text for text in said)
