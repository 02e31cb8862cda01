"""A site's session between commands, only where --keep-session asks for it: cookies in a file that nobody else can read.

    STATE/segdata/session-HOST.json      {"site": "https://…", "expires": 1764000000, "cookies": [[name, value, path], …]}

It is good for a day at most, goes to the very address that it came from, and `segdata logout` removes it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from requests.cookies import RequestsCookieJar

from segdata.catalog.remotes import SignIn
from segdata.errors import SignInError
from segdata.system.files import disk_errors, write_whole
from segdata.system.reading import read_file

LONGEST_SECONDS = 24 * 3600.0


def path(site: SignIn) -> Path:
    """Where the session of a site is kept."""
    from platformdirs import user_state_path

    return user_state_path("segdata") / f"session-{site.host}.json"


def load(site: SignIn) -> RequestsCookieJar | None:
    """The cookies that are kept of a site; None where there are none, or they have expired.

    Raises:
        SignInError: others can read the file.
    """
    file = path(site)
    try:
        document = msgspec.json.decode(read_file(file), type=_Document)
    except (OSError, ValueError, RecursionError):
        return None
    cookies = RequestsCookieJar()
    for name, value, below in document.cookies:
        cookies.set(name, value, path=below, domain=_domain(site))
    is_good = document.site == site.url and time.time() < document.expires
    if file.stat().st_mode & 0o077:
        raise SignInError(
            "a file with a session can be read by others",
            file=file,
            why=oct(file.stat().st_mode & 0o777),
            fix=f"chmod 600 {file}, or delete it",
        )
    return cookies if is_good else None


_Text = Annotated[str, Meta(pattern="^[ -~]*$")]


class _Document(Struct):
    """The file's content; cookies are name, value and path."""

    site: str
    expires: float
    cookies: list[tuple[_Text, _Text, _Text]]


def save(site: SignIn, cookies: RequestsCookieJar) -> None:
    """Keep the cookies of a site, until the first of them expires or a day has passed."""
    ends = [cookie.expires for cookie in cookies if cookie.expires]
    document = {
        "site": site.url,
        "expires": min([time.time() + LONGEST_SECONDS, *ends]),
        "cookies": [[cookie.name, cookie.value, cookie.path] for cookie in cookies],
    }
    file = path(site)
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(file, json.dumps(document).encode(), mode=0o600)


def _domain(site: SignIn) -> str:
    """A host as `http.cookiejar` writes it."""
    return site.host if "." in site.host else f"{site.host}.local"
