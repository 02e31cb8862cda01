"""Accounts: where credentials come from, where `segdata login` keeps them, and the sites' sign-in flows.

Sources, in this order: the environment (SEGDATA_CITYSCAPES_USERNAME and _PASSWORD for a sign-in of kind "cityscapes"),
the system's key ring, ~/.netrc, a question on the terminal. There is no option for a password. A session's cookies live
in memory (or in the file of `sessions.py`, on request) and go to the site's own origin.
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

from requests.cookies import RequestsCookieJar

from segdata.catalog import manifest
from segdata.catalog.remotes import Digest, SignIn
from segdata.download.access import sessions
from segdata.download.http.client import Client, NextAddress, Patience, TryAgain, refused
from segdata.errors import NetworkError, NotThere, SignInError, UsageError
from segdata.system import secrets
from segdata.system.files import write_whole

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
    found = manifest.find(dataset)
    if found.signin is None:
        raise UsageError(f"{found.name} needs no account", fix=f"segdata fetch {dataset}")
    return found.signin


def credentials(site: SignIn, *, ask: AskFor | None, is_fresh: bool = False) -> Credentials:
    """Credentials from the first source that has them.

    Args:
        ask: how to ask a person; None where nobody can answer.
        is_fresh: only from the environment or a person, not from where they are kept.

    Raises:
        SignInError: no source has them; or netrc can be read by others.
    """
    user, password = (secrets.get(name) for name in variables(site))
    if user and password:
        return Credentials(user, password, "environment")
    found = None if is_fresh else _from_keyring(site) or _from_netrc(site)
    if found is not None:
        return found
    if ask is None:
        names = " and ".join(variables(site))
        raise SignInError(
            f"{site.host} needs an account, and no credentials were found",
            place=site.url,
            why=f"looked into {names}, the key ring and {_netrc_path()}; there is no terminal to ask",
            state="nothing was downloaded",
            fix=f"set {names}, or type segdata login {site.kind} on a terminal",
        )
    return Credentials(*ask(site.host), "prompt")


def keep(site: SignIn, found: Credentials, *, in_netrc: bool) -> str:
    """Store credentials in the key ring, or in ~/.netrc; gives the place.

    Raises:
        SignInError: there is no key ring.
    """
    if in_netrc:
        path = _netrc_path()
        _check_private(path)
        entry = f"machine {site.host} login {_quoted(found.username)} password {_quoted(found.password)}\n"
        rest = _without(site, path.read_text() if path.exists() else "")
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
        ring.set_password(_SERVICE, site.host, json.dumps([found.username, found.password]))
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
        text = path.read_text()
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


class Session:
    """A signed-in session with a Cityscapes-like site: its list of packages, their digests and addresses."""

    def __init__(
        self, site: SignIn, find: Callable[[], Credentials], patience: Patience, *, is_kept: bool = False
    ) -> None:
        self.site, self._find, self._is_kept = site, find, is_kept
        self._client, self._patience = Client(patience), patience
        self.cookies = RequestsCookieJar()

    def start(self) -> dict[str, int]:
        """The packages, in a session that was kept if it still works, else after signing in."""
        kept = sessions.load(self.site) if self._is_kept else None
        if kept is not None:
            self.cookies.update(kept)
            with contextlib.suppress(SignInError):
                return self.packages()
        self.sign_in()
        return self.packages()

    def sign_in(self) -> None:
        """Sign in once; never tried twice with the same password, so that no account gets locked.

        Raises:
            SignInError: the site refused, or its page is not the one that is known.
            NetworkError: the site cannot be reached.
        """
        found = self._find()
        self.cookies.clear()
        address = f"{self.site.url}/login"
        first = self._request(address)
        first.close()
        if first.status_code >= 400:
            raise self._odd("the sign-in page", first.status_code)
        form = {"username": found.username, "password": found.password, "submit": "Login"}
        reply = self._request(address, form)
        reply.close()
        if reply.status_code == 302:
            if self._is_kept:
                sessions.save(self.site, self.cookies)
            return
        if reply.status_code >= 400 and reply.status_code not in (401, 403):
            raise self._odd("the sign-in form", reply.status_code)
        raise SignInError(
            f"{self.site.host} refused the sign-in of {found.username!r}",
            place=f"{address} (status {reply.status_code})",
            why=f"wrong name or password (from {found.source}), or the account is not confirmed yet",
            state="nothing was stored and it was not tried again",
            fix=f"segdata login {self.site.kind}, or sign in once with a browser at {address}",
        )

    def packages(self) -> dict[str, int]:
        """Package ids by file name, as this account may use them."""
        text = self._text(f"{self.site.url}/downloads/?list")
        try:
            return {str(row["name"]): int(row["packageID"]) for row in json.loads(text)}
        except (ValueError, TypeError, KeyError):
            raise SignInError(
                f"{self.site.host} does not answer with its list of packages",
                place=f"{self.site.url}/downloads/?list",
                why="the account may not be confirmed, or its terms not accepted, or the site has changed",
                fix="sign in with a browser once and look at its download page",
            ) from None

    def digest(self, package: int) -> Digest:
        """The MD5 that the site publishes of a package."""
        address = f"{self.site.url}/md5-sum/?packageID={package}"
        word = (self._text(address).split() or [""])[0].lower()
        if not re.fullmatch(r"[0-9a-f]{32}", word):
            raise SignInError(f"{self.site.host} does not answer with an MD5 of package {package}", place=address)
        return Digest("md5", word)

    def address(self, package: int) -> str:
        """Where a package is downloaded."""
        return f"{self.site.url}/file-handling/?packageID={package}"

    def _text(self, address: str) -> str:
        try:
            reply = self._client.get(address, is_pinned=False, cookies=self.cookies)
            try:
                if reply.status != 200:
                    raise refused(reply, needs_account=True)
                return reply.text()
            finally:
                reply.close()
        except (TryAgain, NextAddress) as error:
            raise self._unreachable(error) from None

    def _request(self, address: str, form: dict[str, str] | None = None) -> Any:
        for attempt in range(1, self._patience.retries + 1):
            try:
                return self._client.request(address, form=form, cookies=self.cookies)
            except (TryAgain, NextAddress) as error:
                # A form is not sent twice: the first may have arrived.
                if isinstance(error, NextAddress) or attempt == self._patience.retries or form is not None:
                    raise self._unreachable(error) from None
        raise AssertionError

    def _unreachable(self, error: TryAgain | NextAddress) -> Exception:
        if isinstance(error, NextAddress) and error.error is not None:
            return error.error
        return NetworkError(f"{self.site.host} could not be asked", place=self.site.url, why=error.reason)

    def _odd(self, what: str, status: int) -> SignInError:
        return SignInError(
            f"{what} of {self.site.host} is not where it was",
            place=f"{self.site.url}/login (status {status})",
            why="the site has changed or is out of order; this is no matter of the password",
            fix="try later, or download with a browser and use --from-dir DIR",
        )


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
        found = netrc.netrc(str(path)).authenticators(site.host)
    except netrc.NetrcParseError as error:  # its text may hold a password
        raise SignInError(
            "netrc cannot be read", file=path, place=f"line {error.lineno}", fix="correct the line"
        ) from None
    except OSError:
        return None
    if found is None or not found[2]:
        return None
    _check_private(path)
    return Credentials(found[0], found[2], str(path))


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
    write_whole(path, text.encode(), mode=0o600)
