"""An archive with anything else in it becomes what Python's own libraries make of it, or is refused: never other files.

Ten thousand mutants a door with `scripts/test --full`, some dozens without.
"""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segdata.download.archives.extract import extract
from segdata.download.archives.members import cleaned
from tests.helpers import ends

SHORT, FULL = 40, 10_000
ONCE_WRONG = (1837, 5749)
"""Seeds that are always tried: a file whose name ends with a slash, and two headers with long names of one member."""

FILES = {
    "a.txt": b"hello",
    "d/b.bin": bytes(range(256)) * 5,
    "d/" + "n" * 120 + ".txt": b"long",
    "é.txt": b"",
    "z": b"0" * 512,
}


def tar(kind: int) -> bytes:
    """A tar with names short and long, a folder, and in PAX a comment and a time with fractions."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind, encoding="utf-8") as archive:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in FILES.items():
            info = tarfile.TarInfo(name if kind != tarfile.USTAR_FORMAT else name[-90:])
            info.size, info.mtime, info.mode = len(data), 1.5 if kind == tarfile.PAX_FORMAT else 1, 0o644
            info.pax_headers = {"comment": "x"} if name == "z" else {}
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.comment = b"c"
        for number, (name, data) in enumerate(FILES.items()):
            archive.writestr(name, data, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[number % 3])
        with archive.open(zipfile.ZipInfo("streamed"), "w", force_zip64=True) as file:
            file.write(b"streamed" * 10)
    return buffer.getvalue()


def other_tar(data: bytes, random_: random.Random) -> bytes:
    """A tar in which a header's field is another, with its checksum corrected, or in which anything is."""
    if random_.random() < 0.3:
        return ends.damaged(data, random_)
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    headers = [index for index, block in enumerate(blocks) if block[257:262] == b"ustar"]
    action = random_.choice(("field", "field", "field", "record", "drop", "double", "swap", "zero"))
    index = random_.choice(headers)
    if action == "field":
        header = bytearray(blocks[index])
        begin, end = random_.choice(
            ((0, 100), (100, 108), (124, 136), (136, 148), (156, 157), (157, 257), (257, 265), (345, 500))
        )
        values = (
            b"",
            b"a.txt",
            b"../x",
            b"/x",
            b"./a.txt",
            b"d",
            b"d/",
            b"././@LongLink",
            b"0" * 12,
            b"7" * 12,
            b"00000000005",
            b"5 ",
            b"-1",
            b"\x80" + bytes(10) + b"\x05",
            b"\xff" * 12,
            b"5",
            b"0",
            b"\0",
            b"1",
            b"2",
            b"3",
            b"6",
            b"7",
            b"L",
            b"K",
            b"x",
            b"g",
            b"S",
            b"V",
            b"A",
            b"ustar  \0",
            b"ustar\x0000",
            b"x",
        )
        value = random_.choice(values)[: end - begin]
        header[begin:end] = value.ljust(end - begin, b"\0")
        header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
        blocks[index] = bytes(header)
    elif action == "record":
        records = [i for i in headers if blocks[i][156:157] in (b"x", b"g", b"L")]
        if records:
            at = random_.choice(records) + 1
            text = random_.choice(
                (
                    b"12 path=abc\n",
                    b"9 size=5\n",
                    b"9 size=0\n",
                    b"11 path=a\nb\n",
                    b"8 path=\n",
                    b"14 path=../ab\n",
                    b"22 GNU.sparse.major=1\n",
                    b"99 path=a\n",
                    b"13 size=1e30\n",
                    b"0 path=a\n",
                    b"\0" * 30,
                    b"25 hdrcharset=ISO-IR 8859\n",
                    b"12 path=a\0b\n",
                    b"11 mtime=x\n",
                    b"12 path=a/b\n12 path=c/d\n",
                    b"10 SIZE=5\n",
                    b"011 path=ab\n",
                    b"12 path=\xff\xfeb\n",
                    b"13 linkpath=\n",
                    b"25 GNU.sparse.name=abcdef\n",
                )
            )
            old = blocks[at].rstrip(b"\0")
            blocks[at] = (text + (old if random_.random() < 0.5 else b""))[:512].ljust(512, b"\0")
    elif action == "drop":
        del blocks[random_.randrange(len(blocks))]
    elif action == "double":
        blocks.insert(random_.randrange(len(blocks)), blocks[index])
    elif action == "swap":
        other = random_.randrange(len(blocks))
        blocks[index], blocks[other] = blocks[other], blocks[index]
    else:
        blocks[random_.randrange(len(blocks))] = bytes(512)
    return b"".join(blocks)


