"""Packs with something changed by a seed: in the index, in a file's bytes, or in a table with every checksum made right."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from segdata.core.sample import record_text
from segdata.pack import layout
from segdata.pack.write import write_arrays
from segdata.system.files import crc32
from tests.helpers.mutants import VALUES

Arrays = dict[str, npt.NDArray[Any]]

MORE_VALUES: tuple[Any, ...] = (
    *VALUES,
    *(2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**40, 1e308, "\0", "é", "\udcff", "x" * 300, "../../x.h5"),
    *({"a": [[[[[[1]]]]]]}, ["a"], {"name": 1}, "00000000", "|u1", "<i8", "embed"),
)
NUMBERS = (0, 1, 2, 3, 5, 17, 255, 256, 65535, 65536, 2**31 - 1, -1, -(2**31), 2**63 - 1, -(2**63))


def mutate(pack: Path, random_: random.Random) -> tuple[str, bool]:
    """Change one thing; returns what, and whether every digest was made right afterwards, the index's copy too."""
    kind = random_.choice(("index", "index", "raw", "damage", "table", "table", "table", "record", "record"))
    change: Callable[[Path, random.Random], str] = {
        "index": _index,
        "raw": _raw,
        "damage": _damage,
        "table": _table,
        "record": _record,
    }[kind]
    return f"{kind}: {change(pack, random_)}", kind in ("table", "record")


def mutate_json(document: Any, random_: random.Random) -> str:
    """Change one value of a JSON document in place."""
    holders: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            holders.append((node, key))
            if isinstance(value, (dict, list)):
                walk(value)

    walk(document)
    if not holders:
        return "nothing"
    holder, key = random_.choice(holders)
    action = random_.choice(("value", "value", "number", "delete", "double", "swap", "rename"))
    before = repr(holder[key])[:60]
    if action == "delete":
        del holder[key]
        return f"{key!r} {before} deleted"
    if action == "double" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif action == "rename" and isinstance(holder, dict):
        holder[random_.choice(("name", "file", "", "x\0", "image/id"))] = holder.pop(key)
        return f"{key!r} renamed"
    elif action == "swap":
        other, other_key = random_.choice(holders)
        holder[key] = copy.deepcopy(other[other_key])
    elif action == "number" and type(holder[key]) is int:
        holder[key] += random_.choice((-1, 1, 2, 64, 1000))
    else:
        holder[key] = copy.deepcopy(random_.choice(MORE_VALUES))
    return f"{key!r} {before} → {repr(holder[key])[:60]}"


def index_of(pack: Path) -> dict[str, Any]:
    """The index without its checksum."""
    index: dict[str, Any] = json.loads((pack / layout.INDEX).read_bytes())
    del index["crc32"]
    return index


def put_index(pack: Path, index: Any, names: tuple[str, ...] = (layout.INDEX, layout.COPY)) -> None:
    """Write an index with the right checksum; NaN and what else an index never has is written as Python does."""
    text = json.dumps(index, sort_keys=True, ensure_ascii=False)
    _put_text(pack, text.encode("utf-8", "surrogatepass"), names)


def _put_text(pack: Path, text: bytes, names: tuple[str, ...]) -> None:
    head = b'{"crc32": "'
    body = head + b'00000000", ' + text[1:]
    for name in names:
        (pack / name).write_bytes(head + f"{crc32(body):08x}".encode() + body[len(head) + 8 :])


def _index(pack: Path, random_: random.Random) -> str:
    index = index_of(pack)
    what = mutate_json(index, random_)
    put_index(pack, index, (layout.INDEX,))
    return what


def _raw(pack: Path, random_: random.Random) -> str:
    """Bytes of the index changed, its checksum right."""
    text = bytearray(json.dumps(index_of(pack), sort_keys=True).encode())
    action = random_.choice(("flip", "flip", "insert", "cut", "nest", "number"))
    at = random_.randrange(1, len(text))
    if action == "flip":
        text[at] ^= 1 << random_.randrange(8)
    elif action == "insert":
        text[at:at] = random_.choice((b"\xff", b"\xed\xb2\x80", b"\\ud800", b",", b'"', b"{", b"\0"))
    elif action == "cut":
        del text[at:]
    else:
        value = b"[" * 5000 + b"]" * 5000 if action == "nest" else b"9" * 5000
        text[1:1] = b'"deep": ' + value + b", "
    _put_text(pack, bytes(text), (layout.INDEX,))
    return f"{action} at {at}"


def _damage(pack: Path, random_: random.Random) -> str:
    """Bytes of any file changed, nothing made right."""
    files = sorted(path for path in pack.iterdir() if path.is_file())
    path = random_.choice(files)
    data = bytearray(path.read_bytes())
    action = random_.choice(("flip", "flip", "zeros", "cut", "longer", "gone", "swap", "empty"))
    if action == "flip":
        for _ in range(random_.choice((1, 1, 8))):
            data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
    elif action == "zeros":
        at = random_.randrange(len(data))
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif action == "cut":
        del data[random_.randrange(len(data)) :]
    elif action == "longer":
        data += b"\0"
    elif action == "swap":
        other = random_.choice(files)
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{path.name} and {other.name} swapped"
    elif action == "empty":
        data.clear()
    path.write_bytes(data)
    if action == "gone":
        path.unlink()
    return f"{path.name} {action}"


