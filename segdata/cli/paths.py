"""Files and folders that are to be written: refused before any work where they cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from segdata.errors import UsageError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".pdf")
"""Endings of pictures."""


def folder(parameter: typer.CallbackParam, value: Path | None) -> Path | None:
    """A folder to make or to write into.

    Raises:
        UsageError: the value is an option, or a file has this name.
    """
    name = _name(parameter)
    if value is not None and value.name.startswith("-"):
        raise UsageError(f"{name} has no folder", why=f"what follows is {value}", fix=f"{name} FOLDER")
    if value is not None and value.exists() and not value.is_dir():
        raise UsageError(f"{name} is a folder, and a file has this name", file=value, fix=f"{name} FOLDER")
    return value


def file(*endings: str) -> Callable[[typer.CallbackParam, Path | None], Path | None]:
    """A file to write, with one of these endings.

    Raises:
        UsageError: another ending, or a folder has this name.
    """

    def checked(parameter: typer.CallbackParam, value: Path | None) -> Path | None:
        name = _name(parameter)
        if value is not None and value.suffix.lower() not in endings:
            why = f"endings that work are {', '.join(endings)}"
            raise UsageError(
                f"{name} cannot write {value.name}", file=value, why=why, fix=f"{name} {value.with_suffix(endings[0])}"
            )
        if value is not None and value.is_dir():
            raise UsageError(f"{name} is a file, and a folder has this name", file=value, fix=f"{name} FILE")
        return value

    return checked


def _name(parameter: Any) -> str:
    """The option as it is typed."""
    return str(max(parameter.opts, key=len))
