"""Digests of weights files: in a `.sha256` beside them, or in the name that torchvision gave them.

    mine.h5
    mine.h5.sha256                            sha256sum's line: 64 digits, two blanks, the name
    maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth   the first digits, as PyTorch's hub names what it publishes

A changed bit of a weight looks like any other weight, so nothing else can tell.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from segdata.errors import DamagedData, InvalidInput
from segdata.system.files import disk_errors, write_whole
from segdata.system.reading import open_file, read_file

_PUBLISHED = re.compile(r"(?:maskrcnn_)?resnet\d+.*-([0-9a-f]{8})\.pth")


def beside(path: Path) -> Path:
    """The file beside `path` that holds its digest."""
    return path.with_name(f"{path.name}.sha256")


def write_with_digest(path: Path, data: bytes) -> None:
    """Write a file and its digest beside it; when that is interrupted, no digest is left that belongs to other data."""
    beside(path).unlink(missing_ok=True)
    write_whole(path, data)
    write_whole(beside(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode("utf-8", "surrogateescape"))


def check(path: Path) -> None:
    """Compare a file with its digest, where there is one.

    Raises:
        DamagedData: they differ.
        InvalidInput: the file beside it is no line of sha256sum.
    """
    side, published = beside(path), _PUBLISHED.fullmatch(path.name)
    if side.is_file():
        with disk_errors(side):
            text = read_file(side)[:4096].decode("utf-8", "replace")
        if not re.match(r"[0-9a-fA-F]{64}(\s|$)", text):
            raise InvalidInput("this is no line of sha256sum", file=side, fix=f"remove it, or: sha256sum {path.name}")
        expected, source = text[:64].lower(), side.name
    elif published:
        expected, source = published[1], "its name"
    else:
        return
    with disk_errors(path), open_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise DamagedData(
            "the weights file is cut short or damaged",
            file=path,
            why=f"sha256 {digest[:12]}… instead of {expected[:12]}… ({source})",
            fix="get the file again" + (f"; if it was changed on purpose, remove {side}" if side.is_file() else ""),
        )
