"""Faults of a network and of servers, through the real command: message, exit code, what is on disk, and that it goes on."""

from __future__ import annotations

import email.utils
import gzip
import json
import random
import subprocess
import time
from typing import Any

import pytest

from tests.helpers.command import Outcome
from tests.helpers.fetches import A, bad, good, ranges, stop_halfway
from tests.helpers.places import Place, archive, sha256
from tests.helpers.server import Exchange, Route, cut_after, file, once


def test_a_file_arrives_is_checked_and_extracted_once(place: Place) -> None:
    data = archive()
    place.offer(data)
    assert good(place, "--json").document["files"][0]["verified"] is True
    again = good(place, "--json")
    assert again.document["downloaded"] == 0 and len(place.server.of(A)) == 1
    receipt = json.loads((place.home / "receipts/a.zip.json").read_text())
    assert receipt["bytes"] == len(data) and f"sha256:{receipt['sha256']}" == sha256(data) == receipt["digest"]
    assert receipt["url"] == f"{place.server.url}{A}" and receipt["etag"] == '"one"' and receipt["first_use"] is False


def test_a_server_without_ranges_makes_it_start_over(place: Place) -> None:
    data = archive()
    place.offer(data)
    stop_halfway(place, data, 1000)
    place.server.routes[A] = lambda x: x.answer(200, data, etag='"one"')
    assert "ignores ranges; starting over" in good(place).err
    assert ranges(place) == ["bytes=1000-"]


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ({"etag": '"old"'}, '"old"'),
        ({"etag": 'W/"weak"', "last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, "Mon, 01 Jan 2024 00:00:00 GMT"),
    ],
)
def test_changed_content_is_never_mixed(kept: dict[str, str], asked: str, place: Place) -> None:
    data = archive()
    place.offer(data)
    stop_halfway(place, random.Random(9).randbytes(len(data)), 1000, **kept)
    place.server.routes[A] = file(data, etag='"new"')
    assert "changed on the server; starting over" in good(place).err
    request = place.server.of(A)[0]
    assert (request.headers["range"], request.headers["if-range"]) == ("bytes=1000-", asked)


def test_a_206_with_another_etag_discards_the_part(place: Place) -> None:
    data = archive()
    place.offer(data)
    stop_halfway(place, b"x" * len(data), 1000)

    def wrong(x: Exchange) -> None:
        x.answer(206, data[1000:], content_range=f"bytes 1000-{len(data) - 1}/{len(data)}", etag='"two"')

    place.server.routes[A] = once(wrong, file(data, etag='"two"'))
    assert "changed on the server" in good(place).err
    assert ranges(place) == ["bytes=1000-", None]


def test_without_any_validator_the_digest_decides(place: Place) -> None:
    data = archive()
    place.offer(data)
    place.server.routes[A] = cut_after(b"old" * 400 + data[1200:], 1200, etag="")
    place.fetch("--retries", "1")
    place.server.requests.clear()
    place.server.routes[A] = file(data, etag=None)
    assert "after a resumed download; starting over" in good(place).err
    assert ranges(place) == ["bytes=1200-", None]
    assert "if-range" not in place.server.of(A)[0].headers


@pytest.mark.parametrize(
    "said",
    ["bytes 900-{last}/{total}", "bytes 1000-{last}/99999", "bytes 0-{last}/{total}", "", "multipart"],
)
def test_another_range_than_asked_for_is_refused(said: str, place: Place) -> None:
    data = archive()
    place.offer(data)
    stop_halfway(place, data, 1000)

    def wrong(x: Exchange) -> None:
        if x.first is None:
            x.answer(200, data, etag='"one"')
        elif said == "multipart":
            x.answer(206, data[1000:], content_type="multipart/byteranges; boundary=x")
        else:
            x.answer(206, data[1000:], content_range=said.format(last=len(data) - 1, total=len(data)), etag='"one"')

    place.server.routes[A] = wrong
    good(place)
    assert ranges(place) == ["bytes=1000-", None]


def test_a_complete_part_is_taken(place: Place) -> None:
    data = archive()
    place.offer(data, bytes="unknown")

    def whole_and_cut(x: Exchange) -> None:
        x.head(200, connection="close", etag='"one"')
        x.send(data)
        x.cut()

    place.server.routes[A] = whole_and_cut
    # The part is complete, and the run is stopped before it is checked: the same as one that was cut after the last byte.
    stop_halfway(place, data + b"?", len(data))
    place.server.routes[A] = file(data)
    good(place)
    assert ranges(place) == [f"bytes={len(data)}-"]


def test_a_part_larger_than_the_file_is_dropped(place: Place) -> None:
    data = archive()
    place.offer(data, bytes="unknown")
    stop_halfway(place, data + b"x" * 500, len(data) + 100)
    place.server.routes[A] = file(data)
    assert "starting over" in good(place).err
    assert ranges(place) == [f"bytes={len(data) + 100}-", None]


