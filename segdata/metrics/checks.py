"""What every metric requires of predictions: that they hold what is compared, for every image, at the image's size."""

from __future__ import annotations

from segdata.core.predictions import Holding, Predictions
from segdata.errors import InvalidAnnotation, UsageError, number_of

_SHOWN = 5


def require_holding(predictions: Predictions, holding: Holding, metric: str) -> None:
    """Refuse predictions that do not hold what a metric compares.

    Raises:
        UsageError: saying what they hold.
    """
    if holding not in predictions.holds:
        raise UsageError(
            f"{metric} compares {holding}, which these predictions do not hold",
            file=predictions.path,
            why=f"they hold {', '.join(sorted(predictions.holds)) or 'nothing'}",
            fix="name another metric with --metric, or give other predictions",
        )


def require_size(
    predictions: Predictions, key: str, size: tuple[int, int], truth_size: tuple[int, ...], file: str = ""
) -> None:
    """Refuse a prediction of another (height, width) than its image.

    Raises:
        InvalidAnnotation: naming both sizes.
    """
    if size != truth_size:
        raise InvalidAnnotation(
            "a prediction is of another size than the ground truth",
            file=predictions.path / file if file else predictions.path,
            key=key,
            why=f"prediction {size[1]} × {size[0]}, ground truth {truth_size[1]} × {truth_size[0]} (width × height)",
            fix="predict at the original size, or scale label maps back with nearest-neighbour sampling",
        )


def require_all(missing: list[str], count: int, predictions: Predictions) -> None:
    """Refuse predictions without an entry for some of the images.

    Args:
        missing: keys of these images.
        count: of all images that are compared.

    Raises:
        InvalidAnnotation: with the number of missing images and the first keys.
    """
    if missing:
        raise InvalidAnnotation(
            f"{len(missing)} of {number_of(count, 'image has', 'images have')} no prediction",
            file=predictions.path,
            why=f"missing are {', '.join(missing[:_SHOWN])}{' …' if len(missing) > _SHOWN else ''}",
            fix="predict them too, evaluate one split with --split, or these images alone with --images-of predictions",
        )
