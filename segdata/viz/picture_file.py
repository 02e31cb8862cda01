"""A picture as a file, of the kind that its name says."""

from __future__ import annotations

import io
from pathlib import Path

from segdata.errors import UsageError
from segdata.system.files import write_whole
from segdata.viz.overlay import Picture, png

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".pdf": "PDF"}
"""Ending of a picture's name → what is written."""


def save(picture: Picture, path: Path) -> None:
    """Write a picture as what its name ends in.

    Raises:
        UsageError: another ending than those of `KINDS`.
    """
    from PIL import Image

    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise UsageError(
            f"a picture cannot be written as {path.suffix or 'a file without ending'}",
            file=path,
            fix=f"give a name that ends in {', '.join(KINDS)}; --html FILE writes a page",
        )
    buffer = io.BytesIO()
    if kind == "PNG":
        buffer.write(png(picture))
    else:
        Image.fromarray(picture).save(buffer, kind, quality=90)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
