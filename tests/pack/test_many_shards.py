"""Packs of many shards: files are mapped when they are asked for, few at once, and everything is as in few shards."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import DamagedData, InvalidInput, NotThere
from segdata.pack import layout
from tests.helpers import made
from tests.helpers.command import run_segdata, tree
from tests.helpers.packs import flip, rewritten

IMAGES = 140


def coco(root: Path) -> Path:
    """Images of 6 × 8 pixels, image n with n % 3 rectangles."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number in range(1, IMAGES + 1):
        made.put(root / f"val2017/{number:012d}.jpg", made.photo(seed=number, height=6, width=8))
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": 8, "height": 6})
        for x in range(number % 3):
            ring = [x, 1, x + 3, 1, x + 3, 4, x, 4]
            category = {"id": len(objects) + 1, "image_id": number, "category_id": 1 + number % 2, "iscrowd": 0}
            objects.append({**category, "bbox": [x, 1, 3, 3], "area": 9.0, "segmentation": [ring]})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": objects, "categories": categories}
    made.put(root / "annotations/instances_val2017.json", json.dumps(document).encode())
    return root


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same images in 140 shards and in one."""
    folder = tmp_path_factory.mktemp("many")
    source = coco(folder / "source")
    segdata.convert(source, folder / "many", shard_samples=1)
    segdata.convert(source, folder / "one")
    assert len(segdata.open(folder / "many").info["shards"]) == IMAGES
    return folder / "many", folder / "one"


def contents(pack: segdata.Pack) -> Iterator[list[Any]]:
    for sample in pack:
        instances = sample.instances
        yield [
            sample.key,
            sample.id,
            bytes(sample.encoded or b""),
            instances.masks.dense().tolist(),
            instances.bbox.tolist(),
        ]


def test_everything_is_as_in_few_shards(packs: tuple[Path, Path]) -> None:
    many, one = map(segdata.open, packs)
    assert list(contents(many)) == list(contents(one))
    chosen = [139, 3, 77, 3]
    for column in ("image/id", "image/size", "image/crc32"):
        assert np.array_equal(many.column(column), one.column(column))
        assert np.array_equal(many.select(chosen).column(column), one.column(column)[chosen])
    assert many.keys[:] == one.keys[:] == [f"{number:012d}" for number in range(1, IMAGES + 1)]
    assert many.select(chosen).keys[1:] == [one.keys[index] for index in chosen[1:]]
    assert [value.tolist() for value in many.object_ids()] == [value.tolist() for value in one.object_ids()]
    query = "count(category == 'dog') >= 1 and key like '*7*'"
    assert np.array_equal(many.matching(query), one.matching(query)) and many.matching(query).sum() == 13
    assert many.count_without_mask() == one.count_without_mask()
    assert many.find("000000000077").id == 77
    assert many.select([5, 76, 9]).find("000000000077").id == 77
    with pytest.raises(NotThere, match="000000000077"):
        many.select([5, 9]).find("000000000077")


def test_few_files_are_open_at_once(packs: tuple[Path, Path]) -> None:
    """More files than the process may open; two of each mapped shard, and what Python needs."""
    script = """if True:
        import resource, sys
        from pathlib import Path
        import segdata
        resource.setrlimit(resource.RLIMIT_NOFILE, (275, 275))
        pack = segdata.open(sys.argv[1])
        kept = [pack[index].instances for index in (0, 139)]
        print(sum(len(sample.instances) for sample in pack), len(list(Path("/proc/self/fd").iterdir())) <= 270)
    """
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 275
    outcome = subprocess.run([sys.executable, "-c", script, packs[0]], capture_output=True, text=True, check=True)
    assert outcome.stdout.split() == ["141", "True"]  # 46 times 1 + 2 + 0, then 1 + 2


def test_conversion_verification_and_derivation_go_over_all_shards(packs: tuple[Path, Path], tmp_path: Path) -> None:
    assert run_segdata("verify", packs[0], "--deep").code == 0
    segdata.convert(packs[0], tmp_path / "coco", to="coco")
    segdata.convert(packs[1], tmp_path / "coco-of-one", to="coco")
    written = [
        {name: data for name, data in tree(tmp_path / folder).items() if name[0] != "."}
        for folder in ("coco", "coco-of-one")
    ]
    assert written[0] == written[1] and len(written[0]) == IMAGES + 1
    segdata.filter(packs[0], tmp_path / "most", where="id > 10")
    assert len(segdata.open(tmp_path / "most").info["shards"]) == 130
    assert list(contents(segdata.open(tmp_path / "most"))) == list(contents(segdata.open(packs[1])[10:]))
    assert not segdata.diff(packs[0], packs[1])


def test_a_wrong_entry_is_refused_when_its_shard_is_used(packs: tuple[Path, Path], tmp_path: Path) -> None:
    pack = Path(shutil.copytree(packs[0], tmp_path / "pack"))
    shards = list(layout.read_index(pack)["shards"])
    shards[7]["annotations"]["arrays"]["image/size"]["shape"] = [9, 2]
    rewritten(pack, shards=shards)
    opened = segdata.open(pack)
    assert opened[6].id == 7
    with pytest.raises(InvalidInput, match=r"(?s)image/size.*pack\.json.*shards\[7\]"):
        _ = opened[7]
    outcome = run_segdata("verify", pack)
    assert outcome.code == 4, outcome.err + outcome.out


def test_a_changed_table_is_found_and_the_others_are_read(packs: tuple[Path, Path], tmp_path: Path) -> None:
    pack = Path(shutil.copytree(packs[0], tmp_path / "pack"))
    entry = layout.read_index(pack)["shards"][30]["annotations"]
    flip(pack / entry["file"], entry["arrays"]["instance/bbox"]["offset"] + 3)
    opened = segdata.open(pack)
    assert len(opened[29].instances) == 0
    for _ in range(2):
        with pytest.raises(DamagedData, match="instance/bbox"):
            _ = opened[30].instances.bbox
    (pack / layout.read_index(pack)["shards"][40]["annotations"]["file"]).unlink()
    with pytest.raises(DamagedData, match="missing"):
        _ = segdata.open(pack)[40]
    with pytest.warns(UserWarning, match="shard 40 with 1 samples is left out"):
        assert len(segdata.open(pack, allow_missing_shards=True)) == IMAGES - 1
