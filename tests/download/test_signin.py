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

from segdata.catalog import manifest
from segdata.catalog.remotes import SignIn
from segdata.download.access import signin
from segdata.errors import SignInError
from tests.helpers.command import Outcome, run_segdata
from tests.helpers.dataset import Dataset, archive
from tests.helpers.server import Exchange, Route, Server, file, redirect

CANARY = "hunter2&canary ö"
"""A password with characters that are quoted in forms, addresses and base64."""

ACCOUNT: dict[str, Any] = {
    "SEGDATA_CITYSCAPES_USERNAME": "me",
    "SEGDATA_CITYSCAPES_PASSWORD": CANARY,
    "SEGDATA_CITYSCAPES_HOST": "127.0.0.1",
}


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
def site(dataset: Dataset, data: bytes) -> Site:
    """A site with two packages, and a manifest that names them."""
    text = dataset.manifest.read_text()
    dataset.manifest.write_text(
        f'{text}[signin]\nkind = "cityscapes"\nurl = "{dataset.server.url}"\n'
        + "".join(
            f'[[remotes]]\npart = "{part}"\npackage = "{part}.zip"\nbytes = "unknown"\ndigest = "{digest}"\n{more}'
            for part, digest, more in (
                ("gtFine", f"sha256:{hashlib.sha256(data).hexdigest()}", ""),
                ("extra", "unknown", "optional = true\n"),
            )
        )
    )
    return Site(dataset.server, {"other.zip": b"x", "gtFine.zip": data, "extra.zip": archive(seed=3)})


def secrets_in(text: str) -> list[str]:
    """Forms of the secret that a text holds."""
    raw = CANARY.encode()
    forms = [CANARY, quote(CANARY), quote(CANARY, safe=""), base64.b64encode(raw).decode(), "hunter2", "aHVudGVyM"]
    forms += [base64.b64encode(f"me:{CANARY}".encode()).decode(), CANARY.replace(" ", "+")]
    return [form for form in forms if form in text]


def nothing_leaked(dataset: Dataset, *outcomes: Outcome, but: Path | None = None) -> None:
    """No output and no file below the test's folder holds the secret in any form."""
    for outcome in outcomes:
        assert not secrets_in(outcome.out + outcome.err)
    for path in dataset.folder.rglob("*"):
        if path.is_file() and path != but:
            assert not secrets_in(path.read_bytes().decode("latin-1")), path


def test_the_official_flow(dataset: Dataset, site: Site) -> None:
    done = dataset.fetch(**ACCOUNT)
    assert done.code == 0 and dataset.is_whole(), done.err
    assert [(request.method, request.path) for request in dataset.server.requests] == [
        ("GET", "/login"), ("POST", "/login"), ("GET", "/downloads/?list"), ("GET", "/file-handling/?packageID=2"),
    ]  # fmt: skip
    nothing_leaked(dataset, done)
    done = dataset.fetch("--only", "extra", **ACCOUNT)
    assert done.code == 0 and dataset.is_whole(3)
    assert dataset.server.of("/md5-sum/")[0].path == "/md5-sum/?packageID=3"
    receipt = json.loads((dataset.home / "receipts/extra.zip.json").read_text())
    assert receipt["digest"].startswith("md5:") and receipt["url"] == f"{dataset.server.url}/file-handling/"


def test_an_expired_session_is_renewed_once(dataset: Dataset, site: Site, data: bytes) -> None:
    served = dataset.server.routes["/file-handling/"]

    def cut_and_expire(x: Exchange) -> None:
        if len(dataset.server.of("/file-handling/")) == 1:
            x.head(200, content_length=len(data), etag='"one"')
            x.send(data[:1000])
            x.cut()
            site.expire()
        else:
            served(x)

    dataset.server.routes["/file-handling/"] = cut_and_expire
    done = dataset.fetch(**ACCOUNT)
    assert done.code == 0 and dataset.is_whole() and "signing in again" in done.err
    assert site.logins == 2 and dataset.server.of("/file-handling/")[-1].headers["range"] == "bytes=1000-"


def test_a_session_that_expires_again_and_again_ends_it(dataset: Dataset, site: Site) -> None:
    dataset.server.routes["/file-handling/"] = lambda x: x.answer(403, b"no")
    done = dataset.fetch(**ACCOUNT)
    assert done.code == 6 and "sign in again" in done.err and site.logins == 2
    site.__init__(dataset.server, dict(site.packages))  # type: ignore[misc]
    assert dataset.fetch(**ACCOUNT).code == 0


def test_there_is_no_option_for_a_password(dataset: Dataset, site: Site) -> None:
    for verb in ("fetch", "login"):
        text = run_segdata(verb, "--help").out.lower()
        assert "--password" not in text and "--user" not in text
        assert run_segdata(verb, "cityscapes", "--password", "x").code == 2


