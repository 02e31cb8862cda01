"""A manifest, a view or a settings file with anything else in it is read, or refused by a declared error: never otherwise.

Ten thousand mutants a door with `scripts/test --full`, a hundred without.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segdata.catalog import manifest
from segdata.formats.shared import label_tables
from segdata.training.config import TrainConfig
from tests.helpers import ends

SHORT, FULL = 50, 10_000

MANIFEST: dict[str, Any] = {
    **{"title": "t", "homepage": "http://localhost/", "licence": "none", "citation": "c", "format": "voc"},
    **{
        "label_space": "mine",
        "max_pixels": 1000,
        "known_bad": ["a"],
        "average_sizes": {"a": 1.5},
        "root": "VOCdevkit/x",
    },
    "terms": {"id": "mine", "url": "http://localhost/", "text": "do"},
    "signin": {"kind": "cityscapes", "url": "https://localhost"},
    "labels": [
        {"name": "a", "id": 1, "color": [1, 2, 3], "isthing": True, "supercategory": "s", "ignore": False},
        {"name": "b", "id": 2},
    ],
    "views": {"v": {"about": "x", "labels": [{"name": "ab", "id": 0, "from": ["a", "b"], "color": [0, 0, 255]}]}},
    "splits": {"train": {"count": 2, "names": ["x", "y"]}, "val": {"count": 3}},
    "remotes": [
        {
            **{"part": "train", "url": "https://localhost/a.zip", "mirrors": ["https://localhost/b.zip"], "bytes": 12},
            **{"digest": "md5:" + "0" * 32, "file": "a.zip", "archive": "zip", "into": "images", "extracted": 13},
            **{"contains": ["*.png"], "rename": {"README": "README-a"}, "optional": True},
        },
        {"part": "val", "package": "b.zip", "bytes": "unknown", "about": 12, "digest": "unknown"},
    ],
}
SETTINGS: dict[str, Any] = {
    **{"model": "maskrcnn", "epochs": 3, "backbone": "resnet18", "min_size": [64], "learning_rate": 0.01},
    **{"anchor_sizes": [8, 16, 32, 64, 128], "stages": ["heads:1", "all:2:0.1"], "scale_jitter": [0.8, 1.2]},
    **{"flip": 0.5, "channels_last": True, "optimizer": "adamw", "mean": [0.4, 0.5, 0.6]},
}


def written(value: Any) -> str:
    """A value in TOML; None as the word null, which is none."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(written, value)) + "]" if isinstance(value, list) else json.dumps(value)


def document(tables: Any) -> bytes:
    if not isinstance(tables, dict):
        return written(tables).encode()
    return "".join(f"{json.dumps(key)} = {written(value)}\n" for key, value in tables.items()).encode()


def read(path: Path) -> object:
    """Everything that other code does with a manifest at once."""
    whole = manifest.load(path)
    return [json.dumps(whole.labels.as_dict()), whole.parts, [view.labels.digest for view in whole.views.values()]]


DOORS: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "manifest": (MANIFEST, read),
    "view": (
        MANIFEST["views"]["v"],
        lambda path: manifest.mapping_from_file(path, manifest.load(path.parent / "good.toml").labels),
    ),
    "labels": ({"labels": MANIFEST["labels"]}, label_tables.from_file),
    "settings": (SETTINGS, lambda path: TrainConfig.from_toml(path).as_toml(explained=True)),
}


def entered(door: str, folder: Path) -> Callable[[random.Random], object]:
    tables, enter = DOORS[door]
    (folder / "good.toml").write_bytes(document(MANIFEST))
    path = folder / "damaged.toml"

    def call(random_: random.Random) -> object:
        data = document(ends.changed(tables, random_)) if random_.random() < 0.6 else document(tables)
        path.write_bytes(data if data != document(tables) else ends.damaged(data, random_))
        return enter(path)

    return call


@pytest.mark.parametrize("door", DOORS)
def test_mutants_are_read_or_refused(door: str, tmp_path: Path) -> None:
    tables, enter = DOORS[door]
    (tmp_path / "good.toml").write_bytes(document(MANIFEST))
    (tmp_path / "whole.toml").write_bytes(document(tables))
    enter(tmp_path / "whole.toml")
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT))


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT, SHORT + FULL))
