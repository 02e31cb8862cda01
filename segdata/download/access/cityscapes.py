"""The sign-in of a site like Cityscapes': a form, a cookie, and the list of packages that an account may download."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from requests.cookies import RequestsCookieJar

from segdata.catalog.remotes import Digest, SignIn
from segdata.download.access import sessions
from segdata.download.access.signin import Credentials
from segdata.download.http.client import Client, NextAddress, Patience, TryAgain, refused
from segdata.errors import NetworkError, SignInError


class _Package(Struct):
    """A row of the site's list."""

    name: str
    packageID: Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern="^[0-9]{1,18}$")]  # noqa: N815 (the site's word)


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
        account = self._find()
        self.cookies.clear()
        address = f"{self.site.url}/login"
        first = self._request(address)
        first.close()
        if first.status_code >= 400:
            raise self._odd("the sign-in page", first.status_code)
        form = {"username": account.username, "password": account.password, "submit": "Login"}
        reply = self._request(address, form)
        reply.close()
        if reply.status_code == 302:
            if self._is_kept:
                sessions.save(self.site, self.cookies)
            return
        if reply.status_code >= 400 and reply.status_code not in (401, 403):
            raise self._odd("the sign-in form", reply.status_code)
        raise SignInError(
            f"{self.site.host} refused the sign-in of {account.username!r}",
            place=f"{address} (status {reply.status_code})",
            why=f"wrong name or password (from {account.source}), or the account is not confirmed yet",
            state="nothing was stored and it was not tried again",
            fix=f"segdata login {self.site.kind}, or sign in once with a browser at {address}",
        )

    def packages(self) -> dict[str, int]:
        """Package ids by file name, as this account may use them."""
        text = self._text(f"{self.site.url}/downloads/?list")
        try:
            rows = msgspec.json.decode(text, type=list[_Package])
            return {row.name: int(row.packageID) for row in rows}
        except (ValueError, RecursionError):
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
