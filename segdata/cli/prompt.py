"""Questions to a person, asked only where a terminal can answer."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

from segdata.errors import printable


def is_possible() -> bool:
    """Whether there is a terminal to ask on."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def terms() -> Callable[[str], bool] | None:
    """How to ask for acceptance; None where nobody can answer."""
    return _terms if is_possible() else None


def account() -> Callable[[str], tuple[str, str]] | None:
    """How to ask for an account; None where nobody can answer."""
    return _account if is_possible() else None


def _terms(text: str) -> bool:
    print(f"{printable(text)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _account(host: str) -> tuple[str, str]:
    print(f"Account at {printable(host)}\nname: ", end="", file=sys.stderr, flush=True)
    name = sys.stdin.readline().strip()
    return name, getpass.getpass("password: ", stream=sys.stderr)
