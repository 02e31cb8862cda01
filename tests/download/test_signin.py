"""Accounts and terms: a site that behaves like the official one, and a secret that must never show up."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pty
import select
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from tests.helpers.command import Outcome, run_segdata
from tests.helpers.places import Place, archive
from tests.helpers.server import Exchange, Route, Server, file, redirect

CANARY = "hunter2&canary ö"
"""A password with characters that are quoted in forms, addresses and base64."""

ACCOUNT: dict[str, Any] = {"SEGDATA_CITYSCAPES_USERNAME": "me", "SEGDATA_CITYSCAPES_PASSWORD": CANARY}


class Site:
    """The flow of the official site: a form, a list of packages, their MD5, and their bytes for who is signed in."""

    def __init__(self, server: Server, packages: dict[str, bytes]) -> None:
        self.server, self.packages, self.sessions = server, list(packages.items()), 0
        server.routes |= {
            "/login": self._login,
            "/downloads/": self._signed_in(self._list),
            "/md5-sum/": self._signed_in(self._md5),
            "/file-handling/": self._signed_in(lambda x: file(self._package(x))(x)),
        }

    @property
    def logins(self) -> int:
        return sum(request.method == "POST" for request in self.server.requests)

    def expire(self) -> None:
        """Forget every session."""
        self.sessions += 1

    def _cookie(self) -> str:
        return f"PHPSESSID=session-{self.sessions}"

    def _login(self, x: Exchange) -> None:
        if x.request.method == "GET":
            x.answer(200, b"<form>", set_cookie="PHPSESSID=early; path=/")
            return
        assert x.request.headers.get("cookie") == "PHPSESSID=early"
        form = parse_qs(x.request.body.decode())
        right = form == {"username": ["me"], "password": [CANARY], "submit": ["Login"]}
        if right:
            x.answer(302, b"", location="/downloads/", set_cookie=f"{self._cookie()}; path=/")
        else:
            x.answer(200, b"<form>wrong</form>")

    def _signed_in(self, route: Route) -> Route:
        def checked(x: Exchange) -> None:
            if x.request.headers.get("cookie") != self._cookie():
                x.answer(403, b"sign in")
            else:
                route(x)

        return checked

    def _package(self, x: Exchange) -> bytes:
        return self.packages[int(x.request.path.rpartition("packageID=")[2]) - 1][1]

    def _list(self, x: Exchange) -> None:
        rows = [{"name": name, "packageID": str(n), "size": "241MB"} for n, (name, _) in enumerate(self.packages, 1)]
        x.answer(200, json.dumps(rows).encode(), content_type="application/json")

    def _md5(self, x: Exchange) -> None:
        x.answer(200, f"{hashlib.md5(self._package(x)).hexdigest()}  some name.zip\n".encode())


@pytest.fixture
def data() -> bytes:
    return archive()


@pytest.fixture
def site(place: Place, data: bytes) -> Site:
    """A site with two packages, and a manifest that names them."""
    text = place.manifest.read_text()
    place.manifest.write_text(
        f'{text}[signin]\nkind = "cityscapes"\nurl = "{place.server.url}"\n'
        + "".join(
            f'[[remotes]]\npart = "{part}"\npackage = "{part}.zip"\nbytes = "unknown"\ndigest = "{digest}"\n{more}'
            for part, digest, more in (
                ("gtFine", f"sha256:{hashlib.sha256(data).hexdigest()}", ""),
                ("extra", "unknown", "optional = true\n"),
            )
        )
    )
    return Site(place.server, {"other.zip": b"x", "gtFine.zip": data, "extra.zip": archive(seed=3)})


def secrets_in(text: str) -> list[str]:
    """Forms of the secret that a text holds."""
    raw = CANARY.encode()
    forms = [CANARY, quote(CANARY), quote(CANARY, safe=""), base64.b64encode(raw).decode(), "hunter2", "aHVudGVyM"]
    forms += [base64.b64encode(f"me:{CANARY}".encode()).decode(), CANARY.replace(" ", "+")]
    return [form for form in forms if form in text]


def nothing_leaked(place: Place, *outcomes: Outcome, but: Path | None = None) -> None:
    """No output and no file below the test's folder holds the secret in any form."""
    for outcome in outcomes:
        assert not secrets_in(outcome.out + outcome.err)
    for path in place.folder.rglob("*"):
        if path.is_file() and path != but:
            assert not secrets_in(path.read_bytes().decode("latin-1")), path


