"""The blocks of docs/remote.md, as they stand there, with a bucket on this machine."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import segdata
from tests.helpers import made
from tests.helpers.bucket import Bucket, environment
from tests.helpers.command import Here
from tests.helpers.documents import code_blocks
from tests.helpers.server import serving
from tests.test_repository import ROOT

PAGE = ROOT / "docs/remote.md"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A throw-away certificate for 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = tmp_path / "server.pem", tmp_path / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@pytest.fixture
def bucket(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """The page's bucket, by TLS."""
    pytest.importorskip("obstore", reason="the extra `remote` (obstore) is not installed")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with serving(certificate) as server:
        environment(monkeypatch, server.url, tmp_path)
        yield Bucket(server, "bucket")


def test_the_examples_run(bucket: Bucket, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    segdata.convert(made.voc(tmp_path / "source"), "packs/voc")
    lines = [line for block in code_blocks(PAGE, "sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        done = here(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, (line, done.err)
    assert segdata.verify("packs/copy", deep=True).is_good
    names: dict[str, Any] = {}
    for block in code_blocks(PAGE, "python"):
        exec(block, names)
    assert len(list((tmp_path / "cache/segdata-places").glob("*.table"))) > 0
