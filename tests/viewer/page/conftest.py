"""Chromium, and packs that pages show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import segdata
from tests.helpers.samples import SAMPLES
from tests.viewer.page import browser as browsers


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsers.chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Any) -> Iterator[browsers.Open]:
    pytest.importorskip("uvicorn", reason="the extra view is not installed")
    with browsers.pages(browser) as opener:
        yield opener


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Packs of real sample data, by the folder of the source; made once."""
    made: dict[str, Path] = {}

    def one(name: str) -> Path:
        if name not in made:
            target = tmp_path_factory.mktemp("real") / name.replace("/", "-")
            segdata.convert(SAMPLES / name, target)
            made[name] = target
        return made[name]

    return one
