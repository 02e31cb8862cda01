"""The contract of formats, for every line of the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdata.formats import FORMATS
from tests.contracts import format_contract
from tests.helpers import made, made_results

DATASETS = {**made.ALL, "coco-panoptic": made_results.panoptic}
"""A hand-made dataset of every layout; the format is the part before the underscore."""


def test_every_format_has_a_dataset_here_and_a_folder_of_its_name() -> None:
    assert {name.split("_")[0] for name in DATASETS} == set(FORMATS)
    for name, modules in FORMATS.items():
        folder = f"segdata.formats.{name.replace('-', '_')}"
        assert getattr(modules.format, "__name__", "") == f"{folder}.format"
        assert getattr(modules.adapt, "__name__", "") == f"{folder}.adapt"


@pytest.mark.parametrize("name", DATASETS)
def test_a_scan_lists_everything(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    format_contract.check_scan(FORMATS[name.split("_")[0]].format, DATASETS[name](tmp_path / "source"), empty)


@pytest.mark.parametrize("name", DATASETS)
def test_loading_is_pure(name: str, tmp_path: Path) -> None:
    own = name.split("_")[0]
    others = [other for other in FORMATS if other != own]
    format_contract.check_load(FORMATS[own].format, DATASETS[name](tmp_path / "source"), others)


@pytest.mark.parametrize("name", DATASETS)
def test_what_was_written_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    source = DATASETS[name](tmp_path / "source")
    format_contract.check_round_trip(FORMATS[name.split("_")[0]].format, source, tmp_path / "target")


@pytest.mark.parametrize("name", FORMATS)
def test_samples_of_any_kind_are_adapted(name: str, tmp_path: Path) -> None:
    modules = FORMATS[name]
    format_contract.check_adapt(modules.adapt, modules.format, tmp_path / "target")
