"""segdata prepares and loads segmentation datasets: COCO, PASCAL VOC, Cityscapes and CamVid → one pack → anything.

>>> import segdata
>>> pack = segdata.open("data/coco/pack", split="val2017")          # doctest: +SKIP
>>> pack[0].image.shape, len(pack[0].instances)                     # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from segdata import evaluate, fetch, prepare
    from segdata.draw import overlay
    from segdata.errors import SegdataError
    from segdata.formats import read
    from segdata.labels import Category, LabelMapping, LabelSpace
    from segdata.loading import Batch, Loader
    from segdata.masks import Masks
    from segdata.pack.read import Pack
    from segdata.pack.read import open_pack as open
    from segdata.pack.verify import verify
    from segdata.prepare import convert
    from segdata.sample import Instances, Sample

_HOMES = {
    "Category": "segdata.labels",
    "Instances": "segdata.sample",
    "LabelMapping": "segdata.labels",
    "LabelSpace": "segdata.labels",
    "Batch": "segdata.loading",
    "Loader": "segdata.loading",
    "Masks": "segdata.masks",
    "Pack": "segdata.pack.read",
    "Sample": "segdata.sample",
    "SegdataError": "segdata.errors",
    "convert": "segdata.prepare",
    "evaluate": "segdata.evaluate",
    "fetch": "segdata.fetch",
    "open": "segdata.pack.read:open_pack",
    "overlay": "segdata.draw",
    "prepare": "segdata.prepare",
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
    if home != f"{__name__}.{name}":  # else a package that is called like a function
        value = getattr(value, original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
