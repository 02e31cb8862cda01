"""The address of a pack that is in no folder: `s3://bucket/pack`, `gs://…`, `az://…`, `https://…`.

An `Address` is a path, so that what takes a pack's folder takes it as well and names its files with `/`; no file of this
machine has such a path. Credentials are no part of one: they come from the environment, and an address that holds some is
refused, since addresses are printed, logged and written into packs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import urlsplit

from segdata.errors import Unsafe, UsageError
from segdata.system.secrets import shown

SCHEMES = ("s3", "gs", "az", "https", "http")

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(?=[^/])", re.IGNORECASE)
"""How an address begins; a path has lost one of the two slashes."""


@dataclass(frozen=True)
class Reading:
    """How what is at an address is read.

    Attributes:
        cache: the folder where photos are kept, too; None keeps tables alone, in the user's cache folder.
        cache_limit: bytes that the cache may have; None for no limit.
        allow_http: whether connections that anyone on the way can read and change are allowed.
    """

    cache: Path | None = None
    cache_limit: int | None = None
    allow_http: bool = False


class Address(PosixPath):
    """An address as a path; `place` makes one.

    Attributes:
        reading: how what is there is read.
    """

    reading: Reading = Reading()

    def __str__(self) -> str:
        return _ADDRESS.sub(lambda match: f"{match[1]}://", super().__str__(), count=1)

    def __truediv__(self, name: Any) -> Address:
        below = super().__truediv__(name)
        below.reading = self.reading
        return below

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (str(self), self.reading)

    def absolute(self) -> Address:
        """The same address: it depends on no folder."""
        return self

    def resolve(self, strict: bool = False) -> Address:
        """The same address: it has no links."""
        return self

    @property
    def scheme(self) -> str:
        """ "s3", "gs", "az", "https" or "http"."""
        return str(self).partition(":")[0].lower()

    @property
    def host(self) -> str:
        """The bucket or container, or a server with its port."""
        return urlsplit(str(self)).netloc

    @property
    def prefix(self) -> str:
        """What all names of the pack's files have before them, without slashes at its ends."""
        return urlsplit(str(self)).path.strip("/")


def _again(text: str, reading: Reading) -> Address:
    address = Address(text)
    address.reading = reading
    return address


def is_address(path: str | Path) -> bool:
    """Whether a path or text is an address."""
    return isinstance(path, Address) or _ADDRESS.match(os.fspath(path)) is not None


def place(
    address: str | Path,
    *,
    cache: str | Path | None = None,
    cache_limit: int | None = None,
    allow_http: bool = False,
) -> Address:
    """An address with how what is there is read: whatever takes a pack's path takes it.

    >>> segdata.verify(segdata.place("s3://bucket/packs/coco", cache="/nvme/cache"))           # doctest: +SKIP

    Args:
        address: `s3://BUCKET/PACK`, `gs://BUCKET/PACK`, `az://CONTAINER/PACK` or `https://HOST/PACK`.
        cache: a folder where photos are kept once they were read; by default tables alone are kept, in the user's cache
            folder.
        cache_limit: bytes that the folder may have; what was used the longest time ago goes.
        allow_http: allow `http://` addresses and S3 endpoints, whose connections anyone on the way can read and change.

    Raises:
        UsageError: it is no such address, or a secret is in it.
        Unsafe: it is one of plain http, and that was not allowed.
    """
    if cache_limit is not None and cache_limit <= 0:
        raise UsageError("a cache cannot be kept within this limit", why=f"cache_limit is {cache_limit}, in bytes")
    if isinstance(address, Address) and cache is None and cache_limit is None and not allow_http:
        return address
    text = _checked(os.fspath(address))
    if text.lower().startswith("http:") and not allow_http:
        raise plain_http(shown(text))
    return _again(text, Reading(None if cache is None else Path(cache), cache_limit, allow_http))


def located(path: str | Path) -> Path:
    """A path, or an address where it is written as one.

    Raises:
        UsageError: as `place` does.
        Unsafe: as `place` does.
    """
    return place(path) if is_address(path) else Path(path)


def require_folder(path: str | Path, what: str) -> None:
    """Refuse an address where a folder of this machine is needed.

    Args:
        what: what needs it: "packs are linked".

    Raises:
        UsageError: it is an address.
    """
    if is_address(path):
        text = str(located(path))
        raise UsageError(
            "this needs a folder of this machine, not an address",
            file=text,
            why=what,
            fix=f"segdata pull {text} PACK, then do it with PACK",
        )


def plain_http(address: str) -> Unsafe:
    """The error of a connection that is not encrypted."""
    return Unsafe(
        "plain http is not used unless you allow it",
        file=address,
        why="anyone between here and the server can read and change what is sent, credentials' signatures, too",
        fix="use https, or add --allow-http (in Python: allow_http=True) for a server of your own network",
    )


def _checked(text: str) -> str:
    """An address with both slashes and without any at its end."""
    match = _ADDRESS.match(text)
    if match is None:
        raise UsageError(
            "this is no address of a pack",
            why=f"found {shown(text)!r}; expected {', '.join(f'{name}://…' for name in SCHEMES[:-1])}",
            fix="write s3://BUCKET/PACK, gs://BUCKET/PACK, az://CONTAINER/PACK or https://HOST/PACK",
        )
    text = f"{match[1].lower()}://{text[match.end() :]}".rstrip("/")
    rest = text.partition("://")[2]
    if "@" in rest.partition("/")[0] or "?" in rest or "#" in rest:
        raise UsageError(
            "an address must hold no user, password, query or fragment",
            file=shown(text),
            why="addresses are printed, logged and written into packs; secrets in them would be, too",
            fix="leave it out, and give credentials in the environment, as docs/remote.md says; rotate a key that was typed",
        )
    parts = rest.split("/")
    if "" in parts or {".", ".."} & {*parts} or "\\" in rest or not rest.isprintable():
        raise UsageError("this is no address of a pack", file=shown(text), why="a part of it is empty, '.' or '..'")
    return text
