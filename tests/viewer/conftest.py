"""One drawn dataset, its pack, its predictions, and servers of them, for all tests of the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from tests.viewer import drawn
from tests.viewer.client import Client


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the cache of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The dataset's folder and the results' file."""
    return drawn.draw(tmp_path_factory.mktemp("drawn") / "coco")


@pytest.fixture(scope="session")
def pack(dataset: tuple[Path, Path]) -> Path:
    folder = dataset[0].with_name("pack")
    segdata.convert(dataset[0], folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def client(pack: Path) -> Iterator[Client]:
    """A client of a server of the pack alone."""
    viewer = segdata.view(pack)
    yield Client(viewer.address)
    viewer.stop()


@pytest.fixture(scope="session")
def compared(pack: Path, dataset: tuple[Path, Path]) -> Iterator[Client]:
    """A client of a server of the pack and the predictions."""
    viewer = segdata.view(pack, dataset[1])
    yield Client(viewer.address)
    viewer.stop()
