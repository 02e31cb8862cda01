"""Faults of a network and of servers, through the real command: message, exit code, what is on disk, and that it goes on."""

from __future__ import annotations

import email.utils
import gzip
import json
import random
import subprocess
import time
from importlib import util
from typing import Any

import pytest

from tests.helpers.command import Outcome
from tests.helpers.dataset import A, Dataset, archive, bad, good, ranges, sha256, stop_halfway
from tests.helpers.server import Exchange, Route, cut_after, file, once


def test_a_file_arrives_is_checked_and_extracted_once(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    assert good(dataset, "--json").document["files"][0]["verified"] is True
    again = good(dataset, "--json")
    assert again.document["downloaded"] == 0 and len(dataset.server.of(A)) == 1
    receipt = json.loads((dataset.home / "receipts/a.zip.json").read_text())
    assert receipt["bytes"] == len(data) and f"sha256:{receipt['sha256']}" == sha256(data) == receipt["digest"]
    assert receipt["url"] == f"{dataset.server.url}{A}" and receipt["etag"] == '"one"' and receipt["first_use"] is False


def test_a_server_without_ranges_makes_it_start_over(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    stop_halfway(dataset, data, 1000)
    dataset.server.routes[A] = lambda x: x.answer(200, data, etag='"one"')
    assert "ignores ranges; starting over" in good(dataset).err
    assert ranges(dataset) == ["bytes=1000-"]


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"etag": '"old"'}, '"old"'),
        ({"etag": 'W/"weak"', "last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, "Mon, 01 Jan 2024 00:00:00 GMT"),
    ],
)
def test_changed_content_is_never_mixed(headers: dict[str, str], asked: str, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    stop_halfway(dataset, random.Random(9).randbytes(len(data)), 1000, **headers)
    dataset.server.routes[A] = file(data, etag='"new"')
    assert "changed on the server; starting over" in good(dataset).err
    request = dataset.server.of(A)[0]
    assert (request.headers["range"], request.headers["if-range"]) == ("bytes=1000-", asked)


def test_a_206_with_another_etag_discards_the_part(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    stop_halfway(dataset, b"x" * len(data), 1000)

    def wrong(x: Exchange) -> None:
        x.answer(206, data[1000:], content_range=f"bytes 1000-{len(data) - 1}/{len(data)}", etag='"two"')

    dataset.server.routes[A] = once(wrong, file(data, etag='"two"'))
    assert "changed on the server" in good(dataset).err
    assert ranges(dataset) == ["bytes=1000-", None]


def test_without_any_validator_the_digest_decides(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    dataset.server.routes[A] = cut_after(b"old" * 400 + data[1200:], 1200, etag="")
    dataset.fetch("--retries", "1")
    dataset.server.requests.clear()
    dataset.server.routes[A] = file(data, etag=None)
    assert "after a resumed download; starting over" in good(dataset).err
    assert ranges(dataset) == ["bytes=1200-", None]
    assert "if-range" not in dataset.server.of(A)[0].headers


@pytest.mark.parametrize(
    "said",
    ["bytes 900-{last}/{total}", "bytes 1000-{last}/99999", "bytes 0-{last}/{total}", "", "multipart"],
)
def test_another_range_than_asked_for_is_refused(said: str, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    stop_halfway(dataset, data, 1000)

    def wrong(x: Exchange) -> None:
        if x.first is None:
            x.answer(200, data, etag='"one"')
        elif said == "multipart":
            x.answer(206, data[1000:], content_type="multipart/byteranges; boundary=x")
        else:
            x.answer(206, data[1000:], content_range=said.format(last=len(data) - 1, total=len(data)), etag='"one"')

    dataset.server.routes[A] = wrong
    good(dataset)
    assert ranges(dataset) == ["bytes=1000-", None]


def test_a_complete_part_is_taken(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, bytes="unknown")

    def whole_and_cut(x: Exchange) -> None:
        x.head(200, connection="close", etag='"one"')
        x.send(data)
        x.cut()

    dataset.server.routes[A] = whole_and_cut
    # The part is complete, and the run is stopped before it is checked: the same as one that was cut after the last byte.
    stop_halfway(dataset, data + b"?", len(data))
    dataset.server.routes[A] = file(data)
    good(dataset)
    assert ranges(dataset) == [f"bytes={len(data)}-"]


def test_a_part_larger_than_the_file_is_dropped(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, bytes="unknown")
    stop_halfway(dataset, data + b"x" * 500, len(data) + 100)
    dataset.server.routes[A] = file(data)
    assert "starting over" in good(dataset).err
    assert ranges(dataset) == [f"bytes={len(data) + 100}-", None]


@pytest.mark.parametrize("known", [True, False])
def test_a_short_body_is_resumed_until_the_attempts_are_used_up(known: bool, dataset: Dataset) -> None:
    data = archive()
    changes: dict[str, Any] = {} if known else {"bytes": "unknown"}
    dataset.offer(data, **changes)
    dataset.server.routes[A] = cut_after(data, 1000)
    bad(dataset, 5, f"cut at 1,000 of {len(data):,} bytes", "attempt 3 of 3", options=("--retries", "3"))
    assert ranges(dataset) == [None, "bytes=1000-", "bytes=1000-"]
    dataset.server.routes[A] = file(data)
    good(dataset)
    assert ranges(dataset)[-1] == "bytes=1000-"


def no_length(data: bytes) -> Route:
    def route(x: Exchange) -> None:
        x.head(200, connection="close")
        x.send(data)
        x.cut()

    return route


def test_without_a_length_the_manifest_decides(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, once(no_length(data[:1000]), file(data)))
    good(dataset)
    assert ranges(dataset) == [None, "bytes=1000-"]


def test_without_any_length_the_digest_decides(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, no_length(data[:1000]), bytes="unknown")
    bad(dataset, 8, "expected sha256", "1,000 bytes")
    dataset.server.routes[A] = no_length(data)
    good(dataset)


def test_without_length_and_digest_it_is_not_verified(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, no_length(data), bytes="unknown", digest="unknown")
    done = dataset.fetch("--accept-unverified", "--json")
    assert done.code == 3 and done.document["files"][0]["verified"] is False
    assert dataset.is_whole()


def test_a_missing_last_chunk_is_a_cut(dataset: Dataset) -> None:
    data = archive()

    def chunked(x: Exchange) -> None:
        x.head(200, transfer_encoding="chunked", etag='"one"')
        x.send(b"%x\r\n%s\r\n" % (1000, data[:1000]))
        x.cut()

    dataset.offer(data, once(chunked, file(data)), bytes="unknown")
    assert "was cut" in good(dataset).err
    assert ranges(dataset) == [None, "bytes=1000-"]


def test_a_compressed_reply_is_decoded_once_and_never_resumed(dataset: Dataset) -> None:
    data = archive(30_000)
    packed = gzip.compress(data)

    def encoded(x: Exchange) -> None:
        if x.first is not None:
            x.answer(206, packed[x.first :], content_encoding="gzip", content_range=f"bytes {x.first}-9/{len(data)}")
        else:
            x.answer(200, packed, content_encoding="gzip", etag='"z"')

    dataset.offer(data)
    stop_halfway(dataset, data, 1000)
    dataset.server.routes[A] = encoded
    good(dataset, size=30_000)
    assert ranges(dataset) == ["bytes=1000-", None]
    assert {request.headers["accept-encoding"] for request in dataset.server.of(A)} == {"identity"}


def test_gzip_that_only_names_the_file_s_kind_is_left_alone(dataset: Dataset) -> None:
    buffer = subprocess.run(
        ["tar", "-cz", "-C", str(dataset.folder), dataset.manifest.name], capture_output=True, check=True
    ).stdout
    dataset.offer(buffer, file(buffer, content_encoding="x-gzip"), name="a.tgz")
    assert dataset.fetch().code == 0
    assert (dataset.home / "raw" / dataset.manifest.name).is_file()


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
def test_a_web_page_is_no_archive(page: bytes, kind: str, code: int, texts: tuple[str, ...], dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, lambda x: x.answer(200, page, content_type=kind), bytes="unknown")
    bad(dataset, code, *texts)
    assert dataset.files() == set()
    dataset.server.routes[A] = file(data)
    good(dataset)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_halfway_keeps_the_part(status: int, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, once(cut_after(data, 1000), lambda x: x.answer(status, b"no")))
    bad(dataset, 6, f"status {status}", "the part that arrived is kept")
    assert (dataset.home / "archives/.a.zip.part").stat().st_size == 1000
    dataset.server.routes[A] = file(data)
    good(dataset)
    assert ranges(dataset)[-1] == "bytes=1000-"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(status: int, as_date: bool, dataset: Dataset) -> None:
    data = archive()
    when = email.utils.formatdate(time.time() + 2.5, usegmt=True) if as_date else "1"
    dataset.offer(data, once(lambda x: x.answer(status, b"", retry_after=when), file(data)))
    began = time.monotonic()
    assert f"status {status}; trying again in" in good(dataset).err
    assert time.monotonic() - began > 1


@pytest.mark.parametrize("text", ["99999999", "Fri, 31 Dec 2199 23:59:59 GMT"])
def test_an_absurd_retry_after_ends_it(text: str, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, lambda x: x.answer(503, b"", retry_after=text))
    bad(dataset, 5, "asks to wait", text)
    assert len(dataset.server.of(A)) == 1


def test_mirrors_are_tried_in_order(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, lambda x: x.answer(404), mirrors=[f"{dataset.server.url}/{name}?key=canary" for name in "bc"])
    dataset.server.routes["/b"] = lambda x: x.answer(410)
    text = bad(dataset, 5, "/a.zip: status 404", "/b: status 410", "/c: status 404").err
    assert "canary" not in text
    dataset.server.requests.clear()
    dataset.server.routes["/c"] = file(data)
    good(dataset)
    assert [request.path for request in dataset.server.requests] == [A, "/b?key=canary", "/c?key=canary"]


def test_a_part_goes_on_at_another_mirror(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, once(cut_after(data, 1000), lambda x: x.answer(404)), mirrors=[f"{dataset.server.url}/b"])
    dataset.server.routes["/b"] = file(data, etag='"other"')
    good(dataset)
    assert dataset.server.of("/b")[0].headers["range"] == "bytes=1000-"


@pytest.mark.parametrize("how", ["silent", "silent head", "slow", "slow head"])
def test_a_stalled_connection_ends(how: str, dataset: Dataset) -> None:
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
        for position in range(1000, 1040):
            x.stall(100 if how == "silent" else 0.1)
            x.send(data[position : position + 1])

    dataset.offer(data, once(stalled, file(data)))
    text = {
        "silent": "fell silent for 0.5 s",
        "silent head": "stays silent",
        "slow": "transfer stalled",
        "slow head": "the head's end",
    }[how]
    assert text in good(dataset, "--timeout", "0.5").err


def test_an_unknown_host_and_a_proxy_are_named(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, url="http://no-such-host.invalid/a.zip")
    bad(dataset, 5, "no-such-host.invalid cannot be reached", "name cannot be resolved", options=("--retries", "2"))
    done = bad(
        dataset, 5, "the proxy", "http://127.0.0.1:9", "HTTP_PROXY",
        options=("--retries", "1"), http_proxy="http://me:canary@127.0.0.1:9",
    )  # fmt: skip
    assert "canary" not in done.err + done.out
    dataset.server.routes = {"http:/": lambda x: x.answer(407)}
    bad(dataset, 5, "the proxy needs a sign-in", http_proxy=dataset.server.url)


@pytest.mark.skipif(util.find_spec("socks") is not None, reason="a SOCKS proxy can be used here")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
def test_a_socks_proxy_says_what_it_needs(dataset: Dataset, scheme: str) -> None:
    dataset.offer(archive(), url="http://no-such-host.invalid/a.zip")
    done = bad(
        dataset, 5, "a SOCKS proxy needs PySocks", "pip install 'requests[socks]'", f"{scheme}://127.0.0.1:9",
        all_proxy=f"{scheme}://me:canary@127.0.0.1:9",
    )  # fmt: skip
    assert "canary" not in done.err + done.out and "check the network" not in done.err


def test_offline_never_opens_a_connection(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data)
    bad(dataset, 5, "--offline", "--from-dir", options=("--offline",))
    assert not dataset.server.requests
    good(dataset)
    assert good(dataset, "--offline").code == 0


def listing(outcome: Outcome) -> dict[str, Any]:
    return {row["file"]: row for row in outcome.document["files"]}


def test_several_files_arrive_at_once_and_one_that_fails_does_not_stop_the_others(dataset: Dataset) -> None:
    files = [archive(seed=seed) for seed in range(4)]
    for number, data in enumerate(files):
        dataset.offer(data, name=f"{number}.zip", part="abcd"[number])
    dataset.server.routes["/1.zip"] = lambda x: x.answer(404)
    done = dataset.fetch("--jobs", "2", "--json")
    assert done.code == 5 and "1.zip" in done.document["error"]["message"]
    assert [dataset.is_whole(seed) for seed in range(4)] == [True, False, True, True]
    dataset.server.routes["/1.zip"] = file(files[1])
    dataset.server.requests.clear()
    assert dataset.fetch().code == 0 and [request.path for request in dataset.server.requests] == ["/1.zip"]


def test_the_rate_is_limited(dataset: Dataset) -> None:
    data = archive(400_000)
    dataset.offer(data)
    began = time.monotonic()
    good(dataset, "--limit-rate", "200K", size=400_000)
    assert time.monotonic() - began > 1.7
    assert dataset.fetch("--limit-rate", "fast").code == 2
