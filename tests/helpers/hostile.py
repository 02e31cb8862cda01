"""Archives written byte by byte, so that they can lie: zip and tar, each field as the test wants it."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass


@dataclass
class Entry:
    """One zip member; what is None is as it should be."""

    name: bytes
    data: bytes = b"content\n"
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    local_name: bytes | None = None
    crc: int | None = None
    size: int | None = None
    offset: int | None = None
    """Where the directory says that the member stands."""

    @property
    def packed(self) -> bytes:
        if self.method != 8:
            return self.data
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.data) + packer.flush()


def zip_of(*entries: Entry, disk: int = 0, comment: bytes = b"") -> bytes:
    """A zip file after PKWARE's description, without zip64."""
    body = b""
    directory = b""
    for entry in entries:
        packed = entry.packed
        crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
        size = len(entry.data) if entry.size is None else entry.size
        offset = len(body) if entry.offset is None else entry.offset
        name = entry.name if entry.local_name is None else entry.local_name
        common = struct.pack("<HHHHIII", entry.flags, entry.method, 0, 0x21, crc, len(packed), size)
        if entry.offset is None:
            body += b"PK\x03\x04" + struct.pack("<H", 20) + common + struct.pack("<HH", len(name), 0) + name + packed
        directory += (
            b"PK\x01\x02"
            + struct.pack("<HH", 3 << 8 | 20, 20)
            + common
            + struct.pack("<HHHHHII", len(entry.name), 0, 0, 0, 0, entry.mode << 16, offset)
            + entry.name
        )
    end = struct.pack(
        "<4sHHHHIIH",
        b"PK\x05\x06",
        disk,
        disk,
        len(entries),
        len(entries),
        len(directory),
        len(body),
        len(comment),
    )
    return body + directory + end + comment


