"""A bucket on the loopback server: objects with ranges and conditional puts, as S3 has them, and faults on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.helpers.server import Exchange, Route, Server, serving

SECRET = "cAnArYsEcReT0123456789"


class Bucket:
    """Objects by name, such as "pack/pack.json".

    Attributes:
        url: of the bucket, by plain HTTP.
        faults: name → what answers instead of the object.
        has_conditions: whether puts look at If-Match and If-None-Match.
    """

    def __init__(self, server: Server, name: str = "data") -> None:
        self.server = server
        self.name = name
        self.url = f"{server.url}/{name}"
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, Route] = {}
        self.has_conditions = True
        self._lock = threading.Lock()
        server.routes[f"/{self.name}/"] = self._answer

    def add(self, pack: Path, prefix: str = "pack") -> None:
        """The files of a pack."""
        for path in pack.iterdir():
            self.objects[f"{prefix}/{path.name}"] = path.read_bytes()

    def of(self, method: str, ending: str) -> list[dict[str, str]]:
        """The headers of the requests for names with this ending, in order."""
        requests = self.server.requests
        return [each.headers for each in requests if each.method == method and each.path.endswith(ending)]

    def the(self, ending: str) -> str:
        """The first object whose name has these words."""
        return min(name for name in self.objects if ending in name)

    def _answer(self, x: Exchange) -> None:
        x.request.path = unquote(x.request.path)  # Google's clients write "/" as %2F
        name = x.request.path.partition("?")[0].removeprefix(f"/{self.name}/")
        if name in self.faults:
            self.faults[name](x)
            return
        with self._lock:
            if x.request.method == "PUT":
                self._put(x, name)
            elif x.request.method == "DELETE":
                self.objects.pop(name, None)
                x.answer(204)
            elif name not in self.objects:
                x.answer(404, b"" if x.request.method == "HEAD" else b"no such key")
            else:
                self._get(x, self.objects[name])

    def _put(self, x: Exchange, name: str) -> None:
        there, headers = self.objects.get(name), x.request.headers
        is_wrong = (headers.get("if-none-match") == "*" and there is not None) or (
            "if-match" in headers and headers["if-match"] != (None if there is None else etag(there))
        )
        if self.has_conditions and is_wrong:
            x.answer(412, b"")
            return
        self.objects[name] = x.request.body
        x.answer(200, b"", etag=etag(x.request.body))

    def _get(self, x: Exchange, data: bytes) -> None:
        common = {"etag": etag(data), "last_modified": "Wed, 01 Oct 2025 10:00:00 GMT", "accept_ranges": "bytes"}
        if x.request.method == "HEAD":
            x.head(200, content_length=len(data), **common)
            return
        asked = x.request.headers.get("range")
        if asked is None:
            x.answer(200, data, **common)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(data)) + 1, len(data))
        if begin >= len(data):
            x.answer(416, b"", content_range=f"bytes */{len(data)}")
            return
        x.answer(206, data[begin:end], content_range=f"bytes {begin}-{end - 1}/{len(data)}", **common)


def etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket; the environment has the endpoint and a secret key, and the user's cache is a folder of the test."""
    pytest.importorskip("obstore", reason="the extra `remote` (obstore) is not installed")
    with serving() as server:
        environment(monkeypatch, server.url, tmp_path)
        yield Bucket(server)


def environment(monkeypatch: pytest.MonkeyPatch, url: str, folder: Path) -> None:
    """Set the endpoint, a secret key, and a folder for the user's cache."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    key = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": SECRET, "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(key))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(SECRET.encode()).decode())
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache-of-user"))
