"""The losses by name and the options that each takes: types, ranges and meanings, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from segdata.errors import NotThere, UsageError, close_names
from segdata.models.settings import Settings

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=0, le=1e6)]
_SMOOTH = Meta(ge=0, le=1e6, description="added to numerator and denominator")
_BACKGROUND = Meta(description="whether class 0 counts")
_REDUCTION = Meta(description="mean over the pixels that are not ignored, or sum")


class Options(Settings, frozen=True, kw_only=True):
    """What every loss takes.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    NEEDS: ClassVar[str] = ""
    """What the loss is called with beside logits and labels of pixels; "" for nothing."""

    ignore_index: Annotated[
        int, Meta(ge=-1_000_000, le=65535, description="label of pixels that add nothing to any sum or count")
    ] = 255

    @property
    def is_sum(self) -> bool:
        """Whether it is a mean over pixels or images, so that sums and counts of the parts of a batch, added, give
        exactly the loss of the whole; else the loss of a part counts as one."""
        return False


class Ce(Options, frozen=True, kw_only=True):
    """Cross-entropy; binary cross-entropy for one logit."""

    weight: Annotated[tuple[Positive, ...] | None, Meta(description="weight of each class")] = None
    positive_weight: Annotated[Positive | None, Meta(description="weight of positive pixels; one logit")] = None
    label_smoothing: Annotated[float, Meta(ge=0, le=0.999, description="share spread over all classes")] = 0.0
    reduction: Annotated[Literal["mean", "sum"], _REDUCTION] = "mean"

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return self.reduction == "mean"


class Focal(Options, frozen=True, kw_only=True):
    """Focal loss (Lin et al. 2017)."""

    gamma: Annotated[float, Meta(ge=0, le=10, description="how much easy pixels count less; 0 = cross-entropy")] = 2.0
    alpha: Annotated[
        Share | tuple[Positive, ...] | None,
        Meta(
            description="weight of each class; with sigmoid, or one logit, that of positives, negatives have the rest"
        ),
    ] = None
    form: Annotated[
        Literal["softmax", "sigmoid"],
        Meta(description="one distribution over the classes, or each class against the rest"),
    ] = "softmax"
    reduction: Annotated[Literal["mean", "sum"], _REDUCTION] = "mean"

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return self.reduction == "mean"


class TopK(Options, frozen=True, kw_only=True):
    """Cross-entropy of the hardest pixels (Wu et al. 2016)."""

    percent: Annotated[float, Meta(ge=0.001, le=100, description="how many of the pixels are kept")] = 10.0
    of: Annotated[Literal["valid", "all"], Meta(description="of the pixels that are not ignored, or of all")] = "valid"


class Ohem(Options, frozen=True, kw_only=True):
    """Cross-entropy of the pixels that are not yet sure (online hard example mining, Shrivastava et al. 2016)."""

    threshold: Annotated[
        float, Meta(ge=1e-6, le=1, description="pixels whose class has a lower probability are kept")
    ] = 0.7
    minimum: Annotated[Share, Meta(description="share of the pixels, the hardest, that is kept in any case")] = 0.0625


class Dice(Options, frozen=True, kw_only=True):
    """Soft Dice loss (Milletari et al. 2016)."""

    batch: Annotated[bool, Meta(description="sums over the batch, not each image")] = False
    squared: Annotated[bool, Meta(description="squared probabilities and labels in the denominator (V-Net)")] = False
    include_background: Annotated[bool, _BACKGROUND] = True
    smooth: Annotated[float, _SMOOTH] = 1e-5
    absent: Annotated[
        Literal["count", "skip"], Meta(description="whether classes that the labels do not have count")
    ] = "count"

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return not self.batch


class SensitivitySpecificity(Options, frozen=True, kw_only=True):
    """Weighted squared errors of positives and negatives (Brosch et al. 2015)."""

    share: Annotated[Share, Meta(description="weight of the sensitivity error; the specificity error has the rest")] = (
        0.05
    )
    batch: Annotated[bool, Meta(description="sums over the batch, not each image")] = False
    include_background: Annotated[bool, _BACKGROUND] = True
    smooth: Annotated[float, Meta(ge=0, le=1e6, description="added to the denominators")] = 1.0
    two_class: Annotated[bool, Meta(description="one logit counts as two classes, background and foreground")] = False

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return not self.batch


