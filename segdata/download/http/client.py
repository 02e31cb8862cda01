"""One request to a server, and what comes back: redirects, cookies, time-outs, refusals.

Redirects are followed here and not by the library, because each hop is judged: at most ten, only http and https, never
from a public host to a private address, never from https to http unless a pinned SHA-256 will tell, and cookies stay
with the site that set them. `netrc` is not consulted for hosts that did not ask for it.

Two exceptions leave this file for `download.py` to act on: `TryAgain` and `NextAddress`. They hold a reason for people,
never an address with its query.
"""

from __future__ import annotations

import email.utils
import errno
import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import requests.utils
import urllib3
from requests.cookies import RequestsCookieJar

from segdata.errors import DiskError, NetworkError, SegdataError, SignInError, Unsafe
from segdata.system.secrets import shown
from segdata.version import __version__

READ_BYTES = 1 << 18
"""Most bytes of one read from a connection."""

MOST_REDIRECTS = 10
MOST_RETRY_AFTER = 600.0
"""Seconds that a server may ask to wait."""

_FLOOR = 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_CHECK_TLS = "set REQUESTS_CA_BUNDLE to a file with your organisation's certificates if its proxy replaces them"
_SOCKS = "pip install 'requests[socks]', then run the same command again"


class TryAgain(Exception):
    """The same address may work later; `after` are the seconds that the server asked for."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class NextAddress(Exception):
    """This address will not give the file: its status or what it said, and the error to raise if no other gives it."""

    def __init__(self, reason: str, status: int | None = None, error: SegdataError | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.error = error


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds."""

    timeout: float = 60.0
    retries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0

    @property
    def connect(self) -> float:
        """Seconds for a connection to be made."""
        return min(10.0, self.timeout)

    @property
    def head_seconds(self) -> float:
        """Seconds for a name to be resolved, a connection to be made and the head of an answer to arrive."""
        return self.connect + 2 * self.timeout

    @property
    def floor_seconds(self) -> float:
        """Seconds over which a transfer must be faster than one KiB a second."""
        return 2 * self.timeout


