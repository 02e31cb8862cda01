"""What a conversion drops, sorted by what it means: kinds of loss, from those that change what a model learns to ids.

    findings.drop("image ids", …)  →  the loss "image ids", of the kind `ids`

A loss that no kind names is of the kind `other`, which counts as one that changes what a model learns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from segdata.core.findings import folded
from segdata.errors import UsageError

Losses = Mapping[str, Mapping[str, Any]]
"""Loss → count and first samples, as `Findings.as_dict` has them."""


@dataclass(frozen=True)
class Kind:
    """One kind of loss.

    Attributes:
        name: as `--allow-loss` takes it.
        changes_learning: whether a model trained on the result, or its scores, may differ; False for book-keeping.
        about: what is lost, in words.
        losses: matches the beginning of the losses of this kind.
    """

    name: str
    changes_learning: bool
    about: str
    losses: str


KINDS = (
    Kind(
        "objects",
        True,
        "objects that are gone, or melt into others",
        r"parts of objects|objects wholly hidden|objects (with|without|after|of the|of images|\(the)|objects of categories that have none|groups that melt",
    ),
    Kind(
        "categories",
        True,
        "objects and pixels of categories that are gone",
        r"(objects|pixels) of category|categories of objects|further labels of a region",
    ),
    Kind(
        "hidden-pixels",
        True,
        "pixels of objects that lie under others",
        r"objects partly hidden|hidden pixels of|label map pixels under|objects whose pixels",
    ),
    Kind(
        "shapes",
        True,
        "points, lines and other shapes without area, which are no objects",
        r"(shapes|results) without (area|label)",
    ),
    Kind("masks", True, "masks of objects that stay", r"masks? of objects|masks$"),
    Kind(
        "label-maps",
        True,
        "pixels of label maps",
        r"label maps?|void pixels|pixels (without|with colours)|object masks that|instance maps that",
    ),
    Kind("crowds", True, "which objects are crowds", r"crowd flags"),
    Kind("flags", True, "which objects are difficult, truncated or occluded", r"(difficult|truncated|occluded) flags"),
    Kind("boxes", True, "boxes that are not those of the masks", r"boxes(?! rounded)"),
    Kind("areas", True, "areas that are not those of the masks, by which COCO sorts sizes", r"areas"),
    Kind("scores", True, "scores of predictions", r"scores"),
    Kind("splits", True, "samples of several splits are in one", r"place in the split"),
    Kind("images", True, "images without annotation become images without objects", r"images that nobody"),
    Kind("captions", True, "captions, keypoints", r"captions|keypoints|records of further documents"),
    Kind("other", True, "what has no kind of its own", r""),
    Kind("polygons", False, "outlines; their pixels stay", r"polygons$|polygon documents|circles|ellipses"),
    Kind(
        "ids",
        False,
        "numbers of images, objects and categories",
        r"(image|object) ids|category id$|numbers of (objects|groups)",
    ),
    Kind("rounding", False, "last digits of boxes", r"boxes rounded"),
    Kind("names", False, "names of categories, where others stand for them", r"category name"),
    Kind("colors", False, "colours of categories", r"category color|color files"),
    Kind("supercategories", False, "groups of categories", r"category supercategory"),
    Kind("licences", False, "licences", r"(image|object|document) field '(licen[cs]es?|rights)'"),
    Kind("urls", False, "addresses", r"(image|object|document) field '([^']*_)?ur[li]s?'"),
    Kind("dates", False, "dates", r"(image|object|document) field '([^']*_)?(date|time|year|timestamp)(_[^']*)?'"),
    Kind(
        "fields",
        False,
        "further fields of records",
        r"(image|object|document) field|(paths of )?column |tracks of|drafts of|boundaries and further fields",
    ),
    Kind(
        "files",
        False,
        "files, lists and XML beside the annotations",
        r"XML|lists by class|labelTrainIds files|documents of the sources",
    ),
)
"""Every kind, the gravest first."""

NAMES = tuple(kind.name for kind in KINDS)

ALL = "all"
"""Stands for every kind."""

_OTHER = next(kind for kind in KINDS if kind.name == "other")


def kind_of(loss: str) -> Kind:
    """The kind of a loss."""
    return next((kind for kind in KINDS if kind.losses and re.match(kind.losses, loss)), _OTHER)


def grouped(losses: Losses) -> list[dict[str, Any]]:
    """The losses kind by kind, the gravest first, as JSON holds them."""
    groups = []
    for kind in KINDS:
        members = {loss: item for loss, item in losses.items() if kind_of(loss) is kind}
        if members:
            groups.append(
                {
                    "kind": kind.name,
                    "about": kind.about,
                    "changes_learning": kind.changes_learning,
                    "count": sum(item["count"] for item in members.values()),
                    "losses": members,
                }
            )
    return groups


def allowed(names: bool | str | Iterable[str]) -> frozenset[str]:
    """The kinds that `allow_loss` names: all for True, "all" or `["all"]`, none for False.

    Raises:
        UsageError: there is no such kind.
    """
    if isinstance(names, bool):
        return frozenset(NAMES if names else ())
    parts = names.split(",") if isinstance(names, str) else [str(name) for name in names]
    chosen = {part.strip() for part in parts}
    unknown = sorted(chosen.difference(NAMES, [ALL]))
    if unknown:
        raise UsageError(
            f"there is no kind of loss {unknown[0]!r}",
            why="\n          ".join(["the kinds are", *(f"{kind.name:<15} {kind.about}" for kind in KINDS)]),
            fix="--allow-loss ids,licences allows two kinds, --allow-loss alone all of them",
        )
    return frozenset(NAMES if ALL in chosen else chosen)


def not_allowed(losses: Losses, kinds: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The losses of other kinds."""
    return {loss: item for loss, item in losses.items() if kind_of(loss).name not in kinds}


def lines(losses: Losses) -> list[str]:
    """The losses for people, those first that change what a model learns: kind, count, loss and first samples."""
    text = []
    for changes_learning, heading in ((True, "changes what a model learns, or its scores:"), (False, "book-keeping:")):
        rows = [
            f"  {kind.name:<15} {item['count']:>9,}  {loss}{_examples(item)}"
            for kind in KINDS
            if kind.changes_learning is changes_learning
            for loss, item in folded({loss: item for loss, item in losses.items() if kind_of(loss) is kind}).items()
        ]
        text += [heading, *rows] if rows else []
    return text


def _examples(item: Mapping[str, Any]) -> str:
    iou = f", IoU {item['iou']['sum'] / item['iou']['masks']:.3f} on average" if "iou" in item else ""
    examples = ", ".join(key.replace("→ None", "→ nothing") for key in item["keys"][:3])
    return f"{iou} ({examples}{' …' if len(item['keys']) > 3 else ''})"
