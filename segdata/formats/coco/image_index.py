"""The images of COCO documents: their records, where their files lie, and which annotations they have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from segdata.core import images as image_files
from segdata.core.findings import Findings
from segdata.errors import InvalidAnnotation, SegdataError, Unsafe, number_of
from segdata.formats.coco.corrections import whole_number
from segdata.formats.coco.documents import MAX_ID, Document, Image, in_words, twice
from segdata.formats.coco.image_folders import ends_of, image_folder
from segdata.formats.contract import Entry, ReadOptions
from segdata.formats.shared import json_text
from segdata.formats.shared.folder import is_file, stem
from segdata.formats.shared.loose_names import LooseNames
from segdata.system.files import checked_name, inside
from segdata.system.reading import read_file


class _Link(msgspec.Struct):
    image_id: int
    id: int | None = None


class _Identified(msgspec.Struct):
    id: Any = None


_IMAGE, _LINK = msgspec.json.Decoder(Image), msgspec.json.Decoder(_Link)
_IDENTIFIED = msgspec.json.Decoder(_Identified)

_NO_ID = MAX_ID + 1
"""Of image records that are left out and have none."""

_MAX_AREA = (1 << 32) - 1
"""Pixels; larger images have no size: run lengths are counted in 32 bits (pycocotools)."""


class ImageIndex:
    """The images of all documents of a dataset; an image that several documents have is one entry.

    Attributes:
        entries: every image once; `data` is a tuple of (document, position of the image in it), the document that
            gives the sample first.
        splits: name → indices of entries.
    """

    def __init__(self, root: Path, options: ReadOptions | None = None) -> None:
        self.documents: list[Document] = []
        self.entries: list[Entry] = []
        self.splits: dict[str, list[int]] = {}
        self._root = root
        self._loose = LooseNames(root)
        self._options = options or ReadOptions()
        self._index_of_file: dict[str, int] = {}
        self._names_of_folder: dict[str, set[str]] = {}
        self._ends: dict[int, list[str]] = {}
        self._left_out: dict[int, SegdataError | None] = {}

    def add(self, document: Document, findings: Findings) -> None:
        """Index the annotations of a document, and add its images."""
        self._left_out = {}
        images, numbers = self._images(document, findings)
        position_of_id = self._positions(document, images, findings)
        document.by_image = _by_image(document, position_of_id, len(images), numbers, findings)
        members = self.splits.setdefault(document.split, [])
        known = set(members)
        folder, disk = self._folder(document, images, findings)
        self._find_by_ends(document, images, folder, disk, findings)
        self._complete_sizes(document, images, folder, disk, findings)
        counts = np.diff(document.by_image[1]).tolist()
        for position, image in enumerate(images):
            if position in self._left_out:
                continue
            file = _file_of(document, position, image, folder)
            index = self._index_of_file.setdefault(file, len(self.entries))
            if index == len(self.entries):
                on_disk = "" if disk is None else str(disk / image.file_name)
                self.entries.append(Entry(stem(image.file_name), file, data=(), disk=on_disk))
            elif self._contradicts(document, position, index):
                findings.remark(
                    "image that an earlier document annotates otherwise: its annotations are taken (--split NAME chooses)",
                    f"{document.name}: {self.entries[index].key}",
                )
            # About 500 bytes an annotation: a polygon's share. Of several documents the last counts: fingerprints know it so.
            size = 0 if document.kind == "image_info" else 500 * counts[position]
            entry = self.entries[index]
            data = (*entry.data, (len(self.documents), position))
            self.entries[index] = Entry(entry.key, file, size, data, entry.disk)
            if index not in known:
                known.add(index)
                members.append(index)
        for position, error in self._left_out.items():
            if error is not None:
                if counts[position]:
                    error.why = f"{error.why}; {number_of(int(counts[position]), 'annotation is', 'annotations are')} left out with it"
                findings.skip(error)
        self.documents.append(document)

    def _positions(self, document: Document, images: Sequence[Image], findings: Findings) -> dict[int, int]:
        """Image id → position of its record; of records of one file the first has the annotations of all.

        Raises:
            InvalidAnnotation: an id or a file name is there twice, and nothing is to be corrected.
        """
        ids = [image.id for image in images]
        names = [image.file_name for position, image in enumerate(images) if position not in self._left_out]
        position_of_id = {image: position for position, image in enumerate(ids)}
        if not self._left_out and len(position_of_id) == len(ids) and len(set(names)) == len(names):
            return position_of_id
        if findings.strict:
            what, values = ("image id", ids) if len(position_of_id) < len(ids) else ("file_name", names)
            raise twice(what, values, "images", document.path)
        position_of_id, position_of_name = {}, dict[str, int]()
        for position, image in enumerate(images):
            where = f"{document.name}: $.images[{position}] {image.file_name!r}"
            first = position_of_id.setdefault(image.id, position)
            if position in self._left_out:
                continue
            same = position_of_name.setdefault(image.file_name, position)
            if first != position and images[first].file_name != image.file_name:
                for number in (first, position):
                    self._left_out.setdefault(number, _same_id(document, number, image.id))
            elif same != position:
                findings.remark("image that an earlier record names: its annotations are added to that one's", where)
                self._left_out[position] = None
                position_of_id[image.id] = min(same, position_of_id[image.id])
        position_of_id.pop(_NO_ID, None)
        return position_of_id

    def _contradicts(self, document: Document, position: int, index: int) -> bool:
        """Whether the document that gives an image's sample is of the same kind and annotates the image otherwise."""
        number, first = self.entries[index].data[0]
        other = self.documents[number]
        if other.kind != document.kind or document.kind not in ("instances", "person_keypoints"):
            return False
        mine, theirs = document.of_image(position), other.of_image(first)
        if [bytes(document.annotations[i]) for i in mine] == [bytes(other.annotations[i]) for i in theirs]:
            return False
        records = (document.annotation_record(i) for i in mine), (other.annotation_record(i) for i in theirs)
        same = [
            [{k: v for k, v in record.items() if k not in ("id", "image_id")} for record in part] for part in records
        ]
        return same[0] != same[1]

    def _folder(self, document: Document, images: Sequence[Image], findings: Findings) -> tuple[str, Path | None]:
        """The folder of a document's images in the dataset, and its path where it lies elsewhere."""
        given = self._options.images_dir
        disk = given.get(document.split, given.get(""))
        if disk is not None:
            return document.split, disk
        looked_for = [
            Image(image.id, self._ends[index][-1], image.height, image.width) if index in self._ends else image
            for index, image in enumerate(images)
        ]
        folder = image_folder(self._root, document, looked_for, self._names_of_folder, self._loose, findings)
        self._names_of_folder.setdefault(folder, set()).update(image.file_name for image in looked_for)
        return folder, None

    def _find_by_ends(
        self, document: Document, images: Sequence[Image], folder: str, disk: Path | None, findings: Findings
    ) -> None:
        """Give images whose names are no plain paths the longest end of the name that is a file."""
        for index, ends in self._ends.items():
            if index in self._left_out:
                continue
            image, where = images[index], f"{document.name}: $.images[{index}]"
            if disk is not None:
                image.file_name = next((end for end in ends if is_file(disk / end)), ends[-1])
                continue
            files = {end: [f"{folder}/{end}" if folder else end, end] for end in ends}
            exact = ((end, file) for end in ends for file in files[end] if is_file(self._root / file))
            loose = ((end, actual) for end in ends for file in files[end] if (actual := self._loose.find(file)))
            image.file_name, document.files[index] = next(itertools.chain(exact, loose), (ends[-1], ""))
            if document.files[index]:
                findings.remark("file_name is no plain path: found by its end", f"{where} {ends[0]!r}"[:200])
                continue
            error = Unsafe(
                "the document names a path that is not allowed, and no image of the dataset ends like it",
                file=document.path,
                place=f"$.images[{index}]",
                why=f"{ends[0]!r} is no plain relative path (no '..', no leading '/', no backslash, no address)",
                fix="give the folder of the images with --images-dir; nothing else outside the dataset is ever opened",
            )
            self._leave_out(document, index, error, findings)

    def _leave_out(self, document: Document, index: int, error: SegdataError, findings: Findings) -> None:
        """Leave an image record out; its error is counted when its annotations are.

        Raises:
            SegdataError: the error, where nothing is to be left out.
        """
        if findings.strict:
            raise error
        self._left_out[index] = error
        document.corrected.setdefault(index, Image(_NO_ID, "", 1, 1))

    # ------------------------------------------------------------------ records

    def _images(self, document: Document, findings: Findings) -> tuple[list[Image], dict[str, int]]:
        """The image records, corrected; and the numbers of those whose ids are text."""
        images, numbers = [], dict[str, int]()
        self._ends = {}
        for index, raw in enumerate(document.images):
            try:
                image = _checked(_IMAGE.decode(raw))
            except (*json_text.INVALID, SegdataError) as error:
                if findings.strict:
                    raise _invalid(error, document, index) from error
                try:
                    image = self._corrected(document, index, numbers, findings)
                except SegdataError as failure:
                    self._leave_out(document, index, failure.located(place=f"$.images[{index}]"), findings)
                    image = Image(_id_of(raw, numbers), "", 1, 1)
                document.corrected[index] = image
            images.append(image)
        if numbers:
            used = {image.id for image in images if image.id >= 0}
            first = max(used, default=0) + 1
            for image in images:
                if image.id < 0:
                    image.id = first - 1 - image.id
            numbers.update({text: first - 1 - number for text, number in numbers.items()})
        return images, numbers

    def _corrected(self, document: Document, index: int, numbers: dict[str, int], findings: Findings) -> Image:
        """An image record that says plainly what is meant; ids that are text get numbers below 0 for now.

        Raises:
            InvalidAnnotation: it does not.
        """
        record, where = document.image_record(index), f"{document.name}: $.images[{index}]"
        number = record.get("id") if type(record.get("id")) is int else whole_number(record.get("id"))
        if number is None and isinstance(record.get("id"), str):
            number = numbers.setdefault(record["id"], -1 - len(numbers))
            findings.remark("image id is a text: numbered anew", f"{document.name}: {record['id']}")
        elif number is not None and type(record["id"]) is not int:
            findings.remark("image id is not written as a whole number", where)
        if number is None or (number < 0 and record["id"] not in numbers) or number > MAX_ID:
            raise _invalid_record(document, index, f"id is {record.get('id')!r}")
        sides = [whole_number(record.get(name)) or 0 for name in ("height", "width")]
        if any(not 0 <= side <= image_files.MAX_SIDE for side in sides) or sides[0] * sides[1] > _MAX_AREA:
            raise _invalid_record(document, index, f"height and width are {sides[0]} and {sides[1]}")
        if all(sides) and [record["height"], record["width"]] != sides:
            findings.remark("size of an image is not written in whole numbers", where)
        return Image(
            number, self._file_name(document, index, record, where, findings), *(sides if all(sides) else (0, 0))
        )

    def _file_name(
        self, document: Document, index: int, record: Mapping[str, Any], where: str, findings: Findings
    ) -> str:
        """A path under a folder of images; of other forms the longest end, until `_find_by_ends` has seen the files."""
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            address = record.get("coco_url")
            if not isinstance(address, str) or address.count("/") < 3:
                raise _invalid_record(document, index, f"file_name is {name!r}, and there is no coco_url")
            findings.remark("no file_name: taken from coco_url", where)
            name = "/".join(address.split("/")[-2:])
            self._ends[index] = [name, name.rpartition("/")[2]]
        try:
            checked_name(name, "the document")
        except Unsafe as error:
            ends = ends_of(name)
            if not ends:
                raise error.located(file=document.path, place=f"$.images[{index}]") from error
            self._ends[index] = ends
            return ends[0]
        return name

    def _complete_sizes(
        self, document: Document, images: Sequence[Image], folder: str, disk: Path | None, findings: Findings
    ) -> None:
        """Take sizes that the records lack from the image files."""
        for index, image in enumerate(images):
            if (image.height and image.width) or index in self._left_out:
                continue
            file = _file_of(document, index, image, folder)
            try:
                path = inside(self._root, file, "the document") if disk is None else disk / image.file_name
                header = image_files.probe(read_file(path), max_pixels=self._options.max_pixels)
            except (OSError, SegdataError) as error:
                why = f"height {image.height}, width {image.width}; and its file {file} tells none: {error}"
                invalid = _invalid_record(document, index, why.partition("\n")[0])
                invalid.fix = (
                    "write height and width, or convert with the images: segdata convert … --images-dir IMAGES"
                )
                self._leave_out(document, index, invalid, findings)
                continue
            image.height, image.width = header.height, header.width
            findings.remark(
                "no size of an image in its record: taken from the file", f"{document.name}: {stem(image.file_name)}"
            )


