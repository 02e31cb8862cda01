"""How a call ends: with a result, with a declared error, or as none of our doors may."""

from __future__ import annotations

import json
import random
import re
import resource
import signal
import traceback
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

from segdata.errors import SegdataError

SECONDS = 10
"""The longest that one call may compute."""
WAIT = 120
"""Seconds in which a call is done, on however busy a machine: else it hangs."""
MEBIBYTES = 1024
"""The most memory that one call may add."""


class Fault(str):
    """A call's result that says what is wrong with what it left; empty where nothing is."""


class _Hang(BaseException):
    pass


def wrong(call: Callable[[], object]) -> str:
    """What is wrong with how a call ends; "" for a result or an error of segdata's own that says more than its name."""

    def stop(*_: Any) -> None:
        raise _Hang

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    try:
        result = call()
        if isinstance(result, Fault) and result:
            return result
    except SegdataError as error:
        if type(error) is SegdataError or not error.message:
            return f"an error without a kind: {error!r}"
    except _Hang:
        return f"not done in {SECONDS} s"
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error!s:.300} ({Path(frame.filename).name}:{frame.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) >> 10
    return f"{grown} MiB more memory" if grown > MEBIBYTES else ""


def all_wrong(call: Callable[[random.Random], object], seeds: Iterable[int]) -> list[str]:
    """What is wrong with how calls with some seeds end."""
    return [f"seed {seed}: {text}" for seed in seeds if (text := wrong(partial(call, random.Random(seed))))]


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 65536, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1),
    *(
        10**30,
        0.5,
        -0.0,
        1e-320,
        1e18,
        1e308,
        "",
        "a",
        "0",
        "NaN",
        "é\u202e",
        "\0",
        "a\nb",
        "../x",
        "/etc/passwd",
        "a" * 300,
    ),
    *([], {}, [[]], [{}], [1, 2, 3], ["a"], [None], {"a": 1}, {"": {}}, {"name": "a", "id": 1}),
)
"""What a program may write where something else belongs."""


def changed(document: Any, random_: random.Random) -> Any:
    """A copy of a document of dictionaries, lists and plain values in which one to three things are others."""
    copy = json.loads(json.dumps(document))
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        holders = list(_holders(copy))
        if not holders:
            return deepcopy(random_.choice(VALUES))
        holder, key = random_.choice(holders)
        action = random_.choice(("other", "other", "other", "drop", "double", "swap", "deep"))
        if action == "other":
            holder[key] = deepcopy(random_.choice(VALUES))
        elif action == "drop":
            del holder[key]
        elif action == "double" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif action == "swap":
            holder[key] = json.loads(json.dumps(random_.choice(holders)[0]))
        elif action == "deep":
            for _ in range(random_.choice((3, 40))):
                holder[key] = [holder[key]] if random_.random() < 0.5 else {"a": holder[key]}
    return copy


def _holders(node: Any) -> Any:
    for key, value in (
        list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else ()
    ):
        yield node, key
        yield from _holders(value)


_TEXTS = (
    *(
        b"9" * 5000,
        b"9" * 30,
        b"0x" + b"f" * 40,
        b"1e999",
        b"nan",
        b"-inf",
        b"[" * 3000,
        b'{"a":' * 3000,
        b"{a=" * 3000,
    ),
    *(
        b"a." * 3000 + b"a = 1\n",
        b'"""',
        b"'''",
        b"\\u0000",
        b'"\\ud800"',
        b"\xff",
        b"\xc3\x28",
        b"\0",
        b"\xef\xbb\xbf",
    ),
    *(b"1979-05-27T07:32:00Z", b"true", b"[[labels]]\n", b"{}", b"[]", b'""', b"\r", b"#", b",,,,", b'"', b"=", b"\n"),
)


def damaged(data: bytes, random_: random.Random) -> bytes:
    """Bytes with some of them others: flipped, dropped, repeated, cut short, or a word or number replaced."""
    action = random_.choice(("flip", "set", "drop", "double", "cut", "text", "text", "word", "word", "word"))
    at = random_.randrange(len(data) + 1)
    length = random_.choice((1, 1, 2, 4, 8, 100))
    if action == "flip" and data:
        copy = bytearray(data)
        for _ in range(random_.choice((1, 1, 3, 20))):
            copy[random_.randrange(len(copy))] ^= 1 << random_.randrange(8)
        return bytes(copy)
    if action == "set":
        return data[:at] + bytes([random_.choice((0, 1, 127, 128, 255))]) * length + data[at + length :]
    if action == "drop":
        return data[:at] + data[at + length :]
    if action == "double":
        return data[:at] + data[at : at + length] * random_.choice((2, 2, 50)) + data[at + length :]
    if action == "cut":
        return data[:at]
    if action == "word" and (words := list(re.finditer(rb"[\w.+-]+", data))):
        word = random_.choice(words)
        new = random_.choice((random_.choice(words)[0], random_.choice(_TEXTS)))
        return data[: word.start()] + new + data[word.end() :]
    return data[:at] + random_.choice(_TEXTS) + data[at:]
