"""What an edit can be, and its line in an edits file; docs/view.md specifies the file for other writers.

A line is a JSON object whose last member is the CRC-32 of everything before it:

    {"n":7,"at":"2026-05-04T09:30:00Z","split":"val","key":"000001","op":"delete","of":"12","crc":"9f3a51c2"}
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from segdata.core.masks import Masks
from segdata.core.rle import odd_positions, pointer_of, uncropped
from segdata.errors import DamagedData, InvalidInput, number_of
from segdata.system.files import crc32

FORMAT = "segdata edits"
VERSION = 1

FLAGS = ("iscrowd", "difficult", "truncated", "occluded")
"""What the op "flags" can set."""

MAX_LINE = 1 << 23
"""Bytes of the longest line; the mask of a brush on 2048 × 1024 pixels takes 20,000."""

_END = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_END_BYTES = len(b',"crc":"00000000"}')

_Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
_Crc = Annotated[str, Meta(pattern="^[0-9a-f]{8}$")]
_Number = Annotated[int, Meta(ge=1, le=1 << 53)]
_Object = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,8}|new-[1-9][0-9]{0,15})$")]
_Category = Annotated[int, Meta(ge=0, le=65534)]
_Side = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_Frame = tuple[_Side, _Side, _Side, _Side]
_Name = Annotated[str, Meta(max_length=200)]
_Key = Annotated[str, Meta(max_length=100_000)]


class Header(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first line: which pack the edits are of.

    Attributes:
        pack: the CRC-32 in its `pack.json`.
        shards: SHA-256 of its annotation tables, in order.
        labels: `LabelSpace.digest` of its categories.
    """

    format: str
    version: int
    pack: _Crc
    shards: list[_Hex]
    labels: _Hex


class Edit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True, tag_field="op"):
    """What all edits say.

    Attributes:
        n: its number: 1, 2, 3 … in the order of the file.
        at: when, as ISO 8601 has it.
        split, key: the sample; `split` is one of its splits, None for a sample of no split.
        by: who, where that is known.
        tool: what it was made with, and how.
    """

    n: _Number
    at: Annotated[str, Meta(max_length=40)]
    split: str | None
    key: _Key
    by: _Name | None = None
    tool: dict[str, Any] | None = None

    @property
    def op(self) -> str:
        """What it does: "mask", "add" …"""
        return str(type(self).__struct_config__.tag)


class OfObject(Edit, frozen=True, kw_only=True):
    """An edit of one object.

    Attributes:
        of: the object's row among those of its sample in the pack, "12", or "new-7" for the one that edit 7 added.
    """

    of: _Object