def test_credentials_that_others_can_read_are_refused(dataset: Dataset, site: Site) -> None:
    netrc = dataset.folder / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login me password "{CANARY}"\n')
    netrc.chmod(0o644)
    done = dataset.fetch()
    assert done.code == 6 and f"chmod 600 {netrc}" in done.err and not dataset.server.requests
    netrc.chmod(0o600)
    later = dataset.fetch()
    assert later.code == 0 and dataset.is_whole(), later.err
    nothing_leaked(dataset, done, later, but=netrc)


def test_the_account_of_the_environment_goes_to_no_other_site(dataset: Dataset, site: Site) -> None:
    netrc = dataset.folder / ".netrc"
    netrc.write_text(f'default login me password "{CANARY}"\n')
    netrc.chmod(0o600)
    for host in ("", "www.cityscapes-dataset.com"):
        done = dataset.fetch(**{**ACCOUNT, "SEGDATA_CITYSCAPES_HOST": host})
        assert done.code == 6 and "SEGDATA_CITYSCAPES_HOST=127.0.0.1" in done.err and not dataset.server.requests
        nothing_leaked(dataset, done, but=netrc)


def test_the_environment_is_for_the_shipped_site_and_nothing_goes_over_plain_http(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    shipped = manifest.shipped("cityscapes").signin
    assert shipped is not None and signin.credentials(shipped, ask=None).source == "environment"
    monkeypatch.setenv("SEGDATA_CITYSCAPES_HOST", "site.example")
    assert signin.credentials(SignIn("cityscapes", "https://site.example"), ask=None).password == CANARY
    sites = (
        "https://www.cityscapes-dataset.com.example", "http://site.example", "http://www.cityscapes-dataset.com",
        "https://www.cityscapes-dataset.com:8443",
    )  # fmt: skip
    for url in sites:
        with pytest.raises(SignInError, match=r"plain http|no credentials"):
            signin.credentials(SignIn("cityscapes", url), ask=None)
    with pytest.raises(SignInError, match="plain http"):
        signin.credentials(SignIn("cityscapes", "http://site.example"), ask=lambda host: ("me", CANARY))


def test_a_netrc_that_cannot_be_read_does_not_show_its_words(dataset: Dataset, site: Site) -> None:
    netrc = dataset.folder / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password\n{CANARY}\n")
    netrc.chmod(0o600)
    done = dataset.fetch()
    assert done.code == 6 and "line" in done.err
    nothing_leaked(dataset, done, but=netrc)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("password", "wrong name or password"),
        ("page", "is not where it was"),
        ("form", "is not where it was"),
        ("list", "list of packages"),
    ],
)
def test_sign_in_troubles_are_told_apart_and_never_repeated(
    change: str, text: str, dataset: Dataset, site: Site
) -> None:
    account = {**ACCOUNT, "SEGDATA_CITYSCAPES_PASSWORD": "wrong"} if change == "password" else ACCOUNT
    login = dataset.server.routes["/login"]
    if change == "page":
        dataset.server.routes["/login"] = lambda x: x.answer(404)
    if change == "form":
        dataset.server.routes["/login"] = lambda x: x.answer(500) if x.request.method == "POST" else login(x)
    if change == "list":
        dataset.server.routes["/downloads/"] = lambda x: x.answer(200, b"<html>accept the terms")
    done = dataset.fetch("--json", **account)
    assert done.code == 6 and text in done.err and done.document["error"]["exit"] == 6
    assert site.logins <= 1 and dataset.files() == set()
    nothing_leaked(dataset, done)
    Site(dataset.server, dict(site.packages))
    assert dataset.fetch(**ACCOUNT).code == 0


def test_a_package_that_the_account_cannot_see(dataset: Dataset, site: Site) -> None:
    site.packages = [row for row in site.packages if row[0] != "gtFine.zip"]
    done = dataset.fetch(**ACCOUNT)
    assert done.code == 10 and "does not offer 'gtFine.zip'" in done.err


def test_a_site_that_cannot_be_reached_is_no_matter_of_the_password(dataset: Dataset, site: Site) -> None:
    dataset.manifest.write_text(dataset.manifest.read_text().replace(dataset.server.url, "http://127.0.0.1:9"))
    done = dataset.fetch("--retries", "2", **ACCOUNT)
    assert done.code == 5 and "could not be asked" in done.err


def test_without_a_terminal_it_ends_at_once(dataset: Dataset, site: Site) -> None:
    done = dataset.fetch()
    assert done.code == 6 and not dataset.server.requests
    for name in ACCOUNT:
        assert name in done.err