class Lovasz(Options, frozen=True, kw_only=True):
    """Lovász-Softmax, or the Lovász hinge for one logit (Berman et al. 2018)."""

    classes: Annotated[Literal["present", "all"], Meta(description="those that the labels have, or all")] = "present"
    per_image: Annotated[
        bool | None, Meta(description="mean over images; by default for one logit, else the batch counts as one image")
    ] = None

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`; false where it depends on the number of logits."""
        return self.per_image is True


class Boundary(Options, frozen=True, kw_only=True):
    """Probability times signed distance to the boundary (Kervadec et al. 2019)."""

    include_background: Annotated[bool, _BACKGROUND] = True

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return True


class Hausdorff(Options, frozen=True, kw_only=True):
    """Squared error weighted by distance to both boundaries, or by erosion (Karimi and Salcudean 2019)."""

    form: Annotated[Literal["distance", "erosion"], Meta(description="by distance transforms or by erosion")] = (
        "distance"
    )
    alpha: Annotated[float, Meta(ge=0, le=10, description="power of distances, or of the erosion's step")] = 2.0
    include_background: Annotated[bool, _BACKGROUND] = True
    steps: Annotated[int, Meta(ge=1, le=1000, description="erosions")] = 10

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return True


class DistancePenalisedCe(Options, frozen=True, kw_only=True):
    """Cross-entropy that weighs more near boundaries (Caliva et al. 2019)."""

    @property
    def is_sum(self) -> bool:
        """See `Options.is_sum`."""
        return True


class DualTask(Options, frozen=True, kw_only=True):
    """Difference between the edges of the predicted and the true label map (Takikawa et al. 2019)."""

    temperature: Annotated[float, Meta(ge=0.01, le=100, description="what logits are divided by")] = 0.5


class Edge(Options, frozen=True, kw_only=True):
    """Balanced binary cross-entropy of edges (Takikawa et al. 2019); one logit, whether a pixel is on an edge."""

    NEEDS: ClassVar[str] = "logits of edges"

    radius: Annotated[
        float,
        Meta(ge=0, le=50, description="pixels from another class that count as edge; 0 = the labels are edges already"),
    ] = 2.0


class EdgeAttention(Options, frozen=True, kw_only=True):
    """Cross-entropy on predicted edges, rare classes weighted up (Takikawa et al. 2019)."""

    NEEDS: ClassVar[str] = "probabilities of edges"

    threshold: Annotated[Share, Meta(description="pixels whose predicted edge is above it count")] = 0.8


class IouBalanced(Options, frozen=True, kw_only=True):
    """Cross-entropy of boxes, positives weighted by their IoU (Wu et al. 2019)."""

    NEEDS: ClassVar[str] = "the IoU of boxes"

    ignore_index: Annotated[
        int, Meta(ge=-1_000_000, le=65535, description="label of boxes that add nothing to any sum or count")
    ] = -1
    eta: Annotated[float, Meta(ge=0, le=10, description="power of the IoU")] = 1.5


LOSSES: Mapping[str, type[Options]] = {
    "ce": Ce,
    "focal": Focal,
    "topk": TopK,
    "ohem": Ohem,
    "dice": Dice,
    "sensitivity_specificity": SensitivitySpecificity,
    "lovasz": Lovasz,
    "boundary": Boundary,
    "hausdorff": Hausdorff,
    "distance_penalised_ce": DistancePenalisedCe,
    "dual_task": DualTask,
    "edge": Edge,
    "edge_attention": EdgeAttention,
    "iou_balanced": IouBalanced,
}
"""The options of each loss."""


def options_of(name: str, place: str | None = None) -> type[Options]:
    """The options of a loss.

    Raises:
        NotThere: there is no loss with this name; close ones are named.
    """
    if name not in LOSSES:
        close = close_names(name.lower(), LOSSES, 1)
        why = f"there is {', '.join(LOSSES)}"
        fix = f"did you mean {close[0]!r}?" if close else None
        raise NotThere(f"there is no loss {name!r}", place=place, why=why, fix=fix)
    return LOSSES[name]


def checked(name: str, options: Mapping[str, Any]) -> Options:
    """The options of a loss with some values.

    Raises:
        NotThere: there is no loss with this name.
        UsageError: it has no such option, or a value is of another type or out of its range.
    """
    kind = options_of(name)
    for option in options:
        if option not in kind.rules():
            close = close_names(option.lower(), kind.rules(), 1)
            raise UsageError(
                f"the loss {name!r} has no option {option!r}",
                place=option,
                why=f"it takes {', '.join(kind.rules())}",
                fix=f"did you mean {close[0]!r}?" if close else None,
            )
    try:
        return kind(**options)
    except UsageError as error:
        message = f"the loss {name!r}: {error.message}"
        raise UsageError(message, place=error.place, why=error.why, fix=error.fix) from None
