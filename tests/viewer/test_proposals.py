"""Masks of boxes and strokes, as the server makes them: a drawn scene, and an oracle's strokes on real photos."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'segdata[edit]')")
pytest.importorskip("uvicorn", reason="the server needs the extra 'view'")

import segdata
from tests.correction.oracle import drawn_scene, oracle_ious, real_objects
from tests.correction.proposals import by_server, pack_of
from tests.helpers.samples import SAMPLES, needs_samples
from tests.viewer.client import Client

SIZES = [(480, 640), (1024, 2048)]


def test_a_box_and_two_scribbles_within_300_milliseconds_of_the_processor(tmp_path: Path) -> None:
    scenes = [drawn_scene(size, 25, seed=25) for size in SIZES]
    viewer = segdata.view(pack_of([scene[0] for scene in scenes], tmp_path), edits=tmp_path / "edits.jsonl")
    try:
        client = Client(viewer.address)
        for number, (_, mask, box, inside, outside) in enumerate(scenes):
            propose, seconds = by_server(client, number), []
            for _ in range(3):
                begin = time.process_time()
                proposed = propose(box, inside, outside)
                seconds.append(time.process_time() - begin)
            assert (proposed & mask).sum() / (proposed | mask).sum() >= 0.95
            assert min(seconds) <= 0.3, seconds
    finally:
        viewer.stop()


def strokes_on_real_photos(every: int, root: Path) -> None:
    objects = real_objects(SAMPLES / "coco")[::every]
    photos = list(dict.fromkeys(path for path, _ in objects))
    viewer = segdata.view(pack_of(photos, root), edits=root / "edits.jsonl")
    try:
        client = Client(viewer.address)
        ious = oracle_ious(objects, 5, lambda path: by_server(client, photos.index(path)))
    finally:
        viewer.stop()
    means = ious.mean(axis=0)
    assert len(objects) > 4 and means[5] >= 0.83 and means[5] > means[0] + 0.1, means


@needs_samples
def test_five_strokes_on_some_objects_of_real_photos(tmp_path: Path) -> None:
    strokes_on_real_photos(29, tmp_path)


@pytest.mark.full
@needs_samples
def test_five_strokes_on_all_objects_of_real_photos(tmp_path: Path) -> None:
    strokes_on_real_photos(1, tmp_path)
