"""The command of this process, for reports."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def command() -> str:
    """What was typed, with folders left out of paths, which may name people and machines; a script by its name."""
    program = Path(sys.argv[0])
    name = "segdata" if program.name in ("__main__.py", "segdata") else program.name
    return shlex.join([name, *(_short(word) for word in sys.argv[1:])]) if name == "segdata" else name


def _short(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.startswith("-"):
        return f"{name}={_short(value)}"
    return Path(word).name if "/" in word and "://" not in word else word