def test_the_official_flow(place: Place, site: Site) -> None:
    done = place.fetch(**ACCOUNT)
    assert done.code == 0 and place.is_whole(), done.err
    assert [(request.method, request.path) for request in place.server.requests] == [
        ("GET", "/login"), ("POST", "/login"), ("GET", "/downloads/?list"), ("GET", "/file-handling/?packageID=2"),
    ]  # fmt: skip
    nothing_leaked(place, done)
    done = place.fetch("--only", "extra", **ACCOUNT)
    assert done.code == 0 and place.is_whole(3)
    assert place.server.of("/md5-sum/")[0].path == "/md5-sum/?packageID=3"
    receipt = json.loads((place.home / "receipts/extra.zip.json").read_text())
    assert receipt["digest"].startswith("md5:") and receipt["url"] == f"{place.server.url}/file-handling/"


def test_an_expired_session_is_renewed_once(place: Place, site: Site, data: bytes) -> None:
    served = place.server.routes["/file-handling/"]

    def cut_and_expire(x: Exchange) -> None:
        if len(place.server.of("/file-handling/")) == 1:
            x.head(200, content_length=len(data), etag='"one"')
            x.send(data[:1000])
            x.cut()
            site.expire()
        else:
            served(x)

    place.server.routes["/file-handling/"] = cut_and_expire
    done = place.fetch(**ACCOUNT)
    assert done.code == 0 and place.is_whole() and "signing in again" in done.err
    assert site.logins == 2 and place.server.of("/file-handling/")[-1].headers["range"] == "bytes=1000-"


def test_a_session_that_expires_again_and_again_ends_it(place: Place, site: Site) -> None:
    place.server.routes["/file-handling/"] = lambda x: x.answer(403, b"no")
    done = place.fetch(**ACCOUNT)
    assert done.code == 6 and "sign in again" in done.err and site.logins == 2
    site.__init__(place.server, dict(site.packages))  # type: ignore[misc]
    assert place.fetch(**ACCOUNT).code == 0


def test_there_is_no_option_for_a_password(place: Place, site: Site) -> None:
    for verb in ("fetch", "login"):
        text = run_segdata(verb, "--help").out.lower()
        assert "--password" not in text and "--user" not in text
        assert run_segdata(verb, "cityscapes", "--password", "x").code == 2


def test_credentials_that_others_can_read_are_refused(place: Place, site: Site) -> None:
    netrc = place.folder / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login me password "{CANARY}"\n')
    netrc.chmod(0o644)
    done = place.fetch()
    assert done.code == 6 and f"chmod 600 {netrc}" in done.err and not place.server.requests
    netrc.chmod(0o600)
    later = place.fetch()
    assert later.code == 0 and place.is_whole(), later.err
    nothing_leaked(place, done, later, but=netrc)


def test_a_netrc_that_cannot_be_read_does_not_show_its_words(place: Place, site: Site) -> None:
    netrc = place.folder / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password\n{CANARY}\n")
    netrc.chmod(0o600)
    done = place.fetch()
    assert done.code == 6 and "line" in done.err
    nothing_leaked(place, done, but=netrc)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("password", "wrong name or password"),
        ("page", "is not where it was"),
        ("form", "is not where it was"),
        ("list", "list of packages"),
    ],
)
def test_sign_in_troubles_are_told_apart_and_never_repeated(change: str, text: str, place: Place, site: Site) -> None:
    account = {**ACCOUNT, "SEGDATA_CITYSCAPES_PASSWORD": "wrong"} if change == "password" else ACCOUNT
    login = place.server.routes["/login"]
    if change == "page":
        place.server.routes["/login"] = lambda x: x.answer(404)
    if change == "form":
        place.server.routes["/login"] = lambda x: x.answer(500) if x.request.method == "POST" else login(x)
    if change == "list":
        place.server.routes["/downloads/"] = lambda x: x.answer(200, b"<html>accept the terms")
    done = place.fetch("--json", **account)
    assert done.code == 6 and text in done.err and done.document["error"]["exit"] == 6
    assert site.logins <= 1 and place.files() == set()
    nothing_leaked(place, done)
    Site(place.server, dict(site.packages))
    assert place.fetch(**ACCOUNT).code == 0


