"""The browser's decoder of masks, run by Node on bytes that Python wrote."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.viewer import pictures, wire
from tests.helpers.awkward import blob

HERE = Path(__file__).parent
LIBRARY = HERE.parents[2] / "segdata/viewer/static/sample/runs.js"


def read_by_node(sample: Sample, tmp_path: Path) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    file = tmp_path / "masks.bin"
    file.write_bytes(wire.masks(sample))
    library = tmp_path / "runs.mjs"
    library.write_bytes(LIBRARY.read_bytes())
    command = [node, str(HERE / "runs.mjs"), str(library), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def awkward(seed: int) -> Sample:
    """Masks of all shapes: empty, full, one pixel, with holes, scattered, at every border; none where there is only a box."""
    rng = np.random.default_rng(seed)
    height, width = (int(value) for value in rng.integers(1, 70, 2))
    dense = [blob(rng, height, width) for _ in range(int(rng.integers(0, 9)))]
    dense += [np.zeros((height, width), np.uint8), np.ones((height, width), np.uint8)]
    dense += [np.eye(height, width, k, np.uint8) for k in (0, width - 1)]
    masks = Masks.from_dense(np.stack(dense))
    has_mask = rng.random(len(dense)) < 0.9
    masks = Masks.from_dense(np.stack(dense) * has_mask[:, None, None])
    instances = Instances.build(
        rng.integers(0, 300, len(dense)),
        masks,
        has_mask=has_mask,
        iscrowd=rng.random(len(dense)) < 0.3,
        occluded=rng.random(len(dense)) < 0.3,
        id=rng.integers(-1, 2**62, len(dense)),
        bbox=np.where(rng.random((len(dense), 1)) < 0.2, np.nan, rng.random((len(dense), 4)) * 50),
        score=rng.random(len(dense)),
    )
    return Sample("a", height, width, instances=instances, semantic=np.zeros((height, width), np.uint8))


@pytest.mark.parametrize("seed", range(12))
def test_the_browser_decodes_what_python_writes(tmp_path: Path, seed: int) -> None:
    sample = awkward(seed)
    read = read_by_node(sample, tmp_path)
    instances = sample.instances
    dense = instances.masks.dense()
    assert (read["height"], read["width"]) == (sample.height, sample.width)
    assert (read["hasScores"], read["annotated"], read["hasMap"]) == (True, True, True)
    assert read["id"] == [str(number) for number in instances.id]
    assert np.array_equal(np.array(read["score"], float), instances.score)
    assert read["category"] == [str(number) for number in instances.category]
    given = ~np.isnan(instances.bbox)
    assert np.array_equal(np.array(read["bbox"], float).reshape(-1, 4)[given], instances.bbox[given])
    bits = 1 * instances.iscrowd | 8 * instances.occluded | 16 * instances.has_mask
    assert read["flags"] == [str(number) for number in bits]
    assert read["pixels"] == [str(number) for number in dense.sum(axis=(1, 2))]
    assert read["reduced"] == read["half"]["plane"]
    sizes = [(60, 70_000), (8192, 8192), (8193, 8192), (32_767, 1), (1, 32_768), (32_768, 32_768)]
    assert read["steps"] == [pictures.step_of(*size) for size in sizes] == [3, 1, 2, 1, 2, 4]
    for mine, mask in zip(read["alone"], dense, strict=True):
        assert mine == "".join(map(str, mask.T.reshape(-1)))


@pytest.mark.parametrize("seed", range(12))
def test_the_smaller_object_is_painted_over_the_larger(tmp_path: Path, seed: int) -> None:
    sample = awkward(seed)
    read = read_by_node(sample, tmp_path)
    dense = sample.instances.masks.dense().astype(bool)
    sizes = [int(mask.sum()) for mask in dense]
    expected = np.zeros((sample.height, sample.width), int)
    for number in sorted(range(len(dense)), key=lambda k: (-sizes[k], -k)):
        expected[dense[number]] = number + 1
    assert read["top"] == expected.T.reshape(-1).tolist()
    assert read["half"]["plane"] == expected[::2, ::2].T.reshape(-1).tolist()
    assert (read["half"]["height"], read["half"]["width"]) == expected[::2, ::2].shape


@pytest.mark.parametrize("seed", range(12))
def test_the_browser_writes_run_lengths_as_a_pack_has_them(tmp_path: Path, seed: int) -> None:
    sample = awkward(seed)
    masks = sample.instances.masks
    for number, written in enumerate(read_by_node(sample, tmp_path)["encoded"]):
        one = masks[number : number + 1]
        assert written["frame"] == one.boxes_xywh[0].tolist()
        assert written["runs"] == one.runs.tolist()


def test_runs_longer_than_sixteen_bits(tmp_path: Path) -> None:
    dense = np.zeros((2, 400, 500), np.uint8)
    dense[0] = 1
    dense[1, 0, 0] = dense[1, -1, -1] = 1
    sample = Sample("a", 400, 500, instances=Instances.build([0, 1], Masks.from_dense(dense)))
    read = read_by_node(sample, tmp_path)
    assert read["pixels"] == ["200000", "2"]
    for number, written in enumerate(read["encoded"]):
        assert written["runs"] == sample.instances.masks[number : number + 1].runs.tolist()
        assert max(written["runs"]) == 65535


def test_bytes_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    data = wire.masks(awkward(1))
    (tmp_path / "runs.mjs").write_bytes(LIBRARY.read_bytes())
    for cut in (0, 10, 24, len(data) - 1):
        (tmp_path / "cut.bin").write_bytes(data[:cut])
        command = [node, str(HERE / "runs.mjs"), str(tmp_path / "runs.mjs"), str(tmp_path / "cut.bin")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode != 0 and "masks" in result.stderr
