"""The lock files: all dependencies are pinned with hashes, everywhere, and a file with another hash is not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("constraints.txt", "constraints-core.txt", "constraints-train.txt", "constraints-release.txt")
MACHINES = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]


def environments() -> Iterator[dict[str, str]]:
    for python in ("3.11", "3.12", "3.13"):
        for platform, machine in MACHINES:
            yield {
                "python_version": python,
                "python_full_version": f"{python}.9",
                "sys_platform": platform,
                "platform_machine": machine,
                "extra": "",
            }


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """(pin, its hashes) of every package in a lock file."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / name).read_text()).replace("\\\n", " ")
    lines = [line.split(" --hash=") for line in text.splitlines()]
    return [(Requirement(line), [value.strip() for value in hashes]) for line, *hashes in lines]


def pinned(requirement: Requirement, lock: list[tuple[Requirement, list[str]]], environment: dict[str, str]) -> bool:
    """One pin, and no more, holds for a requirement on a machine, and its version is one that is asked for."""
    name = canonicalize_name(requirement.name)
    same = [pin for pin, _ in lock if canonicalize_name(pin.name) == name]
    (version,) = [
        next(iter(pin.specifier)).version for pin in same if pin.marker is None or pin.marker.evaluate(environment)
    ] or [""]
    return bool(version) and requirement.specifier.contains(version, prereleases=True)


def project() -> list[list[Requirement]]:
    """What pyproject.toml asks for: by segdata itself and its build, by its extras, by training, by the tools of the
    workflows."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    core = document["project"]["dependencies"] + document["build-system"]["requires"]
    optional = document["project"]["optional-dependencies"]
    extras = [line for lines in optional.values() for line in lines]
    train = optional["train"] + optional["plots"] + optional["torch"]
    groups = (core, extras, train, document["dependency-groups"]["release"])
    return [[Requirement(line) for line in lines if not line.startswith("segdata[")] for lines in groups]


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_hashed(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()
    for pin, hashes in pins(name):
        assert [specifier.operator for specifier in pin.specifier] == ["=="], pin
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), pin


@pytest.mark.parametrize("environment", [*environments()], ids=lambda machine: "-".join([*machine.values()][1:-1]))
def test_every_dependency_of_pyproject_is_pinned(environment: dict[str, str]) -> None:
    core, extras, train, release = project()
    for name, requirements in zip(LOCKS, (core + extras, core, core + train, release), strict=True):
        lock = pins(name)
        for requirement in requirements:
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert pinned(requirement, lock, environment), f"{requirement} in {name}: run scripts/lock"


def test_what_the_dependencies_need_is_pinned() -> None:
    """As far as they are installed here: what their metadata asks for on this machine, to the end."""
    core, extras, *_ = project()
    lock, waiting, seen = pins("constraints.txt"), core + extras, set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        try:
            lines = requires(requirement.name) or []
        except PackageNotFoundError:
            continue
        for needed in map(Requirement, lines):
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
                assert pinned(needed, lock, {}), f"{needed}, which {requirement.name} needs: run scripts/lock"
                waiting.append(needed)
    assert len(seen) > len(core)


def test_the_locks_agree() -> None:
    everything = {str(pin): hashes for pin, hashes in pins(LOCKS[0])}
    versions: dict[str, set[str]] = {}
    for pin, _ in pins(LOCKS[0]):
        versions.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier))
    for name in LOCKS[1:]:
        for pin, hashes in pins(name):
            assert everything.get(str(pin), hashes) == hashes, pin
            assert str(pin.specifier) in versions.get(canonicalize_name(pin.name), {str(pin.specifier)}), pin


def test_setup_refuses_a_file_with_another_hash(tmp_path: Path) -> None:
    """`scripts/setup` of a small project whose only dependency is a wheel made here; no index is asked."""
    wheel = tmp_path / "wheels/leaf-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("leaf.py", "")
        file.writestr("leaf-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: leaf\nVersion: 1.0\n")
        file.writestr("leaf-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("leaf-1.0.dist-info/RECORD", "")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/setup", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'tree'\nversion = '1.0'\n")
    digest = sha256(wheel.read_bytes()).hexdigest()
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent), "PYTHON": sys.executable}
    leaf = [str(tmp_path / ".venv/bin/python"), "-c", "import leaf"]
    for value in (digest[::-1], digest):
        (tmp_path / "constraints.txt").write_text(f"leaf==1.0 \\\n    --hash=sha256:{value}\n")
        done = subprocess.run(
            [tmp_path / "scripts/setup"], env=environment, capture_output=True, text=True, check=False
        )
        is_refused = "DO NOT MATCH THE HASHES" in done.stderr
        assert is_refused == (value != digest), done.stderr
        assert (subprocess.run(leaf, capture_output=True, check=False).returncode == 0) == (value == digest)
        assert not is_refused or done.returncode != 0
