"""A format added by CONTRIBUTING's steps in a copy of the package: the table takes it, and every command works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from tests.contracts import format_contract
from tests.contracts.toy import adapt, format
from tests.helpers import made

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).parent / "toy"
TABLE = "segdata/formats/__init__.py"
ROW = '"toy": FormatModules(toy.format, toy.adapt, Residue(toy.residue.count_dropped))'

BOXES = "b\tdog\t1\t2\t10\t12\na\tcat\t0\t0\t39\t29# a note, kept\nb\ta cat\t3\t3\t3\t3\na\tdog\t5\t6\t7\t8\n"


def toy(root: Path) -> Path:
    """Three images, one without boxes; lines of different images take turns."""
    for number, name in enumerate("abc"):
        made.put(root / f"images/{name}.png", made.photo(seed=number, kind="PNG"))
    made.put(root / "boxes.toy", BOXES)
    made.put(root / "train.txt", "c\na\n")
    made.put(root / "val.txt", "b\n")
    return root


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in (".segdata.json", "names.tsv")
    }


# ---------------------------------------------------------------------- the steps


def steps() -> list[str]:
    """The steps of CONTRIBUTING.md's section on formats."""
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## Add a format\n")[2].partition("\n## ")[0]
    return [
        " ".join(step.split()) for step in re.findall(r"^\d\. (.*?)(?=^\d\. |\Z)", section, re.MULTILINE | re.DOTALL)
    ]


def put_into_table(package: Path, *rows: str) -> None:
    """Add the format's line to the table, and its folder to the table's imports."""
    table = package / TABLE
    text = table.read_text()
    names = ", ".join(re.findall(r"FormatModules\((\w+)\.", row)[0] for row in rows)
    added = re.sub(r"^from segdata\.formats import \(?\s*", rf"\g<0>{names}, ", text, count=1, flags=re.MULTILINE)
    added = added.replace("FormatModules] = {\n", "FormatModules] = {\n" + "".join(f"    {row},\n" for row in rows))
    assert added.count("\n") == text.count("\n") + len(rows)
    table.write_text(added)


def put_folder(package: Path, name: str, changes: dict[str, Callable[[str], str]]) -> None:
    """The toy format's folder under a name, with changes of its modules."""
    folder = package / f"segdata/formats/{name}"
    folder.mkdir()
    for module in ("format", "adapt", "residue"):
        text = (TOY / f"{module}.py").read_text()
        changed = changes.get(module, str)(text)
        assert (changed != text) == (module in changes)
        (folder / f"{module}.py").write_text(changed)
    (folder / "__init__.py").write_text(
        f'"""Toy."""\n\nfrom segdata.formats.{name} import adapt, format, residue\n\n'
        '__all__ = ["adapt", "format", "residue"]\n'
    )