class Client:
    """A session that sends no credentials and keeps no cookies, except a signed-in site's own to that site."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.session = requests.Session()
        self.session.headers.update({"User-Agent": f"segdata/{__version__}", "Accept-Encoding": "identity"})
        self.session.auth = _nothing

    def request(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        cookies: RequestsCookieJar | None = None,
    ) -> requests.Response:
        """One request, redirects not followed. `cookies` are sent, and those that come back are put into it."""
        request = requests.Request(
            "POST" if form is not None else "GET", url, headers=dict(headers or {}), data=form, cookies=cookies
        )
        try:
            prepared = self.session.prepare_request(request)
            settings = self.session.merge_environment_settings(prepared.url or url, {}, True, None, None)
            # The adapter and not the session: that one keeps cookies and looks into redirects even when told not to.
            adapter = self.session.get_adapter(url)
            timeout = (self.patience.connect, self.patience.timeout)
            reply = _within(self.patience.head_seconds, partial(adapter.send, prepared, timeout=timeout, **settings))
        except TimeoutError:
            raise TryAgain(
                f"{urlsplit(url).hostname} does not come to the head's end in {self.patience.head_seconds:g} s{_proxy(url)}"
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _judged(error, url) from None
        if cookies is not None:
            cookies.update(reply.cookies)
        return reply

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        is_pinned: bool,
        cookies: RequestsCookieJar | None = None,
    ) -> Reply:
        """The reply at the end of the redirects, its body not read yet.

        Args:
            is_pinned: a SHA-256 is known, so that a redirect to plain http does no harm.
            cookies: a signed-in site's; sent to the first address's origin only.

        Raises:
            TryAgain, NextAddress: see the module.
        """
        chain, origin = [url], _origin(url)
        while True:
            here = chain[-1]
            reply = self.request(here, headers=headers, cookies=cookies if _origin(here) == origin else None)
            if reply.status_code not in _REDIRECTS or "Location" not in reply.headers:
                return Reply(reply, here, self.patience)
            reply.close()
            target = _target(here, reply.headers["Location"])
            reason = _refusal(here, target, chain, is_pinned=is_pinned)
            if reason:
                steps = " → ".join(shown(item) for item in (*chain, target))
                error = Unsafe(
                    f"a redirect was refused: {reason}",
                    file=shown(url),
                    why=steps,
                    fix="if the file has moved, correct its address in the manifest, or name a --mirror",
                )
                is_loop = reason.startswith("it goes")
                raise NextAddress(f"{reason}: {steps}", reply.status_code, None if is_loop else error)
            chain.append(target)


class Reply:
    """A server's answer: its head, and its body in pieces."""

    def __init__(self, reply: requests.Response, url: str, patience: Patience) -> None:
        self._reply, self.url, self._patience = reply, url, patience
        self.status: int = reply.status_code
        self.headers: Mapping[str, str] = reply.headers
        self._seconds, self._bytes = 0.0, 0

    @property
    def length(self) -> int | None:
        """Content-Length, when the server says it."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isdecimal() and "chunked" not in self.headers.get("Transfer-Encoding", "") else None

    @property
    def encoding(self) -> str:
        """Content-Encoding; "" for none."""
        text = self.headers.get("Content-Encoding", "").strip().lower()
        return "" if text == "identity" else text

    def read(self, most: int = READ_BYTES) -> bytes:
        """The next bytes of the body as they travel, undecoded; empty at its end.

        Raises:
            TryAgain: the connection was cut, fell silent, or is slower than one KiB a second for too long.
        """
        began = time.monotonic()
        try:
            data = self._reply.raw.read1(most, decode_content=False) or b""
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, AttributeError) as error:
            if isinstance(error, urllib3.exceptions.ReadTimeoutError):
                raise TryAgain(f"the server fell silent for {self._patience.timeout:g} s") from None
            if isinstance(error, (urllib3.exceptions.IncompleteRead, urllib3.exceptions.ProtocolError)):
                raise TryAgain("the connection was cut") from None
            raise TryAgain(f"the connection broke ({_reason(error)})") from None
        self._seconds += time.monotonic() - began
        self._bytes += len(data)
        if self._seconds >= self._patience.floor_seconds:
            if self._bytes < _FLOOR * self._seconds:
                raise TryAgain(f"the transfer stalled: {self._bytes:,} bytes in {self._seconds:.0f} s")
            self._seconds, self._bytes = 0.0, 0
        return data

    def text(self, most: int = 1 << 20) -> str:
        """The whole of a short body."""
        parts, size = [], 0
        while size < most and (data := self.read()):
            parts.append(data)
            size += len(data)
        return b"".join(parts)[:most].decode("utf-8", "replace")

    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait, from a number or a date.

        Raises:
            NextAddress: longer than ten minutes.
        """
        text = self.headers.get("Retry-After", "").strip()
        if not text:
            return None
        if text.isdecimal():
            seconds = float(text)
        else:
            when = email.utils.parsedate_to_datetime(text) if _is_date(text) else None
            seconds = 0.0 if when is None else when.timestamp() - time.time()
        if seconds > MOST_RETRY_AFTER:
            raise NextAddress(
                f"status {self.status}; the server asks to wait {seconds:,.0f} s ({text[:60]!r}), longer than {MOST_RETRY_AFTER:,.0f} s",
                self.status,
            )
        return max(seconds, 0.0)

    def close(self) -> None:
        """Drop the connection."""
        self._reply.close()


def refused(reply: Reply, *, needs_account: bool) -> TryAgain | NextAddress:
    """What an error status means."""
    if reply.status in (408, 425, 429) or reply.status >= 500:
        try:
            after = reply.retry_after()
        except NextAddress as stop:
            return stop
        return TryAgain(f"status {reply.status}", after)
    if reply.status == 407:
        return NextAddress(f"status 407: the proxy needs a sign-in{_proxy(reply.url)}", 407)
    if reply.status in (401, 403):
        error = SignInError(
            f"the server refuses access (status {reply.status})",
            file=shown(reply.url),
            state="the part that arrived is kept; the same command goes on from there",
            fix="sign in again"
            if needs_account
            else "look at the address in a browser; it may want an account or terms",
        )
        return NextAddress(f"status {reply.status}: access refused", reply.status, error)
    return NextAddress(f"status {reply.status}", reply.status)


