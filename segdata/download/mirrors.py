"""From the plan's files to addresses: mirrors, and the packages of a site that needs an account."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from urllib.parse import quote

from segdata.catalog.remotes import Digest
from segdata.download.access.cityscapes import Session
from segdata.download.access.signin import credentials
from segdata.download.http.client import Patience
from segdata.download.http.target import Target
from segdata.download.options import FetchOptions
from segdata.download.paths import Folders
from segdata.download.plan import Item, Plan
from segdata.errors import NotThere


def local(item: Item, folders: Folders, *, accept_other: bool, command: str) -> Target:
    """Download target for a file already on disk (no URLs), to verify it."""
    return _target(item, folders, (), item.digest, accept_other=accept_other, command=command)


def remote(
    todo: Plan, items: Sequence[Item], options: FetchOptions, patience: Patience, *, command: str
) -> list[Target]:
    """Files that have to be downloaded. Signs in where one of them needs an account and no mirror was named.

    Raises:
        SignInError: no credentials, or refused.
        NotThere: the account cannot see a package.
    """
    session, packages, mirror = None, dict[str, int](), options.mirror
    site = todo.manifest.signin
    if site is not None and mirror is None and any(item.remote.package for item in items):
        ask = partial(credentials, site, ask=options.ask_account)
        session = _Session(Session(site, ask, patience, is_kept=options.keep_session))
        packages = session.start()
    targets = []
    for item in items:
        urls, digest, account = item.remote.urls, item.digest, None
        if mirror is not None:
            urls = (f"{mirror.rstrip('/')}/{quote(item.remote.file)}", *urls)
        elif item.remote.package is not None and session is not None:
            number = _number(item.remote.package, packages, session.session.site.host)
            urls, account = (session.session.address(number),), session
            digest = digest or session.session.digest(number)
        targets.append(
            _target(
                item,
                todo.folders,
                urls,
                digest,
                account=account,
                accept_other=options.accept_new_hash,
                command=command,
            )
        )
    return targets


class _Session:
    """A session that several downloads share: renewed once, whoever needs it first."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = threading.Lock()
        self._times = 0

    def start(self) -> dict[str, int]:
        self._times = 1
        return self.session.start()

    def sign_in(self) -> None:
        with self._lock:
            if self._times < 2:
                self._times += 1
                self.session.sign_in()


def _number(package: str, packages: dict[str, int], host: str) -> int:
    if package not in packages:
        raise NotThere(
            f"{host} does not offer {package!r} to this account",
            why=f"it offers {', '.join(sorted(packages)) or 'nothing'}",
            fix="ask for access on the site, or choose other parts with --only",
        )
    return packages[package]


def _target(
    item: Item,
    folders: Folders,
    urls: tuple[str, ...],
    digest: Digest | None,
    *,
    account: _Session | None = None,
    accept_other: bool,
    command: str,
) -> Target:
    file = item.remote.file
    return Target(
        file=file,
        archive=item.remote.archive,
        target=folders.archive(file),
        part=folders.part(file),
        bad=folders.bad(file),
        receipt=folders.receipt(file),
        urls=urls,
        bytes=item.bytes,
        digest=digest,
        cookies=account.session.cookies if account else None,
        sign_in_again=account.sign_in if account else None,
        accept_other=accept_other,
        command=command,
    )
