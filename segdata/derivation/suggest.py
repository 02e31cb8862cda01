"""`suggest_labels` finds which categories of two packs mean the same, and writes a table of labels to look through.

A suggestion is by name, or by where the masks lie in images that both packs have. Nothing is applied: the table is read
by `--labels`, by whoever has looked at it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segdata.catalog.manifest import same_names, spelling
from segdata.core.labels import LabelSpace
from segdata.core.reprs import counted, line
from segdata.core.sample import Sample
from segdata.errors import printable
from segdata.pack.read import Pack, open_pack
from segdata.sources.own_manifest import quoted
from segdata.system.files import disk_errors, write_whole

LIKE = 0.8
"""difflib's ratio from which on two names are taken for one, written differently."""

OVERLAP = 0.5
"""IoU over the images of both packs from which on two categories are taken for one."""

Pairs = dict[tuple[int, int], str]
"""Index in the one space and index in the other → why."""


@dataclass(frozen=True)
class Suggestion:
    """Two categories that may mean the same.

    Attributes:
        one, other: their names.
        reason: why: "the same name", "IoU 0.83 over 12 images of both" …
    """

    one: str
    other: str
    reason: str


@dataclass(frozen=True)
class SuggestedLabels:
    """Which categories of two packs may mean the same.

    Attributes:
        packs: the folders of both.
        suggestions: in the order of the first pack's categories.
        only_in_one, only_in_other: categories without a partner.
        images: how many images both packs have, which decided before names like each other.
    """

    packs: tuple[str, str]
    suggestions: tuple[Suggestion, ...]
    only_in_one: tuple[str, ...]
    only_in_other: tuple[str, ...]
    images: int

    def __repr__(self) -> str:
        return line(self, counted(len(self.suggestions), "suggestion"))

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return {**vars(self), "suggestions": [vars(suggestion) for suggestion in self.suggestions]}

    def table(self) -> str:
        """The table of labels in TOML, as `segdata merge --labels` takes it.

        The categories of the first pack, with those of the other that mean the same; the reason stands behind each.
        Categories of the other pack without partner are comments.
        """
        partners = {suggestion.one: suggestion for suggestion in self.suggestions}
        names = [*partners, *self.only_in_one]
        one, other = (_comment(pack) for pack in self.packs)
        lines = [
            f"# Categories of {one} and what may mean the same in {other}. Look through it, then:",
            f"# segdata merge {one} {other} -o OUT --labels THIS-FILE",
            "labels = [",
        ]
        for name in names:
            suggestion = partners.get(name)
            if suggestion is None:
                lines.append(f"  {_row(name, [name])},  # no partner in {other}")
            else:
                lines.append(
                    f"  {_row(name, [*dict.fromkeys((name, suggestion.other))])},  # {_comment(suggestion.reason)}"
                )
        lines += [f"  # {_row(name, [name])},  no partner in {one}" for name in self.only_in_other]
        return "\n".join([*lines, "]", ""])


