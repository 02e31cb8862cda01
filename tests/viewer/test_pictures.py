"""Pictures are made a few at a time: too many at once are refused, and those that nobody waits for are not made."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")


def test_256_pictures_wait_and_the_next_is_refused() -> None:
    from segdata.viewer.guard import Refused
    from segdata.viewer.pictures import WAITING, Pictures

    gate = threading.Event()
    made: list[int] = []

    def make(number: int) -> bytes:
        gate.wait(30)
        made.append(number)
        return b"%d" % number

    def is_odd(number: int) -> bool:
        return number % 2 == 1 and number > 9

    async def is_here() -> bool:
        return False

    async def is_gone() -> bool:
        return True

    async def ask() -> None:
        pictures = Pictures()
        tasks = [
            asyncio.create_task(pictures.get(number, partial(make, number), is_gone if is_odd(number) else is_here))
            for number in range(WAITING)
        ]
        await asyncio.sleep(0.05)
        with pytest.raises(Refused) as refused:
            await pictures.get("one more", lambda: b"", is_here)
        assert refused.value.status == 429
        gate.set()
        results = await asyncio.gather(*tasks)
        gone = [number for number in range(WAITING) if is_odd(number)]
        assert all((results[number] is None) == (number in gone) for number in range(WAITING))
        assert sorted(made) == [number for number in range(WAITING) if number not in gone]
        assert await pictures.get(0, lambda: b"made again", is_here) == b"0"
        assert await pictures.get("one more", lambda: b"now", is_here) == b"now"
        pictures.close()

    asyncio.run(ask())
