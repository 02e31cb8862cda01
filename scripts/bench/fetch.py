"""Downloading over loopback against curl, interleaved: 2 GB, hashed as it arrives; curl hashes nothing.

    python scripts/bench/fetch.py [--size 2000] [--rounds 5] [--folder DIR]

The server hands the file to the kernel (sendfile), so that it costs both the same little. Both write to the same place
and start as new processes. segdata's time ends when the file is checked, on the disk (fsync), in place, and has its
receipt; `sync` after curl waits for the disk as well.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import common

CLIENT = """
import sys
from pathlib import Path
from segdata.fetch.download import Download
from segdata.fetch.wanted import Wanted
from segdata.fetch.exchange import Patience
from segdata.fetch.pace import Pace
from segdata.remotes import Digest
url, folder, size, digest = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
names = {name: folder / f"file{ending}" for name, ending in (("target", ""), ("part", ".part"), ("bad", ".bad"), ("receipt", ".json"))}
Download(Wanted(file="file", archive="file", urls=(url,), bytes=size, digest=Digest("sha256", digest), **names), Patience(), Pace()).run()
"""


def serve(path: Path) -> int:
    """Serve one file to whoever connects; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(peer: socket.socket) -> None:
        with peer, path.open("rb") as file:
            while b"\r\n\r\n" not in peer.recv(65536):
                pass
            size = path.stat().st_size
            peer.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode())
            peer.sendfile(file)

    def loop() -> None:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()
    return int(listener.getsockname()[1])


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=2000, help="megabytes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source, digest = folder / "source", hashlib.sha256()
        with source.open("wb") as file:
            for _ in range(options.size):
                block = os.urandom(1_000_000)
                digest.update(block)
                file.write(block)
        url = f"http://127.0.0.1:{serve(source)}/file"
        size, most = source.stat().st_size, 0

        def curl() -> None:
            subprocess.run(["curl", "-sS", "-o", folder / "curl", url], check=True)
            (folder / "curl").unlink()

        def curl_and_sync() -> None:
            subprocess.run(["curl", "-sS", "-o", folder / "curl", url], check=True)
            subprocess.run(["sync", folder / "curl"], check=True)
            (folder / "curl").unlink()

        def segdata() -> None:
            nonlocal most
            command = [sys.executable, "-c", CLIENT, url, str(folder), str(size), digest.hexdigest()]
            process = subprocess.Popen(command)
            _, status, used = os.wait4(process.pid, 0)
            assert status == 0
            most = max(most, used.ru_maxrss * 1024)
            for ending in ("", ".json"):
                (folder / f"file{ending}").unlink()

        seconds = common.interleaved({"curl": curl, "curl and sync": curl_and_sync, "segdata": segdata}, options.rounds)
        kind = subprocess.run(
            ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
        ).stdout.strip()
        hashing = common.interleaved({"sha256": lambda: hashlib.file_digest(source.open("rb"), "sha256")}, 1)["sha256"]
    rows = [
        [name, f"{value:.2f} s", f"{size / value / 1e6:,.0f} MB/s", f"{seconds['curl'] / value:.2f}"]
        for name, value in seconds.items()
    ]
    lines = [
        *common.table(["", "median", "speed", "against curl"], rows),
        "",
        f"{size / 1e9:.1f} GB, {options.rounds} rounds after one that does not count. segdata hashes meanwhile (SHA-256 of"
        f" this file alone takes {hashing:.2f} s) and uses {most / 1e6:.0f} MB of memory at most.",
    ]
    common.report(
        f"Downloading to {kind}",
        lines,
        f"python scripts/bench/fetch.py --size {options.size} --rounds {options.rounds}",
    )


if __name__ == "__main__":
    main()
