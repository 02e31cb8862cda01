"""Writes edits of the first sample of a pack without end, telling each number when it is on the disk."""

import sys
from pathlib import Path

import segdata
from segdata.correction import journal

pack, file, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with journal.opened(file, segdata.open(pack)._store) as opened:
    for _ in range(count):
        edit = opened.append(0, {"op": "note", "text": "x" * 3000})
        assert edit is not None
        print(edit.n, flush=True)
