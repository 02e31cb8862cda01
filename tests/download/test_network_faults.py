"""Faults of a network and of servers, through the real command: message, exit code, what is on disk, and that it goes on."""

from __future__ import annotations

import email.utils
import gzip
import json
import random
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Outcome, run_segdata
from tests.helpers.places import Place, archive, sha256
from tests.helpers.server import Exchange, Route, cut_after, file, once, redirect, serving

A = "/a.zip"
LARGE = 9 << 20
"""Two chunks and a bit."""


def good(place: Place, *options: object, seed: int = 0, size: int = 3000, **environment: Any) -> Outcome:
    """The command ends well, and the dataset is there with nothing beside it."""
    done = place.fetch(*options, **environment)
    assert done.code == 0, done.err
    assert place.is_whole(seed, size)
    assert not [name for name in place.files() if not name.startswith("raw/")]
    return done


def bad(place: Place, code: int, *texts: str, options: tuple[object, ...] = (), **environment: Any) -> Outcome:
    """The command ends with this exit code and says all of this; nothing has a final name."""
    done = place.fetch("--json", *options, **environment)
    assert done.code == code, done.err
    assert done.document["ok"] is False and done.document["error"]["exit"] == code
    for text in (*texts, "fix:"):
        assert text in done.err, done.err
    assert not place.is_whole() and not (place.home / "archives/a.zip").exists()
    assert not list((place.home / "receipts").glob("*.json"))
    return done


def stop_halfway(place: Place, data: bytes, count: int, **headers: object) -> None:
    """A first run that gets so many bytes, and keeps them."""
    place.server.routes[A] = cut_after(data, count, **headers)
    place.fetch("--retries", "1")
    assert (place.home / "archives/.a.zip.part").stat().st_size == count
    place.server.requests.clear()


def ranges(place: Place) -> list[str | None]:
    return [request.headers.get("range") for request in place.server.of(A)]


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


def test_redirects_are_followed_but_not_for_ever(place: Place) -> None:
    data = archive()
    place.offer(data, redirect("/1"))
    place.server.routes |= {f"/{n}": redirect(f"/{n + 1}?token=canary") for n in range(1, 40)}
    done = bad(place, 5, "more than 10 redirects", "/a.zip →", "/10")
    assert "canary" not in done.err and "/15" not in done.err
    place.server.routes["/3"] = redirect("/1")
    bad(place, 5, "in a circle")
    place.server.routes["/3"] = redirect("b.zip")
    place.server.routes["/b.zip"] = file(data)
    good(place)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[/"])
def test_redirects_elsewhere_are_refused(target: str, place: Place) -> None:
    data = archive()
    place.offer(data, redirect(target))
    bad(place, 11, "redirect was refused")
    assert len(place.server.of(A)) == 1
    place.server.routes[A] = file(data)
    good(place)


def test_a_public_host_must_not_redirect_to_a_private_address(place: Place) -> None:
    """The server plays the proxy of a public host."""
    data = archive()
    place.offer(data, url="http://downloads.example/a.zip")
    place.server.routes = {"http:/": redirect(f"{place.server.url}{A}"), A: file(data)}
    bad(place, 11, "from a public host to a private address", http_proxy=place.server.url)
    assert [request.path for request in place.server.requests] == ["http://downloads.example/a.zip"]
    place.server.routes = {"http:/": file(data)}
    good(place, http_proxy=place.server.url)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Throw-away certificates: good for 127.0.0.1, for another host, and expired."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    made = {}
    for name, host, end in (
        ("good", "IP:127.0.0.1", "2099"),
        ("other", "DNS:x.example", "2099"),
        ("old", "IP:127.0.0.1", "2021"),
    ):
        key, request, certificate = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem"))
        (folder / "settings").write_text(
            f"[ca]\ndefault_ca = it\n[it]\nnew_certs_dir = {folder}\ndatabase = {folder}/index\nrand_serial = yes\n"
            "default_md = sha256\npolicy = any\ncopy_extensions = copy\n[any]\ncommonName = supplied\n"
        )
        (folder / "index").write_text("")
        for command in (
            ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
             "-out", request, "-subj", "/CN=test", "-addext", f"subjectAltName={host}"],
            ["ca", "-batch", "-selfsign", "-notext", "-config", folder / "settings", "-keyfile", key, "-in", request,
             "-out", certificate, "-startdate", "20200101000000Z", "-enddate", f"{end}0101000000Z"],
        ):  # fmt: skip
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
        made[name] = (certificate, key)
    return made


@pytest.mark.parametrize(
    ("name", "trusted", "text"),
    [("good", False, "self-signed certificate"), ("other", True, "not valid for"), ("old", True, "expired")],
)
def test_a_certificate_that_is_not_trusted_stops_it(
    name: str, trusted: bool, text: str, place: Place, certificates: dict[str, tuple[Path, Path]]
) -> None:
    data = archive()
    with serving(certificates[name]) as secure:
        secure.routes[A] = file(data)
        place.offer(data, url=f"{secure.url}{A}")
        bundle: dict[str, Any] = {"REQUESTS_CA_BUNDLE": str(certificates[name][0])} if trusted else {}
        bad(place, 5, text, "REQUESTS_CA_BUNDLE", **bundle)
        assert not secure.requests
    with serving(certificates["good"]) as secure:
        secure.routes[A] = file(data)
        place.manifest.write_text(place.manifest.read_text().partition("[[remotes]]")[0])
        place.offer(data, url=f"{secure.url}{A}")
        good(place, REQUESTS_CA_BUNDLE=str(certificates["good"][0]))


@pytest.mark.parametrize("pinned", ["sha256", "md5"])
def test_https_to_http_needs_a_sha256(pinned: str, place: Place, certificates: dict[str, tuple[Path, Path]]) -> None:
    import hashlib

    data = archive()
    digest = f"{pinned}:{hashlib.new(pinned, data).hexdigest()}"
    place.server.routes[A] = file(data)
    with serving(certificates["good"]) as secure:
        secure.routes["/s.zip"] = redirect(f"{place.server.url}{A}")
        place.offer(data, url=f"{secure.url}/s.zip", file="a.zip", digest=digest)
        trust: dict[str, Any] = {"REQUESTS_CA_BUNDLE": str(certificates["good"][0])}
        if pinned == "sha256":
            good(place, **trust)
        else:
            bad(place, 11, "from https to plain http", **trust)
            assert place.server.of(A) == []


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
