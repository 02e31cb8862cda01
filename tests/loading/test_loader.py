"""`Loader`: the same batches however they are made, resumed or shared, and errors that name the sample."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import pickle
import re
import threading
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

import segdata
from segdata.demo import synthetic
from segdata.errors import DamagedData, InvalidImage, UsageError, WorkerLost
from segdata.loading import Batch, Loader
from tests.helpers import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.coco.draw(tmp_path_factory.mktemp("coco") / "coco", images=13)


@pytest.fixture(scope="module")
def pack(folder: Path) -> segdata.Pack:
    segdata.convert(folder, folder.parent / "pack")
    return segdata.open(folder.parent / "pack")


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> segdata.Pack:
    root = tmp_path_factory.mktemp("camvid")
    segdata.convert(synthetic.camvid.draw_segnet(root / "camvid", images=5, size=(64, 96)), root / "pack")
    return segdata.open(root / "pack")


def digest(batch: Batch) -> str:
    made = hashlib.sha256()
    assert batch.images is not None
    for array in (*batch.images, batch.category, batch.boxes, *(masks.dense() for masks in batch.masks)):
        made.update(np.ascontiguousarray(array).tobytes())
    return f"{batch.keys} {batch.pointer.tolist()} {made.hexdigest()}"


def address(batch: Batch) -> int:
    """Where the pixels of its first image lie in memory."""
    assert batch.images is not None
    return int(batch.images[0].ctypes.data)


def digests(batches: Iterable[Batch]) -> list[str]:
    return [digest(batch) for batch in batches]


def test_a_batch_holds_what_the_files_hold(pack: segdata.Pack, folder: Path) -> None:
    seen = 0
    for batch in Loader(pack, batch_size=4):
        assert len(batch) == len(batch.keys) == len(batch.pointer) - 1
        assert batch.pointer[-1] == len(batch.category) == len(batch.boxes) == len(batch.iscrowd)
        assert batch.images is not None
        for index, (key, image) in enumerate(zip(batch.keys, batch.images, strict=True)):
            (file,) = folder.glob(f"*/{key}.jpg")
            assert np.array_equal(image, simplejpeg.decode_jpeg(file.read_bytes(), fastdct=False, fastupsample=False))
            objects = slice(batch.pointer[index], batch.pointer[index + 1])
            assert np.array_equal(batch.category[objects], pack.find(key).instances.category)
            seen += 1
    assert seen == 13


def test_images_of_one_size_are_one_array(camvid: segdata.Pack) -> None:
    for workers in (0, 2):
        (batch,) = Loader(camvid, batch_size=5, workers=workers)
        assert isinstance(batch.images, np.ndarray)
        assert batch.images.shape == (5, 64, 96, 3)
        assert isinstance(batch.semantic, np.ndarray)
        for index, sample in enumerate(camvid):
            assert np.array_equal(batch.images[index], sample.image)
            assert sample.semantic is not None
            assert np.array_equal(batch.semantic[index], sample.semantic)


def test_dense_masks(pack: segdata.Pack) -> None:
    for batch in Loader(pack, batch_size=3, masks="dense", workers=2):
        assert batch.dense is not None
        for dense, masks in zip(batch.dense, batch.masks, strict=True):
            assert np.array_equal(dense, masks.dense())


@pytest.mark.parametrize("workers", [0, 2])
def test_reused_planes_hold_nothing_of_earlier_batches(pack: segdata.Pack, workers: int) -> None:
    loader = Loader(pack, 2, shuffle=True, workers=workers, masks="dense", reuse=True)
    for batch in (batch for _ in range(3) for batch in loader):
        assert batch.dense is not None
        for dense, masks in zip(batch.dense, batch.masks, strict=True):
            assert np.array_equal(dense, masks.dense())
            with pytest.raises(ValueError, match="read-only"):
                dense[:] = 1


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
def test_same_batches_for_any_number_of_workers(pack: segdata.Pack, shuffle: bool, reuse: bool) -> None:
    def epochs(workers: int) -> list[str]:
        loader = Loader(pack, 3, shuffle=shuffle, seed=7, workers=workers, reuse=reuse)
        return digests(loader) + digests(loader)

    assert epochs(0) == epochs(1) == epochs(4)
    first, second = epochs(4)[:5], epochs(4)[5:]
    assert (first != second) is shuffle


def test_list_is_safe_unless_buffers_are_reused(pack: segdata.Pack) -> None:
    assert digests(list(Loader(pack, 3, workers=2))) == digests(Loader(pack, 3))
    loader = iter(Loader(pack, 4, workers=2, reuse=True))
    first = next(loader)
    assert first.images is not None
    copy = first.images[0].copy()
    time.sleep(0.3)  # the workers are done with what they may make ahead
    assert np.array_equal(first.images[0], copy)
    for workers, most in ((0, 1), (1, 3)):
        largest = [max(range(13), key=lambda index: pack[index].height * pack[index].width)] * 8
        addresses = {
            address(batch)
            for batch in Loader(pack, batches=[[index] for index in largest], workers=workers, reuse=True)
        }
        assert len(addresses) <= most


@pytest.mark.parametrize("workers", [0, 3])
def test_a_resumed_run_gives_the_remaining_batches(pack: segdata.Pack, workers: int) -> None:
    whole = Loader(pack, 2, shuffle=True, seed=3)
    expected = digests(whole) + digests(whole)
    for stop in (1, 4, 6, 7, 9):
        loader = Loader(pack, 2, shuffle=True, seed=3, workers=workers)
        taken: list[str] = []
        while len(taken) < stop:
            for batch in loader:
                taken.append(digest(batch))
                if len(taken) == stop:
                    break
        state = pickle.loads(pickle.dumps(loader.state_dict()))
        resumed = Loader(pack, 2, shuffle=True, seed=3, workers=workers)
        resumed.load_state_dict(state)
        rest = digests(resumed)
        while len(taken) + len(rest) < 14:
            rest += digests(resumed)
        assert taken + rest == expected


def drawn_item(sample: segdata.Sample, rng: np.random.Generator) -> tuple[str, float]:
    return sample.key, float(rng.random())


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize(
    "options",
    [
        {"transform": drawn_item},
        {"rank": 1, "world": 3},
        {"transform": drawn_item, "repeat": [1.5, 2.2, 1, 0.5] * 3 + [3], "rank": 1, "world": 2},
        {"batches": [[5, 1], [0], [12, 3, 4], [7], [8, 9]]},
        {"batches": lambda epoch: [[epoch], [epoch + 3, 2], [5, 6, 7]], "rank": 1, "world": 2},
    ],
    ids=["transform", "rank", "repeat", "batches", "batches by epoch"],
)
def test_whatever_the_options_a_resumed_run_goes_on_exactly(
    pack: segdata.Pack, workers: int, options: dict[str, Any]
) -> None:
    def made(loader: Loader) -> list[Any]:
        return [(batch.indices.tolist(), batch.keys, batch.items) for batch in loader]

    def loader(workers: int) -> Loader:
        images = "transform" in options
        return Loader(pack, 2, shuffle=True, seed=3, workers=workers, images=images, **options)

    whole = loader(0)
    epochs = [made(whole) for _ in range(3)]
    expected = [batch for epoch in epochs for batch in epoch]
    for stop in (1, len(epochs[0]), len(epochs[0]) + 1):
        begun = loader(workers)
        taken: list[Any] = []
        while len(taken) < stop:
            for batch in begun:
                taken.append((batch.indices.tolist(), batch.keys, batch.items))
                if len(taken) == stop:
                    break
        resumed = loader(workers)
        resumed.load_state_dict(begun.state_dict())
        while len(taken) < len(expected):
            taken += made(resumed)
        assert taken == expected


def test_a_state_of_another_loader_is_refused(pack: segdata.Pack) -> None:
    with pytest.raises(UsageError, match="batch_size was 3, here 2"):
        Loader(pack, 2).load_state_dict(Loader(pack, 3).state_dict())
    with pytest.raises(UsageError, match="crc32"):
        Loader(pack, batches=[[0], [1]]).load_state_dict(Loader(pack, batches=[[1], [0]]).state_dict())


def test_one_checkpoint_serves_all_ranks(pack: segdata.Pack) -> None:
    def of_rank(rank: int) -> Loader:
        return Loader(pack, 2, shuffle=True, images=False, rank=rank, world=2)

    ranks = [of_rank(0), of_rank(1)]
    for loader in ranks:
        next(iter(loader))
    rest = [[batch.indices.tolist() for batch in of_rank(rank)][1:] for rank in range(2)]
    assert ranks[0].state_dict() == ranks[1].state_dict()
    resumed = of_rank(1)
    resumed.load_state_dict(ranks[0].state_dict())
    assert [batch.indices.tolist() for batch in resumed] == rest[1]


def test_an_abandoned_iteration_does_not_move_the_state(pack: segdata.Pack) -> None:
    loader = Loader(pack, 2, images=False)
    first, second = iter(loader), iter(loader)
    next(first)
    next(second)
    next(first)
    assert (loader.state_dict()["epoch"], loader.state_dict()["position"]) == (1, 1)


@pytest.mark.parametrize("shuffle", [False, True])
def test_ranks_share_equally(pack: segdata.Pack, shuffle: bool) -> None:
    for world in (2, 3, 5):
        parts = [Loader(pack, 2, shuffle=shuffle, rank=rank, world=world, images=False) for rank in range(world)]
        indices = [[batch.indices.tolist() for batch in part] for part in parts]
        assert len({tuple(len(batch) for batch in part) for part in indices}) == 1
        assert {index for part in indices for batch in part for index in batch} == set(range(13))
        assert [len(part) for part in parts] == [len(part) for part in indices]
        dropped = [
            [i for batch in Loader(pack, 2, shuffle=shuffle, rank=rank, world=world, drop_last=True, images=False) for i in batch.indices]
            for rank in range(world)
        ]  # fmt: skip
        flat = [index for part in dropped for index in part]
        assert len({len(part) for part in dropped}) == 1
        assert len(set(flat)) == len(flat)
        assert all(len(part) % 2 == 0 for part in dropped)


def test_given_batches(pack: segdata.Pack) -> None:
    batches = [[5, 1], [0], [12, 3, 4]]
    assert [batch.indices.tolist() for batch in Loader(pack, batches=iter(batches))] == batches
    loader = Loader(pack, batches=lambda epoch: [[epoch], [epoch + 1]])
    assert [[batch.indices.tolist() for batch in loader] for _ in range(2)] == [[[0], [1]], [[1], [2]]]
    assert [batch.indices.tolist() for batch in Loader(pack, batches=batches, world=2, rank=1)] == [[0]]


@pytest.mark.parametrize("batch", [[13], [0, -1], [1.5], [True, False], [], ["0"]])
def test_a_batch_of_samples_that_are_not_there_is_refused(pack: segdata.Pack, batch: list[Any]) -> None:
    for batches in ([[0], batch], lambda epoch: [[0], batch]):
        with pytest.raises((IndexError, UsageError), match="batch 1 of batches"):
            list(Loader(pack, batches=batches, images=False))


def test_an_index_is_an_integer_and_booleans_select(pack: segdata.Pack) -> None:
    with pytest.raises(TypeError):
        _ = pack[1.5]  # type: ignore[call-overload]
    with pytest.raises(IndexError, match="13 samples"):
        _ = pack[13]
    assert list(pack.select(np.arange(13) % 5 == 2).keys) == [pack.keys[2], pack.keys[7], pack.keys[12]]
    with pytest.raises(IndexError):
        pack.select([True, False])
    with pytest.raises(TypeError, match="float64"):
        pack.select([0.5])  # type: ignore[list-item]


def test_a_transform_draws_the_same_whoever_does_it(pack: segdata.Pack) -> None:
    def transform(sample: segdata.Sample, rng: np.random.Generator) -> tuple[str, float]:
        return sample.key, float(rng.random())

    def items(workers: int, size: int) -> list[Any]:
        loader = Loader(pack, size, shuffle=True, workers=workers, transform=transform)
        return [sorted(item for batch in loader for item in batch.items or ()) for _ in range(2)]

    assert items(0, 1) == items(4, 5)
    assert items(0, 1)[0] != items(0, 1)[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_corrupt_image_is_named(workers: int, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "coco")
    segdata.convert(source, tmp_path / "pack", images="reference")
    (file, *_) = sorted(source.rglob("*.jpg"))
    data = bytearray(file.read_bytes())
    pack = segdata.open(tmp_path / "pack")
    file.write_bytes(bytes(data[: len(data) // 2]) + bytes(len(data) - len(data) // 2))
    with pytest.raises(segdata.SegdataError) as caught:
        list(Loader(pack, 2, workers=workers))
    assert caught.value.key == file.stem
    assert re.fullmatch(r"shard 0 \(annotations-.*\.h5\), record \d+|shard 0, record \d+", caught.value.place or "")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_does_not_decode_is_named(workers: int, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "coco")
    (file, *_) = sorted(source.rglob("*.jpg"))
    data = file.read_bytes()
    begin = data.index(b"\xff\xda") + 20  # the entropy-coded part: the structure stays whole
    file.write_bytes(data[:begin] + b"\xff\xd8" * ((len(data) - begin) // 2 - 1) + b"\xff\xd9")
    segdata.convert(source, tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    with pytest.raises(InvalidImage, match="cannot be decoded") as caught:
        list(Loader(pack, 2, workers=workers))
    assert caught.value.key == file.stem
    assert (caught.value.place or "").startswith("shard 0 (annotations-")
    assert f"record {list(pack.keys).index(file.stem)}" in (caught.value.place or "")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_transform_names_the_sample(pack: segdata.Pack, workers: int) -> None:
    def transform(sample: segdata.Sample, rng: np.random.Generator) -> None:
        if sample.key == pack.keys[6]:
            raise ZeroDivisionError("oh")

    with pytest.raises(ZeroDivisionError) as caught:
        list(Loader(pack, 2, transform=transform, workers=workers))
    assert pack.keys[6] in str(caught.value.__notes__)


def test_a_sample_that_hangs_is_named(pack: segdata.Pack) -> None:
    def transform(sample: segdata.Sample, rng: np.random.Generator) -> None:
        if sample.key == pack.keys[4]:
            time.sleep(3)

    with pytest.raises(WorkerLost) as caught:
        list(Loader(pack, 1, transform=transform, workers=1, timeout=0.5))
    assert caught.value.key == pack.keys[4]
    assert "record 4" in (caught.value.place or "")


def test_the_time_limit_is_one_samples_not_a_batchs(pack: segdata.Pack) -> None:
    def transform(sample: segdata.Sample, rng: np.random.Generator) -> None:
        time.sleep(0.2)

    assert len(list(Loader(pack[:4], 4, transform=transform, workers=1, timeout=0.6))) == 1


def test_no_thread_survives_a_break(pack: segdata.Pack) -> None:
    for _ in range(5):
        for _ in Loader(pack, 2, workers=3):
            break
    gc.collect()
    wait_for_threads()


def wait_for_threads() -> None:
    deadline = time.monotonic() + 20
    while any(thread.name == "segdata-loader" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "threads of a loader go on"
        time.sleep(0.05)


def test_forked_readers_see_the_same(pack: segdata.Pack) -> None:
    """A pack opened before the fork is read by four processes at once: no shared file position, no shared handle."""
    expected = digests(Loader(pack, 2))
    pipes = []
    for _ in range(4):
        here, there = os.pipe()
        if os.fork() == 0:
            try:
                os.write(there, hashlib.sha256("".join(digests(Loader(pack, 2)) * 5).encode()).digest())
            finally:
                os._exit(0)
        os.close(there)
        pipes.append(here)
    answers = {os.read(pipe, 64) for pipe in pipes}
    for pipe in pipes:
        os.close(pipe)
    for _ in range(4):
        os.wait()
    assert answers == {hashlib.sha256("".join(expected * 5).encode()).digest()}


def digest_of(pack: segdata.Pack) -> str:
    return hashlib.sha256("".join(digests(Loader(pack, 2, workers=2))).encode()).hexdigest()


def test_spawned_readers_see_the_same(pack: segdata.Pack) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        answers = pool.map_async(digest_of, [pack] * 4, chunksize=1).get(60)
    assert set(answers) == {digest_of(pack)}


def test_an_iteration_does_not_go_on_in_a_forked_process(pack: segdata.Pack) -> None:
    batches = iter(Loader(pack, 1, workers=2, images=False))
    next(batches)
    here, there = os.pipe()
    if os.fork() == 0:
        try:
            list(batches)
        except WorkerLost:
            os.write(there, b"refused")
        finally:
            os._exit(0)
    os.close(there)
    assert os.read(here, 7) == b"refused"
    os.close(here)
    os.wait()


def test_memory_does_not_grow_with_epochs(pack: segdata.Pack) -> None:
    loader = Loader(pack, 2, shuffle=True, workers=2, masks="dense", reuse=True)
    held = []
    tracemalloc.start()
    for _ in range(4):
        for batch in loader:
            del batch
        gc.collect()
        wait_for_threads()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[3] - held[1] < 100_000  # one photo is three times as large


def test_a_sample_crosses_to_another_process_whole(pack: segdata.Pack, camvid: segdata.Pack) -> None:
    for sample in (*pack[:3], camvid[0]):
        copy = pickle.loads(pickle.dumps(sample))
        assert np.array_equal(copy.image, sample.image)
        assert copy.instances.masks == sample.instances.masks
        assert copy.has_instances == sample.has_instances
        assert np.array_equal(copy.semantic, sample.semantic) or sample.semantic is None
        assert list(copy.instances.extra) == list(sample.instances.extra)
        assert (copy.key, copy.id, copy.file, copy.extra) == (sample.key, sample.id, sample.file, sample.extra)


def test_a_pack_that_was_replaced_does_not_cross(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "coco")
    segdata.convert(source, tmp_path / "pack")
    sent = pickle.dumps(segdata.open(tmp_path / "pack"))
    segdata.convert(source, tmp_path / "pack", images="none", force=True)
    with pytest.raises(DamagedData, match="replaced"):
        pickle.loads(sent)


def test_a_pack_crosses_to_another_process_as_its_path(pack: segdata.Pack) -> None:
    part = pack[3:7]
    copy = pickle.loads(pickle.dumps(part))
    assert len(pickle.dumps(pack)) < 1000
    assert digests(Loader(copy)) == digests(Loader(part))


def test_options_out_of_range(pack: segdata.Pack) -> None:
    for options in (
        {"batch_size": 0},
        {"workers": -1},
        {"rank": 2, "world": 2},
        {"masks": "mask"},
        {"seed": -1},
        {"timeout": 0},
    ):
        with pytest.raises(UsageError, match="out of range"):
            Loader(pack, **options)


def test_an_albumentations_transform(pack: segdata.Pack) -> None:
    albumentations = pytest.importorskip("albumentations", reason="albumentations is not installed")
    augment = albumentations.Compose([albumentations.HorizontalFlip(p=1.0)])

    def transform(sample: segdata.Sample, rng: np.random.Generator) -> Any:
        return augment(image=sample.image, masks=list(sample.instances.masks.dense()))

    for batch in Loader(pack, 2, transform=transform, workers=2):
        for sample, item in zip(batch.samples, batch.items or (), strict=True):
            assert np.array_equal(item["image"], sample.image[:, ::-1])
            dense = sample.instances.masks.dense()
            assert np.array_equal(np.array(item["masks"]).reshape(dense.shape), dense[:, :, ::-1])


def test_a_photo_that_is_no_jpeg(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "coco")
    for file in source.rglob("*.jpg"):
        with Image.open(file) as photo:
            size = photo.size
        Image.new("L", size, 77).save(file, "PNG")
    segdata.convert(source, tmp_path / "pack")
    for batch in Loader(segdata.open(tmp_path / "pack"), reuse=True):
        assert (np.asarray(batch.images) == 77).all()


def test_without_images(tmp_path: Path) -> None:
    segdata.convert(made.coco(tmp_path / "coco"), tmp_path / "pack", images="none")
    pack = segdata.open(tmp_path / "pack")
    assert [batch.images for batch in Loader(pack, images=False)] == [None] * len(pack)
    with pytest.raises(InvalidImage, match="no image"):
        list(Loader(pack))
