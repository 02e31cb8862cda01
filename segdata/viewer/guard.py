"""Who may ask the server, and for how much: every request passes here first, those for static files, too.

A page of another site can make a browser send requests to this machine. So the name that was asked for must be one of this
machine (a foreign name that resolves to it is how DNS rebinding works), the page that asks must be ours, and whatever
tells of the data needs the token of this start. There is no cookie: browsers send those to every port of a machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from segdata.errors import SegdataError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN = "x-segdata-token"
VERSION = "x-segdata-version"

CONNECTIONS = 64
"""Most connections that are answered at once."""

MOST_OF_PATH, MOST_OF_QUERY, MOST_OF_BODY = 512, 8192, 4 << 20
"""Bytes of an address' path, of what stands after its `?`, and of what is sent."""

POSTS = re.compile(r"/api/(edits|tool/[a-z]+)")
"""What may be sent to; everything else is read."""

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer."""


class Refused(Exception):
    """A request that is not answered.

    Args:
        status: the HTTP status.
        fix: what to do.
    """

    def __init__(self, status: int, message: str, *, fix: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fix = fix
        self.headers = headers


def error_document(error: SegdataError | Refused) -> dict[str, Any]:
    """An error as the page gets it."""
    names = ("message", "why", "fix", "place", "columns", "file", "key")
    values = {name: getattr(error, name, None) for name in names}
    return {"error": {name: value for name, value in values.items() if value is not None}}


class Guard:
    """Lets requests through to an application, and gives every answer its headers.

    Args:
        token: that requests for data must have.
        names: the hosts that may be asked for, lower case.
        any_address: whether any address of digits may be, too: of a server that other machines reach.
        connections: how many there are.
    """

    def __init__(
        self, app: App, *, token: str, names: Iterable[str], any_address: bool, connections: Callable[[], int]
    ) -> None:
        self._app = app
        self._token = token
        self._names = frozenset(names)
        self._any_address = any_address
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                names = {name for name, _ in message["headers"]}
                if b"cache-control" not in names:
                    more.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *more]
            await send(message)

        try:
            self._require_allowed(scope)
        except Refused as refusal:
            await _refuse(refusal, send_with_headers, is_head=scope["method"] == "HEAD")
            return
        await self._app(scope, _bounded(receive), send_with_headers)

    def _require_allowed(self, scope: Scope) -> None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        if self._connections() > CONNECTIONS:
            raise Refused(429, f"more than {CONNECTIONS} connections at once", connection="close")
        host = ", ".join(headers.get(b"host", []))
        if not self._is_mine(host):
            fix = "open the address that segdata view printed"
            raise Refused(400, f"this server is not {host[:200]!r}", fix=fix)
        self._require_own_page(scope, headers, host)
        path, method = scope["path"], scope["method"]
        may_post = POSTS.fullmatch(path) is not None
        if method not in (("GET", "HEAD", "POST") if may_post else ("GET", "HEAD")):
            allowed = "GET, HEAD, POST" if may_post else "GET, HEAD"
            raise Refused(405, f"{method[:20]} is not answered here", allow=allowed)
        if len(path) > MOST_OF_PATH:
            raise Refused(404, "there is no such address")
        _require_small(scope, headers)
        if path.startswith("/api/"):
            self._require_token(headers)

    def _is_mine(self, host: str) -> bool:
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name = match[1].strip("[]")
        if name in self._names:
            return True
        try:
            return self._any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def _require_own_page(self, scope: Scope, headers: dict[bytes, list[str]], host: str) -> None:
        """Refuse what a page of another site asks for; that somebody follows a link to the page is none of that."""
        for origin in headers.get(b"origin", []):
            if origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
                raise Refused(403, "a page of another site asks for this")
        sites = set(headers.get(b"sec-fetch-site", []))
        if sites <= {"same-origin", "none"}:
            return
        is_link = headers.get(b"sec-fetch-mode") == ["navigate"] and headers.get(b"sec-fetch-dest") == ["document"]
        if not (is_link and scope["path"] == "/" and scope["method"] == "GET"):
            raise Refused(403, "a page of another site asks for this")

    def _require_token(self, headers: dict[bytes, list[str]]) -> None:
        token = "".join(headers.get(TOKEN.encode(), [])).encode("latin-1")
        if not hmac.compare_digest(token, self._token.encode()):
            fix = "open the address that segdata view printed, with all that stands after #"
            raise Refused(401, "the token is missing, or of another start of the server", fix=fix)


def _require_small(scope: Scope, headers: dict[bytes, list[str]]) -> None:
    if len(scope["query_string"]) > MOST_OF_QUERY:
        raise Refused(413, f"the address is longer than {MOST_OF_QUERY:,} characters", fix="shorten the query")
    length = "".join(headers.get(b"content-length", ["0"]))
    if scope["method"] == "POST" and headers.get(b"content-type", [""])[0].partition(";")[0] != "application/json":
        raise Refused(415, "JSON is expected", fix="send it with Content-Type: application/json")
    if not length.isdecimal() or len(length) > 12 or int(length) > MOST_OF_BODY:
        raise Refused(413, f"more than {MOST_OF_BODY >> 20} MiB are sent", connection="close")


def _bounded(receive: Receive) -> Receive:
    """The same, but for bodies that are longer than they may be."""
    length = 0

    async def bounded() -> Message:
        nonlocal length
        message = await receive()
        length += len(message.get("body", b""))
        if length > MOST_OF_BODY:
            raise Refused(413, f"more than {MOST_OF_BODY >> 20} MiB are sent", connection="close")
        return message

    return bounded


async def _refuse(refusal: Refused, send: Send, *, is_head: bool) -> None:
    body = json.dumps(error_document(refusal)).encode()
    headers = [(name.encode(), value.encode()) for name, value in refusal.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
