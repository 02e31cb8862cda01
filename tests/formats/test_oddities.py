"""What real copies of datasets look like: each oddity comes back exactly, or is counted by name."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import segdata
from segdata.errors import InvalidInput
from tests.helpers import made
from tests.helpers.command import run_segdata
from tests.helpers.compare import compare
from tests.helpers.made import put
from tests.helpers.samples import SAMPLES, needs_samples

Make = Callable[[Path], Any]


def there_and_back(format_name: str, source: Path, tmp_path: Path) -> dict[str, Any]:
    """Convert to a pack and back; the differences that are left, and what was remarked."""
    report = segdata.convert(source, tmp_path / "pack")
    segdata.convert(tmp_path / "pack", tmp_path / "back", to=format_name)
    return {"differences": compare(format_name, source, tmp_path / "back"), "remarks": report.problems["remarks"]}


def resaved(path: Path, change: Callable[[Image.Image], Image.Image], **options: Any) -> None:
    with Image.open(path) as picture:
        picture.load()
    buffer = io.BytesIO()
    change(picture).save(buffer, "PNG", **options)
    put(path, buffer.getvalue())


def grey(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture)


# ---------------------------------------------------------------------- COCO


def coco(edit: Callable[[dict[str, Any]], Any], *, text: Callable[[str], str] = lambda text: text) -> Make:
    def make(root: Path) -> None:
        document = made.coco_document()
        edit(document)
        made.coco(root, document)
        put(root / "annotations/instances_val2017.json", text(json.dumps(document)))

    return make


@pytest.mark.parametrize("name", ["annotations/stuff_val2017.json", "annotations/labels_val2017.json", "labels.json"])
def test_documents_of_stuff_are_read_where_there_are_no_others(name: str, tmp_path: Path) -> None:
    source = made.coco(tmp_path / "source")
    document = source / "annotations/instances_val2017.json"
    put(source / name, document.read_bytes())
    if name.startswith("annotations"):
        beside = segdata.convert(source, tmp_path / "both").problems["remarks"]
        assert beside[f"document not read: {name.split('/')[1].split('_')[0]}"]["count"] == 1
    document.unlink()
    assert there_and_back("coco", source, tmp_path)["differences"] == []
    assert segdata.convert(source / name, tmp_path / "of-a-file").instances == 3


def keypoints() -> dict[str, Any]:
    document = made.coco_document()
    person = {"id": 1, "name": "person", "supercategory": "person", "keypoints": ["a"] * 17, "skeleton": [[1, 2]]}
    first = document["annotations"][0]
    document["categories"] = [person]
    document["annotations"] = [
        {**first, "keypoints": [0] * 51, "num_keypoints": 0, "area": 86.62500000000001},
        {**first, "id": 5, "image_id": 11, "keypoints": [1.5, 2, 2] * 17, "num_keypoints": 17},
    ]
    return document


def captions(root: Path) -> None:
    rows = [{"image_id": 10 + i % 3, "id": i, "caption": f"text {i} é"} for i in (5, 3, 4, 9, 1)]
    put(root / "annotations/captions_val2017.json", {"images": made.coco_document()["images"], "annotations": rows})


def only(*names: str) -> Make:
    """These documents and no instances."""

    def make(root: Path) -> None:
        made.coco(root)
        (root / "annotations/instances_val2017.json").unlink()
        if "captions" in names:
            captions(root)
        if "keypoints" in names:
            put(root / "annotations/person_keypoints_val2017.json", keypoints())

    return make


def subsets(root: Path) -> None:
    """Documents of other splits that list some of the same photos, changed and in another order."""
    made.coco(root, split="val2014")
    document = made.coco_document()
    document["images"] = document["images"][:2][::-1]
    document["annotations"].reverse()
    document["annotations"][0]["bbox"] = [1, 1, 2, 2]
    put(root / "annotations/instances_minival2014.json", document)


SEGMENTS = [
    {"size": [made.HEIGHT, made.WIDTH], "counts": [0, 0, 5, 0, 5, made.HEIGHT * made.WIDTH - 10]},
    {"size": [made.HEIGHT, made.WIDTH], "counts": [made.HEIGHT * made.WIDTH], "note": 1},
    {"size": [made.HEIGHT, made.WIDTH], "counts": [5, 10, made.HEIGHT * made.WIDTH - 15, 0]},
]

COCO: dict[str, Make] = {
    "numbers written otherwise": coco(
        lambda d: None,
        text=lambda t: t.replace("[4.0, 4.0, 10.5, 8.25]", "[4e0, 40e-1, 1.05E+1, 8.250]").replace(
            '"year": 2017', f'"year": {10**30}, "a": -0.0, "b": 0.1234567890123456789, "c": 1e-320, "d": {2**64}'
        ),
    ),
    "fields that others use": coco(
        lambda d: (
            d["images"][0].update(captions=["a"], coco={"coco": 1}, voc={"children": 3}, camvid=1, cityscapes=None),
            d["annotations"][0].update(captions="a", coco={"verbatim": {"area": 1}}, voc=3, big=2**200, score=0.5),
        )
    ),
    "nothing but what must be": coco(
        lambda d: [a.pop(k) for a in d["annotations"] for k in ("id", "area", "iscrowd", "bbox")]
        and [d.pop(k) for k in ("info", "licenses")]
    ),
    "no segmentation, no category": coco(lambda d: (d["annotations"][0].pop("segmentation"), d.update(info=None))),
    "run lengths that are not canonical": coco(
        lambda d: d["annotations"].extend(
            {"id": i, "image_id": 12, "category_id": 3, "iscrowd": 0, "bbox": [], "area": 1, "segmentation": item}
            for i, item in enumerate(SEGMENTS)
        )
    ),
    "escapes and names": coco(
        lambda d: (d["images"][1].update(file_name="ünï/cödé 😀.jpg"), d["annotations"][0].update(note="\x00\u2028/"))
    ),
    "endings": coco(lambda d: [i.update(file_name=n) for i, n in zip(d["images"], ("a", "b.tar.jpg", "a.jpg"), strict=True)]),
    "true for 1": coco(lambda d: d["annotations"][1].update(iscrowd=True)),
    "keypoints alone": only("keypoints"),
    "captions alone": only("captions"),
    "keypoints and captions": only("keypoints", "captions"),
    "photos in several documents": subsets,
    "a byte-order mark": coco(lambda d: None, text=lambda t: "\ufeff" + t.replace(", ", ",\r\n")),
}  # fmt: skip


@pytest.mark.parametrize("name", COCO)
def test_odd_coco_comes_back(name: str, tmp_path: Path) -> None:
    COCO[name](tmp_path / "source")
    assert there_and_back("coco", tmp_path / "source", tmp_path)["differences"] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda t: t[:-1] + ', "info": {}}', "$"),
        (lambda t: '{"images": [], ' + t[1:], "$"),
        (lambda t: t.replace('"name": "car"', '"name": "x", "name": "car"'), "$.categories"),
        (lambda t: t.replace('"area": 60', '"area": 1, "area": 60'), "$.annotations[1]"),
    ],
)
def test_a_key_twice_is_found_anywhere(change: Callable[[str], str], path: str, tmp_path: Path) -> None:
    coco(lambda d: None, text=change)(tmp_path)
    outcome = run_segdata("verify", tmp_path, "--deep", "--json")
    assert (outcome.code, outcome.document["error"]["place"]) == (4, path)


def test_a_json_file_alone_finds_its_photos(tmp_path: Path) -> None:
    made.coco(tmp_path / "source")
    put(tmp_path / "source/annotations/settings.json", {"a": 1})
    report = segdata.convert(tmp_path / "source/annotations/instances_val2017.json", tmp_path / "pack")
    assert report.samples == 3
    assert segdata.open(tmp_path / "pack")[0].image.shape == (made.HEIGHT, made.WIDTH, 3)


# ---------------------------------------------------------------------- PASCAL VOC


def xml(*changes: tuple[str, str], name: str = "2007_000001", encoding: str = "utf-8") -> Make:
    def make(root: Path) -> None:
        made.voc(root)
        path = root / f"Annotations/{name}.xml"
        text = path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_bytes(text.encode(encoding))

    return make


def masks(change: Callable[[Image.Image], Image.Image], **options: Any) -> Make:
    def make(root: Path) -> None:
        made.voc(root)
        for folder in ("SegmentationClass", "SegmentationObject"):
            resaved(root / folder / "2007_000001.png", change, **options)

    return make


def files(**contents: str) -> Make:
    def make(root: Path) -> None:
        made.voc(root)
        for name, content in contents.items():
            put(root / "ImageSets" / f"{name.replace('__', '/')}.txt", content)

    return make


def in_another_order(picture: Image.Image) -> Image.Image:
    """The same colours with the palette turned round."""
    turned = Image.fromarray(255 - grey(picture))
    turned.putpalette(np.array(made.voc_palette(), np.uint8).reshape(256, 3)[::-1].tobytes())
    return turned


def names_with_blanks(root: Path) -> None:
    made.voc(root)
    for folder, ending in (("Annotations", "xml"), ("JPEGImages", "jpg")):
        (root / f"{folder}/2007_000002.{ending}").rename(root / f"{folder}/my photo é.{ending}")
    path = root / "Annotations/my photo é.xml"
    path.write_text(path.read_text().replace("2007_000002", "my photo é"))
    put(root / "ImageSets/Main/train.txt", "2007_000001\nmy photo é\n")
    put(root / "ImageSets/Main/dog_train.txt", "2007_000001  1\n")


VOC: dict[str, Make] = {
    "blanks in fields": xml(
        ("<name>dog<", "<name> dog\n<"), ("<width>40<", "<width> 40 <"), ("<xmin>5<", "<xmin> 5\n<"), ("Left", "\tLeft ")
    ),
    "layout": xml(("><", ">\n\t\t<")),
    "comments": xml(("<object>", "<!-- a --><object><!--b-->"), ("<name>dog", "<name>dog<!--c-->")),
    "comments and instructions outside": xml(
        ("<annotation>", "<!-- a --><?tool x?><annotation>"), ("</annotation>", "<?tool y?></annotation><!--b--><?end?>")
    ),
    "attributes": xml(
        ("<annotation>", '<annotation verified="yes">'), ("<object>", '<object id="3">'), ("<bndbox>", '<bndbox a="b">')
    ),
    "namespaces": xml((
        "<source><database>d</database></source>",
        '<x:source xmlns:x="urn:x" xmlns:y="urn:y" y:a="&quot;1&quot;" xml:lang="en"><database xmlns="urn:d">d</database></x:source>',
    )),
    "objects apart": xml(("</object><object>", "</object><between>x</between><object>"), ("<folder>VOC2012</folder>", "")),
    "text between elements": xml(("<source><database>", "<source>a<database>"), ("</database>", "</database>b")),
    "entities": xml(("<database>d", "<database><![CDATA[<a>&]]>&amp;&#233;")),
    "Latin-1": xml(("<annotation>", '<?xml version="1.0" encoding="ISO-8859-1"?><annotation>'), ("Left", "é"), encoding="latin-1"),
    "UTF-16": xml(("<annotation>", '<?xml version="1.0" encoding="UTF-16"?><annotation>'), encoding="utf-16"),
    "numbers written otherwise": xml(("<ymin>6<", "<ymin>6.0<"), ("<ymax>12<", "<ymax>1.25e1<"), ("<xmin>5<", "<xmin>005<")),
    "flags missing and twice": xml(("<truncated>1</truncated>", ""), ("<difficult>0</difficult>", "<difficult/><difficult>1</difficult>")),
    "nothing in it": xml(("<folder>VOC2012</folder><filename>2007_000001.jpg</filename><source><database>d</database></source>", "")),
    "RGB masks": masks(lambda m: m.convert("RGB")),
    "RGBA masks": masks(lambda m: m.convert("RGB").convert("RGBA")),
    "grey masks": masks(lambda m: Image.fromarray(grey(m))),
    "transparent background": masks(lambda m: m, transparency=0),
    "half transparent": masks(lambda m: m, transparency=bytes([9, 80, 255, 3])),
    "palette in another order": masks(in_another_order),
    "lists of 2007": files(
        Layout__train="2007_000001  1\n2007_000001  2\n",
        Action__jumping_train="2007_000001  1  1\n2007_000002  1 -1\n",
        Main__test="",
    ),
    "lists of others": files(
        Segmentation__train_aug="2007_000001\n2007_000002\n",
        Segmentation__pairs="/JPEGImages/2007_000001.jpg /SegmentationClassAug/2007_000001.png\n",
        Main__cat_val="2007_000001 -1\n2008_123456  1\n2007_000002  1",
        Main__train="\ufeff  2007_000001.jpg \n\n2007_000002.jpg",
    ),
    "names with blanks": names_with_blanks,
}  # fmt: skip


@pytest.mark.parametrize("name", VOC)
def test_odd_voc_comes_back(name: str, tmp_path: Path) -> None:
    VOC[name](tmp_path / "source")
    assert there_and_back("voc", tmp_path / "source", tmp_path)["differences"] == []


@pytest.mark.parametrize("entries", [21, 256])
def test_void_stays_void_when_a_palette_has_no_colour_for_it(entries: int, tmp_path: Path) -> None:
    source = made.voc(tmp_path / "source")
    for path in (source / "SegmentationClass").glob("*.png"):
        image = Image.open(path)
        values = np.asarray(image)
        image.putpalette([*made.voc_palette()[:63], *[0] * 3 * (entries - 21)])
        image.save(path, bits=8)
        assert (values == 255).any()
    assert there_and_back("voc", source, tmp_path)["differences"] == []
    for sample in segdata.open(tmp_path / "pack"):
        if sample.semantic is not None:
            stored = np.asarray(Image.open(source / f"SegmentationClass/{sample.key}.png"))
            assert np.array_equal(sample.semantic, stored)


def semantic_of(sample: segdata.Sample) -> np.ndarray:
    assert sample.semantic is not None
    return sample.semantic


def test_a_palette_in_another_order_means_its_colours(tmp_path: Path) -> None:
    made.voc(tmp_path / "plain")
    masks(in_another_order)(tmp_path / "turned")
    plain, turned = (segdata.read(tmp_path / name)[0] for name in ("plain", "turned"))
    assert np.array_equal(semantic_of(plain), semantic_of(turned))
    assert np.array_equal(plain.instances.masks.dense(), turned.instances.masks.dense())
    made.camvid(tmp_path / "rgb")
    made.camvid(tmp_path / "quantized")
    resaved(tmp_path / "quantized/LabeledApproved_full/Seq05VD_f02610_L.png", lambda m: m.quantize(8))
    rgb, quantized = (semantic_of(segdata.read(tmp_path / name)[0]) for name in ("rgb", "quantized"))
    assert np.array_equal(rgb, quantized)


# ---------------------------------------------------------------------- Cityscapes and CamVid

BASE = "gtFine/val/town/town_000000_000019_gtFine_"


def with_palette(picture: Image.Image) -> Image.Image:
    other = Image.fromarray(grey(picture).astype(np.uint8))
    other.putpalette(made.voc_palette())
    return other


def frames(**changes: Callable[[Image.Image], Image.Image]) -> Make:
    """Label files made from labelIds."""

    def make(root: Path) -> None:
        made.cityscapes(root)
        for name, change in changes.items():
            with Image.open(root / f"{BASE}labelIds.png") as picture:
                picture.load()
            buffer = io.BytesIO()
            change(picture).save(buffer, "PNG")
            put(root / f"{BASE}{name}.png", buffer.getvalue())

    return make


def coarse(root: Path) -> None:
    made.cityscapes(root)
    for split in ("train_extra", "train", "val"):
        put(root / f"leftImg8bit/{split}/town/town_000000_000019_leftImg8bit.png", made.photo(kind="PNG"))
        for kind in ("labelIds.png", "instanceIds.png", "polygons.json"):
            name = f"gtCoarse/{split}/town/town_000000_000019_gtCoarse_{kind}"
            put(root / name, (root / f"{BASE}{kind}").read_bytes())


def polygons_alone(root: Path) -> None:
    made.cityscapes(root)
    for kind in ("labelIds", "instanceIds"):
        (root / f"{BASE}{kind}.png").unlink()


def jpeg_frames(root: Path) -> None:
    made.camvid_segnet(root)
    (root / "train/0001TP_000.png").unlink()
    put(root / "train/0001TP_000.jpg", made.photo())


CITYSCAPES: dict[str, Make] = {
    "palette files": frames(instanceIds=with_palette, color=with_palette, labelTrainIds=with_palette, labelIds=with_palette),
    "wide and narrow": frames(
        instanceIds=lambda m: m, color=lambda m: m.convert("RGB"), labelIds=lambda m: Image.fromarray(grey(m).astype(np.uint16))
    ),
    "coarse labels": coarse,
    "polygons alone": polygons_alone,
}  # fmt: skip

TABLE = made.CAMVID_COLORS
CAMVID: dict[str, Make] = {
    "a table with mark and remark": lambda root: put(made.camvid(root) / "label_colors.txt", "\ufeff# R G B\r\n" + TABLE),
    "colours in a palette": lambda root: resaved(
        made.camvid(root) / "LabeledApproved_full/Seq05VD_f02610_L.png", lambda m: m.quantize(8)
    ),
    "lists, one empty": lambda root: [
        put(made.camvid(root) / "train.txt", "701_StillsRaw_full/Seq05VD_f02610.png\n"), put(root / "val.txt", "")
    ],
    "names with blanks": lambda root: [
        made.camvid_fastai(root), (root / "images/b.png").rename(root / "images/b c.png"),
        (root / "labels/b_P.png").rename(root / "labels/b c_P.png"), put(root / "valid.txt", "images/b c.png\r\n"),
    ],
    "JPEG frames": jpeg_frames,
}  # fmt: skip


@pytest.mark.parametrize(
    ("format_name", "name"), [("cityscapes", n) for n in CITYSCAPES] + [("camvid", n) for n in CAMVID]
)
def test_odd_street_scenes_come_back(format_name: str, name: str, tmp_path: Path) -> None:
    {"cityscapes": CITYSCAPES, "camvid": CAMVID}[format_name][name](tmp_path / "source")
    assert there_and_back(format_name, tmp_path / "source", tmp_path)["differences"] == []


# ---------------------------------------------------------------------- what is not read

NOT_READ = {
    "coco": ("README.md", "val2017/unlisted.jpg", "annotations/notes.txt", "annotations/panoptic_val2017/0.png"),
    "voc": ("JPEGImages/2007_000001.png", "JPEGImages/a.psd", "ImageSets/all.txt", "SegmentationClassAug/a.png"),
    "cityscapes": ("camera/val/town/a.json", "gtFine/val/town/note.txt", "leftImg8bit/val/town/x.jpg", "license.txt"),
    "camvid": ("701_StillsRaw_full/x.svg", "LabeledApproved_full/Thumbs.db", "notes.txt", "other/x"),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_files_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    source = made.ALL[name](tmp_path / "source")
    for file in NOT_READ[name]:
        put(source / file, b"x")
    outcome = there_and_back(name, source, tmp_path)
    assert {line.removesuffix(": missing") for line in outcome["differences"]} == set(NOT_READ[name])
    named = [*outcome["remarks"]["file not read"]["examples"], *outcome["remarks"]["folder not read"]["examples"]]
    assert all(any(file == folder or file.startswith(f"{folder}/") for folder in named) for file in NOT_READ[name])


def test_a_folder_without_samples_is_an_error(tmp_path: Path) -> None:
    made.cityscapes(tmp_path / "x")
    (tmp_path / "gtFine/val/town").mkdir(parents=True)
    outcome = run_segdata("convert", tmp_path, tmp_path / "pack")
    assert outcome.code == 4
    assert "no sample was found" in outcome.err


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (xml(("<width>40<", "<width>4²<")), "no valid size"),
        (xml(("<ymin>6<", "<ymin>0_6<")), "no valid ymin"),
        (lambda root: put(made.voc(root) / "labelmap.txt", "background:²,0,0::\n"), "expected R G B, each 0 … 255"),
        (lambda root: put(made.camvid(root) / "label_colors.txt", "² 1 1 Sky\n"), "table of labels"),
        (frames(labelIds=lambda m: Image.fromarray(grey(m).astype(np.uint16) + 300)), "an id that the label space"),
    ],
)
def test_numbers_that_are_none_are_refused(make: Make, text: str, tmp_path: Path) -> None:
    make(tmp_path / "source")
    outcome = run_segdata("convert", tmp_path / "source", tmp_path / "pack", "--strict")
    assert (outcome.code, text in outcome.err) == (4, True), outcome.err
    assert not (tmp_path / "pack").exists()


# ---------------------------------------------------------------------- photos


@pytest.mark.parametrize(
    "command",
    [("convert", "--to", "voc", "--allow-loss"), ("convert", "--to", "coco"), ("convert", "--dry-run"), ("verify",)],
)
def test_photos_are_checked_whatever_is_made_of_them(command: tuple[str, ...], tmp_path: Path) -> None:
    verb, *options = command
    source = made.coco(tmp_path / "source")
    target = () if verb == "verify" else (tmp_path / "target",)
    photo = source / "val2017/000000000000.jpg"
    good = photo.read_bytes()
    for bad, text in ((good[: len(good) // 2], "cut short"), (made.photo(made.WIDTH + 1), "41 × 30")):
        photo.write_bytes(bad)
        outcome = run_segdata(verb, source, *target, *options)
        assert outcome.code == 4, outcome.err
        assert text in outcome.err
        assert "000000000000.jpg" in outcome.err
        assert [path.name for path in tmp_path.iterdir()] == ["source"]
    photo.write_bytes(good)
    assert run_segdata(verb, source, *target, *options).code == 0


@needs_samples
def test_panoptic_pictures_are_read_and_a_changed_one_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "coco_panoptic", tmp_path / "source")
    report = segdata.convert(tmp_path / "source", tmp_path / "pack", source_format="coco-panoptic")
    assert report.problems["remarks"]["folder not read"]["examples"] == ["extra"]
    (path,) = (tmp_path / "source/annotations/panoptic_val2017").iterdir()
    resaved(path, lambda m: m, compress_level=1)
    with pytest.raises(InvalidInput, match="--force"):
        segdata.convert(tmp_path / "source", tmp_path / "pack", source_format="coco-panoptic")