@pytest.mark.parametrize("known", [True, False])
def test_a_short_body_is_resumed_until_the_attempts_are_used_up(known: bool, place: Place) -> None:
    data = archive()
    changes: dict[str, Any] = {} if known else {"bytes": "unknown"}
    place.offer(data, **changes)
    place.server.routes[A] = cut_after(data, 1000)
    bad(place, 5, f"cut at 1,000 of {len(data):,} bytes", "attempt 3 of 3", options=("--retries", "3"))
    assert ranges(place) == [None, "bytes=1000-", "bytes=1000-"]
    place.server.routes[A] = file(data)
    good(place)
    assert ranges(place)[-1] == "bytes=1000-"


def no_length(data: bytes) -> Route:
    def route(x: Exchange) -> None:
        x.head(200, connection="close")
        x.send(data)
        x.cut()

    return route


def test_without_a_length_the_manifest_decides(place: Place) -> None:
    data = archive()
    place.offer(data, once(no_length(data[:1000]), file(data)))
    good(place)
    assert ranges(place) == [None, "bytes=1000-"]


def test_without_any_length_the_digest_decides(place: Place) -> None:
    data = archive()
    place.offer(data, no_length(data[:1000]), bytes="unknown")
    bad(place, 8, "expected sha256", "1,000 bytes")
    place.server.routes[A] = no_length(data)
    good(place)


def test_without_length_and_digest_it_is_not_verified(place: Place) -> None:
    data = archive()
    place.offer(data, no_length(data), bytes="unknown", digest="unknown")
    done = place.fetch("--accept-unverified", "--json")
    assert done.code == 3 and done.document["files"][0]["verified"] is False
    assert place.is_whole()


def test_a_missing_last_chunk_is_a_cut(place: Place) -> None:
    data = archive()

    def chunked(x: Exchange) -> None:
        x.head(200, transfer_encoding="chunked", etag='"one"')
        x.send(b"%x\r\n%s\r\n" % (1000, data[:1000]))
        x.cut()

    place.offer(data, once(chunked, file(data)), bytes="unknown")
    assert "was cut" in good(place).err
    assert ranges(place) == [None, "bytes=1000-"]


def test_a_compressed_reply_is_decoded_once_and_never_resumed(place: Place) -> None:
    data = archive(30_000)
    packed = gzip.compress(data)

    def encoded(x: Exchange) -> None:
        if x.first is not None:
            x.answer(206, packed[x.first :], content_encoding="gzip", content_range=f"bytes {x.first}-9/{len(data)}")
        else:
            x.answer(200, packed, content_encoding="gzip", etag='"z"')

    place.offer(data)
    stop_halfway(place, data, 1000)
    place.server.routes[A] = encoded
    good(place, size=30_000)
    assert ranges(place) == ["bytes=1000-", None]
    assert {request.headers["accept-encoding"] for request in place.server.of(A)} == {"identity"}


def test_gzip_that_only_names_the_file_s_kind_is_left_alone(place: Place) -> None:
    buffer = subprocess.run(
        ["tar", "-cz", "-C", str(place.folder), place.manifest.name], capture_output=True, check=True
    ).stdout
    place.offer(buffer, file(buffer, content_encoding="x-gzip"), name="a.tgz")
    assert place.fetch().code == 0
    assert (place.home / "raw" / place.manifest.name).is_file()


@pytest.mark.parametrize(
    ("page", "kind", "code", "texts"),
    [
        (
            b"<!DOCTYPE html><html><head><title>Quota\n exceeded</title>",
            "application/zip",
            5,
            ("titled 'Quota exceeded'",),
        ),
        (b"<html><title>Sign in to continue</title><p>", "text/html", 6, ("'Sign in to continue'", "account")),
        (b"It works!", "text/html; charset=utf-8", 5, ("a web page instead of the file",)),
    ],
)
def test_a_web_page_is_no_archive(page: bytes, kind: str, code: int, texts: tuple[str, ...], place: Place) -> None:
    data = archive()
    place.offer(data, lambda x: x.answer(200, page, content_type=kind), bytes="unknown")
    bad(place, code, *texts)
    assert place.files() == set()
    place.server.routes[A] = file(data)
    good(place)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_halfway_keeps_the_part(status: int, place: Place) -> None:
    data = archive()
    place.offer(data, once(cut_after(data, 1000), lambda x: x.answer(status, b"no")))
    bad(place, 6, f"status {status}", "the part that arrived is kept")
    assert (place.home / "archives/.a.zip.part").stat().st_size == 1000
    place.server.routes[A] = file(data)
    good(place)
    assert ranges(place)[-1] == "bytes=1000-"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(status: int, as_date: bool, place: Place) -> None:
    data = archive()
    when = email.utils.formatdate(time.time() + 2.5, usegmt=True) if as_date else "1"
    place.offer(data, once(lambda x: x.answer(status, b"", retry_after=when), file(data)))
    began = time.monotonic()
    assert f"status {status}; trying again in" in good(place).err
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("text", ["99999999", "Fri, 31 Dec 2199 23:59:59 GMT"])
def test_an_absurd_retry_after_ends_it(text: str, place: Place) -> None:
    data = archive()
    place.offer(data, lambda x: x.answer(503, b"", retry_after=text))
    bad(place, 5, "asks to wait", text)
    assert len(place.server.of(A)) == 1


