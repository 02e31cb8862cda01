"""`segdata logout`."""

from __future__ import annotations

import typer

from segdata.cli import choices, output
from segdata.cli.output import app


@app.command(epilog="Example: segdata logout cityscapes")
def logout(
    dataset: str = typer.Argument(
        ..., help="A dataset whose site needs an account, or the path of a manifest.", autocompletion=choices.datasets
    ),
    json: bool = output.Json,
) -> None:
    """Remove an account that `segdata login` keeps."""
    from segdata.download.access import signin

    with output.only_ours(active=json):
        site = signin.site(dataset)
        places = signin.forget(site)
    if json:
        output.result({"site": site.host, "removed_from": list(places)})
    else:
        output.table([("site", site.host), ("removed from", ", ".join(places))])