class Flags(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The flags that are set (True) or cleared (False); None leaves one as it is."""

    iscrowd: bool | None = None
    difficult: bool | None = None
    truncated: bool | None = None
    occluded: bool | None = None

    def given(self) -> dict[str, bool]:
        """Name → value of those that are given."""
        return {name: value for name in FLAGS if (value := getattr(self, name)) is not None}


class MaskEdit(OfObject, frozen=True, kw_only=True, tag="mask"):
    """Another mask.

    Attributes:
        frame: x y width height of a box in pixels, half-open.
        runs: uint16, little-endian: lengths of zeros, ones, zeros … inside it, column by column; a run above 65,535 is
            split by one of length zero. Base64 in the file.
        was: `mask_digest` of the mask that it replaces.
    """

    frame: _Frame
    runs: bytes
    was: _Hex | None = None


class AddEdit(OfObject, frozen=True, kw_only=True, tag="add"):
    """A new object, at the end of its sample's; `of` is "new-" and the edit's own number."""

    category: _Category
    frame: _Frame
    runs: bytes
    flags: Flags = Flags()


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where an accepted object comes from: the CRC-32 of the pack of predictions, the object's row there, its score."""

    pack: _Crc
    of: Annotated[int, Meta(ge=0)]
    score: float | None = None


class AcceptEdit(OfObject, frozen=True, kw_only=True, tag="accept"):
    """A prediction that becomes a new object, as `AddEdit` has it."""

    category: _Category
    frame: _Frame
    runs: bytes
    flags: Flags = Flags()
    prediction: Source | None = None


class DeleteEdit(OfObject, frozen=True, kw_only=True, tag="delete"):
    """An object that goes."""


class CategoryEdit(OfObject, frozen=True, kw_only=True, tag="category"):
    """Another category, as its index in the pack's label space."""

    category: _Category


class FlagsEdit(OfObject, frozen=True, kw_only=True, tag="flags"):
    """Other flags."""

    flags: Flags


class MapEdit(Edit, frozen=True, kw_only=True, tag="map"):
    """Pixels of the label map that get a category, or void where it is None; `frame` and `runs` as in `MaskEdit`."""

    frame: _Frame
    runs: bytes
    category: _Category | None


class NoteEdit(Edit, frozen=True, kw_only=True, tag="note"):
    """A remark about a sample, or an object of it, which changes nothing."""

    text: Annotated[str, Meta(max_length=10_000)]
    of: _Object | None = None


class UndoEdit(Edit, frozen=True, kw_only=True, tag="undo"):
    """Makes edit `of` of the same sample as if it had not been; of an undo, brings back what that took away."""

    of: _Number


AnyEdit = MaskEdit | AddEdit | AcceptEdit | DeleteEdit | CategoryEdit | FlagsEdit | MapEdit | NoteEdit | UndoEdit
WithMask = MaskEdit | AddEdit | AcceptEdit | MapEdit

OPS = ("mask", "add", "accept", "delete", "category", "flags", "map")
"""Ops that change a pack, as `apply --only` takes them."""

# ---------------------------------------------------------------------- lines


def encode(item: Header | AnyEdit) -> bytes:
    """An item's line, with its checksum and the line's end."""
    body = json.dumps(msgspec.to_builtins(item), separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]
    return b'%s,"crc":"%08x"}\n' % (body, crc32(body))


def decode(line: bytes, kind: Any) -> Any:
    """An item of a line, without its end.

    Args:
        kind: `Header` or `AnyEdit`.

    Raises:
        DamagedData: its checksum is not that of its text.
        InvalidInput: no JSON, or no edit: the member is named.
    """
    end = _END.fullmatch(line[-_END_BYTES:])
    if end is None:
        raise DamagedData('the line does not end with its checksum, ,"crc":"…"}')
    body = line[:-_END_BYTES]
    if crc32(body) != int(end[1], 16):
        raise DamagedData("the line is damaged", why=f"expected crc {end[1].decode()}, found {crc32(body):08x}")
    try:
        return msgspec.convert(json.loads(body + b"}", parse_constant=_no_number), kind)
    except msgspec.ValidationError as error:
        why, _, place = str(error).splitlines()[0].partition(" - at ")
        raise InvalidInput(
            f"the line is no {'edit' if kind is not Header else 'header'}", why=f"{why} {place}".strip()[:300]
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the line is no JSON", why=str(error)[:200]) from error


def edit_of(fields: dict[str, Any]) -> AnyEdit:
    """An edit of its members.

    Raises:
        InvalidInput: an unknown op or member, a missing one, or one of another type: it is named.
    """
    try:
        edit: AnyEdit = msgspec.convert(fields, AnyEdit)
        return edit
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        why, _, place = str(error).splitlines()[0].partition(" - at ")
        raise InvalidInput("this is no edit", place=place.strip("`") or None, why=why[:300]) from error


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")


# ---------------------------------------------------------------------- masks


def masks_of(edit: WithMask, height: int, width: int) -> Masks:
    """The mask of an edit, as one of an image of this size; see `from_wire`."""
    return from_wire(edit.frame, edit.runs, height, width)


def from_wire(frame: tuple[int, int, int, int], data: bytes, height: int, width: int) -> Masks:
    """The mask that stands in a frame as runs, as one of an image of this size.

    Raises:
        InvalidInput: the frame leaves the image, the runs do not add up to it, or no pixel is set.
    """
    x, y, w, h = frame
    runs = np.frombuffer(data, "<u2") if len(data) % 2 == 0 else None
    if runs is None:
        raise InvalidInput("runs are no numbers of two bytes", place="runs", why=f"there are {len(data)} bytes")
    if w < 1 or h < 1 or x + w > width or y + h > height:
        raise InvalidInput(
            "the frame is empty or leaves the image",
            place="frame",
            why=f"x y width height are {list(frame)}, the image has {width} × {height} pixels",
        )
    total = int(runs.sum(dtype=np.int64))
    if total != w * h:
        raise InvalidInput(
            "runs do not add up to the frame",
            place="runs",
            why=f"they sum to {total:,}, the frame has {w * h:,} pixels",
        )
    pointer = pointer_of(np.array([len(runs)]))
    if not runs[odd_positions(pointer)].any():
        raise InvalidInput("the mask has no pixel", place="runs", fix='delete the object with the op "delete"')
    spans = uncropped(np.array([frame], np.int32), runs.astype(np.uint16), pointer, height)
    return Masks.of_images(spans, np.array([[height, width]]), np.array([0, 1]))[0]


def mask_digest(masks: Masks, index: int = 0) -> str:
    """SHA-256 of a mask: its tight box x y width height as int32, then its runs as uint16, little-endian."""
    runs = masks.runs[int(masks.pointer[index]) : int(masks.pointer[index + 1])]
    return hashlib.sha256(masks.boxes_xywh[index].astype("<i4").tobytes() + runs.astype("<u2").tobytes()).hexdigest()


def wire(masks: Masks, index: int = 0) -> dict[str, Any]:
    """`frame` and `runs` of a mask, as members of an edit."""
    runs: npt.NDArray[np.uint16] = masks.runs[int(masks.pointer[index]) : int(masks.pointer[index + 1])]
    return {"frame": tuple(masks.boxes_xywh[index].tolist()), "runs": runs.astype("<u2").tobytes()}


def too_long() -> InvalidInput:
    """The error of a line that is longer than any."""
    return InvalidInput("the line is longer than any edit", why=f"it has more than {number_of(MAX_LINE, 'byte')}")
