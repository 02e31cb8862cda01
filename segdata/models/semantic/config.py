"""Settings that all models for semantic segmentation share; those of a network stand beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from segdata.errors import UsageError
from segdata.models.settings import Metric, ModelSettings, Rule

Fraction = Annotated[float, Meta(ge=0, le=1)]
Side = Annotated[int, Meta(ge=32, le=32_768)]
Weight = Annotated[float, Meta(ge=0, le=1000)]

WEIGHTINGS = ("none", "median", "enet", "inverse")
"""Rules by which weights of the classes follow from the number of their pixels."""


class SemanticConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of a model for semantic segmentation.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    METRIC: ClassVar = Metric("mIoU", "mIoU")
    RUN: ClassVar[Mapping[str, Any]] = {
        "batch_size": 4,
        "optimizer": "adamw",
        "learning_rate": 0.0008,
        "weight_decay": 0.01,
        "schedule": "poly",
        "warmup_steps": 200,
        "aspect_batches": False,
        "precision": "auto",
        "average": 0.998,
    }
    TRAINING: ClassVar[frozenset[str]] = frozenset(
        {
            *("loss", "class_weights", "crop", "scale_jitter", "flip", "color_jitter"),
            "jpeg_reduction",
            *("max_one_class", "rare", "from_objects"),
        }
    )
    SECTIONS: ClassVar[Mapping[str, str]] = {
        "norm": "model",
        "mean": "images",
        "loss": "losses",
        "crop": "augmentation",
        "infer": "prediction",
        "from_objects": "data",
    }

    # model
    norm: Annotated[
        Literal["batch", "frozen", "group"],
        Meta(
            description="normalisation: batch norm (over all GPUs), batch norm with fixed statistics, or group norm, "
            "which batches of one image need"
        ),
    ] = "batch"

    # images
    mean: Annotated[
        tuple[Fraction, ...], Meta(min_length=3, max_length=3, description="mean of RGB values in 0 … 1, subtracted")
    ] = (0.485, 0.456, 0.406)
    std: Annotated[
        tuple[Annotated[float, Meta(ge=0.001, le=10)], ...],
        Meta(min_length=3, max_length=3, description="standard deviation of RGB values, divided by"),
    ] = (0.229, 0.224, 0.225)

    # losses
    loss: Annotated[
        tuple[str, ...],
        Meta(
            description="losses, each NAME, NAME:WEIGHT or NAME:WEIGHT:WEIGHT AT THE END, such as ce, dice:0.5, "
            "boundary:0:1 (docs/losses.md)"
        ),
    ] = ("ce",)
    class_weights: Annotated[
        str,
        Meta(
            description="weights of the classes in cross-entropy: none, from their pixels by median (median frequency "
            "balancing), enet (1 / ln(1.02 + share)) or inverse, or a number for each class, such as 1, 2.5, 1"
        ),
    ] = "none"
    aux_loss: Annotated[
        Weight, Meta(description="weight of the cross-entropy of the auxiliary head, where the network has one")
    ] = 0.4

    # augmentation
    crop: Annotated[
        tuple[Side, ...], Meta(min_length=2, max_length=2, description="height and width of a training crop, in pixels")
    ] = (512, 512)
    scale_jitter: Annotated[
        tuple[Annotated[float, Meta(ge=0.05, le=20)], ...],
        Meta(
            min_length=2, max_length=2, description="range of the random scale of an image before the crop, log-uniform"
        ),
    ] = (0.5, 2.0)
    flip: Annotated[Fraction, Meta(description="probability of a horizontal flip")] = 0.5
    jpeg_reduction: Annotated[
        bool,
        Meta(description="decode a JPEG to 1/2, 1/4 or 1/8 of its size where a training image needs no more pixels"),
    ] = True
    color_jitter: Annotated[
        Fraction, Meta(description="largest random change of brightness, contrast and saturation, 0 = none")
    ] = 0.3
    max_one_class: Annotated[
        float,
        Meta(
            ge=0.01,
            le=1,
            description="a crop is drawn again, ten times at most, while one class has a greater share of its pixels; "
            "1 = never",
        ),
    ] = 0.75
    rare: Annotated[
        Fraction,
        Meta(description="share of the crops that lie around a pixel of a class drawn by inverse frequency, 0 = none"),
    ] = 0.33

    # prediction
    infer: Annotated[
        Literal["whole", "slide"],
        Meta(description="predict an image as a whole, or by a sliding window, whose overlaps are averaged"),
    ] = "whole"
    window: Annotated[
        tuple[Side, ...],
        Meta(min_length=2, max_length=2, description="height and width of the sliding window, in pixels of the image"),
    ] = (512, 512)
    overlap: Annotated[float, Meta(ge=0, le=0.9, description="share of a window that the next one covers, too")] = 0.33
    scales: Annotated[
        tuple[Annotated[float, Meta(ge=0.1, le=8)], ...],
        Meta(description="test-time augmentation: scales at which an image is predicted; probabilities are averaged"),
    ] = (1.0,)
    crf: Annotated[bool, Meta(description="refine predictions by a dense conditional random field (slow)")] = False

    # data
    from_objects: Annotated[
        bool,
        Meta(
            description="make label maps of the masks of objects, smaller objects on top; pixels without one are "
            "background where the label space has it, else not counted"
        ),
    ] = False

    @property
    def least_batch_size(self) -> int:
        """See `ModelSettings`: batch norm after pooling over the whole image has one number for each image."""
        return 2 if self.norm == "batch" else 1

    @property
    def has_fixed_size(self) -> bool:
        """See `ModelSettings`."""
        return True

    @classmethod
    def converted(cls, rule: Rule, value: Any) -> Any:
        """A list of numbers as weights of the classes is their text."""
        if rule.name == "class_weights" and isinstance(value, (list, tuple, int, float)):
            return ", ".join(f"{number}" for number in (value if isinstance(value, (list, tuple)) else [value]))
        return value

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_jitter[0] > self.scale_jitter[1]:
            why = f"got {list(self.scale_jitter)}"
            raise UsageError("scale_jitter is a range, least first", place="scale_jitter", why=why)
        self.numbers_of_classes()

    def numbers_of_classes(self) -> tuple[float, ...] | None:
        """`class_weights` where it is numbers; None where it is a rule.

        Raises:
            UsageError: it is neither.
        """
        if self.class_weights in WEIGHTINGS:
            return None
        try:
            numbers = tuple(float(text) for text in self.class_weights.strip("[]").split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 <= number <= 1e6 for number in numbers):
            raise UsageError(
                f"class_weights cannot be {self.class_weights!r}",
                place="class_weights",
                why=f"choices are {', '.join(WEIGHTINGS)}, or a number from 0 to 1000000 for each class",
            )
        return numbers

    def require_consistent(self) -> None:
        """See `Settings.require_consistent`."""
        slides = self.infer == "slide"
        self.require_effect("window", "infer = 'whole'", has_effect=slides)
        has_auxiliary = bool(getattr(self, "auxiliary", False))
        self.require_effect("aux_loss", "a network without an auxiliary head", has_effect=has_auxiliary)
        self.require_effect("overlap", "infer = 'whole'", has_effect=slides)
        names = [text.partition(":")[0] for text in self.loss]
        self.require_effect("class_weights", f"loss = {list(self.loss)}, in which ce is not", has_effect="ce" in names)
