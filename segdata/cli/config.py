"""`segdata config`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import choices, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata config maskrcnn > maskrcnn.toml")
def config(
    model: str = typer.Argument("maskrcnn", help="The model: {models}.", autocompletion=choices.models),
    file: Path | None = typer.Option(
        None, "--config", metavar="FILE", help="Show these settings instead of the defaults."
    ),
    changes: list[str] = typer.Option(
        [],
        "--set",
        metavar="NAME=VALUE",
        help="A setting as NAME=VALUE; can be repeated.",
        autocompletion=choices.settings,
    ),
    run: Path | None = typer.Option(None, "--run", metavar="RUN", help="Show the settings of a run."),
    json: bool = output.Json,
) -> None:
    """Print every setting of a training, as a TOML file for --config.

    Each comes with its meaning, its range or choices, and its default.
    """
    from segdata.training.config import TrainConfig

    chosen = TrainConfig.chosen(file, changes, run, name=model)
    if json:
        output.result({"model": chosen.name, "settings": chosen.described()})
    else:
        print(chosen.as_toml(explained=True), end="")
