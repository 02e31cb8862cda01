"""A pack that is being corrected: edits are written one after another, samples shown with them, and masks proposed.

What is asked comes as JSON, as a page sends it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct

from segdata.core.arrays import BoolArray
from segdata.core.masks import Masks
from segdata.core.sample import Instances, Sample
from segdata.correction import journal
from segdata.correction.apply import first_id
from segdata.correction.edits import AnyEdit, from_wire
from segdata.correction.replay import Replayed, replay
from segdata.correction.tools import shapes
from segdata.derivation.pieces import Parent
from segdata.errors import NotThere, SegdataError, UsageError
from segdata.pack.read import Pack

_Side = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
_Strokes = list[list[tuple[float, float]]]


class _Drawn(Struct, forbid_unknown_fields=True):
    """A mask that the page sends."""

    frame: tuple[_Side, _Side, _Side, _Side]
    runs: bytes


class _Prompt(Struct, forbid_unknown_fields=True):
    """A box x y width height, and strokes."""

    i: int
    box: tuple[float, float, float, float]
    foreground: _Strokes = []
    background: _Strokes = []
    radius: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    mask: _Drawn | None = None


class _Rings(Struct, forbid_unknown_fields=True):
    i: int
    rings: list[list[float]]


class _Whole(Struct, forbid_unknown_fields=True):
    i: int
    mask: _Drawn


class _Grown(Struct, forbid_unknown_fields=True):
    i: int
    mask: _Drawn
    by: float


_ASKS: dict[str, Any] = {
    "grabcut": _Prompt,
    "model": _Prompt,
    "polygon": _Rings,
    "fill": _Whole,
    "largest": _Whole,
    "grow": _Grown,
}
"""Tool → what is asked of it."""


class Editing:
    """The edits of a pack, which this process alone writes.

    Args:
        path: the file of edits, made where there is none.
        model: the folder of a promptable model.

    Attributes:
        threads: edits and proposals are made in this thread, one after another.

    Raises:
        LockHeld: another process has the file open.
        InvalidInput, DamagedData: it is of another pack, or is no file of edits.
    """

    def __init__(self, pack: Pack, path: Path, model: Path | None) -> None:
        self._pack = pack
        self._opened = ExitStack()
        self._model = None if model is None else _model(model)
        store = Parent.open(pack.path).store
        self._journal = self._opened.enter_context(journal.opened(path, store))
        self._first_id = first_id(store)
        self.threads = ThreadPoolExecutor(1, "edits")
        self._image: tuple[int, Any] = (-1, None)
        self._embedding: tuple[int, Any] = (-1, None)

    def close(self) -> None:
        """Let the file go; the edit under way is written first."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self._opened.close()

    @property
    def cut(self) -> int:
        """Bytes of a torn last line that were cut off."""
        return self._journal.cut

    @property
    def path(self) -> Path:
        """The file of edits."""
        return self._journal.path

    def document(self) -> dict[str, Any]:
        """What the page needs to know of it."""
        has_opencv = find_spec("cv2") is not None
        tools = [*(["grabcut", "fill", "largest", "grow"] if has_opencv else []), "polygon"]
        return {
            "edits": {"file": self.path.name, "last": self._journal.last},
            "tools": [*tools, *(["model"] if self._model is not None else [])],
            "model": None if self._model is None else self._model.kind,
        }

    # ------------------------------------------------------------------ edits

    def last(self, number: int) -> int:
        """The number of a sample's last edit, 0 for none."""
        return self._journal.histories.get(number).last

    @property
    def count(self) -> int:
        """How many edits there are."""
        return self._journal.histories.count

    def edited(self) -> list[int]:
        """The numbers of the samples that have edits, ascending."""
        return sorted([*self._journal.histories.of])

    def last_edit(self, number: int) -> AnyEdit | None:
        """A sample's last edit; None where it has none."""
        edits = self._journal.histories.get(number).edits
        return edits[-1] if edits else None

    def replayed(self, number: int, sample: Sample) -> Replayed:
        """A sample with its edits.

        Raises:
            InvalidInput: an edit replaces another mask than the object had.
        """
        try:
            return replay(sample, self._journal.histories.get(number), self._pack.labels, first_id=self._first_id)
        except SegdataError as error:
            raise error.located(file=self.path, key=sample.key) from error

    def edits(self, number: int) -> dict[str, Any]:
        """The edits of a sample, and what they call each of its objects, in the order of its masks."""
        history = self._journal.histories.get(number)
        listed = []
        for edit in history.edits:
            values = {name: getattr(edit, name, None) for name in ("of", "by", "category", "text")}
            known = {name: value for name, value in values.items() if value is not None}
            listed.append({"n": edit.n, "op": edit.op, "at": edit.at, **known, "undone": history.is_undone(edit)})
        names = self.replayed(number, self._pack[number]).names
        return {"last": history.last, "objects": list(names), "edits": listed}

    def parsed(self, body: bytes) -> tuple[int, int, dict[str, Any]]:
        """The sample, its last edit as the page knows it, and the members of the edit that the page sends.

        Raises:
            UsageError: no such document.
        """
        fields = _json(body)
        number, after = fields.pop("i", None), fields.pop("after", None)
        if type(number) is not int or type(after) is not int:
            raise UsageError("i and after are numbers: of the sample, and of its last edit")
        if wrong := fields.keys() & {"n", "at", "split", "key", "by"}:
            raise UsageError(f"{min(wrong)!r} is filled in by the server", fix="leave it out")
        return number, after, fields

    def append(self, number: int, fields: dict[str, Any], after: int) -> AnyEdit | None:
        """Write an edit; None where `after` is not the sample's last one."""
        return self._journal.append(number, fields, after=after)

    # ------------------------------------------------------------------ proposals

    def asked(self, name: str, body: bytes) -> tuple[int, Any]:
        """The sample, and what is asked of a tool about it.

        Raises:
            NotThere: there is no such tool here.
            UsageError: it is asked otherwise.
        """
        if name not in self.document()["tools"]:
            raise NotThere(f"there is no tool {name[:40]!r} here", fix="pip install 'segdata[edit]'")
        try:
            ask = msgspec.convert(_json(body), _ASKS[name])
        except (msgspec.ValidationError, UnicodeEncodeError) as error:
            why, _, place = str(error).splitlines()[0].partition(" - at ")
            raise UsageError(f"{name} is asked otherwise", place=place.strip("`") or None, why=why[:300]) from error
        return ask.i, ask

    def proposed(self, name: str, ask: Any, number: int, sample: Sample) -> Sample:
        """A sample of one object: the mask that a tool proposes."""
        height, width = sample.height, sample.width
        proposals: dict[str, Callable[[], BoolArray]] = {
            "polygon": lambda: shapes.polygon(ask.rings, height, width),
            "fill": lambda: shapes.filled(_dense(ask.mask, sample)),
            "largest": lambda: shapes.largest(_dense(ask.mask, sample)),
            "grow": lambda: shapes.grown(_dense(ask.mask, sample), ask.by),
            "grabcut": lambda: self._cut(ask, number, sample),
            "model": lambda: self._prompted(ask, number, sample),
        }
        mask = proposals[name]()
        instances = Instances.build([0], Masks.from_dense(mask[None]))
        return Sample(sample.key, height, width, instances=instances)

    def _cut(self, ask: _Prompt, number: int, sample: Sample) -> BoolArray:
        from segdata.correction.tools.grabcut import grabcut

        previous = None if ask.mask is None else _dense(ask.mask, sample)
        strokes = ask.foreground, ask.background
        return grabcut(self._decoded(number, sample), _corners(ask.box), *strokes, previous=previous, width=ask.radius)

    def _prompted(self, ask: _Prompt, number: int, sample: Sample) -> BoolArray:
        """What the promptable model takes for the object: of strokes it gets the middle and the ends."""
        assert self._model is not None
        if self._embedding[0] != number:
            self._embedding = (number, self._model.embed(self._decoded(number, sample)))
        points = [
            [point for stroke in strokes for point in {stroke[0], stroke[len(stroke) // 2], stroke[-1]}]
            for strokes in ([each for each in ask.foreground if each], [each for each in ask.background if each])
        ]
        mask: BoolArray = self._model.mask(self._embedding[1], _corners(ask.box), *points)
        return mask

    def _decoded(self, number: int, sample: Sample) -> Any:
        """The pixels of an image; of the last one that was asked for they are kept."""
        if self._image[0] != number:
            self._image = (number, sample.image)
        return self._image[1]


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("what was sent is no JSON", why=str(error)[:200]) from error
    if not isinstance(document, dict):
        raise UsageError("what was sent is no JSON object")
    return document


def _dense(mask: _Drawn, sample: Sample) -> BoolArray:
    return np.asarray(from_wire(mask.frame, mask.runs, sample.height, sample.width)[0] != 0, bool)


def _corners(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    return x, y, x + width, y + height


def _model(folder: Path) -> Any:
    if missing := [name for name in ("onnxruntime", "cv2") if find_spec(name) is None]:
        extra = "edit" if missing[0] == "cv2" else "onnx"
        raise UsageError(f"--model needs {missing[0]}, which is not installed", fix=f"pip install 'segdata[{extra}]'")
    from segdata.correction.tools.promptable import open_model

    return open_model(folder)
