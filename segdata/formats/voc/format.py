"""PASCAL VOC: XML with boxes, palette PNGs with classes and objects, lists of names.

    root/                                        (VOCdevkit/VOC2012)
        Annotations/2007_000027.xml              objects: 1-based inclusive boxes
        ImageSets/{Segmentation,Main,Layout,Action}/*.txt
        JPEGImages/2007_000027.jpg
        SegmentationClass/2007_000032.png        palette indices: class, 0 background, 255 void
        SegmentationObject/2007_000032.png       palette indices: object number, 255 void
        labelmap.txt                             only where the classes are not VOC's own: NAME:R,G,B:parts:actions

`Segmentation/train` is the split "train"; other lists keep their folder ("Main/train"). Lists per class
(`Main/dog_train.txt`) are no splits; their text is kept. Images in no list are samples without a split.

Traps: boxes are inclusive and may be fractional; parts have boxes of their own inside an object; fields change their
order between years; object k of the mask is the k-th `<object>` only where the classes agree; only some images have
masks; masks of copies may be RGB. `folders.py` has the layouts of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.core import images
from segdata.core.findings import Findings
from segdata.core.labels import LabelSpace
from segdata.core.sample import Sample
from segdata.errors import InvalidAnnotation, InvalidImage, NotThere, number_of
from segdata.formats.contract import Entry, Header, ReadOptions, Source
from segdata.formats.shared import binary, lists, pairs, verbatim
from segdata.formats.shared.folder import image_bytes, image_size, read_bytes, stem, write_file, write_image
from segdata.formats.voc import classes, folders
from segdata.formats.voc import masks as voc_masks
from segdata.formats.voc.entries import listed
from segdata.formats.voc.folders import CLASSES, OBJECTS
from segdata.formats.voc.image_sets import read_lists
from segdata.formats.voc.masks import VOID
from segdata.formats.voc.objects import OBJECT, fill, instances_of, object_nodes, template_of
from segdata.formats.voc.residue import nodes_of
from segdata.formats.xml import Node, Tree, parse, serialise
from segdata.system.files import inside

LAYOUT = "JPEGImages/ with Annotations/*.xml or SegmentationClass/*.png, or XML beside images (PASCAL VOC)"

_IMAGE: list[Any] = [
    ["folder", "VOC2012"],
    "filename",
    ["source", [["database", "segdata"]]],
    "size",
    "segmented",
    "object",
]


# ---------------------------------------------------------------------- entries


def detect(root: Path) -> bool:
    """Whether the folder has VOC's sub-folders; `folders.is_relative` knows the other layouts."""
    return root.is_dir() and folders.is_official(root)


def scan(root: Path, findings: Findings, options: ReadOptions, *, labels: LabelSpace | None = None) -> Source:
    """Every image that has a file, an annotation or a mask, sorted by name, and the lists."""
    listing = listed(root, options, findings)
    entries = listing.entries
    labels, tables = classes.decide(root, entries, labels, options, findings)
    documents = [
        {"format": "voc", "file": name, **verbatim.from_text(read_bytes(root, name, "the dataset"))} for name in tables
    ]
    files = [*(file for entry in entries for file in entry.data.names), *tables]
    image_sets, in_lists = read_lists(root, {entry.key: index for index, entry in enumerate(entries)}, findings)
    files += [document["file"] for document in image_sets]
    splits = in_lists or listing.splits
    if not splits:
        splits = {"all": range(len(entries))}
        findings.remark(
            "no lists of images: all are one split (--split-by train=0.8,val=0.2 makes others)",
            f"all, {number_of(len(entries), 'image')}",
        )
    if labels.name != classes.OFFICIAL:  # some of VOC's own images have no annotation
        pairs.remark_missing(pairs.NO_LABELS, entries, splits, lambda entry: bool(entry.data.names), findings)
    masks = [entry.data.classes for entry in entries if entry.data.classes]
    return Source(
        root=root,
        layout=listing.layout,
        labels=labels,
        entries=entries,
        splits=splits,
        documents=[*documents, *image_sets],
        annotation_files=files,
        data=voc_masks.are_binary(root, masks, labels),
    )


# ---------------------------------------------------------------------- load


