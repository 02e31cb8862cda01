"""Requests at an address: bytes of an object, a part of it, its size, and puts that depend on what is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from segdata.errors import SegdataError, Unsafe, UsageError
from segdata.places import connection, credentials
from segdata.places.address import Address, plain_http
from segdata.system.secrets import shown

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ENDPOINTS = (*S3_ENDPOINTS, "AZURE_ENDPOINT", "AZURE_STORAGE_ENDPOINT")

_Answer = TypeVar("_Answer")

PROBE = "segdata-probe-"
"""How the names of objects begin with which it is tried out what a store knows."""

PIECE = 1 << 24
"""Most bytes of one request for a whole object."""


class Taken(Exception):
    """A put that depends on what is there was refused: somebody else was first."""


@dataclass(frozen=True)
class Version:
    """What a put may replace: the object as it was read."""

    etag: str | None
    number: str | None


class Bucket:
    """What is at an address; any thread or forked process may use it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connected: tuple[int, Any, Any] | None = None

    def __repr__(self) -> str:
        return f"Bucket({str(self.address)!r})"

    def whole(self, name: str, most: int) -> tuple[bytes, Version]:
        """An object and its version.

        Args:
            most: bytes that it may have.

        Raises:
            FileNotFoundError: it is not there.
            Unsafe: it has more bytes.
            SegdataError: it cannot be had; `connection.declared` says why.
        """

        def ask(library: Any, store: Any) -> tuple[bytes, Version]:
            answer = library.get(store, name)
            size = answer.meta["size"]
            if size > most:
                why = f"it has {size:,} bytes, at most {most:,} are expected"
                raise Unsafe("a file at an address is larger than any of its kind", file=self.address / name, why=why)
            return bytes(answer.bytes()), Version(answer.meta.get("e_tag"), answer.meta.get("version"))

        return self._asked(name, ask)

    def part(self, name: str, start: int, length: int) -> memoryview:
        """(length,) uint8, bytes of an object; fewer where it ends before.

        Raises:
            DamagedData: the object is not there.
            SegdataError: it cannot be had; `connection.declared` says why.
        """
        if not length:
            return memoryview(b"")
        try:
            return self._asked(
                name, lambda library, store: memoryview(library.get_range(store, name, start=start, length=length))
            )
        except FileNotFoundError as error:
            raise self._declared(error, name, connection.library()) from None

    def size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none.

        Raises:
            SegdataError: it cannot be told; `connection.declared` says why.
        """
        library, store = self._store()
        try:
            return int(library.head(store, name)["size"])
        except FileNotFoundError:
            return None
        except (library.exceptions.BaseError, ValueError) as error:
            raise self._declared(error, name, library) from None

    def put(self, name: str, data: bytes | Path, instead_of: Version | Literal["nothing", "anything"]) -> None:
        """Write an object; nobody sees a part of it.

        Args:
            instead_of: the version that it replaces; "nothing" where none may be there.

        Raises:
            Taken: something else is there.
            SegdataError: it cannot be written; `connection.declared` says why.
        """
        library, store = self._store()
        mode: Any
        if isinstance(instead_of, Version):
            known = {"e_tag": instead_of.etag, "version": instead_of.number}
            mode = {key: value for key, value in known.items() if value is not None}
        else:
            mode = "create" if instead_of == "nothing" else "overwrite"
        try:
            library.put(store, name, data, mode=mode)
        except (library.exceptions.AlreadyExistsError, library.exceptions.PreconditionError):
            raise Taken(name) from None
        except (library.exceptions.BaseError, FileNotFoundError, ValueError) as error:
            raise self._declared(error, name, library) from None

    def delete(self, name: str) -> None:
        """Remove an object; nothing where there is none.

        Raises:
            SegdataError: it cannot be removed; `connection.declared` says why.
        """
        library, store = self._store()
        try:
            library.delete(store, name)
        except FileNotFoundError:
            pass
        except (library.exceptions.BaseError, ValueError) as error:
            raise self._declared(error, name, library) from None

    def names_before(self, beginning: str, time: datetime) -> list[str]:
        """Names of objects that begin so and were written before a time, sorted.

        Raises:
            SegdataError: the store does not list them; `connection.declared` says why.
        """
        library, store = self._store()
        try:
            # a listing gives whole folders, and leaves out the store's own prefix
            objects = library.list_with_delimiter(store)["objects"]
        except (library.exceptions.BaseError, FileNotFoundError, ValueError) as error:
            raise self._declared(error, beginning, library) from None
        return sorted(
            item["path"] for item in objects if item["path"].startswith(beginning) and item["last_modified"] <= time
        )

    def _asked(self, name: str, ask: Callable[[Any, Any], _Answer]) -> _Answer:
        """What a request gives; one whose answer was cut is made again."""
        library, store = self._store()
        attempt = 0
        while True:
            try:
                return ask(library, store)
            except FileNotFoundError:
                raise
            except (library.exceptions.BaseError, ValueError) as error:
                if isinstance(error, SegdataError):
                    raise
                if attempt == connection.RETRIES or not connection.is_of_body(error):
                    raise self._declared(error, name, library) from None
            connection.pause(attempt)
            attempt += 1

    def _declared(self, error: Exception, name: str, library: Any) -> SegdataError:
        return connection.declared(error, str(self.address / name), library)

    def _store(self) -> tuple[Any, Any]:
        """The library and its store, made again in a forked process."""
        connected = self._connected
        if connected is None or connected[0] != os.getpid():
            library = connection.library()
            self._connected = connected = os.getpid(), library, _store(self.address, library)
        return connected[1:]


def bucket(address: Address) -> Bucket:
    """What is at an address; the same object, with its connections, while the environment's settings are the same."""
    settings = tuple(item for item in os.environ.items() if item[0].startswith(("AWS_", "AZURE_", "GOOGLE_")))
    return _bucket(address, address.reading.allow_http, settings)


@lru_cache(maxsize=64)
def _bucket(address: Address, _allow_http: bool, _settings: tuple[tuple[str, str], ...]) -> Bucket:
    return Bucket(address)


def _store(address: Address, library: Any) -> Any:
    """A store of the library for an address.

    Raises:
        Unsafe: its endpoint is one of plain http, and that was not allowed.
        UsageError: the environment has a setting that the library refuses.
    """
    allow_http = address.reading.allow_http
    for name in _ENDPOINTS if address.scheme in ("s3", "az") else ():
        if os.environ.get(name, "").lower().startswith("http:") and not allow_http:
            raise plain_http(f"{name}={shown(os.environ[name])}")
    options: dict[str, Any] = {
        "client_options": connection.client_options(allow_http=allow_http),
        "retry_config": connection.retry_config(),
    }
    stores, kinds = library._store, library.exceptions
    try:
        if address.scheme in ("https", "http"):
            return stores.HTTPStore(str(address), **options)
        options["prefix"] = address.prefix or None
        if address.scheme == "s3":
            # one object a request: stores that are like S3 need not know its request for many
            return stores.S3Store(address.host, **options, **credentials.of_files(), disable_bulk_delete=True)
        return (stores.GCSStore if address.scheme == "gs" else stores.AzureStore)(address.host, **options)
    except (kinds.BaseError, ValueError) as error:
        raise UsageError(
            "the settings of this place are not valid",
            file=address,
            why=connection.shortened(error),
            fix="look at the environment, as docs/remote.md names it",
        ) from None
