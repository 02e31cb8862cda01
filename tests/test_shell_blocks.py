"""Every shell block of the documents runs, line by line and in order, in a folder that holds what the pages speak of.

Two things are not as they stand there: datasets and files on the network are tiny ones, served on this machine, and
training has the smallest settings and no weights to download. Lines that are not run are listed with their reasons.
"""

from __future__ import annotations

import json
import shlex
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

import segdata
from segdata.correction import journal
from segdata.demo.server import serving
from segdata.demo.synthetic import archives
from segdata.derivation.pieces import Parent
from segdata.models import checkpoint
from tests.helpers import made, made_results, tiny_training
from tests.helpers.command import Here, run_segdata
from tests.helpers.documents import code_blocks
from tests.test_repository import ROOT

torch = pytest.importorskip("torch", reason="torch is not installed (pip install 'segdata[torch]')")

PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if code_blocks(path, "(?:sh|bash|console)")
]

NOT_RUN = {
    "pip install": "changes the environment; tests/test_wheel.py installs the package",
    "scripts/": "the repository's own tools, which run these tests",
    "torchrun": "four processes of PyTorch; tests/training runs several ranks",
    "segdata --install-completion": "changes the shell's start-up files",
    "segdata login": "asks for a password",
    "segdata predict mask_rcnn_coco.h5": "weights of 246 MB; tests/models/matterport makes small ones",
    "segdata train packs/mine -o runs/keras": "weights of 246 MB; tests/models/matterport/test_loop.py trains small ones",
    "segdata predict runs/keras": "the run of the line before",
    "segdata push": "tests/places/test_documents.py has a bucket",
    "segdata pull": "tests/places/test_documents.py has a bucket",
    "segdata verify s3://": "tests/places/test_documents.py has a bucket",
    "segdata stats s3://": "tests/places/test_documents.py has a bucket",
    "segdata convert s3://": "tests/places/test_documents.py has a bucket",
    "segdata view": "a server that runs until ctrl-C; tests/viewer starts it",
    "segdata fetch sbd": "no tiny SBD is drawn; the plan (--dry-run) is run",
    "segdata prepare sbd": "no tiny SBD is drawn; tests/conversion/test_prepare.py prepares one",
    "segdata verify sbd": "no tiny SBD is drawn",
    "segdata fetch coco-stuff": "no tiny COCO-Stuff is drawn; the plan (--dry-run) is run",
    "segdata prepare coco-stuff": "no tiny COCO-Stuff is drawn; tests/formats/coco_stuff converts one",
    "segdata verify coco-stuff": "no tiny COCO-Stuff is drawn",
    "segdata train packs/mine -o runs/first --tracker": "tests/training/test_trackers.py has a run for each",
}
"""Beginning of a line → why it is not run."""

EXITS = {
    "segdata convert packs/coco VOC --to voc --dry-run": 13,
    "segdata prepare zipped.toml --accept-unverified": 3,
    "segdata diff packs/voc packs/mine": 1,
    "segdata diff packs/coco packs/corrected": 1,
}
"""Beginning of a line → its exit code, where that is not 0."""

IN_THIS_PROCESS = ("train", "predict", "export", "runs", "stats")
"""Commands that import PyTorch or matplotlib, which takes seconds."""

KNOWN = {
    "camvid": "camvid-fastai",
    "camvid-segnet": "camvid-fastai",
    "camvid-cambridge": "camvid",
    "cityscapes": "cityscapes",
    "coco": "coco",
    "coco-2014": "coco",
    "coco-2017": "coco",
    "voc-2007": "voc",
    "voc-2012": "voc",
}
"""Known dataset → what is served in its place, a name of `archives.PUBLISHED`."""


def _coco(root: Path) -> Path:
    for split in ("train2017", "val2017"):
        made.coco(root, split=split)
    return root


MAKE: dict[str, Callable[[Path], Path]] = {
    "camvid-fastai": made.camvid_fastai,
    "camvid": made.camvid,
    "cityscapes": made.cityscapes,
    "coco": _coco,
    "voc": made.voc,
}