def _within(seconds: float, call: Callable[[], requests.Response]) -> requests.Response:
    """What a call gives, or `TimeoutError`: resolving a name, and a head that comes byte by byte, know no time-out."""
    done: queue.SimpleQueue[requests.Response | BaseException] = queue.SimpleQueue()

    def work() -> None:
        try:
            done.put(call())
        except BaseException as error:
            done.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        outcome = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _nothing(request: Any) -> Any:
    """An `auth` that adds nothing: without one the library would look into netrc for every host."""
    return request


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def _target(here: str, location: str) -> str:
    """Where a redirect leads, without a password in it; "" when it is no address."""
    try:
        target = urljoin(here, location)
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        return ""
    return target if parts.username is None else parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _refusal(here: str, target: str, chain: list[str], *, is_pinned: bool) -> str | None:
    """Why a redirect is not followed; None when it is."""
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"it leads from {urlsplit(here).scheme}: to {parts.scheme + ':' if parts.scheme else 'no address'}"
    if target in chain:
        return "it goes in a circle"
    if len(chain) > MOST_REDIRECTS:
        return f"it goes over more than {MOST_REDIRECTS} redirects"
    if urlsplit(here).scheme == "https" and parts.scheme == "http" and not is_pinned:
        return "it leads from https to plain http, and no SHA-256 is known to check the file by"
    if is_private(parts.hostname) and not is_private(urlsplit(chain[0]).hostname or ""):
        return "it leads from a public host to a private address"
    return None


def is_private(host: str) -> bool:
    """Whether a host is, or has, an address of this machine or of a private network; unknown names have none."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    try:
        rows = socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return any(not ipaddress.ip_address(str(row[4][0]).partition("%")[0]).is_global for row in rows)


def _is_date(text: str) -> bool:
    try:
        email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return False
    return True


def _proxy(url: str) -> str:
    """The proxy in effect for an address, without its password, for a message."""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    return f", through the proxy {shown(proxy)} (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)" if proxy else ""


def _judged(error: Exception, url: str) -> TryAgain | NextAddress:
    """What a failed request means; the library's own text holds the whole address and is not passed on."""
    host = urlsplit(url).hostname
    if any(getattr(item, "errno", None) in (errno.EMFILE, errno.ENFILE) for item in _nested(error)):
        full = DiskError("too many open files", file=shown(url), fix="raise the limit (ulimit -n), or use --jobs 1")
        return NextAddress("too many open files", None, full)
    if isinstance(error, requests.exceptions.ProxyError):
        return TryAgain(f"the proxy does not let the request through ({_reason(error)}){_proxy(url)}")
    if isinstance(error, requests.exceptions.SSLError):
        return NextAddress(f"the certificate of {host} is not trusted ({_reason(error)}); {_CHECK_TLS}")
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError)):
        if "SOCKS" in str(error):
            why = f"the request goes {_proxy(url).removeprefix(', ')}"
            missing = NetworkError("a SOCKS proxy needs PySocks, which is not installed", why=why, fix=_SOCKS)
            return NextAddress("a SOCKS proxy needs PySocks", None, missing)
        return NextAddress(f"the address cannot be used{_proxy(url)}")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return TryAgain(f"{host} does not answer within the time limit{_proxy(url)}")
    if isinstance(error, requests.exceptions.Timeout):
        return TryAgain(f"{host} accepts the connection and then stays silent{_proxy(url)}")
    return TryAgain(f"{host} cannot be reached ({_reason(error)}){_proxy(url)}")


def _nested(error: BaseException) -> Iterator[BaseException]:
    """An exception and those inside it, as the library nests them."""
    seen: list[BaseException] = []
    queue: list[Any] = [error]
    while queue:
        item = queue.pop(0)
        if not isinstance(item, BaseException) or item in seen:
            continue
        seen.append(item)
        yield item
        queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]


def _reason(error: BaseException) -> str:
    """The operating system's or TLS's word for it."""
    item = error
    for item in _nested(error):
        if isinstance(item, socket.gaierror):
            return f"its name cannot be resolved: {item.strerror}"
        verify = getattr(item, "verify_message", None)
        if verify:
            return str(verify)
        if isinstance(item, OSError) and item.strerror and not isinstance(item, requests.RequestException):
            return item.strerror
        if isinstance(item, OSError) and "Tunnel connection failed" in str(item):
            return str(item)[:60]
    return type(item).__name__
