"""Redirects and certificates, through the real command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fetches import A, bad, good
from tests.helpers.places import Place, archive
from tests.helpers.server import file, redirect, serving


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
