"""Shared fixtures: the real command as a subprocess, and small datasets written by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["places"]

settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=False)
settings.load_profile("repeatable")


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code, stdout, stderr, and the JSON document when it printed one."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def run_segdata(*arguments: object, timeout: float = 120, **environment: str) -> Outcome:
    """Run the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "segdata", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def segdata_command() -> Callable[..., Outcome]:
    return run_segdata


def tree(root: Path) -> dict[str, bytes]:
    """Every file under a folder with its content."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
