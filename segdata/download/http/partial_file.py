"""A download in progress: the bytes so far, their chunk checksums, and what the server said about them.

    .FILE.part          the bytes
    .FILE.part.state    JSON lines: {"url", "etag", "last_modified", "total", "chunk_bytes"}, then a checksum a chunk,
                        and {"tail": n, "crc32": c} for the begun chunk of a download that was stopped in order

After a kill, what the state vouches for is read again, checked and kept; the rest is cut off. Hashing runs in a thread
of its own, beside receiving and writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from segdata.download.progress import Closed
from segdata.download.receipts import CHUNK_BYTES
from segdata.errors import DiskError
from segdata.system.files import boot_id, crc32, disk_errors, sync_folder
from segdata.system.reading import read_file

_AHEAD = 16
"""Pieces that may wait to be hashed."""

_WAIT_BYTES = 64 << 20
"""A larger file is not waited for until it is on the disk, see `Receipt.unsynced`."""


@dataclass(frozen=True)
class Source:
    """Where a part's bytes come from, and what the server said about the whole file."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong ETag, else the date."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Part:
    """The part file of one download; `write` and `stop` may be called from different threads."""

    def __init__(self, path: Path, algorithms: tuple[str, ...]) -> None:
        self.path = path
        self.state = path.with_name(path.name + ".state")
        self.algorithms = algorithms
        self.source: Source | None = None
        self.size = 0
        self.is_synced = False
        self._lock = threading.Lock()
        self._closed = False
        self._file: Any = None
        self._lines: Any = None
        self._start_hashing()

    def load(self, progress: Callable[[int], None] | None = None) -> None:
        """Take over what an earlier run left, as far as its checksums vouch for it; the rest is cut off."""
        known = _read_state(self.state)
        with disk_errors(self.path):
            if known is None or not self.path.is_file() or self.path.is_symlink():
                self.discard()
                return
            source, checksums, tail = known
            self._file = self.path.open("r+b", buffering=0)
            for checksum in checksums:
                data = self._file.read(CHUNK_BYTES)
                if len(data) < CHUNK_BYTES or crc32(data) != checksum:
                    tail = None
                    break
                self._hash(data)
                self._settle()  # one chunk in memory at a time
                if progress:
                    progress(self.size)
            if tail is not None:
                data = self._file.read(tail[0])
                if len(data) == tail[0] and crc32(data) == tail[1]:
                    self._hash(data)
            self._file.seek(self.size)
            self._file.truncate()
            self._settle()
            self._write_state(source)

    def begin(self, source: Source) -> None:
        """Start over, from the first byte, with what the server says about the file."""
        self.discard()
        with disk_errors(self.path), self._lock:
            self._check()
            self._file = self.path.open("wb", buffering=0)
            self._write_state(source)

    def relabel(self, source: Source) -> None:
        """The bytes so far are the beginning of this source's file, too."""
        if source != self.source:
            self._settle()
            with disk_errors(self.state), self._lock:
                self._check()
                self._write_state(source)

    def write(self, data: bytes) -> None:
        """Append."""
        with disk_errors(self.path), self._lock:
            self._check()
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._hash(data)

    def is_in_place(self) -> bool:
        """Whether the open file is still the one under the part's name (its folder may have been deleted or unmounted)."""
        try:
            return self.path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except OSError:
            return False

    def finish(self) -> dict[str, str]:
        """The digests of the whole file by algorithm; its bytes are on the disk afterwards, unless it is large."""
        self._settle()
        if not self.is_in_place():
            raise DiskError(
                "the folder was deleted or unmounted while a file was downloaded into it",
                file=self.path.parent,
                fix="mount or make it again and run the same command",
            )
        self.is_synced = self.size <= _WAIT_BYTES or not boot_id()
        if self.is_synced:
            with disk_errors(self.path):
                os.fsync(self._file.fileno())
        return {name: whole.hexdigest() for name, whole in self._whole.items()}

    def checksums(self) -> tuple[int, ...]:
        """CRC-32 of every chunk, the last one begun included."""
        self._settle()
        begun = self.size % CHUNK_BYTES
        return (*self._checksums, self._crc) if begun else tuple(self._checksums)

    def move(self, target: Path) -> None:
        """Give the finished file its name, and forget the state."""
        with disk_errors(self.path), self._lock:
            self._check()
            self._close_files()
            self.path.replace(target)
            sync_folder(target.parent)
            self.state.unlink(missing_ok=True)
        self._forget()

    def discard(self) -> None:
        """Drop all bytes."""
        self._settle()
        with disk_errors(self.path), self._lock:
            self._check()
            self._close_files()
            self.state.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
        self._forget()

    def _forget(self) -> None:
        self.size, self.source = 0, None
        self._start_hashing()

    def stop(self) -> None:
        """Close for good, keeping what is there and vouching for the begun chunk. Safe to call twice, from any thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._settle()
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.truncate(self.size)  # what a full disk took of the last piece
            if self._lines is not None and self.size % CHUNK_BYTES:
                self._lines.write(json.dumps({"tail": self.size % CHUNK_BYTES, "crc32": self._crc}) + "\n")
            self._close_files()
        self._pieces.put(None)

    def _check(self) -> None:
        if self._closed:
            raise Closed

    def _close_files(self) -> None:
        files, self._file, self._lines = (self._file, self._lines), None, None  # closed even if closing fails
        for file in files:
            if file is not None:
                file.close()

    def _write_state(self, source: Source) -> None:
        before, self._lines = self._lines, None
        if before is not None:
            before.close()
        lines = [json.dumps({**asdict(source), "chunk_bytes": CHUNK_BYTES}), *map(str, self._checksums)]
        new = self.state.with_name(self.state.name + ".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.state)
        self._lines = self.state.open("a", buffering=1)
        self.source = source

    # Hashing: one thread per part takes pieces in order and owns the digests until `_settle` returns.

    def _start_hashing(self) -> None:
        if hasattr(self, "_pieces"):
            self._pieces.put(None)
        self._whole = {name: hashlib.new(name, usedforsecurity=False) for name in self.algorithms}
        self._checksums: list[int] = []
        self._crc = self._begun = 0
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._failure: BaseException | None = None
        self._idle = threading.Condition()
        self._waiting = 0
        threading.Thread(target=self._work, args=(self._pieces,), daemon=True).start()

    def _hash(self, data: bytes) -> None:
        self.size += len(data)
        self._raise()
        self._room.acquire()
        with self._idle:
            self._waiting += 1
        self._pieces.put(data)

    def _settle(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._waiting == 0)
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None and not self._closed:
            with disk_errors(self.state):
                raise self._failure

    def _work(self, pieces: SimpleQueue[bytes | None]) -> None:
        while (data := pieces.get()) is not None:
            try:
                if self._failure is None:
                    self._take(data)
            except OSError as error:
                self._failure = error
            finally:
                self._room.release()
                with self._idle:
                    self._waiting -= 1
                    self._idle.notify_all()

    def _take(self, data: bytes) -> None:
        for whole in self._whole.values():
            whole.update(data)
        view = memoryview(data)
        while view:
            piece = view[: CHUNK_BYTES - self._begun]
            view = view[len(piece) :]
            self._crc = crc32(piece, self._crc)
            self._begun += len(piece)
            if self._begun == CHUNK_BYTES:
                self._checksums.append(self._crc)
                if self._lines is not None:
                    self._lines.write(f"{self._crc}\n")
                self._crc = self._begun = 0


def _read_state(path: Path) -> tuple[Source, list[int], tuple[int, int] | None] | None:
    """Source, checksums and begun chunk of a state file; None when there is none that can be used."""
    try:
        lines = read_file(path).splitlines(keepends=True)
        head, *rest = [line for line in lines if line.endswith(b"\n")]
        source = msgspec.json.decode(head, type=_Head)
        rows = [msgspec.json.decode(line, type=Checksum | _Tail) for line in rest]
    except (OSError, ValueError, RecursionError):
        return None
    if source.chunk_bytes != CHUNK_BYTES:
        return None
    tail = rows[-1] if rows and isinstance(rows[-1], _Tail) else None
    checksums = [item for item in rows if not isinstance(item, _Tail)]
    from_server = Source(source.url, source.etag, source.last_modified, source.total)
    return from_server, checksums, None if tail is None else (tail.tail, tail.crc32)


Checksum = Annotated[int, Meta(ge=0, lt=2**32)]


class _Head(Struct):
    """The first line of a state file: a `Source`, and the size of chunks."""

    url: str
    chunk_bytes: int
    etag: str | None = None
    last_modified: str | None = None
    total: Annotated[int, Meta(ge=0, le=2**62)] | None = None


class _Tail(Struct):
    """The last line, where a chunk was begun."""

    tail: Annotated[int, Meta(ge=0, le=CHUNK_BYTES)]
    crc32: Checksum
