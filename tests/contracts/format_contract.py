"""What every format promises: checks to call with a format's modules and a dataset of it.

    check_scan, check_load      reading lists everything, and is pure
    check_round_trip            what was written is read as it was
    check_adapt                 samples of any kind are written and read, or it is said what is dropped

Nothing here knows a format; `test_format.py` runs the checks over the table.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from segdata.core.findings import Findings
from segdata.core.labels import Category, LabelSpace
from segdata.core.masks import Masks
from segdata.core.polygons import Polygons
from segdata.core.sample import Instances, Sample
from segdata.formats.contract import Adapter, Format, Header, ReadOptions, Source
from tests.helpers import made

# ---------------------------------------------------------------------- samples compared


def document_of(sample: Sample) -> dict[str, Any]:
    """Everything that a sample says, as plain values."""
    instances = sample.instances
    columns = {field.name: getattr(instances, field.name) for field in fields(Instances)}
    masks, polygons = columns.pop("masks"), columns.pop("polygons")
    extra = [dict(item) for item in columns.pop("extra")]
    return {
        "key": sample.key,
        "size": (sample.height, sample.width),
        "file": sample.file,
        "id": sample.id,
        "image": sample.encoded,
        "has": (sample.has_instances, sample.has_semantic),
        "columns": {name: (values.dtype.str, values.tolist()) for name, values in columns.items()},
        "masks": [masks[index].tobytes() for index in range(len(masks))],
        "polygons": (polygons.pointer.tolist(), polygons.rings.tolist(), polygons.values.tolist()),
        "semantic": None if sample.semantic is None else (sample.semantic.dtype.str, sample.semantic.tobytes()),
        "extra": dict(sample.extra),
        "object_extra": extra,
    }


def text_of(sample: Sample) -> str:
    """`document_of` as text: NaN equals NaN."""
    return repr(document_of(sample))


def samples_of(format: Format, root: Path) -> tuple[Source, list[Sample], Findings]:
    findings = Findings()
    source = format.scan(root, findings, ReadOptions())
    return source, [format.load(source, entry, findings) for entry in source.entries], findings


# ---------------------------------------------------------------------- reading


def check_scan(format: Format, root: Path, empty: Path) -> None:
    """A folder is recognised, and a scan lists every image once, in the same order each time."""
    assert format.LAYOUT and "\n" not in format.LAYOUT
    assert format.detect(root) and not format.detect(empty)
    assert not format.detect(made.put(empty.parent / "a file.txt", "no dataset"))
    source, again = (format.scan(root, Findings(), ReadOptions()) for _ in range(2))
    assert source.root == root and source.layout
    entries = [(entry.key, entry.file, entry.annotation_bytes) for entry in source.entries]
    assert entries and entries == [(entry.key, entry.file, entry.annotation_bytes) for entry in again.entries]
    assert len({entry.file for entry in source.entries if entry.file}) == sum(
        bool(entry.file) for entry in source.entries
    )
    assert source.labels == again.labels and source.splits == again.splits
    for name, members in source.splits.items():
        assert name and set(members) <= set(range(len(entries))), name
        assert len(set(members)) == len(members), name
    images = [entry.file for entry in source.entries if entry.file and not entry.embedded]
    for file in [*source.annotation_files, *images]:
        assert (root / file).is_file() and ".." not in Path(file).parts, file
    assert json.loads(json.dumps(source.documents)) == list(source.documents)
    assert all(document["file"] and document["format"] for document in source.documents)


def check_load(format: Format, root: Path, names: Sequence[str]) -> None:
    """Loading is pure, columns are consistent, and `extra` holds only what JSON holds, under no other format's name.

    Args:
        names: every format's name but this one's.
    """
    source = format.scan(root, Findings(), ReadOptions())
    before = copy.deepcopy([source.labels.as_dict(), source.splits, source.documents])
    for entry in reversed(source.entries):
        findings, repeated = Findings(), Findings()
        sample = format.load(source, entry, findings)
        assert text_of(sample) == text_of(format.load(source, entry, repeated))
        assert findings.as_dict() == repeated.as_dict()
        assert sample.key == entry.key and sample.file == entry.file
        instances = sample.instances
        assert instances.masks.height == sample.height and instances.masks.width == sample.width
        assert not instances.masks.areas[~instances.has_mask].any()
        assert ((instances.category >= 0) & (instances.category < len(source.labels))).all()
        if sample.semantic is not None:
            assert sample.semantic.shape == (sample.height, sample.width)
            assert sample.semantic.dtype == source.labels.dtype
            known = sample.semantic[sample.semantic != source.labels.void]
            assert not len(known) or known.max() < len(source.labels)
        for extra in (sample.extra, *instances.extra):
            assert json.loads(json.dumps(extra)) == extra
            assert not set(extra).intersection(names)
    assert before == [source.labels.as_dict(), source.splits, source.documents]


# ---------------------------------------------------------------------- writing


def write(format: Format, samples: Sequence[Sample], header: Header, root: Path) -> None:
    """Write samples in two parts, the second one first, as processes may."""
    middle = (len(samples) + 1) // 2
    parts = [list(enumerate(samples))[:middle], list(enumerate(samples))[middle:]]
    root.mkdir(parents=True)
    receipts = {number: format.write_part(parts[number], root, header, number) for number in (1, 0)}
    assert json.loads(json.dumps(receipts[0])) == receipts[0]
    format.finish([receipts[0], receipts[1]], root, header)
    for path in (root / ".parts").glob("*"):
        path.unlink()


def check_round_trip(format: Format, root: Path, target: Path) -> None:
    """A dataset that is written and read again has the same samples, splits and labels; writing changes no sample."""
    source, samples, findings = samples_of(format, root)
    before = [text_of(sample) for sample in samples]
    write(format, samples, Header(source.labels, source.splits, source.documents), target)
    assert [text_of(sample) for sample in samples] == before
    again, others, repeated = samples_of(format, target)
    assert [text_of(sample) for sample in others] == before
    assert again.labels == source.labels
    assert {name: list(members) for name, members in again.splits.items()} == {
        name: list(members) for name, members in source.splits.items()
    }
    assert again.documents == source.documents
    assert findings.as_dict()["remarks"] == repeated.as_dict()["remarks"]


# ---------------------------------------------------------------------- adapting

LABELS = LabelSpace(
    "custom",
    (
        Category("thing", 7, (255, 0, 0), isthing=True),
        Category("two  words:#", 8, None, isthing=False),
        Category("ä", 0, (0, 0, 9)),
    ),
)


def awkward_samples() -> list[Sample]:
    """Samples of no format: overlaps, a crowd, a hole, one pixel, the whole image, boxes alone, label maps, nothing."""
    height, width = 6, 9
    dense = np.zeros((5, height, width), bool)
    dense[0] = True
    dense[1, 1:4, 1:5] = True
    dense[1, 2, 2] = False
    dense[2, 0, 0] = True
    dense[3, 2:6, 3:9] = True
    masks = Masks.from_dense(dense)  # the last one is empty
    nan = float("nan")
    objects = Instances.build(
        [0, 1, 2, 0, 0],
        masks,
        has_mask=[True, True, True, True, False],
        iscrowd=[True, False, False, False, False],
        difficult=[False, True, False, False, False],
        bbox=[[nan] * 4, [1, 1, 4, 3], [nan] * 4, [3.25, 2, 5.5, 4], [0, 0, 2, 2]],
        area=[nan, 11, nan, 3, nan],
        polygons=Polygons.of([[], [[1, 1, 5, 1, 5, 4, 1, 4]], [], [], []]),
        extra=[{}, {"pose": "Left"}, {"note": [1, {"a": None}]}, {}, {}],
    )
    semantic = np.full((height, width), LABELS.void, LABELS.dtype)
    semantic[1:3] = 1
    semantic[4, 4] = 2
    image = made.photo(width, height, 1, kind="PNG")
    samples = [
        Sample(
            "a/objects", height, width, file="a/objects.png", id=2**40, instances=objects, extra={"weather": "rain"}
        ),
        Sample("b/objects", height, width, file="b/objects.png", instances=objects),
        Sample("map", height, width, file="map.png", semantic=semantic),
        Sample("both", height, width, file="both.jpg", instances=objects.take([3, 1]), semantic=semantic),
        Sample("nothing found", height, width, file="x y.png", instances=Instances.none(height, width)),
        Sample("nobody looked", height, width, file="z.png", extra={"captions": ["a", "b"]}),
    ]
    return [sample.with_encoded(image) for sample in samples]


def check_adapt(adapter: Adapter, format: Format, target: Path) -> None:
    """Awkward samples are adapted, written and read again: each is there, and what has changed was counted."""
    samples = awkward_samples()
    before = [text_of(sample) for sample in samples]
    header = Header(LABELS, {"train2017": [0, 2, 3], "a/val": [1, 4]}, [])
    findings = Findings()
    plan = adapter.plan(header, [sample.key for sample in samples], findings)
    assert len(set(plan.keys)) == len(plan.keys) == len(samples)
    assert plan.source == LABELS
    assert plan.table.shape == (len(LABELS) + 1,) and plan.table.max() < len(plan.header.labels)
    adapted = [adapter.adapt(plan, index, sample, findings) for index, sample in enumerate(samples)]
    assert [text_of(sample) for sample in samples] == before
    again = [adapter.adapt(plan, index, sample, Findings()) for index, sample in enumerate(samples)]
    assert list(map(text_of, adapted)) == list(map(text_of, again))
    write(format, adapted, plan.header, target)
    source, others, repeated = samples_of(format, target)
    assert not repeated.skips
    by_key = {sample.key: sample for sample in others}
    assert set(by_key) >= {key for key, sample in zip(plan.keys, samples, strict=True) if sample.has_instances}
    for key, sample in zip(plan.keys, samples, strict=True):
        assert key not in by_key or by_key[key].encoded == sample.encoded
    drops = findings.as_dict()["losses"]
    written = sum(len(sample.instances) for sample in others)
    if written != sum(len(sample.instances) for sample in samples):
        assert drops or findings.remarks
    known = {category.name for category in source.labels.categories}
    for category in LABELS.categories:
        assert category.name in known or drops or findings.remarks
