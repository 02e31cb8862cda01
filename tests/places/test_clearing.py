"""`segdata cache`: what is kept is counted; down to a limit, and what killed processes left, is removed, and nothing else."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

import segdata
from segdata.errors import SignInError
from segdata.places import cache as caches
from segdata.places import clearing, uploads
from tests.helpers import made
from tests.helpers.bucket import SECRET, Bucket, bucket
from tests.helpers.command import Here
from tests.helpers.server import Exchange

__all__ = ["bucket"]

NAME = "images-00000-0123456789ab.h5"


def test_a_signature_is_the_one_that_the_description_of_s3_computes() -> None:
    """The example "Get bucket lifecycle" of "Signature Calculations for the Authorization Header"."""
    keys = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""
    asked = "GET", "examplebucket.s3.amazonaws.com", "/", "lifecycle="
    headers = uploads.signed(asked, "us-east-1", keys, datetime(2013, 5, 24, tzinfo=UTC))
    signature = "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
    assert headers["authorization"].endswith(
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


class Uploads:
    """What a store says of unfinished uploads, one on a page."""

    def __init__(self, bucket: Bucket) -> None:
        hours = {f"pack/{NAME}": 48, "pack/thesis.bin": 48, "pack/annotations-00001-0123456789ab.h5": 1}
        self.there = {f"{name}&1": (name, hours) for name, hours in hours.items()}
        bucket.server.routes[f"/{bucket.name}"] = self.pages
        bucket.faults |= dict.fromkeys(hours, self.give_up)

    def pages(self, x: Exchange) -> None:
        query = parse_qs(urlsplit(x.request.path).query, keep_blank_values=True)
        if "uploads" not in query:  # a listing of objects
            item = "<Contents><Key>pack/{}</Key><LastModified>{}</LastModified><Size>1</Size><ETag>x</ETag></Contents>"
            items = (("segdata-probe-1", when(48)), ("segdata-probe-2", when(0)), ("other", when(48)))
            x.answer(
                200, f"<ListBucketResult>{''.join(item.format(*one) for one in items)}</ListBucketResult>".encode()
            )
            return
        assert query["prefix"] == ["pack/"]
        numbers = sorted(self.there)
        at = numbers.index(query["upload-id-marker"][0]) + 1 if "upload-id-marker" in query else 0
        number, is_cut = numbers[at], str(at + 1 < len(numbers)).lower()
        name, hours = self.there[number]
        key, escaped = name.replace("/", "%2F"), number.replace("&", "&amp;")
        x.answer(
            200,
            f"<R><NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{escaped}</NextUploadIdMarker><IsTruncated>{is_cut}"
            f"</IsTruncated><Upload><Key>{key}</Key><UploadId>{escaped}</UploadId><Initiated>{when(hours)}</Initiated>"
            "</Upload></R>".encode(),
        )

    def give_up(self, x: Exchange) -> None:
        assert x.request.method == "DELETE"
        number = parse_qs(urlsplit(x.request.path.replace("&1", "%261")).query)["uploadId"][0]
        del self.there[number]
        x.answer(204)


def when(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_old_uploads_of_packs_are_given_up_and_others_are_left(bucket: Bucket, here: Here) -> None:
    store = Uploads(bucket)
    bucket.objects = {"pack/segdata-probe-1": b"1", "pack/segdata-probe-2": b"1", "pack/other": b"1"}
    command = ["cache", "gc", "s3://data/pack", "--allow-http"]
    for is_dry in (True, False):
        there = len(store.there), len(bucket.objects)
        done = here(*command, "--json", *(["--dry-run"] if is_dry else []))
        assert done.code == 0, done
        assert done.document["uploads"] == [NAME]
        assert done.document["probes"] == ["segdata-probe-1"]
        assert done.document["in_work"] == 1
        assert there == (3, 3)
    assert sorted(name for name, _ in store.there.values()) == [
        "pack/annotations-00001-0123456789ab.h5",
        "pack/thesis.bin",
    ]
    assert sorted(bucket.objects) == ["pack/other", "pack/segdata-probe-2"]
    assert not any(SECRET in str(request) for request in bucket.server.requests)


def test_a_bucket_that_says_no_is_told_with_what_to_do(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.server.routes["/data"] = lambda x: x.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(SignInError, match="403 Forbidden, AccessDenied") as failed:
        clearing.clear(address="s3://data/pack", allow_http=True)
    assert "AbortIncompleteMultipartUpload" in str(failed.value.fix)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    with pytest.raises(SignInError, match="AWS_ACCESS_KEY_ID"):
        clearing.clear(address="s3://data/pack", allow_http=True)


def test_the_folder_is_counted_and_cleared_down_to_a_limit(bucket: Bucket, here: Here, tmp_path: Path) -> None:
    bucket.add(segdata.convert(made.coco(tmp_path / "source"), tmp_path / "pack", shard_samples=2).target)
    cache = tmp_path / "kept"
    for sample in segdata.open("s3://data/pack", cache=cache, allow_http=True):
        _ = sample.encoded
    folder = cache / caches.FOLDER
    digest = "0" * 64
    left = made.put(folder / f".{digest}.table.part-1-2", "half")
    os.utime(left, (time.time() - 90_000,) * 2)
    young = made.put(folder / f".{digest}.table.part-1-3", "half")
    mine = [made.put(folder / "thesis.table", "years"), made.put(folder / f".{digest}.table", "of work")]
    tables = sorted(folder.glob("[0-9a-f]*.table"))
    document = here("cache", "info", "--cache", cache, "--json").document
    assert (document["tables"]["files"], document["photos"]["files"], document["temporary"]["files"]) == (3, 2, 2)
    assert document["tables"]["bytes"] == sum(path.stat().st_blocks * 512 for path in tables)
    oldest = tables[1]
    os.utime(oldest, (1, 1))
    total = document["tables"]["bytes"] + document["photos"]["bytes"]
    done = here("cache", "gc", "--cache", cache, "--limit", total - 1, "--json").document
    assert done["removed"]["files"] == done["temporary"]["files"] == 1
    assert not oldest.exists() and not left.exists() and young.exists()
    done = here("cache", "gc", "--cache", cache, "--limit", "0").out
    assert "4 files" in done and "(0 B left)" in done
    assert set(folder.iterdir()) == {young, *mine}


def test_a_folder_that_is_not_there_is_empty(here: Here, tmp_path: Path) -> None:
    assert here("cache", "info", "--cache", tmp_path / "none", "--json").document["tables"]["files"] == 0
    assert here("cache", "gc", "--cache", tmp_path / "none", "--limit", "1G").code == 0
    assert here("cache", "gc", "--limit", "much").code == 2
    assert not (tmp_path / "none").exists()
