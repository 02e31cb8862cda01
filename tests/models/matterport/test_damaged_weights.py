"""A Keras file with anything else in it is read or refused by a declared error; so is a PyTorch file.

Ten thousand mutants a door with `scripts/test --full`, some dozens without.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from segdata.errors import DamagedData
from segdata.models.maskrcnn import weights as maskrcnn
from segdata.models.matterport import weights
from tests.helpers import ends

SHORT, FULL = 60, 10_000


def keras(folder: Path) -> bytes:
    arrays = {"conv1/kernel:0": np.ones((3, 3, 2, 4), np.float32), "conv1/bias:0": np.zeros(4, np.float32)}
    weights.write(folder / "whole.h5", [("conv1", arrays), ("empty", {})])
    return (folder / "whole.h5").read_bytes()


def packed(folder: Path) -> bytes:
    with h5py.File(folder / "packed.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"conv1"])
        group = file.create_group("conv1")
        group.attrs["weight_names"] = np.array([b"k:0"])
        group.create_dataset(
            "k:0", data=np.ones((64, 64), np.float32), chunks=(16, 16), compression="gzip", shuffle=True
        )
    return (folder / "packed.h5").read_bytes()


def pytorch(_: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": {"conv1.weight": torch.ones(4, 3, 2, 2), "count": torch.tensor(3)}, "epoch": 1}, buffer)
    return buffer.getvalue()


def all_arrays(path: Path) -> object:
    with weights.opened(path) as file:
        named = [(layer, name) for layer, names in file.layers.items() for name in names]
        shapes = [(*one, shape) for one in named if (shape := file.shape(*one)) is not None]
        return [file.read(*one) for one in shapes]


DOORS: dict[str, tuple[str, Callable[[Path], bytes], Callable[[Path], object]]] = {
    "keras": ("x.h5", keras, all_arrays),
    "packed": ("x.h5", packed, all_arrays),
    "pytorch": ("x.pth", pytorch, maskrcnn.read),
}


def entered(door: str, folder: Path) -> Callable[[random.Random], object]:
    name, make, enter = DOORS[door]
    data = make(folder)

    def call(random_: random.Random) -> object:
        copy = bytearray(data)
        for _ in range(random_.choice((1, 1, 2, 5))):
            at = random_.randrange(len(copy) if random_.random() < 0.4 else min(len(copy), 3000))
            copy[at] = random_.choice((0, 1, 255, 128, copy[at] ^ 1 << random_.randrange(8)))
        (folder / name).write_bytes(copy if random_.random() < 0.8 else ends.damaged(data, random_))
        return enter(folder / name)

    return call


@pytest.mark.parametrize("door", DOORS)
def test_mutants_are_read_or_refused(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT))


def test_a_type_in_an_arrays_place_is_no_array(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"conv1"])
        group = file.create_group("conv1")
        group.attrs["weight_names"] = np.array([b"k:0"])
        group["k:0"] = np.dtype("f4")
    with weights.opened(tmp_path / "a.h5") as opened:
        assert opened.shape("conv1", "k:0") is None


def test_a_zip_in_two_volumes_is_damaged(tmp_path: Path) -> None:
    data = bytearray(pytorch(tmp_path))
    volumes = data.index(b"PK\x06\x07") + 16
    data[volumes] = 2
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(DamagedData, match="multiple disks"):
        maskrcnn.read(tmp_path / "x.pth")


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("door", DOORS)
def test_ten_thousand_mutants(door: str, tmp_path: Path) -> None:
    assert not ends.all_wrong(entered(door, tmp_path), range(SHORT, SHORT + FULL))
