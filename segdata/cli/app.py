"""The application that every command registers with, and the options before the command's name."""

from __future__ import annotations

import typer

from segdata.version import __version__


class Options:
    """Options before the command's name, as they were given last."""

    debug = False


app = typer.Typer(
    name="segdata",
    help="Prepare and load segmentation datasets: every dataset becomes one pack, and packs become any of them again.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        print(f"segdata {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of unexpected errors."),
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    Options.debug = debug