def _file_of(document: Document, position: int, image: Image, folder: str) -> str:
    """The file of an image under the root."""
    return document.files.get(position) or (f"{folder}/{image.file_name}" if folder else image.file_name)


def _id_of(raw: msgspec.Raw, numbers: Mapping[str, int]) -> int:
    """The id of an image record that is left out, where it has one."""
    try:
        identity = _IDENTIFIED.decode(raw).id
    except json_text.INVALID:
        return _NO_ID
    number = numbers.get(identity) if isinstance(identity, str) else whole_number(identity)
    return _NO_ID if number is None or number > MAX_ID else number


def _same_id(document: Document, index: int, number: int) -> InvalidAnnotation:
    return InvalidAnnotation(
        "two image records have the same id",
        file=document.path,
        place=f"$.images[{index}]",
        why=f"id {number} is that of another image, so that nothing says whose its annotations are",
        fix="give every image an id of its own",
    )


def _checked(image: Image) -> Image:
    is_size = (
        0 < image.height <= image_files.MAX_SIDE
        and 0 < image.width <= image_files.MAX_SIDE
        and image.height * image.width <= _MAX_AREA
    )
    if not is_size or not 0 <= image.id <= MAX_ID:
        raise InvalidAnnotation(
            "an image record is not valid", why=f"id {image.id}, height {image.height}, width {image.width}"
        )
    checked_name(image.file_name, "the document")
    return image


