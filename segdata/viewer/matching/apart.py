"""Find what overlaps in a process of its own, with low priority: the server stays small and answers meanwhile.

    {"pack", "predictions", "version", "path"} ↵  →  the process, on its standard input
    (done, all) …, then None or an exception      ←  its standard output, as `multiprocessing` sends objects

The process ends when its input ends, so it outlives nobody who began it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from segdata.core.predictions import GroundTruth, Predictions
from segdata.errors import DamagedData, WorkerLost
from segdata.pack import layout
from segdata.pack.read import open_pack
from segdata.system.memory import give_back_large_arrays
from segdata.viewer.index import Index
from segdata.viewer.matching import parts, whole
from segdata.viewer.matching.overlaps import Truth, overlaps_of
from segdata.viewer.matching.pixels import compared
from segdata.viewer.matching.truth import truth_of

Progress = Callable[[int, int], None]

_SECONDS = 0.2
"""How often progress is last."""


def find(
    predictions: Predictions, truth: GroundTruth, objects: Truth, path: Path, progress: Progress, *, has_maps: bool
) -> None:
    """Write what overlaps, and what maps say, into the file of a comparison.

    Args:
        objects: those of `truth`.
        progress: called as `progress(done, all)`.

    Raises:
        DiskError: the file cannot be written.
    """
    images = len(truth)
    steps = images * (1 + has_maps)
    with parts.written(path) as writer:
        for part in overlaps_of(predictions, truth, objects, lambda done, _: progress(done, steps)):
            whole.append(writer, *part)
        if has_maps:
            pixels = compared(predictions, truth, objects.is_about, lambda done, _: progress(images + done, steps))
            writer.append("pixels", pixels.columns())


class Apart:
    """A process that finds what overlaps between two packs.

    Args:
        version: the checksums of both, with `-` between.
        path: the file that it writes.
    """

    def __init__(self, pack: Path, predictions: Path, version: str, path: Path) -> None:
        self._order = {"pack": str(pack), "predictions": str(predictions), "version": version, "path": str(path)}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    @property
    def process(self) -> int | None:
        """The number of the process; None before there is one."""
        return None if self._process is None else self._process.pid

    def run(self, progress: Progress) -> None:
        """Begin it, and wait for its end.

        Raises:
            WorkerLost: it ended without a word.
            Exception: what ended it.
        """
        code = f"from {__name__} import main; main()"
        places = [str(Path(place).absolute()) for place in sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        command = [sys.executable, "-c", code]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=-1
        ) as process:
            self._process = process
            try:
                self._follow(process, progress)
            finally:
                process.kill()
                process.wait()
                parts.unfinished(Path(self._order["path"]), process.pid).unlink(missing_ok=True)

    def _follow(self, process: subprocess.Popen[bytes], progress: Progress) -> None:
        assert process.stdin is not None and process.stdout is not None
        words = Connection(os.dup(process.stdout.fileno()), writable=False)
        try:
            process.stdin.write(json.dumps(self._order).encode() + b"\n")
            process.stdin.flush()
            while isinstance(word := words.recv(), tuple):
                progress(*word)
        except (EOFError, OSError) as error:
            if self._is_stopped:
                return
            code = process.wait(1)
            raise WorkerLost(
                "the process that compares predictions ended",
                why=f"exit status {code}" if code >= 0 else f"signal {-code}; it may have had not enough memory",
                fix="start segdata view again",
            ) from error
        finally:
            words.close()
        if isinstance(word, BaseException):
            raise word

    def stop(self) -> None:
        """End it where it is."""
        self._is_stopped = True
        if self._process is not None:
            self._process.kill()


def main() -> None:
    """What the process does."""
    words = Connection(os.dup(1), readable=False)
    os.dup2(2, 1)  # what libraries print is no word of ours
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    give_back_large_arrays()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)
    last = 0.0

    def tell(done: int, steps: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            _say(words, (done, steps))

    try:
        _work(order, tell)
    except Exception as error:
        _say(words, error)
    else:
        _say(words, None)


def _work(order: dict[str, str], progress: Progress) -> None:
    from segdata.sources.evaluation import open_ground_truth, open_predictions

    paths = [Path(order["pack"]), Path(order["predictions"])]
    if "-".join(str(layout.read_index(path)["crc32"]) for path in paths) != order["version"]:
        raise DamagedData("a pack was replaced while it was compared", file=paths[1], fix="start segdata view again")
    index = Index(open_pack(paths[0]))
    truth = open_ground_truth(paths[0])
    predictions = open_predictions(paths[1], truth)
    objects = truth_of(index, predictions)
    find(predictions, truth, objects, Path(order["path"]), progress, has_maps=has_maps(index, predictions))


def has_maps(index: Index, predictions: Predictions) -> bool:
    """Whether both sides have label maps or panoptic maps."""
    return bool(index.has_semantic.any()) and bool({"semantic", "panoptic"} & predictions.holds)


def _say(words: Connection, word: Any) -> None:
    try:
        words.send(word)
    except (TypeError, ValueError, AttributeError):  # an error that cannot be sent
        words.send(RuntimeError(f"{type(word).__name__}: {word}"))


def _end_with_input() -> None:
    while os.read(0, 1 << 10):
        pass
    os._exit(1)
