"""Who may ask the server: every case with a real server over HTTP."""

from __future__ import annotations

import http.client
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from tests.viewer.client import Client

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")

PAGES = ("/", "/static/index.html", "/api/pack")


@pytest.mark.parametrize("token", ["", "wrong", "ä" * 32, None])
def test_data_need_the_token_of_this_start(client: Client, token: str | None) -> None:
    for name in ("pack", "ids", "thumb/0", "nothing"):
        headers = {} if token is None else {"X_Segdata_Token": token}
        answer = client.raw(f"/api/{name}", **headers)
        assert answer.status == 401 and "printed" in answer.document["error"]["fix"]
    assert client.raw(f"/api/pack?token={client.token}", Cookie=f"token={client.token}").status == 401
    assert client.raw("/").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "localhost.",
        "",
        "10.0.0.1",
    ],
)
@pytest.mark.parametrize("path", PAGES)
def test_a_foreign_host_is_refused_for_every_address(client: Client, path: str, host: str) -> None:
    answer = client.raw(path, Host=host, X_Segdata_Token=client.token)
    assert answer.status == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_the_names_of_this_machine_are_its_own(client: Client, host: str) -> None:
    assert client.raw("/api/pack", Host=f"{host}:{client.port}", X_Segdata_Token=client.token).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
    ],
)
@pytest.mark.parametrize("path", PAGES)
def test_pages_of_other_sites_get_nothing(client: Client, path: str, headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.raw(path, method, X_Segdata_Token=client.token, **headers)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_our_own_page_and_a_followed_link_are_answered(client: Client) -> None:
    own = {"Origin": f"http://127.0.0.1:{client.port}", "Sec_Fetch_Site": "same-origin"}
    assert client.raw("/api/pack", X_Segdata_Token=client.token, **own).status == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert client.raw("/", **link).status == 200
    assert client.raw("/api/pack", X_Segdata_Token=client.token, **link).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_changes_by_asking(client: Client, method: str) -> None:
    for path in (*PAGES, "/api/ids"):
        answer = client.raw(path, method, X_Segdata_Token=client.token)
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    [
        *("/../pyproject.toml", "/static/../routes.py", "/static/..%2froutes.py", "/static/%2e%2e/routes.py"),
        *("/static/%252e%252e/routes.py", "/static//etc/passwd", "/static/%00", "/static/index.html%00.js"),
        *("/static/..\\routes.py", "/static/", "/static", "//etc/passwd", "/etc/passwd", "/api", "/API/pack/../../x"),
        *("/" + "a" * 4000, "/static/" + "9" * 400),
    ],
)
def test_files_are_named_by_a_table_alone(client: Client, path: str) -> None:
    answer = client.raw(path)
    assert answer.status == 404
    assert b"import" not in answer.body and b"root:" not in answer.body


@pytest.mark.parametrize("i", ["-1", "1e3", "99999999", "9" * 300, "..", "%2e%2e%2fpack.json", "0x1"])
def test_samples_are_named_by_numbers_alone(client: Client, i: str) -> None:
    for name in ("thumb", "image", "masks", "semantic", "sample"):
        assert client.get(f"{name}/{i}").status == 404


def test_every_answer_has_the_headers_that_keep_it_here(client: Client) -> None:
    answers = [client.raw(path, X_Segdata_Token=client.token) for path in (*PAGES, "/nothing", "/api/nothing")]
    answers += [client.raw("/", Host="evil"), client.get("thumb/0"), client.get("ids", where="nonsense(")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert "trusted-types 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert not {"set-cookie", "server", "access-control-allow-origin"} & answer.headers.keys()
        assert "cache-control" in answer.headers


def test_what_is_too_long_is_refused(client: Client) -> None:
    assert client.get("ids", where="1 == 1 or " * 2000 + "1 == 1").status == 413
    assert client.get("tiles", ids=",".join(map(str, range(300)))).status == 413
    huge = {"Content_Type": "application/json", "X_Segdata_Token": client.token}
    assert client.raw("/api/edits", "POST", Content_Length=str(5 << 20), **huge).status == 413
    assert client.post("/api/edits", {}, Content_Type="text/plain").status == 415


def test_more_than_64_connections_are_told_to_wait(pack: Path) -> None:
    viewer = segdata.view(pack)
    client = Client(viewer.address)
    held = [socket.create_connection((client.host, client.port)) for _ in range(70)]
    try:
        answers = [client.raw("/", Connection="close") for _ in range(3)]
        assert {answer.status for answer in answers} == {429}
        while held:
            held.pop().close()
        for _ in range(100):
            if (answer := client.raw("/")).status == 200:
                break
        assert answer.status == 200
    finally:
        viewer.stop()


@pytest.fixture
def copied(pack: Path, tmp_path: Path) -> Iterator[tuple[Path, Client]]:
    """A copy of the pack, and a client of its server."""
    shutil.copytree(pack, tmp_path / "pack")
    viewer = segdata.view(tmp_path / "pack")
    yield tmp_path / "pack", Client(viewer.address)
    viewer.stop()


@pytest.mark.parametrize("what", ["replaced", "removed"])
def test_a_pack_that_is_not_there_any_more_is_gone(copied: tuple[Path, Client], pack: Path, what: str) -> None:
    folder, client = copied
    assert client.get("ids").status == 200
    (folder / "pack.json").touch()
    assert client.get("ids").status == 200
    shutil.rmtree(folder)
    if what == "replaced":
        segdata.filter(pack, folder, where="objects > 2")
    for name in ("pack", "ids", "thumb/0", "masks/0"):
        answer = client.get(name)
        assert answer.status == 410 and "again" in answer.document["error"]["fix"]
    assert client.raw("/").status == 200


def test_a_page_of_another_pack_is_told_to_reload(client: Client) -> None:
    for version in ("", "00000000"):
        answer = client.raw(f"/api/ids?v={version}", X_Segdata_Token=client.token)
        assert answer.status == 410 and "reload" in answer.document["error"]["fix"]


def test_a_picture_that_cannot_be_decoded_names_shard_and_record(copied: tuple[Path, Client]) -> None:
    folder, client = copied
    (images,) = folder.glob("images-*.h5")
    pack = segdata.open(folder)
    encoded = pack[4].encoded
    assert encoded is not None
    begin = images.read_bytes().index(encoded)
    with images.open("r+b") as file:
        file.seek(begin + 200)
        file.write(bytes(200))
    for name in ("thumb/4", "image/4"):
        error = client.get(name)
        assert error.status == 422
        assert "shard 0" in error.document["error"]["place"] and "record 4" in error.document["error"]["place"]
        assert error.document["error"]["key"] == pack.key(4)
    assert client.get("thumb/3").status == 200
    assert client.get("masks/4").status == 200


def test_words_that_are_no_http_end_the_connection(client: Client) -> None:
    for words in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET /\r\n\r\n"):
        with socket.create_connection((client.host, client.port), timeout=10) as connection:
            connection.sendall(words)
            answer = connection.recv(4096)
            assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]


def test_a_websocket_is_no_way_in(client: Client) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "eA==",
    }
    assert client.raw("/api/pack", **upgrade).status == 401
    assert client.raw("/api/pack", Host="evil.example", **upgrade).status == 400


def test_head_has_no_body(client: Client) -> None:
    connection = http.client.HTTPConnection(client.host, client.port)
    connection.request("HEAD", "/", headers={"X-Segdata-Token": client.token})
    response = connection.getresponse()
    assert response.status == 200 and response.read() == b""
    connection.close()
