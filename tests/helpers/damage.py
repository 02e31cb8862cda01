"""Files with something damaged that no program writes on purpose: bytes, numbers, depth, encoding, or what the path is."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import mutants
from tests.helpers.mutants import holders_of

Change = Callable[[Path, random.Random], str]

_NUMBERS = (
    *(b"0", b"-1", b"1e308", b"1e999", b"-1e400", b"1" + 400 * b"0", b"9" * 5000, b"4294967296", b"2147483648"),
    *(b"18446744073709551616", b"9223372036854775807", b"-9223372036854775808", b"0.1e-320", b"1e18", b"65536"),
    *(b"16777216", b"999999999999", b"NaN", b"true"),
)
_BYTES = (
    b"\xff",
    b"\xde",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\0",
    b"\\ud800",
    b"\\u0000",
    b"\\",
    b'"',
    b"\r",
    b"\n",
    b"]",
    b"[",
)
_DEEP = (b"[", b'{"a":', b"<a>")
_VALUES: tuple[Any, ...] = (
    *mutants.VALUES,
    *(2**63, 2**64, -(2**63), 10**400, 2**24, 2**31, 2**32, 1e308, -1e308, 5e-324, 1e19, -1e19, 1e10, -1e10),
    *("\0", "\ud800", "é" * 200, "x" * 300, "/etc/passwd", "a/../../b", ".", "..", "con\n", "0" * 5000, "o" * 300),
    *([0] * 7, [[0] * 6] * 2, [1e308] * 4, [2**63] * 4, {"size": [2**31, 2**31], "counts": "0"}, [[[]]], [None], ["a"]),
    *({"size": [30, 40], "counts": [2**62, 2**62]}, {"size": [30, 40], "counts": "oooooooooooo0"}, {"a": {}}),
)


def damage(root: Path, random_: random.Random) -> str:
    """Damage one file below the folder, or the file `root`; returns what was done."""
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        return "nothing"
    path = random_.choice(files)
    name = path.name if path == root else path.relative_to(root).as_posix()
    changes: tuple[Change, ...] = (_bytes, _bytes, _piece)
    if path.suffix in (".json", ".xml", ".txt", ".csv"):
        changes = (_bytes, _number, _number, _text, _repeat, _depth)
    if path.suffix == ".json":
        changes += (_value, _value, _value, _value, _value, _value)
    if path.suffix in (".png", ".jpg"):
        changes += (_number_of_png,) if path.suffix == ".png" else (_marker,)
    change = _kind_of_file if random_.random() < 0.03 else random_.choice(changes)
    return f"{name}: {change.__name__} {change(path, random_)}"


def _bytes(path: Path, random_: random.Random) -> str:
    """Flip, set, drop or double some bytes, or cut the file short."""
    data = bytearray(path.read_bytes())
    if not data:
        return "empty"
    action = random_.choice(("flip", "set", "drop", "double", "cut", "behind"))
    at = random_.randrange(len(data))
    if action == "flip":
        for _ in range(random_.choice((1, 1, 1, 3, 20))):
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    elif action == "set":
        data[at : at + random_.choice((1, 2, 4, 16))] = bytes([random_.choice((0, 255, 128, 127))])
    elif action == "drop":
        del data[at : at + random_.choice((1, 2, 4, 100))]
    elif action == "double":
        piece = data[at : at + random_.choice((1, 2, 17, 200))]
        data[at:at] = piece * random_.choice((1, 1, 50))
    elif action == "cut":
        del data[at:]
    else:
        data += random_.randbytes(random_.choice((1, 5, 200)))
    path.write_bytes(data)
    return f"{action} {at}"


def _piece(path: Path, random_: random.Random) -> str:
    """Put a piece of the file somewhere else in it."""
    data = bytearray(path.read_bytes())
    if len(data) < 4:
        return "short"
    begin, at = random_.randrange(len(data)), random_.randrange(len(data))
    piece = data[begin : begin + random_.choice((4, 40, 400))]
    data[at : at + len(piece) * random_.randrange(2)] = piece
    path.write_bytes(data)
    return f"{begin} at {at}"


def _number(path: Path, random_: random.Random) -> str:
    data = path.read_bytes()
    matches = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not matches:
        return "no number"
    match, new = random_.choice(matches), random_.choice(_NUMBERS)
    path.write_bytes(data[: match.start()] + new + data[match.end() :])
    return f"{match[0][:20]!r} at {match.start()} → {new[:20]!r}"


def _text(path: Path, random_: random.Random) -> str:
    """Put bytes that are no UTF-8, or no text, into the file."""
    data = path.read_bytes()
    at, new = random_.randrange(len(data) + 1), random_.choice(_BYTES)
    path.write_bytes(data[:at] + new + data[at + random_.randrange(2) :])
    return f"{new!r} at {at}"


def _repeat(path: Path, random_: random.Random) -> str:
    """Repeat a word fifty times where it stands, as names longer than any file's."""
    data = path.read_bytes()
    matches = list(re.finditer(rb"[\w.]{2,}", data))
    if not matches:
        return "no word"
    match = random_.choice(matches)
    path.write_bytes(data[: match.end()] + 49 * match[0] + data[match.end() :])
    return f"{match[0][:30]!r} at {match.start()}"


