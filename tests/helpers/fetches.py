"""Fetches that end well, end badly, or stop half-way."""

from __future__ import annotations

from typing import Any

from tests.helpers.command import Outcome
from tests.helpers.places import Place
from tests.helpers.server import cut_after

A = "/a.zip"


LARGE = 9 << 20
"""Two chunks and a bit."""


def good(place: Place, *options: object, seed: int = 0, size: int = 3000, **environment: Any) -> Outcome:
    """The command ends well, and the dataset is there with nothing beside it."""
    done = place.fetch(*options, **environment)
    assert done.code == 0, done.err
    assert place.is_whole(seed, size)
    assert not [name for name in place.files() if not name.startswith("raw/")]
    return done


def bad(place: Place, code: int, *texts: str, options: tuple[object, ...] = (), **environment: Any) -> Outcome:
    """The command ends with this exit code and says all of this; nothing has a final name."""
    done = place.fetch("--json", *options, **environment)
    assert done.code == code, done.err
    assert done.document["ok"] is False and done.document["error"]["exit"] == code
    for text in (*texts, "fix:"):
        assert text in done.err, done.err
    assert not place.is_whole() and not (place.home / "archives/a.zip").exists()
    assert not list((place.home / "receipts").glob("*.json"))
    return done


def stop_halfway(place: Place, data: bytes, count: int, **headers: object) -> None:
    """A first run that gets so many bytes, and keeps them."""
    place.server.routes[A] = cut_after(data, count, **headers)
    place.fetch("--retries", "1")
    assert (place.home / "archives/.a.zip.part").stat().st_size == count
    place.server.requests.clear()


def ranges(place: Place) -> list[str | None]:
    return [request.headers.get("range") for request in place.server.of(A)]
