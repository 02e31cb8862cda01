"""Start and stop the server of a page: one socket, one thread."""

from __future__ import annotations

import contextlib
import errno
import html
import logging
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn

from segdata.correction.journal import default_path
from segdata.errors import DiskError, SegdataError, UsageError
from segdata.pack.read import Pack
from segdata.places.address import located, require_folder
from segdata.viewer.guard import Guard
from segdata.viewer.routes import Routes
from segdata.viewer.session import Session, Start

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SECONDS = 1
"""How long answers that are under way may take when the server is stopped."""


class Viewer:
    """A page that is served.

    Attributes:
        address: where it is, with the token that it needs.
    """

    def __init__(self, session: Session, listener: socket.socket, host: str) -> None:
        self._session = session
        self._routes = Routes(session)
        self._listener = listener
        self._token = secrets.token_urlsafe(24)
        port = listener.getsockname()[1]
        name = host if ":" not in host else f"[{host}]"
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else name
        self.address = f"http://{shown}:{port}/#token={self._token}"
        is_remote = host not in _LOOPBACK
        names = {*_LOOPBACK, host.lower(), *([socket.gethostname().lower()] if is_remote else [])}
        guard = Guard(
            self._routes.app, token=self._token, names=names, any_address=is_remote, connections=self._connections
        )
        config = uvicorn.Config(
            guard,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level=logging.ERROR,  # what strangers send is none of the user's business
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="segdata view", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def __repr__(self) -> str:
        return f"Viewer({self.address!r})"

    def _repr_html_(self) -> str:
        """A link, which notebooks show."""
        name = html.escape(self._session.pack.path.resolve().name)
        return f'<a href="{html.escape(self.address)}" target="_blank" rel="noopener">{name} in a page of its own</a>'

    @property
    def remarks(self) -> list[str]:
        """What is to be said about the file of corrections, in lines for people."""
        editing = self._session.editing
        if editing is None:
            return []
        cut = [f"note: {editing.cut:,} bytes of a torn last line were cut off: its edit is lost"] if editing.cut else []
        return [f"corrections go to {editing.path}", *cut]

    @property
    def is_running(self) -> bool:
        """Whether it answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the server, within two seconds; stopping it again does nothing."""
        self._server.should_exit = True
        self._thread.join(_SECONDS + 0.5)
        self._routes.close()
        self._session.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._listener])

    def _connections(self) -> int:
        return len(self._server.server_state.connections)


def view(
    pack: str | Path | Pack,
    predictions: str | Path | None = None,
    other: str | Path | None = None,
    *,
    split: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    allow_remote: bool = False,
    edits: str | Path | bool = False,
    model: str | Path | None = None,
) -> Viewer:
    """Show a pack in the browser: the page is served until it is stopped, or the program ends.

    Args:
        pack: the pack, or its folder.
        predictions: a pack of predictions or results files about its images, to be compared with it.
        other: other predictions about the same images, which these are compared with.
        split, where, sort: what the page shows first: a split, a query, an order such as `-objects`.
        host: the address that the server listens at; other machines reach only those that are not of this one alone.
        port: 0 for any free one.
        allow_remote: whether `host` may be an address that other machines reach. Whoever has the address with its token
            sees the data; it is not encrypted.
        edits: the file of corrections that the page adds to; True for the one beside the pack, PACK.edits.jsonl. The pack is
            never written.
        model: the folder of a promptable model in ONNX files, for corrections.

    Returns:
        the running page: `address` for the browser, `stop()`.

    Raises:
        NotThere: no such pack, predictions, or split.
        InvalidQuery, UsageError: of `where`, `sort` or `host`.
        LabelMismatch: the predictions have categories that the pack does not have.
        DiskError: the port is in use.
        LockHeld: another process has the edits open.
    """
    if host not in _LOOPBACK and not allow_remote:
        raise UsageError(
            f"other machines may reach {host}", why="they could ask for the data", fix="add --allow-remote if they may"
        )
    path = pack.path if isinstance(pack, Pack) else located(pack)
    listener = _listener(host, port)
    try:
        if other is not None and predictions is None:
            raise UsageError(
                "other predictions are compared with predictions", fix="segdata view PACK PREDICTIONS OTHER"
            )
        given, second = (None if name is None else located(name) for name in (predictions, other))
        if edits is True:
            require_folder(path, "corrections are kept beside the pack; --edits FILE names another place")
        file = None if edits is False else default_path(path) if edits is True else Path(edits)
        if model is not None and file is None:
            raise UsageError("a promptable model is for corrections", fix="add --edit")
        folder = None if model is None else Path(model)
        session = Session(path, given, Start(split, where, sort), other=second, edits=file, model=folder)
        threading.Thread(target=_count_ahead, args=(session,), name="segdata-view-counts", daemon=True).start()
        return Viewer(session, listener, host)
    except BaseException:
        listener.close()
        raise


def _count_ahead(session: Session) -> None:
    """Count what the first page shows while the browser still loads its modules; errors come again when it asks."""
    with contextlib.suppress(Exception):
        _ = session.document


def reached_by(host: str) -> list[str]:
    """Who can reach a server at this address, in lines for people; none where only this machine can."""
    if host in _LOOPBACK:
        return []
    names = [host]
    if host in ("0.0.0.0", "::"):
        names = sorted({str(item[4][0]) for item in socket.getaddrinfo(socket.gethostname(), None)} | {"127.0.0.1"})
    return [
        f"every machine that reaches one of these addresses can open the page: {', '.join(names)}",
        "it needs the token after #, and the data travel without encryption",
    ]


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        DiskError: the port is in use, or not to be had.
        UsageError: this machine has no such address.
    """
    if not 0 <= port < 1 << 16:
        raise UsageError(f"port {port} is none", why="expected 1 … 65535, or 0 for any that is free")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise _not_listening(host, port, error) from error
    # asyncio sets it only for sockets that name their protocol; without it, every body waits 40 ms for the header's ACK
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _not_listening(host: str, port: int, error: OSError) -> SegdataError:
    problem: Any = {"why": error.strerror or str(error)}
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        what = "is in use" if error.errno == errno.EADDRINUSE else "may not be used"
        return DiskError(f"port {port} {what}", fix="leave out --port, or give another one", **problem)
    return UsageError(f"this machine cannot listen at {host!r}", fix="leave out --host", **problem)