def _depth(path: Path, random_: random.Random) -> str:
    data = path.read_bytes()
    at, how = random_.randrange(len(data) + 1), random_.choice(_DEEP)
    count = random_.choice((20, 900, 5000))
    close = {b"[": b"]", b'{"a":': b"}", b"<a>": b"</a>"}[how]
    path.write_bytes(data[:at] + how * count + b"1" + close * count + data[at:])
    return f"{count} × {how!r} at {at}"


def _value(path: Path, random_: random.Random) -> str:
    """Another value, at any place of a JSON document."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "no JSON"
    holders = holders_of(document)
    if not holders:
        return "nothing in it"
    holder, key = random_.choice(holders)
    old, new = holder[key], random_.choice(_VALUES)
    if random_.random() < 0.15 and isinstance(holder, dict):
        other = random_.choice(holders)
        new = other[0][other[1]]
        new = None if new is holder or _holds(new, holder) else new
    holder[key] = new
    path.write_text(json.dumps(document))
    return f"{key!r}: {old!r:.60} → {new!r:.60}"


def _holds(node: Any, holder: Any) -> bool:
    items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return any(item is holder or _holds(item, holder) for item in items)


def _number_of_png(path: Path, random_: random.Random) -> str:
    """Change a chunk of a PNG and correct its checksum, so that only its meaning is wrong."""
    data = bytearray(path.read_bytes())
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((at, min(length, len(data) - at - 12)))
        at += 12 + length
    if not chunks:
        return "no chunk"
    at, length = random_.choice(chunks)
    kind = bytes(data[at + 4 : at + 8])
    action = random_.choice(("byte", "byte", "kind", "drop", "double", "order"))
    if action == "byte" and length:
        data[at + 8 + random_.randrange(length)] = random_.choice((0, 1, 3, 16, 127, 255))
    elif action == "kind":
        data[at + 4 : at + 8] = random_.choice((b"acTL", b"fcTL", b"fdAT", b"tRNS", b"PLTE", b"eXIf", b"iCCP", b"IDAT"))
    elif action == "drop":
        del data[at : at + 12 + length]
        path.write_bytes(data)
        return f"drop {kind!r}"
    elif action == "double":
        data[at:at] = data[at : at + 12 + length]
    elif action == "order":
        piece = data[at : at + 12 + length]
        del data[at : at + 12 + length]
        data[8:8] = piece
        path.write_bytes(data)
        return f"first {kind!r}"
    data[at + 8 + length : at + 12 + length] = zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4, "big")
    path.write_bytes(data)
    return f"{action} {kind!r}"


def _marker(path: Path, random_: random.Random) -> str:
    """Change a byte of a segment before a JPEG's scan: a table, the frame, the scan's head."""
    data = bytearray(path.read_bytes())
    end = data.find(b"\xff\xda") + 14
    if end < 20:
        return "no scan"
    at = random_.randrange(2, min(end, len(data)))
    data[at] = random_.choice((0, 1, 2, 17, 127, 128, 254, 255, data[at] ^ 1))
    path.write_bytes(data)
    return f"byte {at}"


def _kind_of_file(path: Path, random_: random.Random) -> str:
    """A folder in place of the file, a link to nowhere or to itself, or nothing."""
    action = random_.choice(("folder", "nowhere", "itself", "nothing", "empty"))
    path.unlink()
    if action == "folder":
        path.mkdir()
    elif action == "nowhere":
        path.symlink_to("not-there")
    elif action == "itself":
        path.symlink_to(path.name)
    elif action == "empty":
        path.touch()
    return action
