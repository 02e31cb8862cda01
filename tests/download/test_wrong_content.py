"""Files that are not what the manifest names, or that nobody vouches for, through the real command."""

from __future__ import annotations

import json
import shutil

from tests.helpers.command import run_segdata
from tests.helpers.fetches import LARGE, A, bad, good, ranges
from tests.helpers.places import Place, archive, sha256
from tests.helpers.server import file


def test_what_nobody_vouches_for_is_accepted_by_name_and_pinned(place: Place) -> None:
    data, other = archive(), archive(seed=1)
    place.offer(data, bytes="unknown", digest="unknown")
    bad(place, 8, "nobody publishes a digest of a.zip", "--accept-unverified")
    assert not place.server.requests
    done = place.fetch("--accept-unverified")
    assert done.code == 3 and place.is_whole() and "pinned" in done.err
    receipt = json.loads((place.home / "receipts/a.zip.json").read_text())
    assert receipt["first_use"] is True and f"sha256:{receipt['sha256']}" == sha256(data) and receipt["fetched"]
    listed = place.fetch("--json")
    assert listed.code == 0 and listed.document["files"][0]["first_use"] is True
    shutil.rmtree(place.home / "raw")
    place.server.routes[A] = file(other)
    done = place.fetch("--accept-unverified")
    assert done.code == 8 and "not what the manifest names" in done.err
    place.server.routes[A] = file(data)
    good(place)


def test_a_wrong_file_is_kept_aside_and_the_next_mirror_tried(place: Place) -> None:
    data, wrong = archive(), archive(seed=7)
    place.offer(data, file(wrong), mirrors=[f"{place.server.url}/b"])
    assert "/b: status 404" in bad(place, 8, "expected sha256", "did not change").err
    assert (place.home / "archives/a.zip.bad").read_bytes() == wrong
    place.server.routes["/b"] = file(data)
    good(place)


def test_new_content_upstream_is_taken_only_by_name(place: Place) -> None:
    data, new = archive(), archive(4000, seed=5)
    place.offer(data, file(new), mirrors=[f"{place.server.url}/b"])
    place.server.routes["/b"] = file(new)
    text = bad(place, 8, "upstream may have changed", "--accept-new-hash", f"offers {len(new):,} bytes").err
    assert sum(request.sent for request in place.server.requests) < 2 * len(new) + 1
    assert "segdata fetch" in text
    good(place, "--accept-new-hash", seed=5, size=4000)
    receipt = json.loads((place.home / "receipts/a.zip.json").read_text())
    assert receipt["accepted"]["instead_of"] == sha256(data) and receipt["accepted"]["by"] and receipt["accepted"]["at"]
    assert good(place, "--json", seed=5, size=4000).document["files"][0]["accepted"]


def test_of_the_same_size_the_kept_file_is_taken_without_downloading_again(place: Place) -> None:
    data, new = archive(), archive(seed=1)
    assert len(data) == len(new)
    place.offer(data, file(new))
    bad(place, 8, "upstream may have changed")
    place.server.requests.clear()
    good(place, "--accept-new-hash", seed=1)
    assert place.server.requests == []


def test_a_rotten_chunk_is_fetched_alone(place: Place) -> None:
    data = archive(LARGE)
    place.offer(data)
    assert place.fetch("--keep-archives").code == 0
    path = place.home / "archives/a.zip"
    for where in (5 << 20, len(data) - 3):
        with path.open("r+b") as target:
            target.seek(where)
            target.write(b"rot")
    place.server.requests.clear()
    found = run_segdata("verify", place.manifest, "--root", place.home.parent)
    assert found.code == 8 and f"bytes 4,194,304-8,388,607, 8,388,608-{len(data) - 1:,}" in found.err
    assert f"segdata fetch {place.manifest} --root {place.home.parent} --repair" in found.err
    done = place.fetch("--repair", "--keep-archives")
    assert done.code == 0 and path.read_bytes() == data, done.err
    assert ranges(place) == ["bytes=4194304-8388607", f"bytes=8388608-{len(data) - 1}"]
    assert "no archive is damaged" in place.fetch("--repair", "--keep-archives").err
    with path.open("r+b") as target:
        target.truncate(6 << 20)
    place.server.requests.clear()
    assert place.fetch("--repair", "--keep-archives").code == 0 and path.read_bytes() == data
    assert ranges(place) == ["bytes=4194304-8388607", f"bytes=8388608-{len(data) - 1}"]


def test_a_chunk_that_is_wrong_at_the_server_too_is_not_taken(place: Place) -> None:
    data = archive(LARGE)
    place.offer(data)
    place.fetch("--keep-archives")
    path = place.home / "archives/a.zip"
    broken = data[:100] + b"rot" + data[103:]
    path.write_bytes(broken)
    place.server.routes[A] = file(broken)
    done = place.fetch("--repair", "--keep-archives")
    assert done.code == 5 and "bytes 0-4194303" in done.err and "other ones there" in done.err
    assert path.read_bytes() == broken
