"""`segdata fetch` over loopback against curl, interleaved: 2 GB, hashed as it arrives; curl hashes nothing.

    python scripts/bench/fetch.py [--size 2000] [--rounds 5] [--folder DIR]

The server hands the file to the kernel (sendfile), so that it costs both the same little. Both are the real commands and
write to the same place; segdata's time is that of the whole command: plan, download, digest, receipts, file in its place.
Like curl it does not wait until a file as large as this is on the disk; `sync` after curl shows what waiting would cost.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import common

MANIFEST = """title = "One large file"
homepage = "none"
licence = "none"
citation = "none"
format = "coco"
label_space = "mine"
labels = [{{ name = "a", id = 1 }}]

[[remotes]]
part = "all"
url = "{url}"
archive = "file"
bytes = {size}
digest = "sha256:{digest}"
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
        url, size, most = f"http://127.0.0.1:{serve(source)}/large.bin", source.stat().st_size, 0
        manifest, root = folder / "mine.toml", folder / "root"
        manifest.write_text(MANIFEST.format(url=url, size=size, digest=digest.hexdigest()))

        def curl() -> None:
            subprocess.run(["curl", "-sS", "-o", folder / "curl", url], check=True)
            (folder / "curl").unlink()

        def curl_and_sync() -> None:
            subprocess.run(["curl", "-sS", "-o", folder / "curl", url], check=True)
            subprocess.run(["sync", folder / "curl"], check=True)
            (folder / "curl").unlink()

        def segdata() -> None:
            nonlocal most
            command = [sys.executable, "-m", "segdata", "fetch", manifest, "--root", root, "--quiet"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            assert status == 0 and (root / "mine/raw/large.bin").stat().st_size == size
            most = max(most, used.ru_maxrss * 1024)
            shutil.rmtree(root)

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