def _entry(index: dict[str, Any], random_: random.Random) -> dict[str, Any]:
    """The entry of one file with tables or documents."""
    entries = [index["dataset"], *(shard["annotations"] for shard in index["shards"] for _ in range(4))]
    entry: dict[str, Any] = random_.choice(entries)
    return entry


def arrays_of(pack: Path, entry: dict[str, Any]) -> Arrays:
    """Every array of a file."""
    data = (pack / entry["file"]).read_bytes()
    arrays = {}
    for name, array in entry["arrays"].items():
        count = int(np.prod(array["shape"]))
        values = (
            np.frombuffer(data, array["dtype"], count, array["offset"] or 0) if count else np.zeros(0, array["dtype"])
        )
        arrays[name] = values.reshape(array["shape"]).copy()
    return arrays


def rewrite(pack: Path, index: dict[str, Any], entry: dict[str, Any], arrays: Arrays) -> None:
    """Write a file anew with these arrays, and the index and its copy with all digests."""
    name = entry["file"]
    entry |= write_arrays(pack / name, arrays)
    entry["file"] = name
    put_index(pack, index)


def _table(pack: Path, random_: random.Random) -> str:
    """A value of an array."""
    index = index_of(pack)
    entry = _entry(index, random_)
    arrays = arrays_of(pack, entry)
    changes = []
    for _ in range(random_.choice((1, 1, 2))):
        name = random_.choice([name for name, array in arrays.items() if array.size])
        flat = arrays[name].reshape(-1)
        at = random_.randrange(flat.size)
        before = flat[at]
        if flat.dtype.kind == "f":
            flat[at] = random_.choice((*NUMBERS, float("nan"), float("inf"), -float("inf"), 1e308, -0.5, 1e-300))
        else:
            limits = np.iinfo(flat.dtype)
            number = random_.choice((*NUMBERS, int(before) + 1, int(before) - 1, random_.randrange(256)))
            flat[at] = min(max(number, int(limits.min)), int(limits.max))
        changes.append(f"{name}[{at}] {before} → {flat[at]}")
    rewrite(pack, index, entry, arrays)
    return "; ".join(changes)


def _record(pack: Path, random_: random.Random) -> str:
    """A value in the JSON records of images or instances, or in the documents."""
    index = index_of(pack)
    name = random_.choice(("documents", "image/extra", "instance/extra"))
    entry = index["dataset"] if name == "documents" else random_.choice(index["shards"])["annotations"]
    arrays = arrays_of(pack, entry)
    data = arrays[name].tobytes()
    if name == "documents":
        documents = json.loads(zstandard.ZstdDecompressor().decompress(data))
        what = mutate_json(documents, random_)
        text = json.dumps(documents).encode("utf-8", "surrogatepass")
        arrays[name] = np.frombuffer(zstandard.ZstdCompressor().compress(text), np.uint8)
    else:
        bounds = arrays[f"{name}_offset"].tolist()
        records = [json.loads(data[begin:end] or b"{}") for begin, end in itertools.pairwise(bounds)]
        what = mutate_json(records, random_)
        texts = [record_text(record) for record in records][: len(bounds) - 1]
        texts += [b""] * (len(bounds) - 1 - len(texts))
        arrays[name] = np.frombuffer(b"".join(texts), np.uint8)
        arrays[f"{name}_offset"] = np.cumsum([0, *map(len, texts)])
    rewrite(pack, index, entry, arrays)
    return f"{name} {what}"


def digest_of(pack: Path) -> str:
    """A digest of all that the samples, splits, labels and documents of a pack say."""
    import segdata

    opened = segdata.open(pack)
    digest = hashlib.sha256(repr([opened.labels, opened.documents]).encode("utf-8", "surrogatepass"))
    for name, members in opened.splits.items():
        digest.update(f"{name} {members.tolist()}".encode("utf-8", "surrogatepass"))
    for sample in opened:
        instances = sample.instances
        parts = [sample.key, sample.file, sample.id, sample.height, sample.width, sample.extra, list(instances.extra)]
        digest.update(repr(parts).encode("utf-8", "surrogatepass"))
        for name in ("category", "has_mask", "iscrowd", "difficult", "truncated", "occluded", "id", "bbox", "area"):
            digest.update(getattr(instances, name).tobytes())
        digest.update(instances.masks.dense().tobytes() + instances.polygons.values.tobytes())
        digest.update((sample.encoded or b"") + (b"" if sample.semantic is None else sample.semantic.tobytes()))
    return digest.hexdigest()
