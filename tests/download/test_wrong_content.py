"""Files that are not what the manifest names, or that nobody vouches for, through the real command."""

from __future__ import annotations

import json
import shutil

from tests.helpers.command import run_segdata
from tests.helpers.dataset import LARGE, A, Dataset, archive, bad, good, ranges, sha256
from tests.helpers.server import file


def test_what_nobody_vouches_for_is_accepted_by_name_and_pinned(dataset: Dataset) -> None:
    data, other = archive(), archive(seed=1)
    dataset.offer(data, bytes="unknown", digest="unknown")
    bad(dataset, 8, "nobody publishes a digest of a.zip", "--accept-unverified")
    assert not dataset.server.requests
    done = dataset.fetch("--accept-unverified")
    assert done.code == 3 and dataset.is_whole() and "pinned" in done.err
    receipt = json.loads((dataset.home / "receipts/a.zip.json").read_text())
    assert receipt["first_use"] is True and f"sha256:{receipt['sha256']}" == sha256(data) and receipt["fetched"]
    listed = dataset.fetch("--json")
    assert listed.code == 0 and listed.document["files"][0]["first_use"] is True
    shutil.rmtree(dataset.home / "raw")
    dataset.server.routes[A] = file(other)
    done = dataset.fetch("--accept-unverified")
    assert done.code == 8 and "not what the manifest names" in done.err
    dataset.server.routes[A] = file(data)
    good(dataset)


def test_a_wrong_file_is_kept_aside_and_the_next_mirror_tried(dataset: Dataset) -> None:
    data, wrong = archive(), archive(seed=7)
    dataset.offer(data, file(wrong), mirrors=[f"{dataset.server.url}/b"])
    assert "/b: status 404" in bad(dataset, 8, "expected sha256", "did not change").err
    assert (dataset.home / "archives/a.zip.bad").read_bytes() == wrong
    dataset.server.routes["/b"] = file(data)
    good(dataset)


def test_new_content_upstream_is_taken_only_by_name(dataset: Dataset) -> None:
    data, new = archive(), archive(4000, seed=5)
    dataset.offer(data, file(new), mirrors=[f"{dataset.server.url}/b"])
    dataset.server.routes["/b"] = file(new)
    text = bad(dataset, 8, "upstream may have changed", "--accept-new-hash", f"offers {len(new):,} bytes").err
    assert sum(request.sent for request in dataset.server.requests) < 2 * len(new) + 1
    assert "segdata fetch" in text
    good(dataset, "--accept-new-hash", seed=5, size=4000)
    receipt = json.loads((dataset.home / "receipts/a.zip.json").read_text())
    assert receipt["accepted"]["instead_of"] == sha256(data) and receipt["accepted"]["by"] and receipt["accepted"]["at"]
    assert good(dataset, "--json", seed=5, size=4000).document["files"][0]["accepted"]


def test_of_the_same_size_the_kept_file_is_taken_without_downloading_again(dataset: Dataset) -> None:
    data, new = archive(), archive(seed=1)
    assert len(data) == len(new)
    dataset.offer(data, file(new))
    bad(dataset, 8, "upstream may have changed")
    dataset.server.requests.clear()
    good(dataset, "--accept-new-hash", seed=1)
    assert dataset.server.requests == []


def test_a_rotten_chunk_is_fetched_alone(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data)
    assert dataset.fetch("--keep-archives").code == 0
    path = dataset.home / "archives/a.zip"
    for where in (5 << 20, len(data) - 3):
        with path.open("r+b") as target:
            target.seek(where)
            target.write(b"rot")
    dataset.server.requests.clear()
    verified = run_segdata("verify", dataset.manifest, "--root", dataset.home.parent)
    assert verified.code == 8 and f"bytes 4,194,304-8,388,607, 8,388,608-{len(data) - 1:,}" in verified.err
    assert f"segdata fetch {dataset.manifest} --root {dataset.home.parent} --repair" in verified.err
    done = dataset.fetch("--repair", "--keep-archives")
    assert done.code == 0 and path.read_bytes() == data, done.err
    assert ranges(dataset) == ["bytes=4194304-8388607", f"bytes=8388608-{len(data) - 1}"]
    assert "no archive is damaged" in dataset.fetch("--repair", "--keep-archives").err
    with path.open("r+b") as target:
        target.truncate(6 << 20)
    dataset.server.requests.clear()
    assert dataset.fetch("--repair", "--keep-archives").code == 0 and path.read_bytes() == data
    assert ranges(dataset) == ["bytes=4194304-8388607", f"bytes=8388608-{len(data) - 1}"]


def test_a_chunk_that_is_wrong_at_the_server_too_is_not_taken(dataset: Dataset) -> None:
    data = archive(LARGE)
    dataset.offer(data)
    dataset.fetch("--keep-archives")
    path = dataset.home / "archives/a.zip"
    broken = data[:100] + b"rot" + data[103:]
    path.write_bytes(broken)
    dataset.server.routes[A] = file(broken)
    done = dataset.fetch("--repair", "--keep-archives")
    assert done.code == 5 and "bytes 0-4194303" in done.err and "other ones there" in done.err
    assert path.read_bytes() == broken
