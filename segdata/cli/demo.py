"""`segdata demo`."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from segdata.cli import output
from segdata.cli.output import app
from segdata.errors import UsageError

if TYPE_CHECKING:
    from segdata.demo.learn import Lesson, Result
    from segdata.demo.run import Row


class Half(StrEnum):
    """What is shown."""

    data = "data"
    training = "training"


@app.command(epilog="Example: segdata demo demo-data")
def demo(
    root: Path = typer.Argument(Path("demo-data"), help="The folder to make."),
    only: Half | None = typer.Option(None, "--only", help="One half: the data, or the training (default: both)."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Try it out: draw small datasets, convert, show, train, predict.

    The datasets have the four official layouts and are served on this machine; every pack is verified. Then two small
    networks, which come with segdata, are trained for some steps: one finds objects, the other labels every pixel of
    images that it has not seen.
    """
    quiet = quiet or json
    document: dict[str, Any] = {}
    if only != Half.training:
        document |= _data(root, shown=not json, quiet=quiet)
    if only != Half.data:
        document |= _training(root, shown=not json, quiet=quiet, needed=only is not None)
    if json:
        output.result(document)
    if not all(row["is_good"] for row in document.get("datasets", ())):
        raise typer.Exit(8)


def _data(root: Path, *, shown: bool, quiet: bool) -> dict[str, Any]:
    """The first half; what came of it as JSON."""
    from segdata.demo import run

    with output.only_ours(active=not shown):
        done = run.run(root, tell=(lambda text: None) if quiet else output.remark)
    if shown:
        _print_rows(done.rows)
        output.table(
            [
                ("picture", done.picture),
                ("look", f"segdata show {done.rows[0].pack} --count 4 -o sheet.png"),
                ("again", f"segdata prepare {root}/manifests/coco.toml --root {root}/datasets"),
            ]
        )
    return {"datasets": [vars(row) for row in done.rows], "picture": str(done.picture)}


def _print_rows(rows: Sequence[Row]) -> None:
    titles = f"{'dataset':<12}{'archives':>9}{'fetched':>11}{'samples':>9}{'objects':>9}{'categories':>12}{'crowds':>8}"
    print(f"{titles}{'pack':>11}  verified")
    for row in rows:
        fetched, size = output.size(row.downloaded), output.size(row.bytes)
        counts = f"{row.samples:>9}{row.instances:>9}{row.categories:>12}{row.crowds:>8}"
        state = "good" if row.is_good else "DAMAGED"
        print(f"{row.name:<12}{row.archives:>9}{fetched:>11}{counts}{size:>11}  {state}")
    print()


def _training(root: Path, *, shown: bool, quiet: bool, needed: bool) -> dict[str, Any]:
    """The second half; what came of it as JSON. Without torch a line says how it is had, or where `needed`, an error."""
    from segdata.demo import learn
    from segdata.models import registry

    try:
        registry.require_torch()
    except UsageError as error:
        if needed:
            raise
        if shown:
            output.table([("train", f"{error.fix}, then segdata demo {root} --only training")])
        return {}
    done = {lesson: _learnt(root, lesson, shown=shown, quiet=quiet) for lesson in learn.LESSONS}
    if shown:
        print()
        for lesson, one in done.items():
            output.table(
                [
                    (lesson.title, f"{one.score:.2f} on {one.images} images that were not trained on"),
                    ("picture", f"{one.picture} (ground truth beside predictions)"),
                    ("report", root / "runs" / lesson.name / "report.html"),
                ]
            )
        for what, lines in _OWN_DATA.items():
            print(f"\n{what}")
            for line in lines:
                print(f"  {line}")
    results = {
        lesson.name: {lesson.number: one.score, "images": one.images, "picture": str(one.picture)}
        for lesson, one in done.items()
    }
    return {"training": results}


def _learnt(root: Path, lesson: Lesson, *, shown: bool, quiet: bool) -> Result:
    """The commands of one network, and what came of them."""
    from segdata.demo import learn

    source = learn.begin(root, lesson, tell=(lambda text: None) if quiet else output.remark)
    for words in learn.commands(root, lesson, source):
        if shown:
            print(f"\n$ {shlex.join(('segdata', *words))}", flush=True)
        _run([*words, *(["--quiet"] if quiet else [])], shown=shown)
    return learn.result(root, lesson)


_OWN_DATA = {
    "with your own data, a folder in a layout that segdata knows (segdata convert --help):": (
        "segdata convert FOLDER packs/mine                  # refused? the message says what to do",
        "segdata show packs/mine --count 9 -o mine.png      # look at some of it",
        "segdata train packs/mine -o runs/mine --weights torchvision:coco-v1",
        "segdata predict runs/mine packs/mine --split val -o predictions --pictures pictures",
        "segdata evaluate predictions packs/mine --split val --report report",
    ),
    "where it has label maps, train this instead, then the last two lines:": (
        "segdata train packs/mine -o runs/mine --model deeplabv3 --weights torchvision:coco-voc",
    ),
}


def _run(words: Sequence[str], *, shown: bool) -> None:
    """A command in a process of its own, as if it had been typed; one that fails ends the demo."""
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "segdata", *words], stdout=None if shown else sys.stderr, check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)
