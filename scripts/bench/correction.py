"""How well, and how fast, a box and strokes become a mask: drawn scenes, and objects of real photos with an oracle's strokes.

    python scripts/bench/correction.py COCO        a folder in COCO's layout: real photos with polygons

An oracle draws a box around an object, then stroke after stroke along the middle of the largest error. All of it goes over
HTTP, to a server in this process, so processor time is that of server and client together; it is of an image that was asked
for before, and the first time is told beside it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from common import ROOT

sys.path.insert(0, str(ROOT))
import segdata
from tests.correction.oracle import drawn_scene, oracle_ious, real_objects
from tests.correction.proposals import by_server, pack_of
from tests.viewer.client import Client

SCENES = [(size, contrast) for size in ((480, 640), (1024, 2048)) for contrast in (60, 25, 12)]


def drawn(folder: Path) -> None:
    """Print the figures of drawn scenes."""
    scenes = [drawn_scene(size, contrast, seed=contrast) for size, contrast in SCENES]
    viewer = segdata.view(pack_of([scene[0] for scene in scenes], folder), edits=folder / "edits.jsonl")
    client = Client(viewer.address)
    for number, (size, contrast) in enumerate(SCENES):
        _, mask, box, inside, outside = scenes[number]
        propose, milliseconds = by_server(client, number), []
        for _ in range(2):
            begin = time.process_time()
            proposed = propose(box, inside, outside)
            milliseconds.append(round(1000 * (time.process_time() - begin)))
        iou = (proposed & mask).sum() / (proposed | mask).sum()
        first, again = milliseconds
        print(f"{size[1]} × {size[0]}, contrast {contrast}: IoU {iou:.3f}, {again} ms of the processor (first {first})")
    viewer.stop()


def real(source: Path, folder: Path) -> None:
    """Print the figures of real photos."""
    objects = real_objects(source)
    photos = list(dict.fromkeys(path for path, _ in objects))
    viewer = segdata.view(pack_of(photos, folder), edits=folder / "edits.jsonl")
    client = Client(viewer.address)
    ious = oracle_ious(objects, 10, lambda path: by_server(client, photos.index(path)))
    viewer.stop()
    means = ", ".join(f"{mean:.3f}" for mean in ious.mean(axis=0))
    print(f"{len(objects)} real objects, mean IoU after the box and after each stroke: {means}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        drawn(Path(scratch) / "drawn")
        real(Path(sys.argv[1]), Path(scratch) / "real")