def test_cookies_stay_with_the_site_and_in_memory(dataset: Dataset, site: Site, data: bytes) -> None:
    other = dataset.server.url.replace("127.0.0.1", "localhost")
    dataset.server.routes["/file-handling/"] = redirect(f"{other}/elsewhere.zip")
    dataset.server.routes["/elsewhere.zip"] = lambda x: x.answer(200, data, set_cookie="theirs=1")
    done = dataset.fetch(**ACCOUNT)
    assert done.code == 0 and dataset.is_whole()
    request = dataset.server.of("/elsewhere.zip")[0]
    assert "cookie" not in request.headers and "authorization" not in request.headers
    text = b"".join(path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file())
    assert b"session-0" not in text and b"PHPSESSID" not in text


def test_a_session_is_kept_only_on_request_and_for_a_day(dataset: Dataset, site: Site) -> None:
    state: dict[str, Any] = {"XDG_STATE_HOME": str(dataset.folder / "state")}
    first = dataset.fetch("--keep-session", **ACCOUNT, **state)
    assert first.code == 0 and site.logins == 1
    (stored,) = (dataset.folder / "state/segdata").iterdir()
    document = json.loads(stored.read_text())
    assert stored.stat().st_mode & 0o777 == 0o600 and time.time() < document["expires"] <= time.time() + 24 * 3600
    nothing_leaked(dataset, first)
    # The next command needs no credentials; one without the option does not look at the session.
    more = ("--only", "extra")
    assert dataset.fetch(*more, **state).code == 6
    assert dataset.fetch(*more, "--keep-session", **state).code == 0 and site.logins == 1
    for path in dataset.home.rglob("*"):
        assert path.is_dir() or b"session-0" not in path.read_bytes()

    def again(**environment: Any) -> Outcome:
        (dataset.home / "raw/photos/3.bin").unlink(missing_ok=True)
        return dataset.fetch(*more, "--keep-session", **state, **environment)

    stored.chmod(0o644)
    assert "chmod 600" in again(**ACCOUNT).err
    stored.chmod(0o600)
    site.expire()  # at the site: it is signed in anew, and the new session kept
    assert again().code == 6 and again(**ACCOUNT).code == 0 and site.logins == 2 and again().code == 0
    document = json.loads(stored.read_text())
    stored.write_text(json.dumps({**document, "expires": 1.0}))
    assert again().code == 6
    stored.write_text(json.dumps({**document, "site": "https://elsewhere.example"}))
    assert again().code == 6
    removed = run_segdata("logout", dataset.manifest, HOME=str(dataset.folder), **dataset.quiet, **state)
    assert removed.code == 0 and str(stored) in removed.out and not stored.exists()


def test_netrc_is_not_sent_to_hosts_that_need_no_account(dataset: Dataset, data: bytes) -> None:
    netrc = dataset.folder / ".netrc"
    netrc.write_text(f'machine 127.0.0.1 login me password "{CANARY}"\ndefault login me password "{CANARY}"\n')
    netrc.chmod(0o600)
    dataset.offer(data)
    assert dataset.fetch().code == 0
    assert "authorization" not in dataset.server.requests[0].headers


