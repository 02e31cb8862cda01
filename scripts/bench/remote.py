"""Loading from a bucket against the same pack in a folder: seconds, and processor time of this process.

    python scripts/bench/remote.py PACK s3://bucket/pack [--latency 30] [--rounds 5] [--workers 2] [--cached]

The endpoint and the credentials are in the environment (AWS_ENDPOINT_URL …). The pack is pushed unless it is there. The
batches are compared before anything is timed. With a latency, a proxy on this machine holds back each request for so many
milliseconds. Rounds run all contestants in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segdata

BATCH = 8


async def _forward(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(1 << 18):
            if seconds:
                await asyncio.sleep(seconds)
            target.write(data)
            await target.drain()
    target.close()


def _proxy(host: str, port: int, seconds: float, ready: Any) -> None:
    """Serve connections to another port; what clients send is held back."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(host, port)
        await asyncio.gather(_forward(reader, to_server[1], seconds), _forward(to_server[0], writer, 0))

    async def serve() -> None:
        server = await asyncio.start_server(connection, "127.0.0.1", 0)
        ready.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


@contextlib.contextmanager
def delayed(milliseconds: float) -> Iterator[None]:
    """The endpoint in the environment, by a proxy in a process of its own."""
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    parts = urlsplit(endpoint)
    context = multiprocessing.get_context("spawn")
    ready = context.SimpleQueue()
    process = context.Process(
        target=_proxy, args=(parts.hostname, parts.port or 80, milliseconds / 1000, ready), daemon=True
    )
    process.start()
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{ready.get()}"
    try:
        yield
    finally:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        process.terminate()


def epoch(pack: segdata.Pack, number: int, **options: Any) -> Iterator[segdata.Batch]:
    loader = segdata.Loader(pack, BATCH, shuffle=True, seed=1, reuse=True, **options)
    loader.set_epoch(number)
    return iter(loader)


def require_equal(one: segdata.Pack, other: segdata.Pack, **options: Any) -> None:
    """Every batch has the same keys, pixels and categories."""
    for mine, theirs in zip(epoch(one, 0, **options), epoch(other, 0, **options), strict=True):
        same = mine.keys == theirs.keys and (mine.category == theirs.category).all()
        if not same or any((a != b).any() for a, b in zip(mine.images, theirs.images, strict=True)):
            sys.exit(f"the batches differ: {mine.keys}")


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds, and seconds of the processor in this process."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("address")
    parser.add_argument("--latency", type=float, default=30, help="milliseconds added to each request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cached", action="store_true", help="also with photos kept in a folder")
    asked = parser.parse_args()
    segdata.push(asked.pack, asked.address, allow_http=True)
    local = segdata.open(asked.pack)
    near = segdata.open(asked.address, allow_http=True)
    with delayed(asked.latency), tempfile.TemporaryDirectory() as cache:
        far = segdata.open(asked.address, allow_http=True)
        contestants: dict[str, tuple[segdata.Pack, int]] = {
            "folder": (local, 0),
            "bucket": (near, 64),
            f"bucket, {asked.latency:g} ms more": (far, 64),
            f"bucket, {asked.latency:g} ms more, not ahead": (far, 0),
        }
        if asked.cached:
            contestants["bucket, photos kept"] = segdata.open(asked.address, cache=cache, allow_http=True), 64
        _compare(contestants, local, asked.rounds, asked.workers)


def _compare(contestants: dict[str, tuple[segdata.Pack, int]], local: segdata.Pack, rounds: int, workers: int) -> None:
    for name, (pack, ahead) in contestants.items():
        require_equal(local, pack, workers=workers, read_ahead=ahead)
        print(f"equal batches: {name}", flush=True)
    photos = len(local) // BATCH * BATCH
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, (pack, ahead) in contestants.items():

            def run(pack: segdata.Pack = pack, ahead: int = ahead, number: int = number) -> None:
                for _ in epoch(pack, number, workers=workers, read_ahead=ahead, drop_last=True):
                    pass

            results[name].append(measured(run))
    base = statistics.median(seconds for seconds, _ in results["folder"])
    used = statistics.median(cpu for _, cpu in results["folder"])
    for name, values in results.items():
        seconds, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        print(
            f"{name:36} {photos / seconds:7.1f} photos/s  {base / seconds:5.2f} of the folder  "
            f"{(cpu - used) / photos * 1000:6.2f} ms more of the processor a photo"
        )


if __name__ == "__main__":
    main()
