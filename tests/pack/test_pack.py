"""The pack: its bytes as documented, damage, replacement, interruption, workers."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segdata
from segdata.errors import DamagedData, InvalidInput, NotThere, Unsafe
from segdata.pack import layout
from tests.helpers import made
from tests.helpers.command import run_segdata, tree
from tests.helpers.packs import flip, rewritten
from tests.helpers.samples import SAMPLES, needs_samples


def test_h5py_lists_every_array_contiguous_and_unfiltered(tmp_path: Path) -> None:
    import h5py

    segdata.convert(made.voc(tmp_path / "source"), tmp_path / "pack")
    for entry in layout.shard_files(layout.read_index(tmp_path / "pack")):
        with h5py.File(tmp_path / "pack" / entry["file"]) as file:
            datasets: dict[str, h5py.Dataset] = {}
            file.visititems(
                lambda name, item, datasets=datasets: datasets.update({name: item} if hasattr(item, "shape") else {})
            )
            assert datasets.keys() == entry["arrays"].keys()
            for name, dataset in datasets.items():
                facts = entry["arrays"][name]
                assert list(dataset.shape) == facts["shape"]
                assert dataset.chunks is None and dataset.compression is None
                assert dataset.id.get_offset() == facts["offset"]


@needs_samples
def test_masks_equal_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    segdata.convert(SAMPLES / "coco", tmp_path / "pack")
    for split in ("train2017", "val2017"):
        truth = COCO(SAMPLES / f"coco/annotations/instances_{split}.json")
        pack = segdata.open(tmp_path / "pack", split=split)
        assert [sample.id for sample in pack] == [image["id"] for image in truth.dataset["images"]]
        for sample in pack:
            instances = sample.instances
            annotations = truth.loadAnns(truth.getAnnIds(imgIds=sample.id))
            assert instances.id.tolist() == [item["id"] for item in annotations]
            assert instances.iscrowd.tolist() == [bool(item["iscrowd"]) for item in annotations]
            names = [truth.cats[item["category_id"]]["name"] for item in annotations]
            assert [pack.labels[int(index)].name for index in instances.category] == names
            expected = [truth.annToMask(item) for item in annotations]
            assert np.array_equal(
                instances.masks.dense(), np.array(expected).reshape(len(expected), *sample.image.shape[:2])
            )


def test_packs_are_found_by_key_split_and_predicate(tmp_path: Path) -> None:
    segdata.convert(made.voc(tmp_path / "source"), tmp_path / "pack")
    pack = segdata.open(tmp_path / "pack")
    assert list(pack.keys) == ["2007_000001", "2007_000002"]
    assert pack.find("2007_000002").has_semantic is False
    assert [sample.key for sample in pack.split("train")] == ["2007_000001"]
    assert len(pack.select(lambda sample: sample.semantic is not None)) == 1
    assert [sample.key for sample in pack[::-1]] == ["2007_000002", "2007_000001"]
    assert pack[-1].key == "2007_000002"
    assert len(segdata.open(tmp_path / "pack", split="Main/train")) == 2
    with pytest.raises(NotThere, match="2007_000001"):
        pack.find("2007_000003")
    with pytest.raises(NotThere, match="'train'"):
        pack.split("trian")
    for wrong in (2, -3):
        with pytest.raises(IndexError, match="2 samples"):
            pack[wrong]


def test_views_map_labels_when_samples_are_read(tmp_path: Path) -> None:
    segdata.convert(made.cityscapes(tmp_path / "source"), tmp_path / "pack")
    full = segdata.open(tmp_path / "pack")[0]
    assert full.semantic is not None
    view = segdata.open(tmp_path / "pack", labels="cityscapes-19")
    sample = view[0]
    road, sky, car = 0, 10, 13
    assert sample.semantic is not None
    assert sample.semantic[-1, 0] == 255  # ego vehicle
    assert (sample.semantic[25, 0], sample.semantic[0, 0], sample.semantic[12, 4]) == (road, sky, car)
    assert sample.instances.category.tolist() == [11, 13, 13]
    assert [view.labels[index].name for index in (0, 10, 13)] == ["road", "sky", "car"]
    assert full.semantic[12, 4] == 26
    with pytest.raises(NotThere, match="cityscapes-19"):
        segdata.open(tmp_path / "pack", labels="cityscapes-20")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    segdata.convert(made.voc(tmp_path / "source"), tmp_path / "pack")
    return tmp_path / "pack"


def one(pack: Path, pattern: str) -> Path:
    (path,) = pack.glob(pattern)
    return path


def test_every_flipped_byte_of_a_small_pack_is_found(pack: Path) -> None:
    rng = random.Random(0)
    for path in sorted(pack.iterdir()):
        for offset in rng.sample(range(path.stat().st_size), 12):
            flip(path, offset)
            assert not segdata.verify(pack, deep=True).is_good, (path.name, offset)
            flip(path, offset)
    assert segdata.verify(pack, deep=True).is_good


def test_a_flipped_image_byte_names_shard_record_and_key(pack: Path) -> None:
    entry = layout.read_index(pack)["shards"][0]["images"]
    flip(pack / entry["file"], entry["arrays"]["images/data"]["offset"] + 5)
    assert run_segdata("verify", pack).code == 0  # quick: tables only
    outcome = run_segdata("verify", pack, "--deep")
    assert outcome.code == 8
    assert "2007_000001" in outcome.err and "shard 0" in outcome.err and "record 0" in outcome.err
    with pytest.raises(DamagedData, match="2007_000001"):
        _ = segdata.open(pack)[0].image
    assert segdata.open(pack)[1].image.shape == (made.HEIGHT, made.WIDTH, 3)


def test_a_flipped_semantic_byte_is_noticed_when_read(pack: Path) -> None:
    entry = layout.read_index(pack)["shards"][0]["annotations"]
    flip(pack / entry["file"], entry["arrays"]["semantic/data"]["offset"] + 9)
    with pytest.raises(DamagedData, match="semantic map"):
        _ = segdata.open(pack)[0].semantic


@pytest.mark.parametrize("change", ["cut", "empty", "missing", "replaced"])
def test_files_of_another_size_are_refused(change: str, pack: Path) -> None:
    path = one(pack, "annotations-*")
    if change == "missing":
        path.unlink()
    elif change == "replaced":
        shutil.copy(one(pack, "images-*"), path)
    else:
        os.truncate(path, 0 if change == "empty" else path.stat().st_size - 1)
    with pytest.raises(DamagedData, match=path.name):
        segdata.open(pack)
    outcome = run_segdata("verify", pack, "--json")
    assert outcome.code == 8
    assert path.name in outcome.document["damages"][0]["file"]


def test_other_versions_and_hostile_indices_are_refused(pack: Path) -> None:
    dataset = json.loads((pack / "pack.json").read_bytes())["dataset"]
    rewritten(pack, version=2)
    with pytest.raises(InvalidInput, match=r"version 2.*reads version 1"):
        segdata.open(pack)
    rewritten(pack, version=1, dataset={**dataset, "file": "../../etc/passwd"})
    with pytest.raises(Unsafe, match="outside its folder"):
        segdata.open(pack)
    arrays = {name: {**facts, "offset": 10**9} for name, facts in dataset["arrays"].items()}
    rewritten(pack, dataset={**dataset, "arrays": arrays})
    with pytest.raises(InvalidInput, match="where it cannot be"):
        _ = segdata.open(pack).splits
    (pack / "pack.json").write_bytes((pack / "pack.json").read_bytes()[:-30])
    with pytest.raises(DamagedData, match=r"pack\.json"):
        segdata.open(pack)


def index_of(pack: Path) -> Any:
    return json.loads((pack / "pack.json").read_bytes())


def tables(index: Any) -> Any:
    return index["shards"][0]["annotations"]["arrays"]


CONTRADICTIONS: dict[str, tuple[Callable[[Any], Any], int, str]] = {
    "an absurd shape": (lambda index: tables(index)["image/id"].update(shape=[2**60]), 4, "image/id"),
    "a negative shape": (lambda index: tables(index)["image/file"].update(shape=[-4]), 4, "image/file"),
    "a negative offset": (lambda index: tables(index)["image/id"].update(offset=-8), 4, "image/id"),
    "an offset past the end": (lambda index: tables(index)["image/id"].update(offset=10**9), 4, "image/id"),
    "absurd images": (lambda index: index.update(max_pixels=2**40), 4, "max_pixels"),
    "another dtype": (lambda index: tables(index)["image/id"].update(dtype="<f8"), 4, "image/id"),
    "more samples": (lambda index: index.update(samples=3), 8, "it says 3 samples, the shards have 2"),
    "more samples of a shard": (
        lambda index: (index.update(samples=3), index["shards"][0].update(samples=3)),
        8,
        "shard 0 says 3 samples, its table has 2",
    ),
    "more instances": (lambda index: index.update(instances=99), 8, "it says 99 instances, the shards have 3"),
    "another split": (
        lambda index: index["splits"].append({"name": "x", "samples": 7}),
        8,
        "split 'x' says 7 samples, its list has 0",
    ),
    "no shards": (lambda index: index.pop("shards"), 4, "missing required field `shards`"),
    "shards of another type": (lambda index: index.update(shards=3), 4, "$.shards"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_an_index_that_contradicts_itself_or_the_file_is_refused(name: str, pack: Path, tmp_path: Path) -> None:
    change, code, words = CONTRADICTIONS[name]
    index = index_of(pack)
    change(index)
    index.pop("crc32")
    (pack / "pack.json").write_bytes(layout.encode_index(index))
    for command in (("verify", pack, "--deep"), ("convert", pack, tmp_path / "other", "--to", "coco")):
        outcome = run_segdata(*command, "--json")
        if command[0] == "verify" and outcome.document.get("damages"):
            assert (outcome.code, "pack.json" in outcome.err) == (8, False)
            assert words in outcome.out
        else:
            assert (outcome.code, words in outcome.err) == (code, True), outcome.err
    assert not (tmp_path / "other").exists()


def test_keys_that_this_version_does_not_know_are_ignored(pack: Path) -> None:
    shards = [{**shard, "colour": "red"} for shard in index_of(pack)["shards"]]
    rewritten(pack, shards=shards, zebra=1)
    assert run_segdata("verify", pack, "--deep").code == 0
    assert [sample.key for sample in segdata.open(pack)] == ["2007_000001", "2007_000002"]


def test_a_flipped_bit_of_a_table_is_found_before_it_is_converted_or_evaluated(pack: Path, tmp_path: Path) -> None:
    entry = index_of(pack)["shards"][0]["annotations"]
    flip(pack / entry["file"], entry["arrays"]["instance/bbox"]["offset"] + 3)
    for command in (
        ("convert", pack, tmp_path / "other", "--to", "voc"),
        ("convert", pack, tmp_path / "other"),
        ("evaluate", pack, pack, "--metric", "coco-bbox"),
    ):
        outcome = run_segdata(*command)
        assert outcome.code == 8 and "instance/bbox" in outcome.err and entry["file"] in outcome.err, outcome.err
    assert not (tmp_path / "other").exists()


def test_a_changed_referenced_image_is_named(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack", images="reference")
    made.put(source / "val2017/000000000001.jpg", made.photo(seed=99))
    opened = segdata.open(tmp_path / "pack")
    with pytest.raises(DamagedData, match=r"000000000001\.jpg"):
        _ = opened[1].image
    moved = source.rename(tmp_path / "moved")
    with pytest.raises(NotThere, match="images_root"):
        _ = opened[0].image
    assert segdata.open(tmp_path / "pack", images_root=moved)[0].image.shape == (made.HEIGHT, made.WIDTH, 3)


def test_running_again_is_fast_and_changes_nothing(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()}
    assert segdata.convert(source, tmp_path / "pack").was_done
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").iterdir()} == before
    segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco")
    assert segdata.convert(tmp_path / "pack", tmp_path / "back", to="coco").was_done


def test_other_options_need_force_and_open_packs_stay_readable(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    old = segdata.open(tmp_path / "pack")
    outcome = run_segdata("convert", source, tmp_path / "pack", "--limit", 1)
    assert outcome.code == 4 and "--force" in outcome.err and "limit: None then, 1 now" in outcome.err
    assert run_segdata("convert", source, tmp_path / "pack", "--limit", 1, "--force").code == 0
    assert len(segdata.open(tmp_path / "pack")) == 1
    assert [sample.image.shape for sample in old] == [(made.HEIGHT, made.WIDTH, 3)] * 3
    assert len(list((tmp_path / "pack").glob("images-*"))) == 2
    assert run_segdata("convert", source, tmp_path / "pack", "--limit", 2, "--force", "--clean").code == 0
    assert len(list((tmp_path / "pack").glob("images-*"))) == 1
    assert [sample.image.shape for sample in old] == [(made.HEIGHT, made.WIDTH, 3)] * 3


def test_a_folder_made_with_other_options_or_of_other_data_is_not_replaced(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "back", to="coco")
    before = tree(tmp_path / "back")
    outcome = run_segdata("convert", source, tmp_path / "back", "--to", "coco", "--limit", 1)
    assert outcome.code == 4 and "limit: None then, 1 now" in outcome.err
    made.put(source / "annotations/instances_val2017.json", made.coco_document(2))
    outcome = run_segdata("convert", source, tmp_path / "back", "--to", "coco")
    assert outcome.code == 4 and "made of other data" in outcome.err
    assert tree(tmp_path / "back") == before


def test_a_damaged_index_is_replaced_with_force(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    before = tree(tmp_path / "pack")
    (tmp_path / "pack/pack.json").write_bytes(b"")
    outcome = run_segdata("convert", source, tmp_path / "pack")
    assert outcome.code == 8 and "--force" in outcome.err
    assert run_segdata("convert", source, tmp_path / "pack", "--force").code == 0
    assert tree(tmp_path / "pack") == before


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_nobody_reading_the_output_any_more_is_a_quiet_end(verb: str, tmp_path: Path) -> None:
    segdata.convert(made.coco(tmp_path / "source"), tmp_path / "pack")
    command = [sys.executable, "-m", "segdata", verb, str(tmp_path / "pack")]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_failed_replacement_leaves_the_old_pack(tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    segdata.convert(source, tmp_path / "pack")
    before = tree(tmp_path / "pack")
    document = made.coco_document()
    document["annotations"][0]["category_id"] = 77
    made.put(source / "annotations/instances_val2017.json", document)
    assert run_segdata("convert", source, tmp_path / "pack", "--force").code == 4
    assert tree(tmp_path / "pack") == before


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    from segdata.system.files import locked

    source = made.coco(tmp_path / "source")
    with locked(tmp_path / "pack"):
        outcome = run_segdata("convert", source, tmp_path / "pack", "--json")
        assert outcome.code == 9
        assert f"pid {os.getpid()}" in outcome.err and "--wait" in outcome.err
        process = subprocess.Popen(
            [sys.executable, "-m", "segdata", "convert", str(source), str(tmp_path / "pack"), "--wait", "60"],
            stdout=subprocess.DEVNULL,
        )
        time.sleep(1)
        assert process.poll() is None
    assert process.wait(60) == 0


def slow_source(root: Path) -> Path:
    document = made.coco_document(0)
    record = made.coco_document()["annotations"][0]
    document["images"] = [
        {"id": i, "file_name": f"{i:012d}.jpg", "height": made.HEIGHT, "width": made.WIDTH} for i in range(300)
    ]
    # The further field keeps them from being read many at once, which would be over before anybody can kill it.
    document["annotations"] = [{**record, "id": 7 * i, "image_id": i % 300, "note": ""} for i in range(1800)]
    return made.coco(root, document)


def test_killed_at_twenty_moments_the_next_run_gives_the_same_bytes(tmp_path: Path) -> None:
    source = slow_source(tmp_path / "source")
    segdata.convert(source, tmp_path / "expected")
    expected = tree(tmp_path / "expected")
    command = ("convert", source, tmp_path / "pack", "-q")
    start = time.monotonic()
    assert run_segdata(*command).code == 0
    whole = time.monotonic() - start
    shutil.rmtree(tmp_path / "pack")
    rng = random.Random(1)
    for moment in range(20):
        run_segdata(*command, kill_after=rng.uniform(0, 1.05) * whole)
        if (tmp_path / "pack/pack.json").exists():
            assert segdata.verify(tmp_path / "pack", deep=True).is_good
        if moment % 4 == 3:
            assert run_segdata(*command).code == 0
            assert tree(tmp_path / "pack") == expected
            shutil.rmtree(tmp_path / "pack")


def test_interrupts_end_with_their_code_and_the_same_command_goes_on(tmp_path: Path) -> None:
    source = slow_source(tmp_path / "source")
    command = [sys.executable, "-m", "segdata", "convert", str(source), str(tmp_path / "pack"), "--json"]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        shutil.rmtree(tmp_path / "pack", ignore_errors=True)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("pack/.work-*/.*")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert process.returncode == code, err
        assert json.loads(out)["ok"] is False and "Traceback" not in err
        assert not (tmp_path / "pack/pack.json").exists()
    assert run_segdata(*command[3:]).code == 0


def test_forked_workers_and_threads_read_the_same(pack: Path) -> None:
    opened = segdata.open(pack)
    expected = [hashlib.sha256(sample.image.tobytes()).hexdigest() for sample in opened]
    for _ in range(4):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, ",".join(hashlib.sha256(s.image.tobytes()).hexdigest() for s in opened).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            assert pipe.read().split(",") == expected
        os.waitpid(child, 0)
    digests: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: digests.append([hashlib.sha256(s.image.tobytes()).hexdigest() for s in opened]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert digests == [expected] * 4


def test_opening_imports_nothing_heavy(pack: Path) -> None:
    code = (
        "import sys, segdata; segdata.open(sys.argv[1])[0].instances.masks.dense();"
        "print([name for name in ('torch', 'h5py', 'PIL', 'pycocotools', 'zstandard', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(pack)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