@disk_errors()
def suggest_labels(
    one: str | Path,
    other: str | Path,
    out: str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> SuggestedLabels:
    """Suggest which categories of two packs mean the same.

    In this order, each category once: the same name; names that differ in case, spaces or dashes; singular and plural;
    known synonyms (tvmonitor and tv, sofa and couch …); the overlap of masks or label maps, where the packs have images
    in common (by checksum and length); names that are nearly the same.

    Args:
        out: a file for the table (`SuggestedLabels.table`); one that is there is replaced.
        progress: called as `progress(common images compared, common images)`.

    Raises:
        NotThere: there is no such pack.
    """
    mine, theirs = open_pack(one), open_pack(other)
    pairs: Pairs = {}
    for rule in _RULES:
        _add(pairs, rule(mine.labels, theirs.labels))
    common = _common(mine, theirs)
    overlap = _overlap(mine, theirs, common, progress)
    _add(
        pairs,
        (
            (row, column, f"IoU {overlap[row, column]:.2f} over {counted(len(common), 'image')} of both")
            for row, column in _best_first(overlap, OVERLAP)
        ),
    )
    _add(pairs, _alike(mine.labels, theirs.labels))
    taken = [{index for index, _ in pairs}, {index for _, index in pairs}]
    only_in_one, only_in_other = (
        tuple(category.name for index, category in enumerate(pack.labels.categories) if index not in indices)
        for pack, indices in zip((mine, theirs), taken, strict=True)
    )
    suggested = SuggestedLabels(
        (str(one), str(other)),
        tuple(
            Suggestion(mine.labels[row].name, theirs.labels[column].name, _with_overlap(reason, overlap[row, column]))
            for (row, column), reason in sorted(pairs.items())
        ),
        only_in_one,
        only_in_other,
        len(common),
    )
    if out is not None:
        write_whole(Path(out), suggested.table().encode("utf-8", "backslashreplace"))
    return suggested


def _add(pairs: Pairs, candidates: Iterator[tuple[int, int, str]]) -> None:
    """Take the pairs of which neither category is taken yet."""
    mine, theirs = {row for row, _ in pairs}, {column for _, column in pairs}
    for row, column, reason in candidates:
        if row not in mine and column not in theirs:
            pairs[row, column] = reason
            mine.add(row)
            theirs.add(column)


def _by_key(
    key: Callable[[str], str], reason: str
) -> Callable[[LabelSpace, LabelSpace], Iterator[tuple[int, int, str]]]:
    """A rule: names that have the same key."""

    def pairs(one: LabelSpace, other: LabelSpace) -> Iterator[tuple[int, int, str]]:
        columns: dict[str, list[int]] = {}
        for column, category in enumerate(other.categories):
            columns.setdefault(key(category.name), []).append(column)
        for row, category in enumerate(one.categories):
            for column in columns.get(key(category.name), ()):
                yield row, column, reason

    return pairs


def _singular(name: str) -> str:
    """The spelling of a name, of English plurals that of the singular."""
    text = spelling(name)
    irregular = {"people": "person", "persons": "person", "men": "man", "women": "woman", "mice": "mouse"}
    if text in irregular:
        return irregular[text]
    if text.endswith("ies") and len(text) > 4:
        return text[:-3] + "y"
    if text.endswith(("ches", "shes", "sses", "xes")):
        return text[:-2]
    return text[:-1] if text.endswith("s") and not text.endswith("ss") else text


def _synonym(name: str) -> str:
    """The first of the names that mean the same, or the name's own spelling."""
    text = _singular(name)
    return next((row[0] for row in same_names() if text in row or spelling(name) in row), text)


_RULES = (
    _by_key(str, "the same name"),
    _by_key(spelling, "the same name but for case, spaces and dashes"),
    _by_key(_singular, "singular and plural"),
    _by_key(_synonym, "known synonyms"),
)


def _alike(one: LabelSpace, other: LabelSpace) -> Iterator[tuple[int, int, str]]:
    """Names that are nearly the same, the most alike first."""
    ratios = np.array(
        [
            [difflib.SequenceMatcher(None, spelling(a.name), spelling(b.name)).ratio() for b in other.categories]
            for a in one.categories
        ]
    ).reshape(len(one), len(other))
    for row, column in _best_first(ratios, LIKE):
        yield row, column, f"names that are alike ({ratios[row, column]:.2f})"


def _best_first(values: npt.NDArray[np.float64], least: float) -> Iterator[tuple[int, int]]:
    """Rows and columns of the values that are large enough, the largest first."""
    order = np.argsort(-values, axis=None, kind="stable")
    for position in order[: np.count_nonzero(values >= least)].tolist():
        yield divmod(position, values.shape[1])


def _common(one: Pack, other: Pack) -> list[tuple[int, int]]:
    """Indices of the images that both packs have, by checksum, length and size."""

    def keys(pack: Pack) -> Iterator[tuple[tuple[int, ...], int]]:
        columns = [pack.column(f"image/{name}") for name in ("crc32", "length", "size", "codec")]
        rows = np.column_stack([column.astype(np.int64) for column in columns]).tolist()
        return ((tuple(row), index) for index, row in enumerate(rows) if row[-1])

    first = dict(keys(other))
    return [(index, first[key]) for key, index in keys(one) if key in first]


def _overlap(
    one: Pack, other: Pack, common: Sequence[tuple[int, int]], progress: Callable[[int, int], None] | None
) -> npt.NDArray[np.float64]:
    """(K, L) IoU of every category of the one with every one of the other, over the pixels of the common images."""
    both = np.zeros((len(one.labels), len(other.labels)), np.int64)
    mine, theirs = np.zeros(len(one.labels), np.int64), np.zeros(len(other.labels), np.int64)
    for done, (index, partner) in enumerate(common, 1):
        rows, columns = _layers(one[index], len(one.labels)), _layers(other[partner], len(other.labels))
        for row, layer in rows.items():
            mine[row] += np.count_nonzero(layer)
            for column, their_layer in columns.items():
                both[row, column] += np.count_nonzero(layer & their_layer)
        for column, layer in columns.items():
            theirs[column] += np.count_nonzero(layer)
        if progress is not None:
            progress(done, len(common))
    overlap: npt.NDArray[np.float64] = both / np.maximum(mine[:, None] + theirs - both, 1)
    return overlap


def _layers(sample: Sample, count: int) -> dict[int, npt.NDArray[np.bool_]]:
    """The pixels of each category that a sample has: those under its masks and boxes, else those of its label map."""
    layers: dict[int, npt.NDArray[np.bool_]] = {}
    if not sample.has_instances:
        semantic = sample.semantic
        present = [] if semantic is None else [value for value in np.unique(semantic).tolist() if value < count]
        return {index: semantic == index for index in present}
    instances = sample.instances
    for index, category in enumerate(instances.category.tolist()):
        layer = layers.setdefault(category, np.zeros((sample.height, sample.width), bool))
        if instances.has_mask[index]:
            layer |= instances.masks[index] != 0
        else:
            x0, y0, x1, y1 = np.clip(np.rint(instances.boxes[index]), 0, None).astype(np.int64).tolist()
            layer[y0:y1, x0:x1] = True
    return layers


def _with_overlap(reason: str, overlap: float) -> str:
    """A reason by name, with what the common images say to it."""
    return reason if overlap == 0 or reason.startswith("IoU") else f"{reason}; IoU {overlap:.2f} in images of both"


def _row(name: str, sources: Sequence[str]) -> str:
    return f"{{ name = {quoted(name)}, from = [{', '.join(map(quoted, sources))}] }}"


def _comment(text: str) -> str:
    """A text as a comment holds it: on one line, and in UTF-8."""
    return printable(text, lines=False)
