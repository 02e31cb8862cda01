"""The real command, run in a process of its own, and what it left on the disk."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.warm import Server


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, stdout, stderr, and the JSON document when it printed one."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


_AT_START = ("PYTHON", "LC_", "LANG")
"""Environment variables that the interpreter reads when it starts."""


@functools.cache
def _warm() -> Server:
    return Server()


def run_segdata(
    *arguments: object, timeout: float = 120, kill_after: float | None = None, **environment: str
) -> Outcome:
    """Run the real command in a process of its own; `kill_after` seconds kill it."""
    words = [os.fsdecode(item) if isinstance(item, os.PathLike) else str(item) for item in arguments]
    variables = {**os.environ, **environment}
    if any(name.startswith(_AT_START) for name in environment):
        done = subprocess.run(
            [sys.executable, "-m", "segdata", *words],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=variables,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
    else:
        outcome = Outcome(*_warm().run(words, variables, timeout, kill_after))
    assert "Traceback" not in outcome.err, outcome.err
    return outcome


Here = Callable[..., Outcome]
"""The command in the process of the tests: see the fixture `here`."""


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder with its content."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
