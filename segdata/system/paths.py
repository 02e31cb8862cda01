"""Check file names in other people's data, so that no path leads out of the dataset's folder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path, PurePosixPath

from segdata.errors import Unsafe

_NOT_NAMES = frozenset(("", ".", ".."))


def checked_name(name: str, what: str) -> PurePosixPath:
    """Check a relative path; `what` names its source in the error.

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
        or not _NOT_NAMES.isdisjoint(name.split("/"))
    ):
        raise Unsafe(
            f"{what} names a path that is not allowed",
            why=f"{name!r} is not a plain relative path (no '..', no leading '/', no backslash, no address)",
            fix="correct the name; nothing outside the dataset's folder is ever opened",
        )


def inside(root: Path, name: str, what: str) -> Path:
    """`root / name`, unless the name or a symbolic link leads out of `root`.

    Raises:
        Unsafe: a name that `checked_name` refuses, or a symbolic link out of `root`.
    """
    _check_name(name, what)
    paths = itertools.accumulate((os.fspath(root), *name.split("/")), os.path.join)
    # Called for every image: strings are twice as fast as `Path`.
    if any(os.path.islink(path) for path in itertools.islice(paths, 1, None)):  # noqa: PTH114
        real = Path(os.path.realpath(root / name))
        if not real.is_relative_to(os.path.realpath(root)):
            raise Unsafe(f"{what} leads out of the dataset's folder through a link", file=root / name, why=f"to {real}")
    return root / name
