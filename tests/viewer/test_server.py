"""The command and the function: start, address, stop, and what is refused before a page opens."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import segdata
from segdata.errors import DiskError, InvalidQuery, LabelMismatch, NotThere, UsageError
from tests.helpers.command import run_segdata
from tests.viewer.client import Client

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")


@contextmanager
def command(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `segdata view`, and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "segdata", "view", *map(str, words), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def test_the_address_is_printed_and_ctrl_c_ends_it_within_two_seconds(pack: Path) -> None:
    with command(pack) as (process, address):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=[\w-]{32}", address)
        client = Client(address)
        assert client.get("pack").document["samples"] == 30
        held = socket.create_connection((client.host, client.port))
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - began < 2
        held.close()
        with pytest.raises(OSError):
            socket.create_connection((client.host, client.port), timeout=2)


def test_what_strangers_send_is_not_told_to_the_user(pack: Path) -> None:
    with command(pack) as (process, address):
        client = Client(address)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "eA=="}
        assert client.raw("/api/pack", Host="evil.example", **upgrade).status == 400
        with socket.create_connection((client.host, client.port)) as connection:
            connection.sendall(b"GET /\r\n\r\n")
            assert b" 400 " in connection.recv(4096)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=10)[1] == "segdata: stopped\n"


def test_json_prints_one_document(pack: Path) -> None:
    with command(pack, "--json", "--where", "objects > 3", "--sort", "-objects", "--split", "val2017") as (_, line):
        document = json.loads(line)
        assert document["ok"] is True
        client = Client(document["address"])
        started = client.get("pack").document["started"]
        assert started == {"split": "val2017", "where": "objects > 3", "sort": "-objects"}


def test_a_port_in_use_is_told(pack: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        outcome = run_segdata("view", pack, "--no-open", "--port", port)
        assert outcome.code == 7 and f"port {port} is in use" in outcome.err and "--port" in outcome.err
        with pytest.raises(DiskError):
            segdata.view(pack, port=port)


def test_other_machines_reach_it_only_when_that_is_said(pack: Path) -> None:
    outcome = run_segdata("view", pack, "--no-open", "--host", "0.0.0.0")
    assert outcome.code == 2 and "--allow-remote" in outcome.err
    with command(pack, "--host", "0.0.0.0", "--allow-remote") as (process, address):
        client = Client(address)
        assert client.raw("/api/pack").status == 401
        assert client.get("pack").status == 200
        assert client.raw("/", Host=f"192.0.2.7:{client.port}").status == 200
        assert client.raw("/", Host="evil.example").status == 400
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
        assert "every machine" in err and "127.0.0.1" in err


def test_it_listens_at_one_address_alone(pack: Path) -> None:
    viewer = segdata.view(pack)
    try:
        port = f"{Client(viewer.address).port:04X}"
        sockets = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        listening = [line[1] for line in sockets if len(line) > 3 and line[3] == "0A" and line[1].endswith(f":{port}")]
        assert listening == [f"0100007F:{port}"]
    finally:
        viewer.stop()


def test_predictions_of_other_categories_are_refused_before_anything_is_served(pack: Path, tmp_path: Path) -> None:
    other = segdata.open(pack)
    labels = [category.name.replace("dog", "wolf") for category in other.labels.categories]
    segdata.write(iter(other), tmp_path / "other", labels=labels, workers=1)
    outcome = run_segdata("view", pack, tmp_path / "other", "--no-open")
    assert outcome.code == 4 and "'wolf'" in outcome.err and outcome.out == ""
    with pytest.raises(LabelMismatch):
        segdata.view(pack, tmp_path / "other")


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"where": "any(category == 'dgo')"}, InvalidQuery, "'dog'"),
        ({"where": "fn > 1"}, InvalidQuery, "segdata view PACK PREDICTIONS"),
        ({"sort": "-fn"}, UsageError, "segdata view PACK PREDICTIONS"),
        ({"sort": "kye"}, UsageError, "key"),
        ({"split": "vla2017"}, NotThere, "val2017"),
        ({"port": 70000}, UsageError, "65535"),
        ({"host": "192.0.2.1", "allow_remote": True}, UsageError, "192.0.2.1"),
    ],
)
def test_what_cannot_be_shown_is_said_at_once(
    pack: Path, words: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=re.escape(text)):
        segdata.view(pack, **words)  # type: ignore[arg-type]


def test_what_is_no_pack_is_said(dataset: tuple[Path, Path], tmp_path: Path) -> None:
    assert run_segdata("view", tmp_path / "nowhere", "--no-open").code == 10
    assert run_segdata("view", dataset[0], "--no-open").code != 0


def test_in_a_notebook_it_is_a_link_and_stops(pack: Path) -> None:
    viewer = segdata.view(segdata.open(pack))
    client = Client(viewer.address)
    assert client.get("pack").status == 200
    assert viewer.address in viewer._repr_html_() and 'rel="noopener"' in viewer._repr_html_()
    viewer.stop()
    viewer.stop()
    assert not viewer.is_running
    with pytest.raises(OSError):
        client.get("pack")


def test_bodies_do_not_wait_for_the_headers_to_be_acknowledged(pack: Path) -> None:
    viewer = segdata.view(pack)
    connection = http.client.HTTPConnection(*viewer._listener.getsockname())
    connection.request("GET", "/")
    connection.getresponse().read()
    accepted = [protocol.transport.get_extra_info("socket") for protocol in viewer._server.server_state.connections]
    assert [bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) for one in accepted] == [True]
    connection.close()
    viewer.stop()


def test_nothing_of_it_is_written_into_the_pack(pack: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in pack.iterdir()}
    os.sync()
    viewer = segdata.view(pack)
    client = Client(viewer.address)
    for name in ("pack", "facets", "ids", "thumb/0", "image/0", "masks/0", "sample/0"):
        assert client.get(name).status == 200
    client.ready("statistics")
    viewer.stop()
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in pack.iterdir()} == before
