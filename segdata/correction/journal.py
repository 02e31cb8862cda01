"""The edits file: read and checked as a whole, written one line at a time.

Each edit is one write and one fsync, so a killed process loses at most the edit that it was writing; what is left of that
is the end of the file, without a line break, and is cut off before the next edit. Nothing else is ever taken away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from segdata.correction.edits import (
    FORMAT,
    MAX_LINE,
    VERSION,
    AnyEdit,
    Header,
    decode,
    edit_of,
    encode,
    too_long,
)
from segdata.correction.history import Histories
from segdata.errors import DiskError, InvalidInput, LockHeld, NotThere, SegdataError, UsageError
from segdata.pack.store import Store
from segdata.system.files import disk_errors, locked, real_path, write_whole
from segdata.system.reading import open_file


@dataclass(frozen=True)
class Edits:
    """An edits file that was read.

    Attributes:
        path: the file.
        histories: the edits of every sample.
        sha256: of the whole lines.
        size: bytes of the whole lines.
        torn: bytes after them, of a line that was not written to its end.
        ends_open: the last line is whole, but for its line break.
    """

    path: Path
    histories: Histories
    sha256: str
    size: int
    torn: int
    ends_open: bool

    def torn_error(self) -> InvalidInput:
        """What to say about a torn last line."""
        return InvalidInput(
            "the last line of the edits is torn: its edit is left out",
            file=self.path,
            place=f"line {self.histories.count + 2}",
            why=f"{self.torn:,} bytes without their end, as a process leaves them that was killed while it wrote",
        )


def header_of(store: Store) -> Header:
    """The first line of an edits file of a pack."""
    return Header(
        format=FORMAT,
        version=VERSION,
        pack=store.index["crc32"],
        shards=[entry["annotations"]["sha256"] for entry in store.index["shards"]],
        labels=store.labels.digest,
    )


def default_path(pack: Path) -> Path:
    """Where the edits of a pack are, unless another file is named: beside it."""
    folder = real_path(pack)
    return folder.with_name(f"{folder.name}.edits.jsonl")


def read(path: Path, store: Store) -> Edits:
    """Read an edits file, compare it with its pack, and check every edit.

    Raises:
        NotThere: there is no such file.
        InvalidInput: no edits file, edits of another pack, or an edit that cannot be; the line is named.
        DamagedData: a line is not what was written; the line is named.
    """
    if not path.exists():
        raise NotThere("there is no such file of edits", file=path, fix=_ANOTHER)
    digest = hashlib.sha256()
    histories = Histories(store)
    size = number = torn = 0
    ends_open = False
    with disk_errors(path), open_file(path) as file:
        for number, line, is_last in _lines(file, path):
            is_open = not line.endswith(b"\n")
            text = line.removesuffix(b"\n")
            try:
                if number == 1:
                    _require_pack(_header(text, path), store, path)
                else:
                    histories.add(decode(text, AnyEdit))
            except SegdataError as error:
                if is_last and is_open and number > 1 and not isinstance(error, InvalidInput):
                    torn = len(line)
                    break
                raise error.located(file=path, place=None if number == 1 else _place(number, error)) from error
            digest.update(text + b"\n")
            size += len(line)
            ends_open = is_open
    if not number:
        raise InvalidInput("this is no file of edits", file=path, why="it is empty", fix="remove it")
    return Edits(path, histories, digest.hexdigest(), size, torn, ends_open)


_ANOTHER = "give another file; segdata view PACK --edit begins one"


def _place(number: int, error: SegdataError) -> str:
    place = f"line {number}" if error.place is None else f"line {number}, {error.place}"
    error.place = None
    return place


def _lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """The number of each line, the line with its end, and whether it is the last."""
    number, line = 1, file.readline(MAX_LINE + 1)
    while line:
        if len(line) > MAX_LINE:
            raise too_long().located(file=path, place=f"line {number}")
        after = file.readline(MAX_LINE + 1)
        yield number, line, not after
        number, line = number + 1, after


def _header(text: bytes, path: Path) -> Header:
    try:
        header: Header = decode(text, Header)
    except SegdataError as error:
        raise type(error)(
            "this is no file of edits, or its first line is damaged",
            file=path,
            place="line 1",
            why=error.why or error.message,
            fix=_ANOTHER,
        ) from error
    if header.format != FORMAT or header.version != VERSION:
        raise InvalidInput(
            "this is no file of edits that this segdata reads",
            file=path,
            place="line 1",
            why=f"format is {header.format!r}, version {header.version}; expected {FORMAT!r}, {VERSION}"[:300],
            fix=_ANOTHER,
        )
    return header


def _require_pack(header: Header, store: Store, path: Path) -> None:
    """Refuse edits of another pack, with what differs."""
    mine = header_of(store)
    if header == mine:
        return
    differences = []
    if header.labels != mine.labels:
        differences.append("another label space")
    if len(header.shards) != len(mine.shards):
        differences.append(f"{len(header.shards)} annotation tables, the pack has {len(mine.shards)}")
    elif other := [
        number for number, pair in enumerate(zip(header.shards, mine.shards, strict=True)) if pair[0] != pair[1]
    ]:
        differences.append(
            f"other annotations in {len(other)} of {len(mine.shards)} tables, the first is of shard {other[0]}"
        )
    if not differences:
        differences.append("the same annotations, but other splits, images or documents")
    raise InvalidInput(
        "the edits are of another pack",
        file=path,
        place="line 1",
        why=f"pack.json of theirs has crc32 {header.pack}, that of {store.folder} {mine.pack}: {'; '.join(differences)}",
        fix="give the pack that they were made on",
    )


class Journal:
    """An edits file that is open for writing; `opened` makes one.

    Attributes:
        path: the file.
        histories: the edits that are in it.
        cut: bytes of a torn last line that were cut off when it was opened.
    """

    def __init__(self, path: Path, histories: Histories, size: int, cut: int, descriptor: int) -> None:
        self.path = path
        self.histories = histories
        self.cut = cut
        self._size = size
        self._descriptor = descriptor
        self._writing = threading.Lock()

    @property
    def last(self) -> int:
        """The number of the last edit of the file, 0 for none."""
        return self.histories.count

    def append(self, index: int, fields: Mapping[str, Any], *, after: int | None = None) -> AnyEdit | None:
        """Write an edit of a sample.

        Args:
            index: the sample, in the whole pack.
            fields: the edit's members beside those that all edits have; `of` of an object that is added is filled in.
            after: the number of the sample's last edit as the caller knows it, 0 for none; None for no matter which.

        Returns:
            The edit; None where `after` is not the sample's last edit, and nothing was written.

        Raises:
            InvalidInput: the edit cannot be.
            DiskError: it could not be written; the file is as it was.
        """
        with self._writing:
            if after is not None and self.histories.get(index).last != after:
                return None
            number = self.histories.count + 1
            split, key = self.histories.name(index)
            now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            if fields.get("op") in ("add", "accept"):
                fields = {**fields, "of": f"new-{number}"}
            edit = edit_of({**fields, "n": number, "at": now, "split": split, "key": key})
            line = encode(edit)
            if len(line) > MAX_LINE:
                raise too_long()
            self.histories.add(edit)
            try:
                self._write(line)
            except BaseException:
                self.histories.take_back(edit)
                raise
            return edit

    def _write(self, line: bytes) -> None:
        with disk_errors(self.path):
            status = os.fstat(self._descriptor)
            if status.st_nlink == 0 or status.st_size != self._size:
                raise DiskError(
                    "the file of edits was removed or written by another program",
                    file=self.path,
                    why=f"expected {self._size:,} bytes, found {status.st_size:,}",
                    fix="open it again",
                )
            try:
                if os.write(self._descriptor, line) != len(line):
                    raise DiskError("the edit was not written as a whole", file=self.path, fix="free some space")
                os.fsync(self._descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(line)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of an edits file."""
    try:
        with locked(path):
            yield
    except LockHeld as error:
        error.fix = "end the other one, or name another file with --edits FILE"
        raise


@contextlib.contextmanager
def opened(path: Path, store: Store) -> Iterator[Journal]:
    """Open an edits file for writing, alone; made where there is none. A torn last line is cut off.

    Raises:
        LockHeld: another process has it open.
        UsageError: it lies in the pack.
        InvalidInput, DamagedData: as `read` has them.
    """
    if real_path(path).is_relative_to(real_path(store.folder)):
        raise UsageError("edits cannot lie in the pack itself", file=path, fix="choose a file beside it")
    with _locked(path):
        if not path.exists():
            write_whole(path, encode(header_of(store)))
        edits = read(path, store)
        with disk_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            with disk_errors(path):
                os.ftruncate(descriptor, edits.size)
                if edits.ends_open:
                    os.write(descriptor, b"\n")
                os.fsync(descriptor)
                size = os.fstat(descriptor).st_size
            yield Journal(path, edits.histories, size, edits.torn, descriptor)
        finally:
            os.close(descriptor)
