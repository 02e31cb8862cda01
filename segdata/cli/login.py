"""`segdata login`."""

from __future__ import annotations

import typer

from segdata.cli import choices, output, prompt
from segdata.cli.output import app


@app.command(epilog="Example: segdata login cityscapes")
def login(
    dataset: str = typer.Argument(
        ..., help="A dataset whose site needs an account, or the path of a manifest.", autocompletion=choices.datasets
    ),
    netrc: bool = typer.Option(False, "--netrc", help="Keep the account in ~/.netrc instead of the system's key ring."),
    timeout: float = typer.Option(
        60.0, min=0.1, metavar="SECONDS", help="Seconds of silence after which a connection is given up."
    ),
    json: bool = output.Json,
) -> None:
    """Sign in to a dataset's site once, for all later fetches.

    The account comes from SEGDATA_…_USERNAME and SEGDATA_…_PASSWORD or is asked for; there is no option for it.
    """
    from segdata.download.access import signin
    from segdata.download.access.cityscapes import Session
    from segdata.download.http.client import Patience

    with output.only_ours(active=json):
        site = signin.site(dataset)
        account = signin.credentials(site, ask=prompt.account(), is_fresh=True)
        Session(site, lambda: account, Patience(timeout=timeout)).sign_in()
        kept_in = signin.keep(site, account, in_netrc=netrc)
    if json:
        output.result({"site": site.host, "username": account.username, "kept_in": kept_in})
    else:
        output.table([("site", site.host), ("name", account.username), ("kept in", kept_in)])
