"""A small dataset on the loopback server, and the real command that fetches it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Outcome, run_segdata
from tests.helpers.server import Route, Server, cut_after, file, serving

HEAD = """title = "Mine"
homepage = "h"
licence = "l"
citation = "c"
format = "coco"
label_space = "mine"
labels = [{ name = "a", id = 1 }]
"""


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def archive(size: int = 3000, seed: int = 0) -> bytes:
    """A zip of one file of so many random bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr(zipfile.ZipInfo(f"photos/{seed}.bin"), random.Random(seed).randbytes(size))
    return buffer.getvalue()


def until(happens: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small disk in memory, as long as the context lasts; where it cannot be, the test is skipped."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small disk needs root")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    shared_server.routes.clear()
    shared_server.requests.clear()
    yield shared_server


@dataclass
class Dataset:
    """A folder with a manifest of its own and a root for datasets."""

    folder: Path
    server: Server
    home: Path
    manifest: Path

    def offer(self, data: bytes, route: Route | None = None, name: str = "a.zip", **changes: Any) -> None:
        """Add a file to the manifest, and a route to the server; `changes` replace keys of its table."""
        self.server.routes[f"/{name}"] = route or file(data)
        row = {
            **{"part": "photos", "url": f"{self.server.url}/{name}", "bytes": len(data), "digest": sha256(data)},
            **changes,
        }
        text = self.manifest.read_text()
        lines = [f"{key} = {value if isinstance(value, (int, list)) else repr(value)}" for key, value in row.items()]
        lines = [line.replace("True", "true") for line in lines]
        self.manifest.write_text(text + "[[remotes]]\n" + "\n".join(lines) + "\n")

    def fetch(self, *options: object, manifest: object = None, **environment: Any) -> Outcome:
        """The real command, with short waits."""
        waits = ("--retry-wait", "0.01") if "--retry-wait" not in options else ()
        timeout = ("--timeout", "5") if "--timeout" not in options else ()
        return run_segdata(
            "fetch",
            manifest or self.manifest,
            "--root",
            self.home.parent,
            *waits,
            *timeout,
            *options,
            timeout=60,
            **{"HOME": str(self.folder), **self.quiet, **environment},
        )

    @property
    def quiet(self) -> dict[str, Any]:
        """An environment in which neither a key ring nor a proxy of this machine plays a part."""
        return {"NO_PROXY": "127.0.0.1", "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}

    def files(self) -> set[str]:
        """Names below the dataset's folder, receipts left out."""
        names = {path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if path.is_file()}
        return {name for name in names if not name.startswith("receipts/")}

    def is_whole(self, seed: int = 0, size: int = 3000) -> bool:
        """Whether the file of `archive(size, seed)` was extracted."""
        path = self.home / f"raw/photos/{seed}.bin"
        return path.is_file() and path.read_bytes() == random.Random(seed).randbytes(size)


@pytest.fixture
def dataset(tmp_path: Path, server: Server) -> Dataset:
    manifest = tmp_path / "mine.toml"
    manifest.write_text(HEAD)
    return Dataset(tmp_path, server, tmp_path / "root/mine", manifest)


A = "/a.zip"


LARGE = 9 << 20
"""Two chunks and a bit."""


def good(dataset: Dataset, *options: object, seed: int = 0, size: int = 3000, **environment: Any) -> Outcome:
    """The command ends well, and the dataset is there with nothing beside it."""
    done = dataset.fetch(*options, **environment)
    assert done.code == 0, done.err
    assert dataset.is_whole(seed, size)
    assert not [name for name in dataset.files() if not name.startswith("raw/")]
    return done


def bad(dataset: Dataset, code: int, *texts: str, options: tuple[object, ...] = (), **environment: Any) -> Outcome:
    """The command ends with this exit code and says all of this; nothing has a final name."""
    done = dataset.fetch("--json", *options, **environment)
    assert done.code == code, done.err
    assert done.document["ok"] is False and done.document["error"]["exit"] == code
    for text in (*texts, "fix:"):
        assert text in done.err, done.err
    assert not dataset.is_whole() and not (dataset.home / "archives/a.zip").exists()
    assert not list((dataset.home / "receipts").glob("*.json"))
    return done


def stop_halfway(dataset: Dataset, data: bytes, count: int, **headers: object) -> None:
    """A first run that gets so many bytes, and keeps them."""
    dataset.server.routes[A] = cut_after(data, count, **headers)
    dataset.fetch("--retries", "1")
    assert (dataset.home / "archives/.a.zip.part").stat().st_size == count
    dataset.server.requests.clear()


def ranges(dataset: Dataset) -> list[str | None]:
    return [request.headers.get("range") for request in dataset.server.of(A)]
