"""Which edit may follow which: every edit is compared with the pack and with those before it, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from segdata.correction.edits import (
    AcceptEdit,
    AddEdit,
    AnyEdit,
    CategoryEdit,
    DeleteEdit,
    FlagsEdit,
    MapEdit,
    MaskEdit,
    NoteEdit,
    OfObject,
    UndoEdit,
    masks_of,
)
from segdata.errors import InvalidInput, SegdataError, number_of
from segdata.pack.store import Store

MAX_EDITS = 100_000
"""Edits of one sample."""


@dataclass
class History:
    """The edits of one sample, in order.

    Attributes:
        rows: how many objects the sample has in the pack.
        edits: all of them, undone ones and undos, too.
    """

    rows: int
    edits: list[AnyEdit] = field(default_factory=list)
    _by_number: dict[int, AnyEdit] = field(default_factory=dict)
    _undoing: dict[int, tuple[int, bool]] = field(default_factory=dict)  # undo → the edit, and whether it counts since
    _latest: dict[int, int] = field(default_factory=dict)  # edit → the last undo that was about it
    _active: set[int] = field(default_factory=set)
    _of: dict[str, set[int]] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The number of the last edit, 0 for none."""
        return self.edits[-1].n if self.edits else 0

    def active(self, only: Sequence[str] = ()) -> list[AnyEdit]:
        """The edits that count, without those that are undone, without undos and notes.

        Args:
            only: these ops; all where empty.
        """
        return [
            edit
            for edit in self.edits
            if edit.n in self._active and not isinstance(edit, NoteEdit) and (not only or edit.op in only)
        ]

    def notes(self) -> list[NoteEdit]:
        """The notes that are not undone."""
        return [edit for edit in self.edits if isinstance(edit, NoteEdit) and edit.n in self._active]

    def is_undone(self, edit: AnyEdit) -> bool:
        """Whether an edit does not count; an undo does not where another one of the same edit came after it."""
        if not isinstance(edit, UndoEdit):
            return edit.n not in self._active
        root, _ = self._undoing[edit.n]
        return self._latest[root] != edit.n

    def add(self, edit: AnyEdit) -> None:
        """Take an edit.

        Raises:
            InvalidInput: it is of an object that is not there, or undoes what cannot be undone.
        """
        if len(self.edits) >= MAX_EDITS:
            raise InvalidInput(f"the sample has more than {number_of(MAX_EDITS, 'edit')}")
        if isinstance(edit, UndoEdit):
            self._undo(edit)
        else:
            if isinstance(edit, OfObject):
                self._require(edit, edit.n)
            elif isinstance(edit, NoteEdit) and edit.of is not None:
                self._require_known(edit.of)
            self._count(edit, is_active=True)
        self.edits.append(edit)
        self._by_number[edit.n] = edit

    def _count(self, edit: AnyEdit, *, is_active: bool) -> None:
        for numbers in (self._active, self._of.setdefault(edit.of, set()) if isinstance(edit, OfObject) else set()):
            if is_active:
                numbers.add(edit.n)
            else:
                numbers.discard(edit.n)

    def _undo(self, edit: UndoEdit) -> None:
        target = self._by_number.get(edit.of)
        if target is None:
            raise InvalidInput(f"edit {edit.of} is not one of this sample before this one", place="of")
        root, to_active = edit.of, False
        if isinstance(target, UndoEdit):
            root, did_bring_back = self._undoing[edit.of]
            to_active = not did_bring_back
        if (root in self._active) == to_active:
            raise InvalidInput(f"edit {root} {'counts already' if to_active else 'is undone already'}", place="of")
        changed = self._by_number[root]
        if isinstance(changed, OfObject):
            if to_active:
                self._require(changed, root)
            later = {n for n in self._of[changed.of] if n > root}
            if later and isinstance(changed, DeleteEdit if to_active else (AddEdit, AcceptEdit)):
                raise InvalidInput(
                    f"edit {max(later)} is of the same object", place="of", fix=f"undo edit {max(later)} first"
                )
        self._count(changed, is_active=to_active)
        self._undoing[edit.n] = (root, to_active)
        self._latest[root] = edit.n

    def _require_known(self, of: str) -> None:
        if of.startswith("new-"):
            if not isinstance(self._by_number.get(int(of[4:])), AddEdit | AcceptEdit):
                raise InvalidInput(f"no edit before this one adds {of!r} to this sample", place="of")
        elif int(of) >= self.rows:
            raise InvalidInput(
                f"the sample has no object in row {of}", place="of", why=f"it has {number_of(self.rows, 'object')}"
            )

    def _require(self, edit: OfObject, n: int) -> None:
        """Refuse an edit of an object that is not there at edit `n`."""
        if isinstance(edit, AddEdit | AcceptEdit):
            if edit.of != f"new-{n}":
                raise InvalidInput(f"what edit {n} adds is not called {edit.of!r}", place="of", fix=f'write "new-{n}"')
            return
        self._require_known(edit.of)
        if edit.of.startswith("new-") and int(edit.of[4:]) not in self._active:
            raise InvalidInput(f"the object {edit.of!r} was undone", place="of", fix=f"bring edit {edit.of[4:]} back")
        for other in self._of.get(edit.of, ()):
            if other < n and isinstance(self._by_number[other], DeleteEdit):
                raise InvalidInput(f"edit {other} deleted this object", place="of", fix=f"undo edit {other} first")


