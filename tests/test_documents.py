"""What the documents promise: files that they name exist, public names have an API page, the site builds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import segdata
from tests.test_repository import FLOORS, PACKAGE, ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("0*.md"))


def files_named_in(text: str) -> set[str]:
    """Paths between backticks as globs from the root: those of the repository's folders, and of the package's."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    globs = set()
    for path in re.findall(r"`([a-z_.]+/[\w./-]*)`", text):
        first = path.partition("/")[0]
        if first in folders | packages:
            globs.add(re.sub(r"\b[A-Z]{3,}\b", "*", path if first in folders else f"segdata/{path}").rstrip("/"))
    return globs


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_the_documents_name_exist(path: Path) -> None:
    for pattern in files_named_in(path.read_text("utf-8")):
        assert next(ROOT.glob(pattern), None) is not None, pattern


def test_decisions_are_numbered_and_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    for number, path in enumerate(DECISIONS, start=1):
        title, _, date, *parts = path.read_text("utf-8").split("\n", 4)
        assert path.name.startswith(f"{number:04d}-") and title.startswith(f"# {number}. ")
        assert f"| [{number}]({path.name}) | {date.strip('*')} | {title.partition('. ')[2]} |" in index
        assert all(f"**{part}.** " in parts[-1] for part in ("Context", "Decision", "Consequence")), path


def test_the_architecture_draws_the_floors() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").partition("## Floors")[2].partition("\n## ")[0]
    drawn: list[set[str]] = []
    for line in re.findall(r"^    (.{26})", text, re.MULTILINE):
        names = set(line.replace("·", " ").split())
        if line.startswith(" "):
            drawn[-1] |= names
        else:
            drawn.append(names)
    assert drawn[::-1] == [floor for floor in FLOORS if floor != {"__main__"}]


def test_every_public_name_has_an_api_page() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs/api").glob("*.md")))
    documented = re.findall(r"^::: segdata\.(\w+)$", pages, re.MULTILINE)
    assert set(segdata.__all__) <= set(documented) | {"SegdataError"}  # its page shows all of segdata.errors
    assert "::: segdata.errors" in pages


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed")
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img)[^>]* src="(http[^"]*)|<link[^>]* rel="stylesheet"[^>]* href="(http[^"]*)',
            page.read_text(),
        )
        assert not loaded, page