def copy_of_segdata(folder: Path) -> Path:
    shutil.copytree(ROOT / "segdata", folder / "segdata", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of segdata with the toy format in it."""
    copy = copy_of_segdata(tmp_path_factory.mktemp("package"))
    put_folder(copy, "toy", {})
    put_into_table(copy, ROW)
    return copy


Run = Callable[..., Any]


@pytest.fixture
def run(package: Path, tmp_path: Path) -> Run:
    """The copy's command; gives its JSON document."""

    def run(*arguments: str | Path, code: int = 0) -> Any:
        command = [sys.executable, "-m", "segdata", *map(str, arguments), "--json"]
        variables = {**os.environ, "PYTHONPATH": str(package)}
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_steps_are_those_that_are_followed_here() -> None:
    first, second, third, fourth, fifth, *_ = steps()
    assert "`segdata/formats/NAME/`" in first and "`__init__.py`" in first
    assert "`from segdata.formats.NAME import adapt, format, residue`" in first
    assert '`__all__ = ["adapt", "format", "residue"]`' in first
    assert all(f"`{name}`" in second for name in ("LAYOUT", "detect", "scan", "load", "write_part", "finish"))
    assert "`Residue(NAME.residue.count_dropped)`" in third and "`residue.py`" in third
    assert all(f"`{name}`" in fourth for name in ("adapt.py", "plan", "adapt"))
    row = '`"NAME": FormatModules(NAME.format, NAME.adapt, Residue(NAME.residue.count_dropped))`'
    assert row.replace("NAME", "toy").strip("`") == ROW and row in fifth and f"`{TABLE}`" in fifth
    assert "tests/contracts/toy" in (ROOT / "CONTRIBUTING.md").read_text()


# ---------------------------------------------------------------------- what they give


def test_it_is_read_into_a_pack_and_written_again(run: Run, tmp_path: Path) -> None:
    source = toy(tmp_path / "source")
    described = run("info", source)
    assert (described["format"], described["samples"]) == ("toy", 3)
    assert described["splits"] == {"train": 2, "val": 1}
    report = run("convert", source, "pack")
    assert report["instances"] == 4
    assert run("verify", "pack")["good"]
    run("convert", "pack", "back", "--to", "toy")
    assert files(tmp_path / "back") == files(source)


def test_it_becomes_coco(run: Run, tmp_path: Path) -> None:
    toy(tmp_path / "source")
    run("convert", "source", "pack")
    refused = run("convert", "pack", "coco", "--to", "coco", code=13)
    assert refused["error"]["losses"] == {"notes on objects": {"count": 1, "keys": ["a"]}}
    run("convert", "pack", "coco", "--to", "coco", "--allow-loss")
    api = COCO(tmp_path / "coco/annotations/instances_train.json")
    names = {category["id"]: category["name"] for category in api.dataset["categories"]}
    image_of = {image["id"]: image["file_name"] for image in api.dataset["images"]}
    boxes = [(image_of[i["image_id"]], names[i["category_id"]], i["bbox"]) for i in api.dataset["annotations"]]
    assert boxes == [("a.png", "cat", [0, 0, 40, 30]), ("a.png", "dog", [5, 6, 3, 3])]


def test_other_formats_become_toy(run: Run, tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    dropped = run("convert", "source", "toy", "--to", "toy", code=13)["error"]["losses"]
    assert dropped["masks"]["count"] > 0
    report = run("convert", "source", "toy", "--to", "toy", "--allow-loss")
    assert report["problems"]["losses"] == dropped
    rows = [line.split("\t") for line in (tmp_path / "toy/boxes.toy").read_text().splitlines()]
    document = made.coco_document()
    names = {category["id"]: category["name"] for category in document["categories"]}
    stems = {image["id"]: image["file_name"].rpartition(".")[0] for image in document["images"]}
    assert sorted(row[:2] for row in rows) == sorted(
        [stems[item["image_id"]], names[item["category_id"]]] for item in document["annotations"]
    )
    assert run("info", "toy")["format"] == "toy"


def test_the_command_names_it(run: Run, package: Path, tmp_path: Path) -> None:
    error = run("convert", toy(tmp_path / "source"), "x", "--to", "nothing", code=2)["error"]
    assert "toy" in error["why"]
    command = [sys.executable, "-m", "segdata", "convert", "--help"]
    variables = {**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    assert "pack, toy, yolo, " in done.stdout


# ---------------------------------------------------------------------- its promises


def test_the_toy_format_keeps_the_contract(tmp_path: Path) -> None:
    source = toy(tmp_path / "source")
    (tmp_path / "empty").mkdir()
    format_contract.check_scan(format, source, tmp_path / "empty")
    format_contract.check_load(format, source, ["voc", "coco"])
    format_contract.check_round_trip(format, source, tmp_path / "target")
    format_contract.check_adapt(adapt, format, tmp_path / "adapted")


BROKEN: dict[str, dict[str, Callable[[str], str]]] = {
    "renamed": {"format": lambda text: text.replace("def detect(", "def looks_like(")},
    "exchanged": {
        "adapt": lambda text: text.replace(
            "def plan(source: Header, keys: Sequence[str]", "def plan(keys: Sequence[str], source: Header"
        )
    },
    "answering": {
        "format": lambda text: text.replace("-> bool:", "-> str:").replace(
            "return (root / _BOXES).is_file()", 'return ""'
        )
    },
}
"""Folders that do not keep the contract: a function of another name, arguments in another order, another type."""


def test_the_type_checker_refuses_formats_that_break_the_contract(tmp_path: Path) -> None:
    package = copy_of_segdata(tmp_path / "package")
    rows = [ROW]
    for name, changes in BROKEN.items():
        put_folder(package, name, changes)
        rows.append(f'"{name}": FormatModules({name}.format, {name}.adapt)')
    put_folder(package, "toy", {})
    rows.append('"toy-2": FormatModules(toy.format, toy.adapt, Residue(), inspect=toy.format.load)')
    put_into_table(package, *rows)
    options = ("--strict", "--ignore-missing-imports", "--cache-dir", tmp_path / "cache", "--no-error-summary")
    command = [sys.executable, "-m", "mypy", *map(str, options), TABLE]
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    lines = (package / TABLE).read_text().splitlines()
    refused = {lines[int(error.split(":")[1]) - 1].strip().rstrip(","): error for error in errors}
    assert set(refused) == set(rows[1:]), done.stdout
    assert all(error.startswith(f"{TABLE}:") and "[arg-type]" in error for error in errors)
    assert '"FormatModules" has incompatible type Module; expected "Format"' in refused[rows[1]]
    assert "detect" in done.stdout and "def plan(keys: Sequence[str], source: Header" in done.stdout
