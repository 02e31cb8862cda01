"""How well, and how fast, a box and strokes become a mask: drawn scenes, and objects of real photos with an oracle's strokes.

    python scripts/bench/correction.py COCO        a folder in COCO's layout: real photos with polygons

An oracle draws a box around an object, then stroke after stroke along the middle of the largest error.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from common import ROOT

sys.path.insert(0, str(ROOT))
from segdata.correction.tools.grabcut import grabcut
from tests.correction.oracle import drawn_scene, oracle_ious, real_objects


def main() -> None:
    """Print the figures."""
    for size in ((480, 640), (1024, 2048)):
        for contrast in (60, 25, 12):
            image, mask, box, foreground, background = drawn_scene(size, contrast, seed=contrast)
            grabcut(image, box, foreground, background)
            begin = time.process_time()
            proposed = grabcut(image, box, foreground, background)
            milliseconds = 1000 * (time.process_time() - begin)
            iou = (proposed & mask).sum() / (proposed | mask).sum()
            print(f"{size[1]} × {size[0]}, contrast {contrast}: IoU {iou:.3f}, {milliseconds:.0f} ms of the processor")
    objects = real_objects(Path(sys.argv[1]))
    ious = oracle_ious(objects, strokes=10)
    means = ", ".join(f"{mean:.3f}" for mean in ious.mean(axis=0))
    print(f"{len(objects)} real objects, mean IoU after the box and after each stroke: {means}")


if __name__ == "__main__":
    main()
