"""Redirects and certificates, through the real command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.dataset import A, Dataset, archive, bad, good
from tests.helpers.server import file, redirect, serving


def test_redirects_are_followed_but_not_for_ever(dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, redirect("/1"))
    dataset.server.routes |= {f"/{n}": redirect(f"/{n + 1}?token=canary") for n in range(1, 40)}
    done = bad(dataset, 5, "more than 10 redirects", "/a.zip →", "/10")
    assert "canary" not in done.err and "/15" not in done.err
    dataset.server.routes["/3"] = redirect("/1")
    bad(dataset, 5, "in a circle")
    dataset.server.routes["/3"] = redirect("b.zip")
    dataset.server.routes["/b.zip"] = file(data)
    good(dataset)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[/"])
def test_redirects_elsewhere_are_refused(target: str, dataset: Dataset) -> None:
    data = archive()
    dataset.offer(data, redirect(target))
    bad(dataset, 11, "redirect was refused")
    assert len(dataset.server.of(A)) == 1
    dataset.server.routes[A] = file(data)
    good(dataset)


def test_a_public_host_must_not_redirect_to_a_private_address(dataset: Dataset) -> None:
    """The server plays the proxy of a public host."""
    data = archive()
    dataset.offer(data, url="http://downloads.example/a.zip")
    dataset.server.routes = {"http:/": redirect(f"{dataset.server.url}{A}"), A: file(data)}
    bad(dataset, 11, "from a public host to a private address", http_proxy=dataset.server.url)
    assert [request.path for request in dataset.server.requests] == ["http://downloads.example/a.zip"]
    dataset.server.routes = {"http:/": file(data)}
    good(dataset, http_proxy=dataset.server.url)


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
    name: str, trusted: bool, text: str, dataset: Dataset, certificates: dict[str, tuple[Path, Path]]
) -> None:
    data = archive()
    with serving(certificates[name]) as secure:
        secure.routes[A] = file(data)
        dataset.offer(data, url=f"{secure.url}{A}")
        bundle: dict[str, Any] = {"REQUESTS_CA_BUNDLE": str(certificates[name][0])} if trusted else {}
        bad(dataset, 5, text, "REQUESTS_CA_BUNDLE", **bundle)
        assert not secure.requests
    with serving(certificates["good"]) as secure:
        secure.routes[A] = file(data)
        dataset.manifest.write_text(dataset.manifest.read_text().partition("[[remotes]]")[0])
        dataset.offer(data, url=f"{secure.url}{A}")
        good(dataset, REQUESTS_CA_BUNDLE=str(certificates["good"][0]))


@pytest.mark.parametrize("pinned", ["sha256", "md5"])
def test_https_to_http_needs_a_sha256(
    pinned: str, dataset: Dataset, certificates: dict[str, tuple[Path, Path]]
) -> None:
    import hashlib

    data = archive()
    digest = f"{pinned}:{hashlib.new(pinned, data).hexdigest()}"
    dataset.server.routes[A] = file(data)
    with serving(certificates["good"]) as secure:
        secure.routes["/s.zip"] = redirect(f"{dataset.server.url}{A}")
        dataset.offer(data, url=f"{secure.url}/s.zip", file="a.zip", digest=digest)
        trust: dict[str, Any] = {"REQUESTS_CA_BUNDLE": str(certificates["good"][0])}
        if pinned == "sha256":
            good(dataset, **trust)
        else:
            bad(dataset, 11, "from https to plain http", **trust)
            assert dataset.server.of(A) == []