def terminal(dataset: Dataset, *arguments: object, answers: dict[str, str], **environment: str) -> tuple[int, str]:
    """The real command on a terminal that answers questions; exit code and everything that the terminal showed."""
    command = [sys.executable, "-m", "segdata", *map(str, arguments)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            command,
            {**os.environ, "HOME": str(dataset.folder), "COLUMNS": "200", **dataset.quiet, **environment},
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


def test_a_person_is_asked_on_a_terminal(dataset: Dataset, site: Site) -> None:
    answers = {"name: ": "me", "password: ": CANARY}
    code, shown = terminal(dataset, "fetch", dataset.manifest, "--root", dataset.home.parent, answers=answers)
    assert code == 0 and dataset.is_whole(), shown
    assert not secrets_in(shown)
    nothing_leaked(dataset)


def test_login_keeps_an_account_that_works_and_logout_removes_it(dataset: Dataset, site: Site) -> None:
    options: dict[str, Any] = {"HOME": str(dataset.folder), **dataset.quiet}
    done = run_segdata("login", dataset.manifest, **options, **ACCOUNT)
    assert done.code == 6 and "--netrc" in done.err and "keyring" in done.err
    done = run_segdata(
        "login", dataset.manifest, "--netrc", **options, **{**ACCOUNT, "SEGDATA_CITYSCAPES_PASSWORD": "no"}
    )
    netrc = dataset.folder / ".netrc"
    assert done.code == 6 and not netrc.exists()
    stored = run_segdata("login", dataset.manifest, "--netrc", "--json", **options, **ACCOUNT)
    assert stored.code == 0 and stored.document["kept_in"] == str(netrc) and netrc.stat().st_mode & 0o777 == 0o600
    fetched = dataset.fetch()
    assert fetched.code == 0, fetched.err
    netrc.write_text(netrc.read_text() + "machine other.example login a password b\n")
    removed = run_segdata("logout", dataset.manifest, **options)
    assert removed.code == 0 and netrc.read_text() == "machine other.example login a password b\n"
    assert run_segdata("logout", dataset.manifest, **options).code == 10
    nothing_leaked(dataset, done, stored, fetched, removed)
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


def test_the_key_ring_is_used_where_there_is_one(dataset: Dataset, site: Site) -> None:
    backend = dataset.folder / "backend"
    backend.mkdir()
    (backend / "testring.py").write_text(RING)
    ring: dict[str, Any] = {
        "PYTHONPATH": str(backend),
        "PYTHON_KEYRING_BACKEND": "testring.Ring",
        "HOME": str(dataset.folder),
    }
    stored = run_segdata("login", dataset.manifest, **ring, **ACCOUNT)
    assert stored.code == 0 and "the key ring" in stored.out
    done = dataset.fetch(**ring)
    assert done.code == 0 and dataset.is_whole(), done.err
    nothing_leaked(dataset, stored, done, but=backend / "ring.json")
    assert run_segdata("logout", dataset.manifest, **ring).code == 0
    assert json.loads((backend / "ring.json").read_text()) == {}


TERMS = '[terms]\nid = "mine"\nurl = "https://mine.example/terms"\ntext = "Only for fun."\n'


def test_terms_are_accepted_once_and_again_when_they_change(dataset: Dataset, data: bytes) -> None:
    dataset.manifest.write_text(dataset.manifest.read_text() + TERMS)
    dataset.offer(data)
    done = dataset.fetch()
    assert done.code == 6 and not dataset.server.requests
    for text in ("Only for fun.", "https://mine.example/terms", "--accept-license mine"):
        assert text in done.err
    assert dataset.fetch("--accept-license", "other").code == 6
    assert dataset.fetch("--accept-license", "mine").code == 0
    record = json.loads((dataset.home / "receipts/.terms.json").read_text())["mine"]
    assert record["by"] and record["at"] and record["text"] == "Only for fun."
    assert record["sha256"] == hashlib.sha256(b"mine\nhttps://mine.example/terms\nOnly for fun.").hexdigest()
    import shutil

    shutil.rmtree(dataset.home / "raw")
    assert dataset.fetch().code == 0
    shutil.rmtree(dataset.home / "raw")
    dataset.manifest.write_text(dataset.manifest.read_text().replace("for fun", "for love"))
    done = dataset.fetch()
    assert done.code == 6 and "Only for love." in done.err


def test_on_a_terminal_a_person_is_asked(dataset: Dataset, data: bytes) -> None:
    dataset.manifest.write_text(dataset.manifest.read_text() + TERMS)
    dataset.offer(data)
    for answer, code in (("n", 6), ("y", 0)):
        ended, shown = terminal(
            dataset, "fetch", dataset.manifest, "--root", dataset.home.parent, answers={"Do you accept them?": answer}
        )
        assert ended == code and "Only for fun." in shown, shown
    assert dataset.is_whole()


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
    assert "PATH=" in done.stderr and "CITYSCAPES_USERNAME" not in done.stderr and "PASSWORD" not in done.stderr


def test_no_command_shows_the_secret(dataset: Dataset, site: Site, data: bytes) -> None:
    """Success and failure of every verb that knows it, with `--debug` too."""
    options: dict[str, Any] = {"HOME": str(dataset.folder), **dataset.quiet, **ACCOUNT}
    proxy = f"http://me:{quote(CANARY, safe='')}@127.0.0.1:9"
    outcomes = [
        dataset.fetch("--json", **ACCOUNT),
        dataset.fetch("--dry-run", **ACCOUNT),
        run_segdata("--debug", "fetch", dataset.manifest, "--root", dataset.home, "--offline", **options),
        run_segdata("--debug", "fetch", dataset.manifest, "--root", dataset.home, "--retries", "1", "--only", "extra",
                    **{**options, "http_proxy": proxy, "NO_PROXY": ""}),
        run_segdata("list", "--json", "--root", dataset.home, **options),
        run_segdata("login", dataset.manifest, **options),
        run_segdata("logout", dataset.manifest, **options),
    ]  # fmt: skip
    assert [outcome.code for outcome in outcomes] == [0, 0, 5, 5, 0, 6, 10], [outcome.err for outcome in outcomes]
    nothing_leaked(dataset, *outcomes)
