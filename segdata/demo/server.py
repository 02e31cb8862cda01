"""A small web server for the files of a folder, reachable from this machine only."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for plain file names, also for the rest of a file; once per name in `cuts` it stops half-way."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, cuts: set[str], *arguments: object) -> None:
        self._folder = folder
        self._cuts = cuts
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        path = self._folder / name
        if not re.fullmatch(r"[\w.-]+", name) or name.startswith(".") or not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        data = path.read_bytes()
        tag = f'"{path.stat().st_mtime_ns:x}-{len(data):x}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted and self.headers.get("If-Range", tag) == tag else 0
        self.send_response(HTTPStatus.PARTIAL_CONTENT if first else HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - first))
        self.send_header("ETag", tag)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if name in self._cuts:
            self._cuts.remove(name)
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self.wfile.write(data[first:])

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextlib.contextmanager
def serving(folder: Path, *, cut: tuple[str, ...] = ()) -> Iterator[str]:
    """The address at which a folder's files are served until the context ends.

    Args:
        cut: files whose first answer stops half-way, as an unreliable connection would.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folder, set(cut)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
