"""A hook of mkdocs: README, ARCHITECTURE, CONTRIBUTING and CHANGELOG become pages of the site, where they lie beside `docs/`.

Their links are written for the repository; on the site `docs/loading.md` is `loading.md`, and `LICENSE` is no page.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages (called by mkdocs)."""
    for name, page in PAGES.items():
        text = re.sub(r"\]\(([^)#:]+)", lambda match: f"]({_target(match[1])}", (ROOT / name).read_text("utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def _target(link: str) -> str:
    return PAGES.get(link, link.removeprefix("docs/"))