def load(source: Source, entry: Entry, findings: Findings) -> Sample:
    """One image with its objects and label maps."""
    root, labels, files = source.root, source.labels, entry.data
    if files.unsettled is not None:
        raise files.unsettled
    tree = _parse(root, files.xml, findings)
    class_mask, semantic = voc_masks.read_classes(root, files.classes, labels, is_binary=source.data)
    is_white = source.data and class_mask is not None and binary.is_odd(class_mask)
    if is_white and semantic is not None and semantic.max() == 1:
        findings.remark(binary.REMARK, entry.key)
    objects, numbers = voc_masks.read_objects(root, files.objects)
    height, width = _size(source, entry, tree, semantic, numbers, findings=findings)
    _check_sizes(root, entry, (height, width), semantic, numbers)
    instances = None
    residue: dict[str, Any] = {}
    if tree is not None or numbers is not None:
        size = (height, width)
        instances = instances_of(tree, entry, source, findings, size=size, semantic=semantic, numbers=numbers)
    extra: dict[str, Any] = {}
    sample = Sample(
        entry.key,
        height,
        width,
        file=entry.file,
        encoded=(lambda: image_bytes(source, entry)) if entry.file else None,
        instances=instances,
        semantic=semantic,
    )
    if tree is not None:
        residue["children"] = template_of(tree.root.children, _image_nodes(sample), "object")
        if tree.root.attributes:
            residue["attributes"] = tree.root.attributes
        for name, nodes in (("before", tree.before), ("after", tree.after)):
            if nodes:
                residue[name] = [node.as_list() for node in nodes]
    for name, raw, values in (("class", class_mask, semantic), ("object", objects, numbers)):
        if raw is not None and values is not None:
            storage = voc_masks.storage_of(raw, values)
            if "indices" in storage:
                findings.remark("palette in an order of its own: values taken from its colours", entry.key)
            residue.update({f"{name}_{what}": value for what, value in storage.items()})
    if numbers is None and instances is not None and instances.has_mask.any():
        residue["object"] = False
    if files.xml is None and instances is not None:
        residue["xml"] = False
    if numbers is not None:
        again = _object_map(sample)
        if not np.array_equal(again, numbers):
            residue["object_map"] = verbatim.from_array(numbers)
            if semantic is not None and not np.array_equal(semantic == labels.void, numbers == VOID):
                findings.remark("void differs between class and object mask", entry.key)
        residue["object"] = True
    if moved := files.moved(entry.key):
        residue["files"] = moved
    if residue:
        extra["voc"] = residue
    return sample.with_annotations(instances=instances, semantic=semantic, extra=extra)


def _parse(root: Path, file: str | None, findings: Findings) -> Tree | None:
    if file is None:
        return None
    path = inside(root, file, "the dataset")
    tree = parse(read_bytes(root, file, "the dataset"), path)
    if tree.root.tag != "annotation":
        raise InvalidAnnotation(
            "XML is no VOC annotation",
            file=path,
            place="line 1",
            why=f"expected <annotation>, found <{tree.root.tag}>",
        )
    if tree.encoding:
        findings.remark("XML that is not UTF-8: read in the encoding that it declares", f"{file}: {tree.encoding}")
    filename = tree.root.child("filename")
    text = tree.root.text_of("filename")
    name = None if text is None else text.replace("\\", "/").rpartition("/")[2]
    if filename is not None and name is not None and stem(name) != path.stem and name != path.stem:
        error = InvalidAnnotation(
            "annotation names another image than its own file name",
            file=path,
            place=f"line {filename.line}",
            why=f"<filename> is {text!r}; the file is {path.name!r}",
            fix="correct <filename>",
        )
        findings.correct("<filename> is not the name of the file: the file's counts", path.stem, error)
    return tree


def _size(
    source: Source,
    entry: Entry,
    tree: Tree | None,
    semantic: npt.NDArray[Any] | None,
    numbers: npt.NDArray[Any] | None,
    *,
    findings: Findings,
) -> tuple[int, int]:
    """Height and width as annotated, else from a mask, else from the image."""
    root = source.root
    if tree is not None:
        size = tree.root.child("size")
        if size is not None:
            values = [size.text_of(tag) for tag in ("height", "width")]
            height, width = (images.side_of(value) for value in values)
            if height and width:
                return height, width
            findings.correct(
                "size of an image is none: taken from its file or mask",
                entry.key,
                InvalidAnnotation(
                    "annotation has no valid size",
                    file=root / entry.data.xml,
                    place=f"line {size.line}",
                    why=f"height and width are {values[0]!r} and {values[1]!r}",
                    fix="write the image's size",
                ),
            )
        else:
            findings.remark("annotation without <size>: taken from the mask or image", entry.key)
    for mask in (semantic, numbers):
        if mask is not None:
            return mask.shape[0], mask.shape[1]
    if not entry.file:
        raise NotThere("nothing tells the size of this image", key=entry.key, file=root)
    return image_size(source, entry)


