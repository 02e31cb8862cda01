"""What of a pack a Mask R-CNN can be trained and judged on, and what not, counted by reason before the first update."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from segdata.core.sample import Instances, Sample
from segdata.errors import UsageError, number_of
from segdata.metrics.coco.metrics import LIMITS
from segdata.models.contract import Usable
from segdata.models.maskrcnn.augment import has_box_alone, label_of_category
from segdata.pack.read import Pack

_OPTION = "--boxes-as-masks"
_BOXED = "have a box and no mask"
_CROWDS = "are crowds"
_UNSIZED = "have neither a mask nor a size"
_STUFF = "are of categories that are no things"
_MAPPED = "have a label map and no objects"
_FIXES = {
    _CROWDS: "segdata convert … --crowds objects makes ordinary objects of them",
    _BOXED: f"{_OPTION} trains with their boxes filled",
    _UNSIZED: "give the objects masks, or boxes with a size",
    "have a mask without a pixel": "give the objects masks that have pixels",
    _STUFF: "choose a view of the label space whose categories are things: --labels",
    _MAPPED: "Mask R-CNN learns single objects and this pack has label maps: --model unet learns those (segdata train --help "
    "names more networks); or convert a dataset that has a mask for each object",
    "have a label map of void alone": "name what its values mean when it is converted: segdata convert … --classes",
    "were not annotated": "choose another split with --split",
    "have no object": "choose another split with --split",
}
"""Why an object is no target, or an image has none → what to do about it."""

_OF_ONE = {"have": "has", "are": "is", "were": "was"}

_USUAL_CROWDS = 0.1
"""Share of crowds that is not worth a word; in COCO it is one object in eighty."""


def usable(pack: Pack, *, boxes_as_masks: bool, with_background: bool = True) -> Usable:
    """The images that can be trained on, and remarks on what is left out.

    An image is left out as a whole where an object cannot be shown to the network, lest it be learned as background.

    Args:
        boxes_as_masks: whether objects that have a box and no mask are targets.
        with_background: whether images without a target are trained on, too.

    Raises:
        UsageError: no image has a target.
    """
    label = label_of_category(pack.labels)
    indices: list[int] = []
    objects: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    blank: Counter[str] = Counter()
    targets = boxed = boxed_images = 0
    for index in range(len(pack)):
        sample = pack[index]
        if not sample.has_instances:
            left_out["were not annotated"] += 1
            continue
        why = _reasons(sample.instances, label, boxes_as_masks=boxes_as_masks)
        objects.update(name for name in why if name)
        if _BOXED in why:
            left_out[_BOXED] += 1
            continue
        if "" in why or with_background:
            indices.append(index)
        targets += why.count("")
        if boxes_as_masks and not sample.instances.has_mask.all():
            filled = (np.array(why) == "") & ~sample.instances.has_mask
            boxed, boxed_images = boxed + int(filled.sum()), boxed_images + bool(filled.any())
        if "" not in why:
            blank[max(why, key=why.count) if why else "have no object"] += 1
    if not targets:
        raise _nothing(pack, objects)
    remarks = _remarks(len(pack), objects, left_out, blank, targets, with_background=with_background)
    if boxed:
        remarks.append(
            f"{number_of(boxed, 'object')} of {number_of(boxed_images, 'image')} {_said(boxed, _BOXED)}: trained with their boxes filled ({_OPTION})"
        )
    chosen = pack if len(indices) == len(pack) else pack.select(np.array(indices, np.int64))
    return Usable(chosen, tuple(remarks))


def judged(pack: Pack, count: int, *, boxes_as_masks: bool) -> tuple[str, ...]:
    """Remarks on a validation with the first images of a pack: objects without masks, none at all, or more than count.

    Args:
        count: how many images.
    """
    label = label_of_category(pack.labels)
    why = [
        name
        for index in range(count)
        for name in _reasons(pack[index].instances, label, boxes_as_masks=False)
        if name not in (_STUFF, _UNSIZED)
    ]
    boxed, masked = why.count(_BOXED), why.count("")
    remarks = []
    if boxed and boxes_as_masks:
        remarks.append(
            f"validation: {_that(boxed, 'object', _BOXED)}: mask AP compares with their boxes filled ({_OPTION})"
        )
    elif boxed:
        remarks.append(
            f"validation: {_that(boxed, 'object', _BOXED)}: mask AP does without them; {_OPTION} fills their boxes"
        )
    if not masked + (boxed if boxes_as_masks else 0):
        extent = f"none of its {number_of(count, 'image')} has an object" + (" with a mask" if boxed else "")
        others = Counter(name for name in why if name and name != _BOXED)
        extent += "".join(f"; {number:,} {name}" for name, number in others.most_common())
        remarks.append(
            f"validation: {extent}, so mask AP is not defined and no best weights are kept; "
            "the run stands for its last checkpoint"
        )
    most = max((_most_of_a_category(pack[index].instances) for index in range(count)), default=0)
    if most > LIMITS[-1]:
        remarks.append(
            f"validation: an image has {most:,} objects of a category; AP counts the best {LIMITS[-1]} detections of it "
            "(segdata evaluate --max-detections counts more)"
        )
    return tuple(remarks)


def _most_of_a_category(instances: Instances) -> int:
    return int(np.bincount(instances.category).max(initial=0))


def _reasons(instances: Instances, label: npt.NDArray[np.int64], *, boxes_as_masks: bool) -> list[str]:
    """Why each object is no target; "" for those that are."""
    is_thing = label[instances.category] > 0
    has_pixels = instances.masks.boxes_xywh[:, 2] > 0
    if (~instances.iscrowd & is_thing & instances.has_mask & has_pixels).all():
        return [""] * len(instances)
    alone = ~instances.has_mask
    is_boxed = has_box_alone(instances)
    cases = (
        (instances.iscrowd, _CROWDS),
        (~is_thing, _STUFF),
        (alone & ~is_boxed, _UNSIZED),
        (is_boxed & (not boxes_as_masks), _BOXED),
        (~alone & ~has_pixels, "have a mask without a pixel"),
    )
    reasons: list[str] = np.select([case for case, _ in cases], [name for _, name in cases], "").tolist()
    return reasons


def _remarks(
    images: int,
    objects: Counter[str],
    left_out: Counter[str],
    blank: Counter[str],
    targets: int,
    *,
    with_background: bool,
) -> list[str]:
    remarks = []
    for reason, count in left_out.items():
        more = f" (some objects: {objects[_BOXED]:,}); {_FIXES[_BOXED]}" if reason == _BOXED else ""
        remarks.append(f"{count:,} of {images:,} images are left out: they {reason}{more}")
    if blank:
        why = ", ".join(f"{count:,} {_alone(reason)}" for reason, count in blank.most_common())
        verdict = "are background alone" if with_background else "are left out"
        remarks.append(f"{blank.total():,} of {images:,} images have no target and {verdict}: {why}")
    crowds, whole = objects[_CROWDS], targets + objects.total()
    if crowds > _USUAL_CROWDS * whole:
        remarks.append(f"{crowds:,} of {whole:,} objects {_CROWDS} and are not trained on; {_FIXES[_CROWDS]}")
    return remarks


def _that(count: int, noun: str, reason: str) -> str:
    """So many objects or images, and what is said of them: "2 images have no object", "1 image has no object"."""
    return f"{number_of(count, noun)} {_said(count, reason)}"


def _said(count: int, reason: str) -> str:
    verb, _, rest = reason.partition(" ")
    return f"{_OF_ONE.get(verb, verb) if count == 1 else verb} {rest}"


def _alone(reason: str) -> str:
    return reason if reason == "have no object" else f"have objects that {reason}"


def _nothing(pack: Pack, objects: Counter[str]) -> UsageError:
    """Why no image has a target: its objects, or, where there are none, its images."""
    images = Counter(_image_reason(pack[index], pack.labels.void) for index in range(len(pack)))
    counted = objects or images
    words = [_that(count, "object", reason) for reason, count in objects.most_common()]
    words += [_that(count, "image", reason) for reason, count in images.most_common() if reason]
    reasons = [reason for reason, _ in counted.most_common()]
    return UsageError(
        "there is nothing to train on: no image is left that has a target",
        file=pack.path,
        why=f"of {number_of(len(pack), 'image')}, {', '.join(words)}" if words else "there are no images",
        fix=_first_fix([_MAPPED] if _MAPPED in reasons else reasons),
    )


def _image_reason(sample: Sample, void: int) -> str:
    """Why an image has no object; "" where it has."""
    if sample.has_instances:
        return "" if len(sample.instances) else "have no object"
    if not sample.has_semantic:
        return "were not annotated"
    is_void = bool(np.all(sample.semantic == void))
    return "have a label map of void alone" if is_void else _MAPPED


def _first_fix(reasons: Iterable[str]) -> str:
    return next((_FIXES[reason] for reason in reasons if reason), "choose another split with --split")
