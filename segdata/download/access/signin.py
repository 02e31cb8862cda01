"""Accounts: where credentials come from, and where `segdata login` keeps them.

Sources, in this order: the environment (SEGDATA_CITYSCAPES_USERNAME and _PASSWORD for a sign-in of kind "cityscapes"),
the system's key ring, ~/.netrc, a question on the terminal. There is no option for a password. A session's cookies live
in memory (or in the file of `sessions.py`, on request) and go to the site's own origin.

A manifest may come from anybody and name any site. So the environment's account is for the site of the manifest that
segdata ships, or for the host that SEGDATA_CITYSCAPES_HOST names; key ring and netrc give what is kept for the very host
(netrc's `default` is for none); and nothing goes over plain http, but to this machine itself.
"""

from __future__ import annotations

import contextlib
import json
import netrc
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from segdata.catalog import manifest
from segdata.catalog.remotes import SignIn
from segdata.download.access import sessions
from segdata.errors import NotThere, SignInError, UsageError
from segdata.system import secrets
from segdata.system.files import write_whole
from segdata.system.reading import read_text

AskFor = Callable[[str], tuple[str, str]]
"""Asks a person for (username, password) of the named site."""

_SERVICE = "segdata"


@dataclass(frozen=True)
class Credentials:
    """A user's name and password, and where they came from; the password is never shown."""

    username: str
    password: str = field(repr=False)
    source: str


def variables(site: SignIn) -> tuple[str, str]:
    """The environment variables of a site's username and password."""
    return f"SEGDATA_{site.kind.upper()}_USERNAME", f"SEGDATA_{site.kind.upper()}_PASSWORD"


def site(dataset: str) -> SignIn:
    """The site of a dataset that needs an account.

    Raises:
        UsageError: the dataset needs none.
    """
    entry = manifest.find(dataset)
    if entry.signin is None:
        raise UsageError(f"{entry.name} needs no account", fix=f"segdata fetch {dataset}")
    return entry.signin


def credentials(site: SignIn, *, ask: AskFor | None, is_fresh: bool = False) -> Credentials:
    """Credentials from the first source that has them.

    Args:
        ask: how to ask a person; None where nobody can answer.
        is_fresh: only from the environment or a person, not from where they are kept.

    Raises:
        SignInError: no source has them; the site is asked over plain http; or netrc can be read by others.
    """
    _require_secret(site)
    user, password = (secrets.get(name) for name in variables(site))
    is_for_site = _is_shipped(site) or os.environ.get(_host_variable(site), "").lower() == site.host
    if user and password and is_for_site:
        return Credentials(user, password, "environment")
    kept = None if is_fresh else _from_keyring(site) or _from_netrc(site)
    if kept is not None:
        return kept
    if ask is None:
        raise _nowhere(site, is_withheld=bool(user and password))
    return Credentials(*ask(site.host), "prompt")


def _nowhere(site: SignIn, *, is_withheld: bool) -> SignInError:
    """The error where no source has credentials, or the environment's are for another site."""
    names, host = " and ".join(variables(site)), f"{_host_variable(site)}={site.host}"
    if is_withheld:
        fix = f"if you trust {site.host} with that account, set {host}"
    elif _is_shipped(site):
        fix = f"set {names}, or type segdata login {site.kind} on a terminal"
    else:
        fix = f"set {names} with {host}, or type segdata login MANIFEST on a terminal"
    withheld = f"; {names} are for the site of the shipped manifest" if is_withheld else ""
    return SignInError(
        f"{site.host} needs an account, and no credentials were found",
        place=site.url,
        why=f"looked into {names}, the key ring and {_netrc_path()}; there is no terminal to ask{withheld}",
        state="nothing was downloaded",
        fix=fix,
    )


def _host_variable(site: SignIn) -> str:
    return f"SEGDATA_{site.kind.upper()}_HOST"


def _is_shipped(site: SignIn) -> bool:
    """Whether a manifest that segdata ships names this very site."""
    return any(manifest.shipped(name).signin == site for name in manifest.names())


def _require_secret(site: SignIn) -> None:
    """Refuse to send a password over plain http, where it can be read on the way.

    Raises:
        SignInError: the site is neither https nor this machine.
    """
    if urlsplit(site.url).scheme != "https" and site.host not in ("localhost", "127.0.0.1", "::1"):
        raise SignInError(
            f"no password is sent to {site.host}: its address is plain http",
            place=site.url,
            why="everybody on the way could read it",
            state="nothing was downloaded",
            fix="write https:// in the manifest's signin.url, or download with a browser and use --from-dir DIR",
        )


