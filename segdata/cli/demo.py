"""`segdata demo`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import output
from segdata.cli.output import app


@app.command(epilog="Example: segdata demo demo-data")
def demo(
    root: Path = typer.Argument(Path("demo-data"), help="The folder to make."),
    json: bool = output.Json,
    quiet: bool = output.Quiet,
) -> None:
    """Try it out: draw small datasets, fetch, convert and show them.

    They have the four official layouts and are served on this machine; every pack is verified.
    """
    from segdata.demo import run as job

    with output.only_ours(active=json):
        done = job.run(root, tell=(lambda text: None) if quiet else output.remark)
    if json:
        rows = [vars(row) for row in done.rows]
        output.result({"datasets": rows, "picture": str(done.picture)})
    else:
        titles = (
            f"{'dataset':<12}{'archives':>9}{'fetched':>11}{'samples':>9}{'objects':>9}{'categories':>12}{'crowds':>8}"
        )
        print(f"{titles}{'pack':>11}  verified")
        for row in done.rows:
            fetched, size = output.size(row.downloaded), output.size(row.bytes)
            counts = f"{row.samples:>9}{row.instances:>9}{row.categories:>12}{row.crowds:>8}"
            state = "good" if row.is_good else "DAMAGED"
            print(f"{row.name:<12}{row.archives:>9}{fetched:>11}{counts}{size:>11}  {state}")
        print()
        output.table(
            [
                ("picture", done.picture),
                ("look", f"segdata show {done.rows[0].pack} --count 4 -o sheet.png"),
                ("again", f"segdata prepare {root}/manifests/coco.toml --root {root}/datasets"),
            ]
        )
    if not all(row.is_good for row in done.rows):
        raise typer.Exit(8)
