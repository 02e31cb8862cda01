"""segdata prepares and loads segmentation datasets: COCO, PASCAL VOC, Cityscapes and CamVid → one pack → anything.

>>> import segdata
>>> pack = segdata.open("data/coco/pack", split="val2017")          # doctest: +SKIP
>>> pack[0].image.shape, len(pack[0].instances)                     # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segdata.version import __version__ as __version__

if TYPE_CHECKING:
    from segdata.conversion.convert import convert
    from segdata.conversion.prepare import prepare
    from segdata.core.labels import Category, LabelMapping, LabelSpace
    from segdata.core.masks import Masks
    from segdata.core.sample import Instances, Sample
    from segdata.download.fetch import fetch
    from segdata.errors import SegdataError
    from segdata.formats import read
    from segdata.loading import Batch, Loader
    from segdata.metrics.evaluate import evaluate
    from segdata.pack.read import Pack
    from segdata.pack.read import open_pack as open
    from segdata.pack.verify import verify
    from segdata.viz.overlay import overlay

_HOMES = {
    "Category": "segdata.core.labels",
    "Instances": "segdata.core.sample",
    "LabelMapping": "segdata.core.labels",
    "LabelSpace": "segdata.core.labels",
    "Batch": "segdata.loading",
    "Loader": "segdata.loading",
    "Masks": "segdata.core.masks",
    "Pack": "segdata.pack.read",
    "Sample": "segdata.core.sample",
    "SegdataError": "segdata.errors",
    "convert": "segdata.conversion.convert",
    "evaluate": "segdata.metrics.evaluate",
    "fetch": "segdata.download.fetch",
    "open": "segdata.pack.read:open_pack",
    "overlay": "segdata.viz.overlay",
    "prepare": "segdata.conversion.prepare",
    "read": "segdata.formats",
    "verify": "segdata.pack.verify",
}

__all__ = [
    "fetch",
    "prepare",
    "read",
    "convert",
    "open",
    "verify",
    "overlay",
    "evaluate",
    "Loader",
    "Batch",
    "Pack",
    "Sample",
    "Instances",
    "Masks",
    "Category",
    "LabelSpace",
    "LabelMapping",
    "SegdataError",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import segdata` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'segdata' has no attribute {name!r}")
    home, _, original = _HOMES[name].partition(":")
    value: Any = import_module(home)
    value = getattr(value, original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