def _check_sizes(
    root: Path,
    entry: Entry,
    size: tuple[int, int],
    semantic: npt.NDArray[Any] | None,
    numbers: npt.NDArray[Any] | None,
) -> None:
    """Refuse masks of another size than the image."""
    if semantic is not None and numbers is not None and semantic.shape != numbers.shape:
        raise InvalidImage(
            "class and object mask are of different sizes",
            file=root / entry.data.objects,
            key=entry.key,
            why=f"{semantic.shape} and {numbers.shape} (height, width)",
        )
    for file, shape in ((entry.data.classes, semantic), (entry.data.objects, numbers)):
        if shape is not None and shape.shape != size:
            raise InvalidImage(
                "mask is of another size than the image",
                file=root / file,
                key=entry.key,
                why=f"mask {shape.shape}, image {size} (height, width)",
            )


def _image_nodes(sample: Sample) -> dict[str, Node]:
    has_masks = sample.semantic is not None or bool(sample.instances.has_mask.any())
    return {
        "filename": Node("filename", sample.file.rpartition("/")[2] or f"{sample.key}.jpg"),
        "size": Node(
            "size", [Node("width", str(sample.width)), Node("height", str(sample.height)), Node("depth", "3")]
        ),
        "segmented": Node("segmented", str(int(has_masks))),
    }


def _object_map(sample: Sample) -> npt.NDArray[np.uint8]:
    """(H, W) object mask: object numbers over the background, void where the class mask is void."""
    instances = sample.instances
    chosen = np.nonzero(instances.has_mask & (instances.id >= 0) & (instances.id < VOID))[0]
    canvas = np.zeros((sample.height, sample.width), np.uint8)
    if sample.semantic is not None:
        canvas[sample.semantic == np.iinfo(sample.semantic.dtype).max] = VOID
    return instances.masks[chosen].paint(instances.id[chosen], canvas)


# ---------------------------------------------------------------------- write


def write_part(samples: Iterable[tuple[int, Sample]], root: Path, header: Header, number: int) -> Mapping[str, Any]:
    """Write image, XML and masks of every sample."""
    written, masked = [], []
    for _, sample in samples:
        written.append(sample.key)
        if sample.semantic is not None:
            masked.append(sample.key)
        write_image(root, sample)
        residue = sample.extra.get("voc", {})
        moved = residue.get("files", {})
        if sample.has_instances and residue.get("xml", True):
            write_file(
                root,
                moved.get("xml", f"Annotations/{sample.key}.xml"),
                serialise(
                    _tree(sample, header.labels, residue),
                    nodes_of(residue.get("before", ())),
                    nodes_of(residue.get("after", ())),
                ),
            )
        if sample.semantic is not None:
            semantic = sample.semantic.astype(np.uint8)
            file = moved.get("class", f"{CLASSES}/{sample.key}.png")
            write_file(root, file, _png("class", semantic, header.labels, residue))
        if residue.get("object", bool(sample.instances.has_mask.any())):
            if "object_map" in residue:
                numbers = verbatim.to_array(residue["object_map"])
            elif "object_numbers" in residue:
                numbers = residue["object_numbers"]
            else:
                numbers = _object_map(sample)
            file = moved.get("object", f"{OBJECTS}/{sample.key}.png")
            write_file(root, file, _png("object", numbers, None, residue))
    return {"keys": written, "masked": masked}


def _tree(sample: Sample, labels: LabelSpace, residue: Mapping[str, Any]) -> Node:
    instances = sample.instances
    objects: list[Node] = []
    for index in range(len(instances)):
        extra = instances.extra[index]
        object_residue = extra.get("voc", {})
        if not object_residue.get("xml", True):
            continue
        known = object_nodes(instances, index, labels, extra)
        objects.append(_node("object", fill(object_residue.get("children", OBJECT), known, "", ()), object_residue))
    template = residue.get("children", _IMAGE)
    filled = fill(template, _image_nodes(sample), "object", objects)
    if "object" not in template:
        filled += objects
    return _node("annotation", filled, residue)


def _node(tag: str, nodes: list[Node], residue: Mapping[str, Any]) -> Node:
    return Node(tag, nodes, residue.get("attributes", {}))


def _png(name: str, values: npt.NDArray[np.uint8], labels: LabelSpace | None, residue: Mapping[str, Any]) -> bytes:
    prefix = f"{name}_"
    storage = {what.removeprefix(prefix): value for what, value in residue.items() if what.startswith(prefix)}
    return voc_masks.to_png(values, labels, storage)


def finish(receipts: Sequence[Mapping[str, Any]], root: Path, header: Header) -> None:
    """Write the lists, without the names of samples that were not written, and the label map where there was one."""
    written = {key for receipt in receipts for key in receipt["keys"]}
    masked = {key for receipt in receipts for key in receipt["masked"]}
    for document in header.documents:
        if document.get("format") != "voc":
            continue
        is_list = document["file"].startswith("ImageSets/")
        names = masked if document.get("only_masked") else written
        write_file(root, document["file"], lists.without_absent(document, names) if is_list else lists.text(document))
