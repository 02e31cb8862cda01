"""File names from elsewhere, checked so that they stay inside a folder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path, PurePosixPath

from segdata.errors import Unsafe

try:  # zlib's values, four times as fast
    from isal.isal_zlib import crc32 as crc32
except ImportError:  # no wheel for this machine
    from zlib import crc32 as crc32


_NO_STEPS = frozenset(("", ".", ".."))


def checked_name(name: str, what: str) -> PurePosixPath:
    """A relative path from somebody else's data, or an error if it could lead anywhere but downwards.

    Raises:
        Unsafe: absolute, with `..`, backslash, drive letter, NUL or empty parts, or a URL.
    """
    _check_name(name, what)
    return PurePosixPath(name)


def _check_name(name: str, what: str) -> None:
    if (
        not name
        or "\\" in name
        or "\0" in name
        or "://" in name
        or name.startswith("/")
        or (len(name) > 1 and name[1] == ":")
        or not _NO_STEPS.isdisjoint(name.split("/"))
    ):
        raise Unsafe(
            f"{what} names a path that is not allowed",
            why=f"{name!r} is not a plain relative path (no '..', no leading '/', no backslash, no address)",
            fix="correct the name; nothing outside the dataset's folder is ever opened",
        )


def inside(root: Path, name: str, what: str) -> Path:
    """`root / name`, refused when the name or a link on the way leads out of `root`.

    Raises:
        Unsafe: see `checked_name`; or a symbolic link out of `root`.
    """
    _check_name(name, what)
    steps = itertools.accumulate((os.fspath(root), *name.split("/")), os.path.join)
    # Once for every image: text is twice as fast as paths.
    if any(os.path.islink(step) for step in itertools.islice(steps, 1, None)):  # noqa: PTH114
        real = Path(os.path.realpath(root / name))
        if not real.is_relative_to(os.path.realpath(root)):
            raise Unsafe(f"{what} leads out of the dataset's folder through a link", file=root / name, why=f"to {real}")
    return root / name