def tar_header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    link: bytes = b"",
    mode: int = 0o644,
    uid: int = 0,
    checksum: int | None = None,
) -> bytes:
    """A POSIX header; a size in bytes is put in as it is."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    begin = name.ljust(100, b"\0") + b"%07o\0" % mode + b"%07o\0" % uid + b"%07o\0" % uid + field + b"%011o\0" % 0
    end = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + bytes(16) + bytes(155) + bytes(12)
    total = sum(begin) + 8 * 32 + sum(end) if checksum is None else checksum
    return begin + b"%06o\0 " % total + end


def tar_member(name: bytes, data: bytes = b"content\n", **fields: object) -> bytes:
    """A header, the data, and its padding."""
    return tar_header(name, len(data), **fields) + data + bytes(-len(data) % 512)  # type: ignore[arg-type]


def tar_of(*parts: bytes, end: bytes = bytes(1024)) -> bytes:
    """Members and the mark of the end."""
    return b"".join(parts) + end


def pax(**records: str) -> bytes:
    """An extended header for the next member."""
    content = b""
    for key, value in records.items():
        line = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        content += str(length).encode() + line
    return tar_member(b"pax", content, kind=b"x")


LINK, PIPE, DEVICE, SOCKET = 0o120777, 0o010644, 0o020644, 0o140644
GOOD = Entry(b"folder/good.txt")

HOSTILE_ZIP: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "dots": (zip_of(GOOD, Entry(b"../../escaped")), 11, ("'../../escaped'", "not allowed")),
    "inner dots": (zip_of(GOOD, Entry(b"folder/../../escaped")), 11, ("not allowed",)),
    "absolute": (zip_of(GOOD, Entry(b"/tmp/escaped")), 11, ("'/tmp/escaped'", "not allowed")),
    "drive": (zip_of(GOOD, Entry(b"C:escaped")), 11, ("not allowed",)),
    "backslash": (zip_of(GOOD, Entry(b"..\\escaped")), 11, ("not allowed",)),
    "NUL": (zip_of(GOOD, Entry(b"good\0.txt")), 11, (r"'good\x00.txt'", "not allowed")),
    "empty": (zip_of(GOOD, Entry(b"")), 11, ("''", "not allowed")),
    "link": (zip_of(GOOD, Entry(b"link", b"/etc/passwd", mode=LINK)), 11, ("'link'", "symbolic link")),
    "link, as if from DOS": (zip_of(Entry(b"link", b"..", mode=LINK)), 11, ("symbolic link",)),
    "pipe": (zip_of(GOOD, Entry(b"pipe", b"", mode=PIPE)), 11, ("'pipe'", "a pipe")),
    "device": (zip_of(GOOD, Entry(b"null", b"", mode=DEVICE)), 11, ("'null'", "a device")),
    "socket": (zip_of(GOOD, Entry(b"socket", b"", mode=SOCKET)), 11, ("a socket",)),
    "set-user": (zip_of(GOOD, Entry(b"tool", mode=0o104755)), 11, ("'tool'", "another user", "0o4755")),
    "ratio": (zip_of(GOOD, Entry(b"bomb", bytes(4 << 20), 8)), 11, ("'bomb'", "too large", "200 times")),
    "overlap": (
        zip_of(
            Entry(b"outer", zip_of(Entry(b"inner", b"x" * 900))[: 35 + 900]),
            Entry(b"inner", b"x" * 900, offset=35),
        ),
        11,
        ("share the same bytes", "'outer' and 'inner'"),
    ),
    "same bytes": (
        zip_of(Entry(b"a", b"x" * 900), Entry(b"a", b"x" * 900, offset=0)), 11, ("share the same bytes", "'a'")
    ),
    "into the directory": (
        zip_of(GOOD, Entry(b"long", b"x" * 900, method=0))[:-22].replace(b"x" * 900, b"x" * 100)
        + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, 46 * 2 + 19, 30 * 2 + 19 + 8 + 100, 0),
        11,
        ("runs into the directory", "'long'"),
    ),
    "more than declared": (
        zip_of(GOOD, Entry(b"more", b"y" * 5000, 8, size=100)), 8, ("'more'", "CRC")
    ),
    "less than declared": (
        zip_of(GOOD, Entry(b"less", b"y" * 5000, size=9000)), 11, ("not as large as it says", "'less'", "9,000")
    ),
    "twice": (
        zip_of(GOOD, Entry(b"a", b"one"), Entry(b"a", b"two")), 4, ("occurs twice", "'a', entry 1", "entry 2")
    ),
    "file and folder": (zip_of(Entry(b"a"), Entry(b"a/b")), 4, ("both a file and a folder", "'a'", "'a/b'")),
    "forms": (
        zip_of(Entry("\u00e9".encode(), flags=0x800), Entry("e\u0301".encode(), flags=0x800)), 4, ("accents", r"\xe9")
    ),
    "right to left": (
        zip_of(Entry("a\u202egpj.exe".encode(), flags=0x800)), 4, (r"\u202e", "direction")
    ),
    "control": (zip_of(Entry(b"a\x1b[31m.txt")), 4, (r"\x1b", "control")),
    "newline": (zip_of(Entry(b"a\nb")), 4, (r"\n", "control")),
    "long": (zip_of(GOOD, Entry(b"n" * 300)), 4, ("too long", "300 bytes of 255")),
    "cut": (zip_of(GOOD, Entry(b"b", b"z" * 2000))[:1500], 8, ("cut short at byte 1,500", "no")),
    "cut behind an inner zip": (
        zip_of(GOOD, Entry(b"inner.zip", zip_of(Entry(b"deep"))), Entry(b"rest"))[: 30 + 15 + 8 + 30 + 9 + len(zip_of(Entry(b"deep")))],
        4,
        ("damaged directory", "should begin at byte"),
    ),
    "CRC": (zip_of(GOOD, Entry(b"folder/wrong.bin", b"w" * 50, crc=1)), 8, ("folder/wrong.bin", "CRC")),
    "broken deflate": (
        zip_of(GOOD, Entry(b"broken", b"abc" * 1000, 8)).replace(
            Entry(b"", b"abc" * 1000, 8).packed, b"\xff" * len(Entry(b"", b"abc" * 1000, 8).packed)
        ),
        8,
        ("'broken'", "damaged"),
    ),
    "encrypted": (zip_of(GOOD, Entry(b"secret", flags=1)), 4, ("'secret'", "encrypted")),
    "method": (zip_of(GOOD, Entry(b"new", method=93)), 4, ("'new'", "method 93 (zstandard)", "deflate")),
    "unknown method": (zip_of(GOOD, Entry(b"new", method=77)), 4, ("method 77",)),
    "split": (zip_of(GOOD, disk=1), 4, ("split archive",)),
    "names differ": (zip_of(Entry(b"shown", local_name=b"other")), 4, ("'shown'", "not what the directory says")),
    "tar": (tar_of(tar_member(b"a")), 4, ("not what its name says", "tar")),
    "gzip": (gzip.compress(b"x", mtime=0), 4, ("not what its name says", "tar.gz")),
    "web page": (b"\n<!DOCTYPE html><html><title>Sign in</title></html>", 4, ("web page",)),
    "rar": (b"Rar!\x1a\x07\x01\x00" + bytes(600), 4, ("rar",)),
}  # fmt: skip
"""Name → the file, the exit code, and what the message says."""

HOSTILE_TAR: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "dots": (tar_of(tar_member(b"good"), tar_member(b"../../escaped")), 11, ("'../../escaped'", "not allowed")),
    "absolute": (tar_of(tar_member(b"good"), tar_member(b"/tmp/escaped")), 11, ("not allowed",)),
    "empty": (tar_of(tar_member(b"good"), tar_member(b"")), 11, ("not allowed",)),
    "extended": (tar_of(pax(path="../escaped"), tar_member(b"fine")), 11, ("'../escaped'", "not allowed")),
    "extended NUL": (tar_of(pax(path="a\0b"), tar_member(b"fine")), 11, ("not allowed",)),
    "GNU long name": (
        tar_of(tar_member(b"././@LongLink", b"x/../../escaped\0", kind=b"L"), tar_member(b"fine")), 11, ("not allowed",)
    ),
    "symbolic link": (
        tar_of(tar_header(b"link", kind=b"2", link=b"/tmp"), tar_member(b"link/escaped")), 11, ("'link'", "symbolic")
    ),
    "inner link": (tar_of(tar_member(b"a"), tar_header(b"b", kind=b"2", link=b"a")), 11, ("symbolic link",)),
    "hard link": (tar_of(tar_header(b"link", kind=b"1", link=b"/etc/passwd")), 11, ("hard link",)),
    "device": (tar_of(tar_member(b"good"), tar_header(b"null", kind=b"3")), 11, ("'null'", "a device")),
    "pipe": (tar_of(tar_header(b"pipe", kind=b"6")), 11, ("a pipe",)),
    "set-user": (tar_of(tar_member(b"tool", mode=0o4755)), 11, ("'tool'", "another user")),
    "unknown kind": (tar_of(tar_member(b"odd", kind=b"Z")), 11, ("unknown kind",)),
    "huge size": (tar_of(tar_header(b"huge", 0o77777777777)), 11, ("'huge'", "too large")),
    "larger than the file": (tar_of(tar_header(b"large", 5000)), 8, ("cut short", "'large'", "5,000 bytes")),
    "negative size": (tar_of(tar_header(b"minus", b"\xff" * 12)), 11, ("'minus'", "cannot be", "-1")),
    "negative extended size": (tar_of(pax(size="-512"), tar_member(b"minus")), 4, ("no number", "-512")),
    "sparse": (tar_of(tar_member(b"sparse", kind=b"S")), 11, ("sparse file",)),
    "sparse, extended": (
        tar_of(pax(**{"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999"}), tar_member(b"sparse")),
        11,
        ("sparse file",),
    ),
    "long header": (tar_of(tar_member(b"pax", bytes(1 << 17), kind=b"x"), tar_member(b"a")), 11, ("header is too long",)),
    "broken extended header": (tar_of(tar_member(b"pax", b"99 a=b\n", kind=b"x"), tar_member(b"a")), 4, ("extended header is damaged",)),
    "header of no member": (tar_of(tar_member(b"a"), pax(path="b")), 8, ("belongs to no member",)),
    "global name": (tar_of(tar_member(b"pax", b"10 path=b\n", kind=b"g"), tar_member(b"a")), 11, ("all members", "'path'")),
    "name behind its end": (
        tar_of(tar_member(b"././@LongLink", b"x\0y\0", kind=b"L"), tar_member(b"a")), 4, ("zero byte in its middle",)
    ),
    "end in the middle": (tar_of(tar_member(b"a"), bytes(512), tar_member(b"b")), 8, ("end is in the middle", "two end a tar")),
    "twice": (tar_of(tar_member(b"a", b"1"), tar_member(b"a", b"2")), 4, ("occurs twice", "byte 0", "byte 1024")),
    "control": (tar_of(tar_member(b"a\x07b")), 4, (r"\x07",)),
    "not UTF-8": (tar_of(tar_member(b"caf\xe9")), 4, ("undecodable", r"\udce9")),
    "long": (tar_of(pax(path="n" * 300), tar_member(b"a")), 4, ("too long", "300 bytes of 255")),
    "cut in a member": (tar_of(tar_member(b"a", b"x" * 5000))[:3000], 8, ("cut short at byte 3,000", "'a'")),
    "cut between members": (tar_member(b"a") + tar_member(b"b"), 8, ("cut short at byte 2,048", "before the mark")),
    "damaged header": (tar_of(tar_member(b"a"), tar_member(b"b", checksum=1)), 8, ("header is damaged", "byte 1024")),
    "gzip": (gzip.compress(tar_of(tar_member(b"a")), mtime=0), 4, ("not what its name says", "tar.gz")),
    "zip": (zip_of(GOOD), 4, ("not what its name says", "zip")),
    "web page": (b"<html><head><title>404</title></head></html>", 4, ("web page",)),
}  # fmt: skip

_TGZ = gzip.compress(tar_of(tar_member(b"folder/a", bytes(range(256)) * 40)), mtime=0)

HOSTILE_TGZ: dict[str, tuple[bytes, int, tuple[str, ...]]] = {
    "dots": (gzip.compress(tar_of(tar_member(b"good"), tar_member(b"../x"))), 11, ("'../x'", "not allowed")),
    "link": (gzip.compress(tar_of(tar_header(b"l", kind=b"2", link=b".."))), 11, ("symbolic link",)),
    "ratio": (gzip.compress(tar_of(tar_member(b"bomb", bytes(8 << 20)))), 11, ("too large",)),
    "behind the end": (gzip.compress(tar_of(tar_member(b"a"), end=bytes(8 << 20))), 11, ("too large",)),
    "cut": (_TGZ[:-30], 8, ("cut short at byte",)),
    "inner tar cut": (gzip.compress(tar_member(b"a") + tar_header(b"b", 9)), 8, ("cut short at byte", "of the tar inside")),
    "checksum": (_TGZ[:-8] + b"\0\0\0\0" + _TGZ[-4:], 8, ("damaged", "CRC")),
    "broken data": (_TGZ[:60] + b"\xff" * 60 + _TGZ[120:], 8, ("damaged", "byte")),
    "no tar inside": (gzip.compress(b"only text, and not much of it"), 8, ("cut short",)),
    "no tar inside, longer": (gzip.compress(b"only text " * 99), 4, ("holds no tar", "byte 0")),
    "plain tar": (tar_of(tar_member(b"a")), 4, ("not what its name says", "tar")),
    "bzip2": (b"BZh91AY&SY" + bytes(600), 4, ("bzip2",)),
}  # fmt: skip


CASES = {
    f"{kind} {name}": (kind, *case)
    for kind, table in (("zip", HOSTILE_ZIP), ("tar", HOSTILE_TAR), ("tgz", HOSTILE_TGZ))
    for name, case in table.items()
}
"""Kind and name → the file's ending, its bytes, the exit code, and what the message says."""
