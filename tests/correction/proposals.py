"""Masks that a server proposes over HTTP, for the oracle that strokes; drawn scenes as a pack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import segdata
from tests.correction.oracle import Box, Propose, Strokes
from tests.viewer.client import Client, dense, masks


def by_server(client: Client, number: int) -> Propose:
    """GrabCut of a sample as the page asks for it."""
    client.get("ids")

    def propose(box: Box, inside: Strokes, outside: Strokes) -> np.ndarray:
        x0, y0, x1, y1 = box
        ask = {"i": number, "box": [x0, y0, x1 - x0, y1 - y0], "foreground": inside, "background": outside}
        answer = client.post(f"/api/tool/grabcut?v={client.version}", ask)
        assert answer.status == 200, answer.body
        columns = masks(answer.body)
        if not len(columns["frame"]):
            return np.zeros((columns["height"], columns["width"]), bool)
        return np.asarray(dense(columns)[0] != 0)

    return propose


def pack_of(pictures: Sequence[Path | np.ndarray], root: Path) -> Path:
    """A pack of files, or of pictures (H, W, 3), without objects, in their order."""
    samples = (segdata.Sample.build(f"{number:03d}", picture) for number, picture in enumerate(pictures))
    segdata.write(samples, root / "pack", labels=["object"], workers=1)
    return root / "pack"
