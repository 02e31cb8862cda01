"""A server of somebody else's: nginx from the distribution's packages serves a whole fetch, with a cut and a resume."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import segdata
from segdata.demo.synthetic import archives
from tests.helpers import made
from tests.helpers.command import tree

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    log_format ranges '$uri $status $body_bytes_sent "$http_range" "$http_if_range"';
    access_log {folder}/ranges.log ranges;
    server {{ listen 127.0.0.1:{port}; root {folder}/archives; limit_rate {rate}; }}
}}
"""


@pytest.fixture(scope="module")
def nginx() -> str:
    """The program, installed where it is missing; without it this test fails, as a skip would show nothing."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "nginx-light"]):
            subprocess.run(["apt-get", *words], check=True, capture_output=True, env=environment, timeout=300)
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    assert program, "nginx could not be installed"
    return program


class Nginx:
    """A running nginx that serves FOLDER/archives; `rate` is its limit of bytes a second, "0" for none."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, rate: str = "0") -> None:
        config = self.folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, rate=rate))
        self.process = subprocess.Popen([self.program, "-p", self.folder, "-c", config], stderr=subprocess.PIPE)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "error.log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=20)
            self.process = None

    def requests(self) -> list[list[str]]:
        return [line.split(" ", 3) for line in (self.folder / "ranges.log").read_text().splitlines()]


@pytest.fixture
def server(nginx: str, tmp_path: Path) -> Iterator[Nginx]:
    tmp_path.chmod(0o755)
    server = Nginx(nginx, tmp_path)
    try:
        yield server
    finally:
        server.stop()


def command(folder: Path) -> list[str]:
    words = [sys.executable, "-m", "segdata", "prepare", str(folder / "mine.toml"), "--root", str(folder / "root")]
    return [*words, "--json", "--jobs", "1", "--retry-wait", "0.2", "--retries", "30", "--timeout", "5"]


def offer(server: Nginx) -> dict[str, bytes]:
    """A dataset of 30 MB, so that there is time for a cut."""
    source = made.coco(server.folder / "source")
    for split in ("train2017",):
        (source / split).mkdir()
        for number in range(30):
            photo = made.photo(seed=number) + random.Random(number).randbytes(1 << 20)
            (source / split / f"{number:012d}.jpg").write_bytes(photo)
    archives.publish("coco", source, server.folder / "archives")
    text = archives.manifest("coco", server.folder / "archives", server.url, licence="mine")
    (server.folder / "mine.toml").write_text(text)
    return tree(source)


def test_a_server_that_goes_away_and_comes_back(server: Nginx) -> None:
    """nginx is killed in the middle of the largest file and started again: the same run goes on with a range."""
    source = offer(server)
    server.start(rate="8m")
    part = server.folder / "root/mine/archives/.train2017.zip.part"
    process = subprocess.Popen(command(server.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(part, 4 << 20)
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)  # a fast stop: open connections are cut
    server.process.communicate(timeout=20)
    server.start()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert tree(server.folder / "root/mine/raw") == source
    assert segdata.verify(server.folder / "root/mine/pack", deep=True).is_good
    assert json.loads(out)["ok"] is True
    resumed = [line for line in server.requests() if line[0] == "/train2017.zip" and line[1] == "206"]
    assert resumed, server.requests()
    assert '"bytes=' in resumed[-1][3] and '""' not in resumed[-1][3].split(" ")[-1]  # with If-Range


def test_a_fetch_that_is_killed_and_started_again(server: Nginx) -> None:
    source = offer(server)
    server.start(rate="8m")
    part = server.folder / "root/mine/archives/.train2017.zip.part"
    process = subprocess.Popen(command(server.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(part, 4 << 20)
    process.kill()
    process.communicate()
    done = subprocess.run(command(server.folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(server.folder / "root/mine/raw") == source
    sent = sum(int(line[2]) for line in server.requests() if line[0] == "/train2017.zip")
    size = (server.folder / "archives/train2017.zip").stat().st_size
    assert any(line[1] == "206" for line in server.requests())
    assert sent < size + (12 << 20)  # what was on disk was not fetched again


def test_a_changed_file_is_not_mixed(server: Nginx) -> None:
    """Between a killed run and the next one the file is published anew: nginx answers If-Range with the whole."""
    offer(server)
    server.start(rate="8m")
    process = subprocess.Popen(command(server.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(server.folder / "root/mine/archives/.train2017.zip.part", 4 << 20)
    process.kill()
    process.communicate()
    (server.folder / "source/train2017/000000000000.jpg").write_bytes(made.photo(seed=99) + bytes(2 << 20))
    archives.publish("coco", server.folder / "source", server.folder / "archives")
    os.utime(server.folder / "archives/train2017.zip", (1, 1))
    text = archives.manifest("coco", server.folder / "archives", server.url, licence="mine")
    (server.folder / "mine.toml").write_text(text)
    done = subprocess.run(command(server.folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(server.folder / "root/mine/raw") == tree(server.folder / "source")
    with urllib.request.urlopen(f"{server.url}/train2017.zip") as reply:
        assert reply.headers["Server"].startswith("nginx")


def wait_for(path: Path, size: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < end, f"{path} did not grow"
        time.sleep(0.02)