def test_a_package_that_the_account_cannot_see(place: Place, site: Site) -> None:
    site.packages = [row for row in site.packages if row[0] != "gtFine.zip"]
    done = place.fetch(**ACCOUNT)
    assert done.code == 10 and "does not offer 'gtFine.zip'" in done.err


def test_a_site_that_cannot_be_reached_is_no_matter_of_the_password(place: Place, site: Site) -> None:
    place.manifest.write_text(place.manifest.read_text().replace(place.server.url, "http://127.0.0.1:9"))
    done = place.fetch("--retries", "2", **ACCOUNT)
    assert done.code == 5 and "could not be asked" in done.err


def test_without_a_terminal_it_ends_at_once(place: Place, site: Site) -> None:
    done = place.fetch()
    assert done.code == 6 and not place.server.requests
    for name in ACCOUNT:
        assert name in done.err


def test_cookies_stay_with_the_site_and_in_memory(place: Place, site: Site, data: bytes) -> None:
    other = place.server.url.replace("127.0.0.1", "localhost")
    place.server.routes["/file-handling/"] = redirect(f"{other}/elsewhere.zip")
    place.server.routes["/elsewhere.zip"] = lambda x: x.answer(200, data, set_cookie="theirs=1")
    done = place.fetch(**ACCOUNT)
    assert done.code == 0 and place.is_whole()
    request = place.server.of("/elsewhere.zip")[0]
    assert "cookie" not in request.headers and "authorization" not in request.headers
    text = b"".join(path.read_bytes() for path in place.folder.rglob("*") if path.is_file())
    assert b"session-0" not in text and b"PHPSESSID" not in text


def test_a_session_is_kept_only_on_request_and_for_a_day(place: Place, site: Site) -> None:
    state: dict[str, Any] = {"XDG_STATE_HOME": str(place.folder / "state")}
    first = place.fetch("--keep-session", **ACCOUNT, **state)
    assert first.code == 0 and site.logins == 1
    (kept,) = (place.folder / "state/segdata").iterdir()
    document = json.loads(kept.read_text())
    assert kept.stat().st_mode & 0o777 == 0o600 and time.time() < document["expires"] <= time.time() + 24 * 3600
    nothing_leaked(place, first)
    # The next command needs no credentials; one without the option does not look at the session.
    more = ("--only", "extra")
    assert place.fetch(*more, **state).code == 6
    assert place.fetch(*more, "--keep-session", **state).code == 0 and site.logins == 1
    for path in place.home.rglob("*"):
        assert path.is_dir() or b"session-0" not in path.read_bytes()

    def again(**environment: Any) -> Outcome:
        (place.home / "raw/photos/3.bin").unlink(missing_ok=True)
        return place.fetch(*more, "--keep-session", **state, **environment)

    kept.chmod(0o644)
    assert "chmod 600" in again(**ACCOUNT).err
    kept.chmod(0o600)
    site.expire()  # at the site: it is signed in anew, and the new session kept
    assert again().code == 6 and again(**ACCOUNT).code == 0 and site.logins == 2 and again().code == 0
    document = json.loads(kept.read_text())
    kept.write_text(json.dumps({**document, "expires": 1.0}))
    assert again().code == 6
    kept.write_text(json.dumps({**document, "site": "https://elsewhere.example"}))
    assert again().code == 6
    removed = run_segdata("logout", place.manifest, HOME=str(place.folder), **place.quiet, **state)
    assert removed.code == 0 and str(kept) in removed.out and not kept.exists()


