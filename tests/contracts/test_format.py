"""The contract of formats, for every line of the table."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segdata
from segdata.formats import FORMATS, RESULTS
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
    format_name = name.split("_")[0]
    others = [other for other in FORMATS if other != format_name]
    format_contract.check_load(FORMATS[format_name].format, DATASETS[name](tmp_path / "source"), others)


@pytest.mark.parametrize("name", DATASETS)
def test_what_was_written_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    source = DATASETS[name](tmp_path / "source")
    format_contract.check_round_trip(FORMATS[name.split("_")[0]].format, source, tmp_path / "target")


@pytest.mark.parametrize("name", FORMATS)
def test_samples_of_any_kind_are_adapted(name: str, tmp_path: Path) -> None:
    modules = FORMATS[name]
    format_contract.check_adapt(modules.adapt, modules.format, tmp_path / "target")


# ---------------------------------------------------------------------- what is shared knows no format

ROOT = Path(segdata.__file__).parent
SHARED = (
    "formats/contract.py",
    "formats/adapting.py",
    "formats/shared",
    "formats/shapes",
    "sources",
    "conversion",
    "pack",
    "sets",
    "core",
)
MAY_IMPORT = {
    "coco_panoptic": {"coco"},
    "coco_stuff": {"camvid"},
    "parquet": {"coco"},
    "sa1b": {"coco"},
    "sbd": {"voc"},
    "webdataset": {"parquet"},
}
"""Format → formats whose modules it uses: COCO panoptic's documents and the objects of others are COCO's, SBD's classes VOC's;
COCO-Stuff's maps are label files like CamVid's."""

EVERYDAY = {"masks", "label-maps"}
"""Names of formats that are also names of columns and of kinds of loss."""


def sources_of(*places: str) -> list[Path]:
    paths = [ROOT / place for place in places]
    return sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py")))


def imported_formats(path: Path) -> set[str]:
    """Folders of formats that a module imports from."""
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    folders = {name.replace("-", "_") for name in FORMATS}
    return {module.split(".")[2] for module in modules if module.startswith("segdata.formats.")} & folders


def strings(path: Path) -> set[object]:
    return {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("path", sources_of(*SHARED), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_shared_names_no_format(path: Path) -> None:
    assert not imported_formats(path)
    assert not strings(path) & ((FORMATS.keys() | RESULTS.keys()) - EVERYDAY)


@pytest.mark.parametrize("name", sorted(name.replace("-", "_") for name in FORMATS))
def test_formats_do_not_import_each_other(name: str) -> None:
    for path in sources_of(f"formats/{name}"):
        assert imported_formats(path) <= {name} | MAY_IMPORT.get(name, set()), path


def test_formats_are_imported_without_torch() -> None:
    code = "import sys, segdata.formats; print('torch' in sys.modules, 'segdata.formats.voc.format' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
