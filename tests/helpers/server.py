"""A threaded server on loopback whose routes misbehave on purpose, and which keeps every request that it got."""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    sent: int = 0
    """Body bytes of the reply."""


class Exchange:
    """A request, and the means to answer it badly."""

    def __init__(self, handler: http.server.BaseHTTPRequestHandler, request: Request, ended: threading.Event) -> None:
        self.handler, self.request, self._ended = handler, request, ended

    def head(self, status: int, **headers: object) -> None:
        """The status line and the headers; `content_length=3` is Content-Length: 3."""
        self.handler.send_response_only(status)
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                self.handler.send_header(name.replace("_", "-").title(), str(one))
        self.handler.end_headers()

    def send(self, data: bytes) -> None:
        """Bytes of the body."""
        with contextlib.suppress(OSError):
            self.handler.wfile.write(data)
            self.request.sent += len(data)

    def stall(self, seconds: float) -> None:
        """Say nothing for a while."""
        self._ended.wait(seconds)

    def cut(self) -> None:
        """End the connection after what was sent."""
        self.handler.close_connection = True
        with contextlib.suppress(OSError):
            self.handler.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, data: bytes = b"", **headers: object) -> None:
        """A whole reply."""
        self.head(status, content_length=len(data), **headers)
        self.send(data)

    @property
    def first(self) -> int | None:
        """First byte of the Range that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.request.headers.get("range", ""))
        return int(asked[1]) if asked else None


Route = Callable[[Exchange], None]


@dataclass
class Server:
    """Routes by path; `/a/b` is looked for as it is, then as `/a/`."""

    url: str
    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    """Set at the end, so that no handler stays asleep."""

    def of(self, path: str) -> list[Request]:
        """The requests for a path, in order."""
        return [request for request in self.requests if request.path.partition("?")[0] == path]


@contextlib.contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """A running server, with TLS where a certificate and its key are given."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(
                self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, self.rfile.read(length)
            )
            server.requests.append(request)
            path = self.path.partition("?")[0]
            route = server.routes.get(path) or server.routes.get(path[: path.find("/", 1) + 1])
            exchange = Exchange(self, request, server.released)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                (route or (lambda x: x.answer(404, b"nothing here")))(exchange)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_CONNECT = _answer  # noqa: N815 (the library's names)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    host = Quiet(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        host.socket = context.wrap_socket(host.socket, server_side=True)
    server = Server(f"http{'s' if certificate else ''}://127.0.0.1:{host.server_address[1]}")
    thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        host.shutdown()
        host.server_close()


def file(data: bytes, *, etag: str | None = '"one"', modified: str | None = None, **headers: object) -> Route:
    """A well-behaved file: ranges, If-Range, 416."""
    known = {name: value for name, value in (("etag", etag), ("last_modified", modified)) if value is not None}

    def route(x: Exchange) -> None:
        validator = x.request.headers.get("if-range")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", x.request.headers.get("range", ""))
        if not asked or (validator is not None and validator not in (etag, modified)):
            x.answer(200, data, **known, **headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            x.answer(416, b"no such range", content_range=f"bytes */{len(data)}")
        else:
            x.answer(206, data[first : last + 1], content_range=f"bytes {first}-{last}/{len(data)}", **known, **headers)

    return route


def once(first: Route, later: Route) -> Route:
    """Another route from the second request on."""
    seen = threading.Lock()

    def route(x: Exchange) -> None:
        (first if seen.acquire(blocking=False) else later)(x)

    return route


def cut_after(data: bytes, count: int, **headers: object) -> Route:
    """Content-Length of the whole, and then only the first bytes; nothing more when asked for the rest."""

    def route(x: Exchange) -> None:
        known = {"content_length": len(data) - (x.first or 0), "etag": '"one"', **headers}
        if x.first is None:
            x.head(200, **known)
            x.send(data[:count])
        else:
            x.head(206, content_range=f"bytes {x.first}-{len(data) - 1}/{len(data)}", **known)
        x.cut()

    return route


def redirect(target: str, status: int = 302) -> Route:
    """To another address."""
    return lambda x: x.answer(status, b"", location=target)


def hanging(data: bytes, count: int) -> Route:
    """The first request gets so many bytes, then silence; later ones are served."""
    serve = file(data)

    def route(x: Exchange) -> None:
        if x.first is not None or len(data) < count:
            serve(x)
            return
        x.head(200, content_length=len(data), etag='"one"')
        x.send(data[:count])
        x.stall(60)

    return route
