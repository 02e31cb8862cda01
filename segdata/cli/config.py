"""`segdata config`."""

from __future__ import annotations

from pathlib import Path

import typer

from segdata.cli import output
from segdata.cli.output import app


@app.command(epilog="Example: segdata config maskrcnn > maskrcnn.toml")
def config(
    model: str = typer.Argument("maskrcnn", help="The model: maskrcnn."),
    file: Path | None = typer.Option(None, "--config", help="Show these settings instead of the defaults."),
    changes: list[str] = typer.Option([], "--set", help="A setting as NAME=VALUE; can be repeated."),
    run: Path | None = typer.Option(None, "--run", help="Show the settings of a run."),
    json: bool = output.Json,
) -> None:
    """Print every setting with its meaning, range and default, as a TOML file for --config."""
    from segdata.training.config import TrainConfig

    chosen = TrainConfig.chosen(file, changes, run, name=model)
    if json:
        output.result({"model": chosen.name, "settings": chosen.described()})
    else:
        print(chosen.as_toml(explained=True), end="")
