"""Datasets with one thing changed: a name, a folder, a field or a value, chosen by a seed."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

VALUES: tuple[Any, ...] = (
    *(None, "", "12", "a", 0, -1, 1, 2, 7, 1.5, 3.0, 1e9, -0.5, 2**40, True, False),
    *([], {}, [[]], [1, 2], [1, 2, 3, 4], [[1, 1, 5, 1, 5, 5]], float("nan"), float("inf"), "../x.jpg", "a\\b.jpg"),
)
TEXTS = ("", " ", "0", "-3", "1.5", "40", "99999", "a", "dog", "DOG", "../a", "2007_000002.jpg")


def mutate(root: Path, random_: random.Random) -> str:
    """Change one thing below the folder; returns what."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        return "nothing"
    path = random_.choice(files)
    change: Callable[[Path, random.Random], str] = _files
    if random_.random() < 0.85:
        change = {".json": _json, ".xml": _xml, ".png": _pixels, ".txt": _text}.get(path.suffix, _files)
    return f"{path.relative_to(root)}: {change(path, random_)}"


def holders_of(document: Any) -> list[tuple[Any, Any]]:
    """Every value of a JSON document, as the object or list that holds it and its key."""
    holders: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            holders.append((node, key))
            walk(value)

    walk(document)
    return holders


def _json(path: Path, random_: random.Random) -> str:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return "not JSON"
    holders = holders_of(document)
    holder, key = random_.choice(holders)
    old = repr(holder[key])[:60]
    action = random_.choice(("value", "value", "value", "delete", "double", "scale", "swap"))
    if action == "delete":
        del holder[key]
    elif action == "double" and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif action == "scale" and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * random_.choice((2, -1, 0.5, 1000))
    elif action == "swap":
        other, other_key = random_.choice(holders)
        if type(other.get(other_key) if isinstance(other, dict) else None) is type(holder[key]):
            holder[key] = copy.deepcopy(other[other_key])
    else:
        holder[key] = copy.deepcopy(random_.choice(VALUES))
    path.write_text(json.dumps(document))
    return f"{action} {key!r} {old} → {(holder[key] if action == 'value' else '')!r}"


def _xml(path: Path, random_: random.Random) -> str:
    try:
        tree = ElementTree.parse(path)
    except ElementTree.ParseError:
        return "not XML"
    parents = {child: parent for parent in tree.iter() for child in parent}
    if not parents:
        return "nothing"
    node = random_.choice(list(parents))
    action = random_.choice(("text", "text", "text", "delete", "double", "rename"))
    if action == "text":
        node.text = random_.choice(TEXTS)
    elif action == "delete":
        parents[node].remove(node)
    elif action == "double":
        parents[node].append(node)
    else:
        node.tag = random_.choice(("object", "name", "bndbox", "size", "xmin", "other"))
    tree.write(path)
    return f"{action} <{node.tag}> {node.text!r}"


def _pixels(path: Path, random_: random.Random) -> str:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError):
        return _files(path, random_)
    if random_.random() < 0.3:
        return _files(path, random_)
    values = np.asarray(image).copy()
    action = random_.choice(("value", "rectangle", "size", "mode", "all"))
    new = random_.choice((0, 1, 2, 7, 19, 24, 33, 34, 99, 200, 254, 255, 24000, 26001, 26003))
    new = min(new, np.iinfo(values.dtype).max) if values.dtype != bool else bool(new)
    if action == "value":
        values[values == random_.choice(np.unique(values).tolist())] = new
    elif action == "rectangle":
        values[2:9, 3:12] = new
    elif action == "all":
        values[...] = new
    elif action == "size":
        values = values[: values.shape[0] - 1]
    changed = Image.fromarray(values)
    if action == "mode":
        changed = (
            changed.convert(random_.choice(("RGB", "L", "RGBA", "1"))) if changed.mode in ("L", "P", "RGB") else changed
        )
    elif image.mode == "P" and changed.mode == "L":
        changed.putpalette(image.getpalette() or [])
    buffer = io.BytesIO()
    changed.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return f"{action} {new}"


def _text(path: Path, random_: random.Random) -> str:
    lines = path.read_text("utf-8", "replace").splitlines()
    action = random_.choice(("line", "delete", "double", "append"))
    number = random_.randrange(len(lines)) if lines else 0
    if action == "append" or not lines:
        lines.append(random_.choice(TEXTS))
    elif action == "line":
        lines[number] = random_.choice(TEXTS)
    elif action == "delete":
        del lines[number]
    else:
        lines.append(lines[number])
    path.write_text("\n".join(lines) + "\n")
    return action


def _files(path: Path, random_: random.Random) -> str:
    action = random_.choice(("remove", "upper", "ending", "folder", "copy", "empty", "swap", "above"))
    siblings = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    if action == "remove":
        path.unlink()
    elif action == "upper":
        path.rename(path.with_name(path.stem + path.suffix.upper()))
    elif action == "ending":
        path.rename(path.with_suffix(random_.choice((".jpeg", ".jpg", ".png", ".txt", ".bmp"))))
    elif action == "folder":
        (path.parent / "sub").mkdir(exist_ok=True)
        path.rename(path.parent / "sub" / path.name)
    elif action == "copy":
        shutil.copy(path, path.with_name(f"{path.stem}_copy{path.suffix}"))
    elif action == "empty":
        path.write_bytes(b"")
    elif action == "swap" and siblings:
        other = random_.choice(siblings)
        first, second = path.read_bytes(), other.read_bytes()
        path.write_bytes(second)
        other.write_bytes(first)
    elif action == "above":
        name = random_.choice(("images", "data", "val", "test", "labels"))
        if not (path.parent.parent / name).exists():
            path.parent.rename(path.parent.parent / name)
    return action