class World(NamedTuple):
    """A folder with what the pages speak of, and the address of the files of one's own."""

    folder: Path
    address: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Datasets, packs, predictions, a run, weights, and manifests whose archives are served."""
    world = tmp_path_factory.mktemp("world")
    with ExitStack() as stack:
        for name, make in MAKE.items():
            archives.publish(name, make(world / "sources" / name), world / "server" / name)
            address = stack.enter_context(serving(world / "server" / name))
            text = archives.manifest(name, world / "server" / name, address, licence="none")
            for known, served in [*KNOWN.items(), ("mine", "voc")]:
                if served == name:
                    folder = world if known == "mine" else world / "manifests"
                    made.put(folder / f"{known}.toml", text)
        made.voc(world / "VOCdevkit/VOC2012")
        segdata.convert(world / "VOCdevkit/VOC2012", world / "packs/voc")
        segdata.convert(world / "sources/camvid-fastai", world / "packs/camvid")
        document = made.coco_document()
        document["categories"][0]["name"] = "dog"
        annotations = made.coco(world / "coco", document) / "annotations"
        shutil.copytree(annotations, world / "annotations")
        shutil.copy(annotations / "instances_val2017.json", world)
        segdata.convert(world / "coco", world / "packs/coco")
        with journal.opened(world / "packs/coco.edits.jsonl", Parent.open(world / "packs/coco").store) as edits:
            edits.append(0, {"op": "delete", "of": "0"})
        results = made_results.coco_detections(world / "results.json")
        segdata.convert(results, world / "predictions/pack", source_format="coco-results", truth=world / "coco")
        made_results.voc_detections(world / "results")
        city = made_results.cityscapes_predictions(world / "city")
        segdata.convert(city, world / "packs/city", truth=world / "sources/cityscapes")
        made_results.scenes(world / "my-dataset", splits=("train", "val"))
        segdata.convert(world / "my-dataset", world / "packs/mine")
        shutil.copytree(world / "sources/camvid-fastai", world / "CamVid")
        shutil.copytree(world / "my-dataset/val", world / "images")
        shutil.copytree(world / "my-dataset", world / "photos")
        for split, target in (("train", world), ("val", world / "files")):
            target.mkdir(exist_ok=True)
            with zipfile.ZipFile(target / f"{split}.zip", "w") as archive:
                for path in sorted((world / "my-dataset").rglob("*")):
                    if path.parent.name == split or path.stem == f"instances_{split}":
                        archive.write(path, path.relative_to(world / "my-dataset"))
        address = stack.enter_context(serving(world / "files"))
        made.put(
            world / "settings.toml",
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in tiny_training.TINY.items()),
        )
        segdata.train(world / "packs/mine", world / "runs/first", tiny_training.TINY, device="cpu")
        shutil.copytree(world / "runs/first", world / "runs/second")
        tiny_training.semantic_run(world / "runs/streets", world / "packs/streets")
        tensors, _ = checkpoint.load(checkpoint.of_run(world / "runs/first"))
        torch.save(checkpoint.network_tensors(tensors), world / "mine.pth")
        made.put(world / "pets.toml", 'labels = [{ name = "pet", from = ["cat", "dog"] }]\n')
        yield World(world, address)


def lines(page: Path) -> list[str]:
    """The commands of a page, in order, without comments."""
    text = "".join(code_blocks(page, "(?:sh|bash|console)")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def reason(line: str) -> str | None:
    """Why a line is not run."""
    if "--dry-run" in line:
        return None
    return next((NOT_RUN[begin] for begin in NOT_RUN if line.startswith(begin)), None)


def adapted(line: str, address: str) -> list[str]:
    """The words after `segdata`, with what is replaced."""
    program, *words = shlex.split(line, comments=True)
    assert program == "segdata", line
    if words[0] in ("fetch", "prepare", "verify") and "--dry-run" not in words:
        words[1] = f"manifests/{words[1]}.toml" if words[1] in KNOWN else words[1]
    if words[0] == "train":
        at = words.index("--weights") if "--weights" in words else len(words)
        short = tiny_training.semantic_options() if "--model" in words else tiny_training.options()
        words = [*words[:at], *words[at + 2 :], *short, "--threads", "1"]
    replaced = {"2007_000032": "2007_000001", "https://files.example.org/val.zip": f"{address}/val.zip", "500": "2"}
    return [replaced.get(word, word) for word in words]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_shell_blocks_of_a_page_run_in_order(
    page: Path, world: World, tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    if all(reason(line) for line in lines(page)):
        pytest.skip("none of its lines is run here: " + "; ".join(sorted({reason(line) or "" for line in lines(page)})))
    shutil.copytree(world.folder, tmp_path, dirs_exist_ok=True)
    for begin, made_here in (("segdata train", "runs"), ("segdata manifest new", "mine.toml")):
        if any(line.startswith(begin) and reason(line) is None for line in lines(page)):
            (tmp_path / made_here).rename(tmp_path / f"{made_here}-before")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGDATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for line in lines(page):
        if reason(line) is None:
            words = adapted(line, world.address)
            run = here if words[0] in IN_THIS_PROCESS else run_segdata
            outcome = run(*words)
            code = next((EXITS[begin] for begin in EXITS if line.startswith(begin)), 0)
            assert outcome.code == code, f"{line}\n{outcome.err}"


def test_every_reason_not_to_run_a_line_is_needed() -> None:
    every = [line for page in PAGES for line in lines(page)]
    assert len(every) > 80
    assert all(any(line.startswith(begin) and reason(line) for line in every) for begin in NOT_RUN)
    assert len([line for line in every if reason(line)]) < len(every) / 4
