"""Keep passwords from the environment out of child processes, messages and displayed addresses."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

_NAMES = re.compile(r"SEGDATA_\w+_(USERNAME|PASSWORD)")
_taken: dict[str, str] = {}


def take() -> None:
    """Move segdata's credentials out of the environment, so that child processes do not inherit them."""
    for name in [name for name in os.environ if _NAMES.fullmatch(name)]:
        _taken[name] = os.environ.pop(name)


def get(name: str) -> str | None:
    """A credential, from the environment variable of this name (also after `take`); None where it is not set."""
    return _taken.get(name) or os.environ.get(name) or None


def shown(url: str) -> str:
    """A URL for messages and receipts: without user, password, query and fragment, which may hold tokens."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
