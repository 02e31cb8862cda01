"""`segdata view`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import typer

from segdata.cli import choices, options, output
from segdata.cli.output import app
from segdata.errors import UsageError
from segdata.system.memory import give_back_large_arrays


@app.command(epilog="Example: segdata view packs/voc --where \"any(category == 'dog')\"")
def view(
    pack: Path = typer.Argument(..., help="A pack."),
    predictions: Path | None = typer.Argument(
        None, help="A pack of predictions, or results files, to be compared with it."
    ),
    other: Path | None = typer.Argument(None, help="Other predictions, which those are compared with."),
    split: str | None = typer.Option(
        None, "--split", metavar="NAME", help="Show this split first.", autocompletion=choices.splits
    ),
    where: str | None = typer.Option(
        None, "--where", metavar="QUERY", help='Show the images that a query means first: "count() > 20".'
    ),
    sort: str | None = typer.Option(
        None, "--sort", metavar="ORDER", help="Show them in this order first: key, -objects, size, area, -fn …"
    ),
    port: int = typer.Option(0, "--port", min=0, max=65535, metavar="N", help="Port of this machine (any free one)."),
    host: str = typer.Option("127.0.0.1", "--host", metavar="ADDRESS", help="The address to listen at."),
    allow_remote: bool = typer.Option(False, "--allow-remote", help="Let other machines reach it, with --host."),
    edit: bool = typer.Option(False, "--edit", help="Correct it, too: edits go to PACK.edits.jsonl beside the pack."),
    edits: Path | None = typer.Option(None, "--edits", metavar="FILE", help="Correct it; edits go to this file."),
    model: Path | None = typer.Option(
        None,
        "--model",
        metavar="FOLDER",
        help="A promptable model in ONNX files (SAM, SAM 2, EfficientSAM), for corrections.",
    ),
    no_open: bool = typer.Option(False, "--no-open", help="Print the address; open no browser."),
    allow_http: bool = options.AllowHttp,
    json: bool = output.Json,
) -> None:
    """Look at a pack in the browser: filter, sort, zoom, compare."""
    try:
        from segdata.viewer import server
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in ("starlette", "uvicorn", "h11", "anyio"):
            raise
        raise UsageError(
            f"segdata view needs {name}, which is not installed", fix="pip install 'segdata[view]'"
        ) from error

    pack = options.at(pack, allow_http=allow_http)
    predictions = None if predictions is None else options.at(predictions, allow_http=allow_http)
    other = None if other is None else options.at(other, allow_http=allow_http)
    give_back_large_arrays()
    viewer = server.view(
        pack,
        predictions,
        other,
        split=split,
        where=where,
        sort=sort,
        host=host,
        port=port,
        allow_remote=allow_remote,
        edits=edits or edit,
        model=model,
    )
    output.Options.stopped = "stopped"
    try:
        if json:
            output.result({"address": viewer.address})
        else:
            print(viewer.address)
        sys.stdout.flush()
        for line in [*server.reached_by(host), *viewer.remarks]:
            output.remark(line)
        if not no_open:
            _open(viewer.address)
        while viewer.is_running:
            time.sleep(0.2)
    finally:
        viewer.stop()


def _open(address: str) -> None:
    """Open the browser, where there is one."""
    import webbrowser

    try:
        is_open = webbrowser.open(address)
    except webbrowser.Error:
        is_open = False
    if not is_open:
        output.remark("no browser could be opened: open the address yourself")