def test_mirrors_are_tried_in_order(place: Place) -> None:
    data = archive()
    place.offer(data, lambda x: x.answer(404), mirrors=[f"{place.server.url}/{name}?key=canary" for name in "bc"])
    place.server.routes["/b"] = lambda x: x.answer(410)
    text = bad(place, 5, "/a.zip: status 404", "/b: status 410", "/c: status 404").err
    assert "canary" not in text
    place.server.requests.clear()
    place.server.routes["/c"] = file(data)
    good(place)
    assert [request.path for request in place.server.requests] == [A, "/b?key=canary", "/c?key=canary"]


def test_a_part_goes_on_at_another_mirror(place: Place) -> None:
    data = archive()
    place.offer(data, once(cut_after(data, 1000), lambda x: x.answer(404)), mirrors=[f"{place.server.url}/b"])
    place.server.routes["/b"] = file(data, etag='"other"')
    good(place)
    assert place.server.of("/b")[0].headers["range"] == "bytes=1000-"


@pytest.mark.parametrize("how", ["silent", "silent head", "slow", "slow head"])
def test_a_stalled_connection_ends(how: str, place: Place) -> None:
    """The server would be silent for longer than the command may run."""
    data = archive()

    def stalled(x: Exchange) -> None:
        if how == "silent head":
            x.stall(100)
            return
        if how == "slow head":
            for letter in b"HTTP/1.1 200 OK\r\nA: very long head":
                x.stall(0.1)
                x.send(bytes([letter]))
            return
        x.head(200, content_length=len(data), etag='"one"')
        x.send(data[:1000])
        for at in range(1000, 1040):
            x.stall(100 if how == "silent" else 0.1)
            x.send(data[at : at + 1])

    place.offer(data, once(stalled, file(data)))
    text = {
        "silent": "fell silent for 0.5 s",
        "silent head": "stays silent",
        "slow": "transfer stalled",
        "slow head": "the head's end",
    }[how]
    assert text in good(place, "--timeout", "0.5").err


def test_an_unknown_host_and_a_proxy_are_named(place: Place) -> None:
    data = archive()
    place.offer(data, url="http://no-such-host.invalid/a.zip")
    bad(place, 5, "no-such-host.invalid cannot be reached", "name cannot be resolved", options=("--retries", "2"))
    done = bad(
        place, 5, "the proxy", "http://127.0.0.1:9", "HTTP_PROXY",
        options=("--retries", "1"), http_proxy="http://me:canary@127.0.0.1:9",
    )  # fmt: skip
    assert "canary" not in done.err + done.out
    place.server.routes = {"http:/": lambda x: x.answer(407)}
    bad(place, 5, "the proxy needs a sign-in", http_proxy=place.server.url)


def test_offline_never_opens_a_connection(place: Place) -> None:
    data = archive()
    place.offer(data)
    bad(place, 5, "--offline", "--from-dir", options=("--offline",))
    assert not place.server.requests
    good(place)
    assert good(place, "--offline").code == 0


def listing(outcome: Outcome) -> dict[str, Any]:
    return {row["file"]: row for row in outcome.document["files"]}


def test_several_files_arrive_at_once_and_one_that_fails_does_not_stop_the_others(place: Place) -> None:
    files = [archive(seed=seed) for seed in range(4)]
    for number, data in enumerate(files):
        place.offer(data, name=f"{number}.zip", part="abcd"[number])
    place.server.routes["/1.zip"] = lambda x: x.answer(404)
    done = place.fetch("--jobs", "2", "--json")
    assert done.code == 5 and "1.zip" in done.document["error"]["message"]
    assert [place.is_whole(seed) for seed in range(4)] == [True, False, True, True]
    place.server.routes["/1.zip"] = file(files[1])
    place.server.requests.clear()
    assert place.fetch().code == 0 and [request.path for request in place.server.requests] == ["/1.zip"]


def test_the_rate_is_limited(place: Place) -> None:
    data = archive(400_000)
    place.offer(data)
    began = time.monotonic()
    good(place, "--limit-rate", "200K", size=400_000)
    assert time.monotonic() - began > 1.7
    assert place.fetch("--limit-rate", "fast").code == 2
