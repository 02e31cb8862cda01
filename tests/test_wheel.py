"""The built wheel: everything that segdata needs, nothing of its tests, and a command that works from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("segdata", "LICENSE", "README.md", "pyproject.toml")


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in a folder called segdata, because setuptools would put what an earlier build left in `build/` into the
    wheel."""
    folder = tmp_path_factory.mktemp("work") / "segdata"
    for name in SOURCES:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_holds_every_module_and_manifest_and_no_tests(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segdata").rglob("*.py")}
    manifests = {f"segdata/manifests/{path.name}" for path in (ROOT / "segdata/manifests").iterdir() if path.is_file()}
    weights = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segdata/demo/weights").iterdir()}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "segdata/viewer/static").rglob("*") if path.is_file()}
    assert names == {*modules, *manifests, *weights, *page, "segdata/py.typed"}
    assert len(weights) == 6 and sum(path.stat().st_size for path in (ROOT / "segdata/demo/weights").iterdir()) < 4e6
    assert {"segdata/manifests/coco-2017.toml", "segdata/manifests/same-names.txt"} <= names
    assert not [name for name in names if "/test_" in name or "/conftest" in name]


def test_the_hints_to_install_an_extra_are_what_pip_takes(wheel: Path, tmp_path: Path) -> None:
    """segdata is on no index: with one installed, `pip install 'segdata[train]'` adds the rest."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "segdata").rglob("*.py")]
    named = {name for path in files for name in re.findall(r"(?:segdata|\.)\[([\w,]+)\]'", path.read_text("utf-8"))}
    assert {"train", "plots"} <= named <= set(declared)
    pip("install", "--no-deps", "--no-index", "--target", tmp_path, wheel)
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--no-index"]
    done = subprocess.run(
        [*command, *(f"segdata[{name}]" for name in sorted(named))],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "already satisfied" in done.stdout, done.stdout + done.stderr


def test_an_installed_wheel_lists_the_datasets(wheel: Path, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    pip("install", "--no-deps", "--no-index", "--target", packages, wheel)
    environment = {**os.environ, "PYTHONPATH": str(packages), "SEGDATA_ROOT": str(tmp_path / "data")}
    code = "import segdata; print(segdata.__file__)"
    imported = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(imported.stdout.strip()).is_relative_to(packages)
    command = [str(packages / "bin/segdata"), "list", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    datasets = json.loads(done.stdout)["datasets"]
    assert {"camvid", "cityscapes", "coco-2017", "voc-2012"} <= {dataset["name"] for dataset in datasets}


def test_a_clone_beside_a_script_does_not_hide_the_package(source: Path, tmp_path: Path) -> None:
    """An editable install is a folder on the path, which type checkers follow, too. Python looks there although the
    script's folder has a folder `segdata`: one without `__init__.py` counts only where there is nothing else."""
    build = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, check=True)
    (built,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(built).extractall(site)
    (pth,) = site.glob("*.pth")
    assert pth.read_text().split() == [str(source)]
    code = f"import site; site.addsitedir({str(site)!r}); import segdata; print(segdata.__file__)"
    run = [sys.executable, "-S", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(run, cwd=source.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(source / "segdata/__init__.py"), done.stderr
