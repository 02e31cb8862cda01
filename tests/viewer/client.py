"""A client of the server: plain HTTP, no browser."""

from __future__ import annotations

import http.client
import json
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np


@dataclass(frozen=True)
class Answer:
    """An answer: its status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def numbers(self) -> list[int]:
        return [int(number) for number in np.frombuffer(self.body, "<u4")]


class Client:
    """Asks a server.

    Args:
        address: with its token, as it was printed.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self.token = parts.fragment.removeprefix("token=")
        self.version = ""

    def raw(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """What is answered to a request with these headers; `_` stands for `-`."""
        return self._sent(path, method, None, headers)

    def post(self, path: str, document: object, **headers: str) -> Answer:
        """What is answered to a document that is sent with the token."""
        headers = {"Content_Type": "application/json", "X_Segdata_Token": self.token, **headers}
        return self._sent(path, "POST", json.dumps(document).encode(), headers)

    def _sent(self, path: str, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            headers_of = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers_of, response.read())
        finally:
            connection.close()

    def get(self, name: str, **query: object) -> Answer:
        """What /api/NAME answers with the token and the version."""
        if not self.version and name != "pack":
            self.version = self.get("pack").document["version"]
        query = {"v": self.version, **query}
        words = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in query.items())
        return self.raw(f"/api/{name}?{words}", X_Segdata_Token=self.token)

    def ready(self, name: str, **query: object) -> Any:
        """The same, when it is computed."""
        import time

        for _ in range(400):
            answer = self.get(name, **query)
            if answer.status != 202:
                assert answer.status == 200, answer.body
                return answer.document
            assert len(answer.document["progress"]) == 2
            time.sleep(0.05)
        raise AssertionError(f"{name} is never ready")


def masks(data: bytes) -> dict[str, Any]:
    """The columns of masks, read as docs/view.md says and in no other way."""
    magic, count, runs, height, width, bits = struct.unpack_from("<4s5I", data)
    assert magic == b"SGM1"
    columns: dict[str, Any] = {"height": height, "width": width, "bits": bits}
    at = 24
    for name, kind, shape in (
        ("bbox", "<f8", (count, 4)),
        ("area", "<f8", (count,)),
        ("score", "<f8", (count,)),
        ("id", "<i8", (count,)),
        ("frame", "<i4", (count, 4)),
        ("pointer", "<u4", (count + 1,)),
        ("category", "<u2", (count,)),
        ("runs", "<u2", (runs,)),
        ("flags", "u1", (count,)),
    ):
        size = int(np.prod(shape))
        columns[name] = np.frombuffer(data, kind, size, at).reshape(shape)
        at += size * np.dtype(kind).itemsize
    assert at == len(data)
    return columns


def dense(columns: dict[str, Any]) -> np.ndarray:
    """(N, H, W) uint8, the masks painted run by run."""
    count = len(columns["frame"])
    planes = np.zeros((count, columns["height"], columns["width"]), np.uint8)
    for row in range(count):
        x, y, width, height = columns["frame"][row]
        begin, end = columns["pointer"][row : row + 2]
        lengths = columns["runs"][begin:end]
        flat = np.repeat(np.arange(len(lengths)) % 2, lengths)
        planes[row, y : y + height, x : x + width] = flat.reshape(width, height).T
    return planes