class Histories:
    """The edits of a pack, by sample.

    Args:
        store: the pack's files.

    Attributes:
        of: sample → its edits; samples without edits are not in it.
        count: number of edits.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.of: dict[int, History] = {}
        self.count = 0

    def add(self, edit: AnyEdit) -> int:
        """Take the next edit; returns its sample.

        Raises:
            InvalidInput: the pack has no such sample, object, category or pixel, or the number is not the next.
        """
        if edit.n != self.count + 1:
            raise InvalidInput(
                "edits are not numbered one after another", place="n", why=f"found {edit.n}, expected {self.count + 1}"
            )
        index = self.index(edit.split, edit.key)
        try:
            self._require_fits(edit, index)
            history = self.of.get(index) or History(self.rows(index))
            history.add(edit)
        except SegdataError as error:
            raise error.located(key=edit.key) from error
        self.of[index] = history
        self.count += 1
        return index

    def take_back(self, edit: AnyEdit) -> None:
        """Forget the last edit, which could not be written."""
        index = self.index(edit.split, edit.key)
        edits = self.of.pop(index).edits[:-1]
        self.count -= 1
        if edits:
            self.of[index] = History(self.rows(index))
            for item in edits:
                self.of[index].add(item)

    def get(self, index: int) -> History:
        """The edits of a sample, possibly none."""
        return self.of.get(index) or History(self.rows(index))

    def rows(self, index: int) -> int:
        """How many objects a sample has in the pack."""
        shard, row = self.store.locate(index)
        begin, end = shard.table["instance/pointer"][row : row + 2].tolist()
        return int(end - begin)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of a sample."""
        shard, row = self.store.locate(index)
        height, width = shard.table["image/size"][row].tolist()
        return height, width

    def name(self, index: int) -> tuple[str | None, str]:
        """The first split of a sample, None for none, and its key: what edits call it."""
        splits = (name for name, is_member in self._members.items() if is_member[index])
        return next(splits, None), self.store.key(index)

    def index(self, split: str | None, key: str) -> int:
        """The sample that an edit names.

        Raises:
            InvalidInput: none, or several of no split.
        """
        if split is not None and split not in self._members:
            names = ", ".join(map(repr, self._members))
            raise InvalidInput(f"the pack has no split {split!r}"[:300], place="split", why=f"it has {names}"[:300])
        matches = [index for index in self.store.with_key(key) if self._is_in(index, split)]
        if len(matches) != 1:
            where = "of no split" if split is None else f"in the split {split!r}"
            count = "no sample" if not matches else f"{len(matches)} samples"
            raise InvalidInput(f"the pack has {count} {where} with the key {key!r}"[:300], place="key")
        return matches[0]

    def _is_in(self, index: int, split: str | None) -> bool:
        if split is not None:
            return bool(self._members[split][index])
        return not any(is_member[index] for is_member in self._members.values())

    @cached_property
    def _members(self) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        members = {}
        for name, indices in self.store.splits.items():
            members[name] = np.zeros(self.store.count, bool)
            members[name][indices] = True
        return members

    def _require_fits(self, edit: AnyEdit, index: int) -> None:
        """Refuse a category or a mask that the pack or the image does not have."""
        if isinstance(edit, AddEdit | AcceptEdit | CategoryEdit | MapEdit) and edit.category is not None:
            count = len(self.store.labels)
            if edit.category >= count:
                raise InvalidInput(
                    f"there is no category {edit.category}", place="category", why=f"there are 0 … {count - 1}"
                )
        if isinstance(edit, MaskEdit | AddEdit | AcceptEdit | MapEdit):
            masks_of(edit, *self.size(index))
        if isinstance(edit, FlagsEdit) and not edit.flags.given():
            raise InvalidInput("no flag is given", place="flags")
