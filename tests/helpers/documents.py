"""What the documents say, for tests that hold the code against them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.command import run_segdata


def code_blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language (a regular expression) in a Markdown file."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands, in the order of the help."""
    _, _, panels = run_segdata("--help", COLUMNS="80").out.partition("\nOptions:")
    return re.findall(r"^  ([a-z]\w*) ", panels, re.MULTILINE)