def other_zip(data: bytes, random_: random.Random) -> bytes:
    """A zip in which a number or name of the directory or before a member is another, or anything is."""
    if random_.random() < 0.2:
        return ends.damaged(data, random_)
    copy = bytearray(data)
    for _ in range(random_.choice((1, 1, 2))):
        sign, fields = random_.choice(
            (
                (b"PK\x01\x02", (4, 6, 8, 10, 16, 20, 24, 28, 30, 32, 34, 36, 38, 42, 46)),
                (b"PK\x03\x04", (4, 6, 8, 14, 18, 22, 26, 28, 30)),
                (b"PK\x05\x06", (4, 6, 8, 10, 12, 16, 20)),
            )
        )
        places = [at for at in range(len(copy) - 4) if copy[at : at + 4] == sign]
        if not places:
            continue
        at = random_.choice(places) + random_.choice(fields)
        new = random_.choice(
            (
                b"\0",
                b"\1",
                b"\x08",
                b"\xff",
                b"\xff\xff",
                b"\xff\xff\xff\xff",
                b"\0\0\0\0",
                b"\1\0\0\0",
                b"\x05\0\0\0",
                b"/",
                b"a.txt",
                b"\0\x80",
                struct.pack("<I", random_.choice(places)),
            )
        )
        copy[at : at + len(new)] = new
    return bytes(copy)


def with_tarfile(path: Path, mode: str) -> dict[str, bytes]:
    """Every file that Python's tarfile gives; where a name comes again, the last.

    A file whose name ends with a slash is a folder, as GNU tar has it; tarfile says so in archives before POSIX alone.
    """
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        files = {}
        for info in archive:
            if info.isfile() and not (info.name.endswith("/") and not info.size):
                files[cleaned(info.name)] = archive.extractfile(info).read()
            elif not (info.isdir() or info.isfile()):
                raise ValueError(f"{info.name} is of kind {info.type!r}")
    return files


def with_zipfile(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {cleaned(info.filename): archive.read(info) for info in archive.infolist() if not info.is_dir()}


TARS = {"ustar": tar(tarfile.USTAR_FORMAT), "gnu": tar(tarfile.GNU_FORMAT), "pax": tar(tarfile.PAX_FORMAT)}
DOORS: dict[str, tuple[str, bytes, Callable[[bytes, random.Random], bytes], Callable[[Path], dict[str, bytes]]]] = {
    **{name: ("tar", data, other_tar, lambda path: with_tarfile(path, "r:")) for name, data in TARS.items()},
    "tar.gz": (
        "tar.gz",
        TARS["pax"],
        lambda data, random_: gzip.compress(other_tar(data, random_), mtime=0),
        lambda path: with_tarfile(path, "r:gz"),
    ),
    "gzip": ("tar.gz", gzip.compress(TARS["gnu"], mtime=0), ends.damaged, lambda path: with_tarfile(path, "r:gz")),
    "zip": ("zip", zipped(), other_zip, with_zipfile),
}


def entered(door: str, folder: Path) -> Callable[[random.Random], object]:
    kind, data, change, other = DOORS[door]
    number = iter(range(10**9))

    def call(random_: random.Random) -> object:
        work = folder / str(next(number))
        work.mkdir()
        path = work / f"x.{kind}"
        path.write_bytes(change(data, random_))
        done = extract(path, work / "raw", receipt=work / "r.json", kind=kind, digest="d", extracted_bytes=1 << 20)
        mine = {file.path: (work / "raw" / file.path).read_bytes() for file in done.files}
        try:
            theirs = other(path)
        except Exception as error:
            raise AssertionError(f"{other} refuses {path}: {error!r}; ours {sorted(mine)} {done.remarks}") from error
        if mine != theirs:
            differing = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
            raise AssertionError(f"{path} differs in {differing}, remarks {done.remarks}")
        return done

    return call


@pytest.mark.parametrize("door", DOORS)
def test_mutants_become_the_same_files_or_are_refused(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), (*range(SHORT), *ONCE_WRONG))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT, SHORT + FULL))