def test_netrc_is_not_sent_to_hosts_that_need_no_account(place: Place, data: bytes) -> None:
    netrc = place.folder / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login me password "{CANARY}"\ndefault login me password "{CANARY}"\n')
    netrc.chmod(0o600)
    place.offer(data)
    assert place.fetch().code == 0
    assert "authorization" not in place.server.requests[0].headers


def terminal(place: Place, *arguments: object, answers: dict[str, str], **environment: str) -> tuple[int, str]:
    """The real command on a terminal that answers questions; exit code and everything that the terminal showed."""
    command = [sys.executable, "-m", "segdata", *map(str, arguments)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            command,
            {**os.environ, "HOME": str(place.folder), "COLUMNS": "200", **place.quiet, **environment},
        )
    shown, end, open_questions = "", time.monotonic() + 30, dict(answers)
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                more = os.read(terminal, 65536).decode("utf-8", "replace")
            except OSError:
                break
            shown += more
        for question in [question for question in open_questions if question in shown]:
            os.write(terminal, f"{open_questions.pop(question)}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


def test_a_person_is_asked_on_a_terminal(place: Place, site: Site) -> None:
    answers = {"name: ": "me", "password: ": CANARY}
    code, shown = terminal(place, "fetch", place.manifest, "--root", place.home.parent, answers=answers)
    assert code == 0 and place.is_whole(), shown
    assert not secrets_in(shown)
    nothing_leaked(place)


def test_login_keeps_an_account_that_works_and_logout_removes_it(place: Place, site: Site) -> None:
    options: dict[str, Any] = {"HOME": str(place.folder), **place.quiet}
    done = run_segdata("login", place.manifest, **options, **ACCOUNT)
    assert done.code == 6 and "--netrc" in done.err and "keyring" in done.err
    done = run_segdata(
        "login", place.manifest, "--netrc", **options, **{**ACCOUNT, "SEGDATA_CITYSCAPES_PASSWORD": "no"}
    )
    netrc = place.folder / ".netrc"
    assert done.code == 6 and not netrc.exists()
    stored = run_segdata("login", place.manifest, "--netrc", "--json", **options, **ACCOUNT)
    assert stored.code == 0 and stored.document["kept_in"] == str(netrc) and netrc.stat().st_mode & 0o777 == 0o600
    fetched = place.fetch()
    assert fetched.code == 0, fetched.err
    netrc.write_text(netrc.read_text() + "machine other.example login a password b\n")
    removed = run_segdata("logout", place.manifest, **options)
    assert removed.code == 0 and netrc.read_text() == "machine other.example login a password b\n"
    assert run_segdata("logout", place.manifest, **options).code == 10
    nothing_leaked(place, done, stored, fetched, removed)
    assert run_segdata("login", "camvid", **options).code == 2


RING = """
import json, pathlib
from keyring.backend import KeyringBackend
PATH = pathlib.Path(__file__).with_name("ring.json")
class Ring(KeyringBackend):
    priority = 1
    def _all(self):
        return json.loads(PATH.read_text()) if PATH.exists() else {}
    def get_password(self, service, name):
        return self._all().get(service + "/" + name)
    def set_password(self, service, name, password):
        PATH.write_text(json.dumps({**self._all(), service + "/" + name: password}))
    def delete_password(self, service, name):
        rest = self._all()
        del rest[service + "/" + name]
        PATH.write_text(json.dumps(rest))
"""


def test_the_key_ring_is_used_where_there_is_one(place: Place, site: Site) -> None:
    backend = place.folder / "backend"
    backend.mkdir()
    (backend / "testring.py").write_text(RING)
    ring: dict[str, Any] = {
        "PYTHONPATH": str(backend),
        "PYTHON_KEYRING_BACKEND": "testring.Ring",
        "HOME": str(place.folder),
    }
    kept = run_segdata("login", place.manifest, **ring, **ACCOUNT)
    assert kept.code == 0 and "the key ring" in kept.out
    done = place.fetch(**ring)
    assert done.code == 0 and place.is_whole(), done.err
    nothing_leaked(place, kept, done, but=backend / "ring.json")
    assert run_segdata("logout", place.manifest, **ring).code == 0
    assert json.loads((backend / "ring.json").read_text()) == {}


TERMS = '[terms]\nid = "mine"\nurl = "https://mine.example/terms"\ntext = "Only for fun."\n'


def test_terms_are_accepted_once_and_again_when_they_change(place: Place, data: bytes) -> None:
    place.manifest.write_text(place.manifest.read_text() + TERMS)
    place.offer(data)
    done = place.fetch()
    assert done.code == 6 and not place.server.requests
    for text in ("Only for fun.", "https://mine.example/terms", "--accept-license mine"):
        assert text in done.err
    assert place.fetch("--accept-license", "other").code == 6
    assert place.fetch("--accept-license", "mine").code == 0
    record = json.loads((place.home / "receipts/.terms.json").read_text())["mine"]
    assert record["by"] and record["at"] and record["text"] == "Only for fun."
    assert record["sha256"] == hashlib.sha256(b"mine\nhttps://mine.example/terms\nOnly for fun.").hexdigest()
    import shutil

    shutil.rmtree(place.home / "raw")
    assert place.fetch().code == 0
    shutil.rmtree(place.home / "raw")
    place.manifest.write_text(place.manifest.read_text().replace("for fun", "for love"))
    done = place.fetch()
    assert done.code == 6 and "Only for love." in done.err


def test_on_a_terminal_a_person_is_asked(place: Place, data: bytes) -> None:
    place.manifest.write_text(place.manifest.read_text() + TERMS)
    place.offer(data)
    for answer, code in (("n", 6), ("y", 0)):
        ended, shown = terminal(
            place, "fetch", place.manifest, "--root", place.home.parent, answers={"Do you accept them?": answer}
        )
        assert ended == code and "Only for fun." in shown, shown
    assert place.is_whole()


def test_children_do_not_get_the_secret() -> None:
    program = (
        "import os, subprocess, sys\nfrom segdata import cli\nfrom segdata.system import secrets\n"
        "sys.argv = ['segdata', 'list']\n"
        "try:\n    cli.main(['list', '--json'])\nexcept SystemExit:\n    pass\n"
        "print(subprocess.run(['env'], capture_output=True, text=True).stdout, file=sys.stderr)\n"
        "assert secrets.get('SEGDATA_CITYSCAPES_PASSWORD')\n"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, **ACCOUNT}, check=True
    )
    assert "PATH=" in done.stderr and "SEGDATA_CITYSCAPES" not in done.stderr


def test_no_command_shows_the_secret(place: Place, site: Site, data: bytes) -> None:
    """Success and failure of every verb that knows it, with `--debug` too."""
    options: dict[str, Any] = {"HOME": str(place.folder), **place.quiet, **ACCOUNT}
    proxy = f"http://me:{quote(CANARY, safe='')}@127.0.0.1:9"
    outcomes = [
        place.fetch("--json", **ACCOUNT),
        place.fetch("--dry-run", **ACCOUNT),
        run_segdata("--debug", "fetch", place.manifest, "--root", place.home, "--offline", **options),
        run_segdata("--debug", "fetch", place.manifest, "--root", place.home, "--retries", "1", "--only", "extra",
                    **{**options, "http_proxy": proxy, "NO_PROXY": ""}),
        run_segdata("list", "--json", "--root", place.home, **options),
        run_segdata("login", place.manifest, **options),
        run_segdata("logout", place.manifest, **options),
    ]  # fmt: skip
    assert [outcome.code for outcome in outcomes] == [0, 0, 5, 5, 0, 6, 10], [outcome.err for outcome in outcomes]
    nothing_leaked(place, *outcomes)
