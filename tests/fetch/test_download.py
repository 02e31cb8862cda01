"""Every fault of a network, through the real command: message, exit code, what is on disk, and that it goes on."""

from __future__ import annotations

from places import Place, archive
from server import cut_after, file, once


def test_a_file_arrives_is_checked_and_extracted(place: Place) -> None:
    data = archive()
    place.offer(data)
    done = place.fetch("--json")
    assert done.code == 0, done.err
    assert place.is_whole() and place.files() == {"raw/photos/0.bin"}
    again = place.fetch("--json")
    assert again.code == 0 and again.document["downloaded"] == 0
    assert len(place.server.of("/a.zip")) == 1


def test_a_cut_connection_is_resumed(place: Place) -> None:
    data = archive()
    place.offer(data, once(cut_after(data, 1000), file(data)))
    done = place.fetch()
    assert done.code == 0, done.err
    assert place.is_whole()
    assert place.server.of("/a.zip")[1].headers["range"] == "bytes=1000-"
