"""Large inputs: memory and descriptors stay bounded, or the input is refused before it takes any.

Each runs in a process of its own, which says how much it took. With `scripts/test --full`.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import made

pytestmark = [pytest.mark.full, pytest.mark.timeout(3600)]

_MEASURED = """
import os, resource, sys, threading, time
import numpy as np
import segdata
most = [0]
def look():
    while True:
        most[0] = max(most[0], len(os.listdir("/proc/self/fd")))
        time.sleep(0.05)
def main():
    threading.Thread(target=look, daemon=True).start()
    {code}
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss is the parent's, too
    print(max(int(peak.split()[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) >> 10, most[0])
if __name__ == "__main__":
    main()
"""


def measured(code: str, *arguments: object, folder: Path) -> tuple[int, int]:
    """MiB of memory and number of descriptors that the code takes at most; its arguments are `sys.argv[1:]`."""
    script = folder / "measured.py"
    script.write_text(_MEASURED.format(code=code.strip().replace("\n", "\n    ")))
    words = [sys.executable, str(script), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    memory, descriptors = map(int, done.stdout.split()[-2:])
    print(f"{memory:,} MiB, {descriptors} descriptors")
    return memory, descriptors


def coco(root: Path, images: int, objects: int, categories: int = 1, size: tuple[int, int] = (16, 16)) -> Path:
    """So many images, all of one file, with so many objects each: boxes, rectangles as polygons."""
    height, width = size
    photo = made.put(root / "photo.jpg", made.photo(width, height))
    (root / "val2017").mkdir()
    for number in range(images):
        os.link(photo, root / f"val2017/{number:06d}.jpg")
    photo.unlink()
    (root / "annotations").mkdir()
    with (root / "annotations/instances_val2017.json").open("w") as file:
        names = [{"id": number + 1, "name": f"c{number}"} for number in range(categories)]
        file.write(json.dumps({"info": {}, "licenses": [], "categories": names})[:-1] + ',"images":[')
        for number in range(images):
            record = {"id": number + 1, "file_name": f"{number:06d}.jpg", "height": height, "width": width}
            file.write(("," if number else "") + json.dumps(record))
        file.write('],"annotations":[')
        for number in range(images * objects):
            x, y = number * 7 % (width - 4), number * 5 % (height - 4)
            ring = [x, y, x + 3, y, x + 3, y + 3, x, y + 3]
            record = {"id": number + 1, "image_id": number // objects + 1, "category_id": number % categories + 1}
            record |= {"bbox": [x, y, 3, 3], "area": 9, "iscrowd": 0, "segmentation": [ring]}
            file.write(("," if number else "") + json.dumps(record))
        file.write("]}")
    return root


CONVERT = "segdata.convert(sys.argv[1], sys.argv[2], workers=1)"


@pytest.fixture(scope="module")
def many_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, int]]:
    """A pack of a folder of 50,000 images, and what making it took."""
    folder = tmp_path_factory.mktemp("files")
    took = measured(CONVERT, coco(folder / "source", 50_000, 1), folder / "pack", folder=folder)
    return folder, took


def test_a_folder_of_50_000_files_is_converted(many_files: tuple[Path, tuple[int, int]]) -> None:
    memory, descriptors = many_files[1]
    assert memory < 600 and descriptors < 64, many_files[1]


@pytest.mark.parametrize("masks", ["runs", "dense"])
def test_a_loader_of_eight_threads_over_100_000_samples(many_files: tuple[Path, tuple[int, int]], masks: str) -> None:
    code = """
pack = segdata.open(sys.argv[1])
count = 0
for epoch in range(2):
    for batch in segdata.Loader(pack, 32, workers=8, masks=sys.argv[2], seed=epoch):
        count += len(batch.keys)
assert count == 100_000, count
"""
    memory, descriptors = measured(code, many_files[0] / "pack", masks, folder=many_files[0])
    assert memory < 600 and descriptors < 64, (memory, descriptors)


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_a_dataloader_of_two_processes(many_files: tuple[Path, tuple[int, int]], start: str) -> None:
    pytest.importorskip("torchvision")
    code = """
import torch
from segdata.torch import Dataset
dataset = torch.utils.data.Subset(Dataset(segdata.open(sys.argv[1])), range(4000))
loader = torch.utils.data.DataLoader(
    dataset, 32, num_workers=2, multiprocessing_context=sys.argv[2], collate_fn=list
)
assert sum(map(len, loader)) == 4000
"""
    memory, descriptors = measured(code, many_files[0] / "pack", start, folder=many_files[0])
    assert memory < 1024 and descriptors < 256, (memory, descriptors)  # PyTorch hands over each tensor by a descriptor


def test_three_million_annotations_in_one_document(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", 20_000, 150)
    memory, descriptors = measured(CONVERT, source, tmp_path / "pack", folder=tmp_path)
    size = (source / "annotations/instances_val2017.json").stat().st_size >> 20
    assert memory < 1024 + size and descriptors < 64, (memory, size)  # the document is mapped: its pages count, too


def test_20_000_objects_in_one_image(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", 1, 20_000, 3, (600, 800))
    results = [
        {"image_id": 1, "category_id": number % 3 + 1, "bbox": [number * 7 % 796, number * 5 % 596, 3, 3], "score": 0.5}
        for number in range(20_000)
    ]
    made.put(tmp_path / "results.json", results)
    code = """
source, pack, results = sys.argv[1:]
segdata.convert(source, pack, workers=1)
opened = segdata.open(pack)
assert len(opened[0].instances) == 20_000
segdata.overlay(opened[0], opened.labels)
for batch in segdata.Loader(opened, 1):
    assert len(batch.masks[0]) == 20_000
segdata.stats(pack)
segdata.evaluate(results, pack)
"""
    memory, descriptors = measured(code, source, tmp_path / "pack", tmp_path / "results.json", folder=tmp_path)
    assert memory < 1024 and descriptors < 64, (memory, descriptors)


def test_5_000_categories(tmp_path: Path) -> None:
    source = coco(tmp_path / "source", 50, 100, 5_000, (64, 64))
    results = [
        {"image_id": number // 100 + 1, "category_id": number + 1, "bbox": [1, 1, 3, 3], "score": 0.5}
        for number in range(5_000)
    ]
    made.put(tmp_path / "results.json", results)
    code = """
from segdata.metrics.report.write import write
from pathlib import Path
source, pack, results = sys.argv[1:]
segdata.convert(source, pack, workers=1)
opened = segdata.open(pack)
segdata.overlay(opened[0], opened.labels)
segdata.stats(pack)
write(segdata.evaluate(results, pack), Path(pack).parent / "report")
"""
    memory, descriptors = measured(code, source, tmp_path / "pack", tmp_path / "results.json", folder=tmp_path)
    assert memory < 1024 and descriptors < 64, (memory, descriptors)


def _large_png(side: int) -> bytes:
    """A grey PNG of side × side pixels, all of them 0."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(file, "PNG")
    packer = zlib.compressobj(9)
    row = bytes(side + 1)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    parts: list[tuple[bytes, bytes]] = [
        (b"IHDR", side.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))),
        (b"IDAT", body),
        (b"IEND", b""),
    ]
    chunks = [
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["photo", "mask"])
def test_20_000_x_20_000_pixels_are_refused_before_they_are_decoded(kind: str, tmp_path: Path) -> None:
    source = made.masks(tmp_path / "source") if kind == "mask" else made.coco(tmp_path / "source")
    document: Any = made.coco_document()
    document["images"][0] |= {"height": 20_000, "width": 20_000}
    if kind == "photo":
        made.put(source / "annotations/instances_val2017.json", document)
    made.put(source / ("train/masks/a.png" if kind == "mask" else "val2017/000000000000.jpg"), _large_png(20_000))
    code = """
try:
    segdata.convert(sys.argv[1], sys.argv[2], workers=1, decode=True)
except segdata.SegdataError as error:
    assert "larger than the limit" in str(error), error
else:
    raise AssertionError
"""
    memory, _ = measured(code, source, tmp_path / "pack", folder=tmp_path)
    assert memory < 256, memory
