"""What the repository promises as a whole: floors, locked libraries, public names, documents."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import run_segdata
from tests.helpers.documents import code_blocks, commands

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "segdata"

FLOORS = [
    {"errors", "version", "manifests"},
    {"core", "system"},
    {"catalog", "viz", "sets", "query", "places"},
    {"download", "pack", "formats"},
    {"sources", "loading", "transfer"},
    {"conversion", "statistics", "metrics", "comparison", "torch"},
    {"derivation"},
    {"correction"},
    {"viewer"},
    {"models"},
    {"training", "demo"},
    {"deployment"},
    {"cli"},
    {"__main__"},
]
"""Packages by floor, the lowest first; an import may only point down (or stay inside its package)."""

LOCKED = {
    "torch": ("torch.py", "models", "training", "deployment"),
    "onnx": ("deployment",),
    "onnxruntime": ("deployment", "correction"),
    "cv2": ("correction",),
    "starlette": ("viewer",),
    "uvicorn": ("viewer",),
    "socket": ("download", "system/files.py", "viewer"),
    "requests": ("download",),
    "obstore": ("places",),
    "h5py": ("pack/hdf5.py", "models/matterport/weights.py"),
    "defusedxml": ("formats",),
    "yaml": ("formats",),
    "pickle": (),
    "pyarrow": ("formats/parquet",),
    "typer": ("cli",),
    "matplotlib": ("viz/charts.py", "statistics/plots.py"),
}
"""Which files may import what."""


INNER_FLOORS: dict[str, list[set[Any]]] = {
    "formats": [
        {"contract"},
        {"blocks", "shared", "xml"},
        {"adapting", "label_maps", "shapes"},
        {"correcting"},
        {"coco", ...},
        {"coco_panoptic", "coco_stuff", "parquet", "sa1b", "sbd", "unknown"},
        {"webdataset"},
        {"detection"},
        {"__init__"},
    ],
    "models": [
        {"class_names", "norms", "safetensors_files", "settings", "weights_digest"},
        {"checkpoint", "losses"},
        {"weights"},
        {"contract"},
        {"maskrcnn"},  # whose share in packs and weights files Matterport's has, too
        {...},
        {"registry"},
    ],
    "training": [
        {"distributed", "outcome"},
        {"config"},
        {"batches", "narration", "resumption", "step", "trackers", "validation"},
        {"predict", "runs"},
        {"trainer"},
    ],
}
"""The same inside three packages, by file or folder; `...` stands for every folder that is not named."""

MODULE_NAME = re.compile(r"segdata(\.\w+)+(:\w+)?")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of the code, also by a name in a string; a module that is imported
    from its package counts itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_imported(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE_NAME.fullmatch(node.value):
            name = node.value.partition(":")[0]
            found |= {name} & {*map(module_name, modules())}
    return found


def _imported(module: str, name: str) -> str:
    folder = ROOT.joinpath(*module.split("."))
    is_module = module == "segdata" or (folder / f"{name}.py").is_file() or (folder / name).is_dir()
    return f"{module}.{name}" if is_module else module


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def floor(name: str) -> int:
    return next(number for number, packages in enumerate(FLOORS) if name in packages)


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "segdata" or len(parts) == 1 or parts[1] in (package_of(path), "__version__"):
            continue
        assert floor(parts[1]) < floor(package_of(path)), f"{path.name} imports {name}"


@pytest.mark.parametrize("package", INNER_FLOORS)
def test_imports_point_down_inside_a_package(package: str) -> None:
    floors = INNER_FLOORS[package]
    floor_of = {name: number for number, names in enumerate(floors) for name in names}
    folders = {path.name for path in (PACKAGE / package).iterdir() if (path / "__init__.py").is_file()}
    if ... in floor_of:
        floor_of = dict.fromkeys(folders, floor_of.pop(...)) | floor_of
    assert folders | {path.stem for path in (PACKAGE / package).glob("[!_]*.py")} == floor_of.keys() - {"__init__"}
    for path in sorted((PACKAGE / package).rglob("*.py")):
        here = path.relative_to(PACKAGE / package).with_suffix("").parts[0]
        if here == "__init__" and here not in floor_of:
            continue
        for name in imports(path):
            parts = [*name.split("."), "__init__"]
            if parts[:2] == ["segdata", package] and parts[2] != here:
                assert floor_of[parts[2]] < floor_of[here], f"{path.relative_to(PACKAGE)} imports {name}"


def test_no_folder_has_a_circle_of_imports() -> None:
    arrows: dict[tuple[str, ...], dict[str, set[str]]] = {}
    for path in modules():
        mine = path.relative_to(ROOT).with_suffix("").parts
        for name in imports(path):
            theirs = tuple(name.split("."))
            if theirs[0] != "segdata":
                continue
            if ROOT.joinpath(*theirs).is_dir():
                theirs += ("__init__",)
            if mine != theirs:
                depth = next(n for n, (one, other) in enumerate(zip(mine, theirs, strict=False)) if one != other)
                arrows.setdefault(mine[:depth], {}).setdefault(mine[depth], set()).add(theirs[depth])
    for folder, edges in arrows.items():
        while ends := [entry for entry in edges if not edges[entry] & edges.keys()]:
            for entry in ends:
                del edges[entry]
        assert not edges, f"{'/'.join(folder)}: {edges}"


def test_imports_by_name_are_few() -> None:
    """Only the public names are: every other import can be read by tools."""
    users = {path for path in PACKAGE.rglob("*.py") if "import_module" in path.read_text()}
    assert users == {PACKAGE / "__init__.py"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    here = path.relative_to(PACKAGE).as_posix()
    for name in imports(path):
        allowed = LOCKED.get(name.split(".")[0])
        assert allowed is None or any(here == package or here.startswith(package + "/") for package in allowed), name


def test_imports_of_training_name_no_model() -> None:
    """Nor do those that all models share: a model is reached through `models.registry` alone, by name."""
    models = PACKAGE / "models"
    packages = [
        f"segdata.models.{folder.name}" for folder in sorted(models.iterdir()) if (folder / "model.py").is_file()
    ]
    assert len(packages) > 1
    for path in [*sorted((PACKAGE / "training").rglob("*.py")), *sorted(models.glob("*.py"))]:
        if path == models / "registry.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                names = [node.value]
            wrong = [name for name in names for package in packages if f"{name}.".startswith(f"{package}.")]
            assert not wrong, f"{path.name} names {wrong[0]}"


MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_POSITIONAL_ARGUMENTS, MOST_ENTRIES = 500, 60, 6, 14


def lines_of(function: ast.FunctionDef) -> int:
    """Its lines without the docstring; of a command, whose signature is a list of options, those of its body."""
    is_command = any("command" in ast.unparse(decorator) for decorator in function.decorator_list)
    body = function.body[1:] if ast.get_docstring(function) else function.body
    first = body[0].lineno if is_command and body else function.lineno
    text = function.body[0] if ast.get_docstring(function) and not is_command else None
    without = 0 if text is None else (text.end_lineno or 0) - text.lineno + 1
    return (function.end_lineno or 0) - first + 1 - without


def test_files_functions_and_calls_are_of_a_readable_size() -> None:
    for path in modules():
        text = path.read_text()
        assert text.count("\n") <= MOST_LINES, path
        for node in ast.walk(ast.parse(text)):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.FunctionDef):
                assert lines_of(node) <= MOST_LINES_OF_A_FUNCTION, f"{where} {node.name}"
            if isinstance(node, ast.Call):
                positional = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
                assert len(positional) <= MOST_POSITIONAL_ARGUMENTS, where


def test_folders_have_few_entries() -> None:
    """But for the package itself, which is the list of packages, the commands, one file each, and one folder a format."""
    for folder in [path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__"]:
        entries = [path for path in folder.iterdir() if path.name not in ("__pycache__", "__init__.py")]
        assert folder in (PACKAGE / "cli", PACKAGE / "formats") or len(entries) <= MOST_ENTRIES, folder
    assert len(list(PACKAGE.glob("[!_]*.py"))) <= 8


def test_local_names_are_nouns() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assert node.id not in ("found", "own", "told"), f"{path.relative_to(ROOT)}:{node.lineno} {node.id}"


def test_every_public_function_is_documented() -> None:
    for path in modules():
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_import_and_help_are_quick() -> None:
    code = (
        "import sys, segdata; print(sorted({n.split('.')[0] for n in sys.modules} & {'torch', 'numpy', 'h5py', 'PIL'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "segdata", "--help"], capture_output=True, text=True, check=True
    )
    assert not re.search(r"\| +(numpy|PIL|h5py|msgspec|pycocotools)$", loaded.stderr, re.MULTILINE)


def test_every_verb_has_help_with_an_example_and_json() -> None:
    assert {"convert", "info", "list", "show", "verify"} <= {*commands()}
    for command in commands():
        text = run_segdata(command, "--help").out
        assert f"Example: segdata {command}" in text
        assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("conver",), 2, "convert"),
        (("convert", "a"), 2, "target"),
        (("convert", "nowhere", "p"), 10, "nowhere"),
        (("convert", ".", "p", "--to", "kitti"), 2, "formats are"),
        (("convert", ".", "p", "--limit", "0"), 2, "greater than or equal to 1"),
        (("info", "nowhere"), 10, "nowhere"),
        (("list", "cityscape"), 10, "cityscapes"),
        (("show", "nowhere"), 10, "nowhere"),
    ],
)
def test_mistakes_get_one_letter_and_one_json_document(
    arguments: tuple[str, ...], code: int, text: str, tmp_path: Path
) -> None:
    for more in ((), ("--json",)):
        outcome = run_segdata(*arguments, *more)
        assert outcome.code == code, outcome.err
        assert text in outcome.err and outcome.err.startswith("segdata: error[")
        assert outcome.out == "" if not more else outcome.document["error"]["exit"] == code


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    from tests.helpers import made

    made.voc(tmp_path / "VOCdevkit/VOC2012")
    blocks = code_blocks(ROOT / "README.md", "python")
    assert len(blocks) > 1
    needs_torch = find_spec("torch") is None or find_spec("albumentations") is None
    program = "\n".join(blocks[:2] if needs_torch else ["import warnings; warnings.simplefilter('ignore')", *blocks])
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_in_the_documents_exist() -> None:
    known = commands()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in code_blocks(path, "(?:sh|bash|console)"):
            for line in block.splitlines():
                match = re.match(r"\$? ?segdata (\w+)", line)
                assert match is None or match[1] in known, f"{path.name}: {line}"


def test_fixtures_are_small_and_each_says_where_it_comes_from() -> None:
    fixtures = ROOT / "tests/fixtures"
    assert sum(path.stat().st_size for path in fixtures.rglob("*") if path.is_file()) < 300_000
    text = (fixtures / "README.md").read_text()
    for path in (*fixtures.iterdir(), *(fixtures / "metrics").iterdir()):
        assert path.name in ("README.md", "metrics") or f"`{path.relative_to(fixtures)}`" in text