def keep(site: SignIn, account: Credentials, *, in_netrc: bool) -> str:
    """Store credentials in the key ring, or in ~/.netrc; gives the place.

    Raises:
        SignInError: there is no key ring.
    """
    if in_netrc:
        path = _netrc_path()
        _check_private(path)
        entry = f"machine {site.host} login {_quoted(account.username)} password {_quoted(account.password)}\n"
        rest = _without(site, read_text(path, "surrogateescape") if path.exists() else "")
        _write_private(path, rest + ("" if not rest or rest.endswith("\n") else "\n") + entry)
        return str(path)
    ring = _keyring()
    if ring is None:
        names = " and ".join(variables(site))
        raise SignInError(
            "this machine has no key ring to keep credentials in",
            fix=f"pip install 'segdata[keyring]' where there is one; or add --netrc; or set {names}",
        )
    try:
        ring.set_password(_SERVICE, site.host, json.dumps([account.username, account.password]))
    except Exception as error:  # every backend has errors of its own
        raise SignInError(f"the key ring refused ({type(error).__name__})", fix="add --netrc, or unlock it") from None
    return "the key ring"


def forget(site: SignIn) -> tuple[str, ...]:
    """Remove what `keep` stored, and a session that was kept; gives the places it was removed from.

    Raises:
        NotThere: nothing is stored.
    """
    places = []
    ring, path = _keyring(), _netrc_path()
    if ring is not None:
        with contextlib.suppress(Exception):
            if ring.get_password(_SERVICE, site.host) is not None:
                ring.delete_password(_SERVICE, site.host)
                places.append("the key ring")
    if path.exists():
        text = read_text(path, "surrogateescape")
        rest = _without(site, text)
        if rest != text:
            _write_private(path, rest)
            places.append(str(path))
    session = sessions.path(site)
    if session.exists():
        session.unlink()
        places.append(str(session))
    if not places:
        raise NotThere(f"no credentials of {site.host} are stored", why=f"looked into the key ring and {path}")
    return tuple(places)


def _keyring() -> Any:
    """The key ring, or None where there is none that works."""
    try:
        import keyring
        from keyring.backends.fail import Keyring as Nowhere

        return None if isinstance(keyring.get_keyring(), Nowhere) else keyring
    except Exception:  # broken backends raise anything
        return None


def _from_keyring(site: SignIn) -> Credentials | None:
    ring = _keyring()
    try:
        stored = None if ring is None else ring.get_password(_SERVICE, site.host)
        if stored is None:
            return None
        user, password = json.loads(stored)
        return Credentials(str(user), str(password), "the key ring")
    except Exception:  # a locked or broken key ring is one that has nothing
        return None


def _netrc_path() -> Path:
    return Path(os.environ.get("NETRC") or "~/.netrc").expanduser()


def _from_netrc(site: SignIn) -> Credentials | None:
    path = _netrc_path()
    if not path.exists():
        return None
    try:
        entry = netrc.netrc(str(path)).hosts.get(site.host)
    except netrc.NetrcParseError as error:  # its text may hold a password
        raise SignInError(
            "netrc cannot be read", file=path, place=f"line {error.lineno}", fix="correct the line"
        ) from None
    except UnicodeDecodeError as error:
        raise SignInError(
            "netrc cannot be read",
            file=path,
            place=f"byte {error.start}",
            why="it is not UTF-8",
            fix="correct the line",
        ) from None
    except OSError:
        return None
    if entry is None or not entry[2]:
        return None
    _check_private(path)
    return Credentials(entry[0], entry[2], str(path))


def _check_private(path: Path) -> None:
    if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SignInError(
            "a file with a password can be read by others",
            file=path,
            why=oct(path.stat().st_mode & 0o777),
            fix=f"chmod 600 {path}",
        )


def _quoted(word: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _without(site: SignIn, text: str) -> str:
    return re.sub(rf"^machine {re.escape(site.host)} login .*\n?", "", text, flags=re.MULTILINE)


def _write_private(path: Path, text: str) -> None:
    write_whole(path, text.encode("utf-8", "surrogateescape"), mode=0o600)