def _invalid(error: Exception, document: Document, index: int) -> SegdataError:
    if isinstance(error, SegdataError):
        return error.located(file=document.path, place=f"$.images[{index}]")
    return _invalid_record(document, index, str(error))


def _invalid_record(document: Document, index: int, why: str) -> InvalidAnnotation:
    return InvalidAnnotation("an image record is not valid", file=document.path, place=f"$.images[{index}]", why=why)


# ---------------------------------------------------------------------- annotations by image


def _by_image(
    document: Document,
    position_of_id: Mapping[int, int],
    images_count: int,
    numbers: Mapping[str, int],
    findings: Findings,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`Document.by_image`; annotation records without a valid id or image are reported and left out."""
    path, count = document.path, len(document.annotations)
    images = np.full(count, -1, np.int64)
    ids = np.full(count, -1, np.int64)
    texts: list[int] = []
    for position, raw in enumerate(document.annotations):
        why = fix = None
        try:
            link = _LINK.decode(raw) if findings.strict else _link(raw, numbers, position, texts)
            ids[position] = -1 if link.id is None else link.id
            images[position] = position_of_id.get(link.image_id, -1)
            if link.id is not None and not 0 <= link.id <= MAX_ID:
                message, why = "an annotation record is not valid", f"id {link.id} is not between 0 and 2^63 − 1"
            elif images[position] < 0:
                message = "an annotation names an image that the document does not define"
                why = f"{in_words(link.id)} names image {link.image_id}"
                fix = "add the image to the document, or remove the annotation"
        except (*json_text.INVALID, OverflowError) as error:
            message, why = "an annotation record is not valid", str(error)
        if why is not None:
            images[position] = -1
            json_path = f"$.annotations[{position}]"
            findings.skip(InvalidAnnotation(message, file=path, place=json_path, why=why, fix=fix))
    stated = ids[ids >= 0]
    if len(np.unique(stated)) < len(stated) and "minival" not in document.name:
        if findings.strict:
            raise twice("annotation id", ids.tolist(), "annotations", path)
        document.new_ids = dict(_new_ids(ids))
        for position in document.new_ids:
            findings.remark(
                "annotation id that another one has: numbered anew",
                f"{document.name}: annotation {ids[position]}, $.annotations[{position}]",
            )
    first = max(int(ids.max(initial=0)), *document.new_ids.values(), 0) + 1
    document.new_ids.update({position: first + number for number, position in enumerate(texts)})
    order = np.argsort(images, kind="stable")
    return order, np.searchsorted(images[order], np.arange(images_count + 1))


def _link(raw: msgspec.Raw, numbers: Mapping[str, int], position: int, texts: list[int]) -> _Link:
    """The ids of an annotation record; whole numbers may be written as text or with a point.

    Args:
        texts: receives the position where the record's own id is another text.
    """
    try:
        return _LINK.decode(raw)
    except msgspec.ValidationError:
        record = msgspec.json.decode(raw, type=dict[str, Any])
        values = {name: whole_number(record[name]) for name in ("id", "image_id") if record.get(name) is not None}
        if isinstance(record.get("image_id"), str) and record["image_id"] in numbers:
            values["image_id"] = numbers[record["image_id"]]
        if isinstance(record.get("id"), str) and values["id"] is None:
            texts.append(position)
            del values["id"]
        if None in values.values():
            raise
        return msgspec.convert(values, _Link)


def _new_ids(ids: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(position, new id) for every id after its first occurrence."""
    order = ids.argsort(kind="stable")
    is_again = (ids[order][1:] == ids[order][:-1]) & (ids[order][1:] >= 0)
    for number, position in enumerate(sorted(order[1:][is_again].tolist())):
        yield position, int(ids.max()) + 1 + number
