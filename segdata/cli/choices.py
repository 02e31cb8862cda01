"""Which values options can have, for help and for completion in the shell; nothing heavy is imported for names.

Names of formats, results and metrics are read from the text of the files that have their tables: importing them takes
half a second, which is long between two keys.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

_PACKAGE = Path(__file__).parents[1]

MOST_KEYS = 200
"""Keys that are offered at once."""


# ---------------------------------------------------------------------- names


def formats() -> list[str]:
    """Formats of dataset folders."""
    return list(_table("formats/__init__.py", "FORMATS"))


def targets() -> list[str]:
    """What a conversion can write."""
    results = _table("formats/__init__.py", "RESULTS")
    written = [name for name, call in results.items() if len(call.args) > 1]
    return ["pack", *dict.fromkeys([*formats(), *written])]


def results() -> list[str]:
    """Kinds of predictions that are read against ground truth."""
    return list(_table("formats/__init__.py", "RESULTS"))


def sources() -> list[str]:
    """What a conversion can read: formats, and kinds of results with --truth."""
    return list(dict.fromkeys([*formats(), *results()]))


def metrics() -> list[str]:
    """Metrics of `segdata evaluate`."""
    return list(_table("metrics/evaluate.py", "METRICS"))


def models() -> list[str]:
    """Models that can be trained."""
    from segdata.models.registry import MODELS

    return list(MODELS)


def models_in_short() -> list[str]:
    """The same; those of segmentation-models-pytorch as one."""
    kinds = ["smp:NAME" if name.startswith("smp:") else name for name in models()]
    return list(dict.fromkeys(kinds))


def pixel_losses() -> list[str]:
    """Losses of label maps."""
    from segdata.models.losses import LOSSES

    return [name for name, options in LOSSES.items() if not options.NEEDS]


def loss_kinds() -> list[str]:
    """Kinds of loss."""
    from segdata.core.conversion_losses import NAMES

    return list(NAMES)


NAMED: Mapping[str, Callable[[], list[str]]] = {
    "formats": formats,
    "targets": targets,
    "results": results,
    "metrics": metrics,
    "models": models_in_short,
    "losses": loss_kinds,
}
"""What stands for the names in the help of an option."""


def _table(file: str, name: str) -> dict[str, Any]:
    """Key → the expression of its value, of a table in a file of the package."""
    for node in ast.parse((_PACKAGE / file).read_bytes()).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            table = node.value
            assert isinstance(table, ast.Dict)
            return {ast.literal_eval(key): value for key, value in zip(table.keys, table.values, strict=True) if key}
    raise AssertionError(f"no table {name} in {file}")


# ---------------------------------------------------------------------- completion


def datasets() -> list[str]:
    """Known datasets and their other names."""
    from segdata.catalog import manifest

    return [*manifest.names(), *manifest.ALIASES]


def views() -> list[str]:
    """Views and label spaces that categories can be mapped to."""
    from segdata.catalog import manifest

    names = [view for name in manifest.names() for view in manifest.shipped(name).views]
    return list(dict.fromkeys([*names, *manifest.spaces()]))


def splits(ctx: typer.Context) -> list[str]:
    """Splits of the pack that was typed."""
    pack = _pack(ctx)
    return [] if pack is None else list(pack.splits)


def categories(ctx: typer.Context) -> list[str]:
    """Names of categories of the pack that was typed."""
    pack = _pack(ctx)
    return [] if pack is None else [category.name for category in pack.labels.categories]


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """The first keys of the pack's samples that begin so, of the split where one was typed."""
    pack = _pack(ctx)
    if pack is None:
        return []
    split = ctx.params.get("split")
    chosen = pack.split(split) if split in pack.splits else pack
    return list(itertools.islice((key for key in chosen.keys if key.startswith(incomplete)), MOST_KEYS))


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """NAME= of every setting, then NAME=CHOICE where there are choices; predictions have those of the model alone."""
    from segdata.training.config import TrainConfig

    model = ctx.params.get("model")
    config = TrainConfig.of(model) if model in models() else TrainConfig.of()
    rules = config.model.rules() if ctx.command.name == "predict" else config.rules()
    name = incomplete.partition("=")[0]
    if name in rules and "=" in incomplete:
        return [f"{name}={choice}" for choice in rules[name].choices or ()]
    return [f"{name}=" for name in rules]


def losses(incomplete: str) -> list[str]:
    """Kinds of loss, after those that are typed already."""
    before, comma, _ = incomplete.rpartition(",")
    return [before + comma + name for name in loss_kinds() if name not in before.split(",")]


def weights() -> list[str]:
    """Weights that have a name."""
    from segdata.models.maskrcnn.weights import NAMES

    return list(NAMES)


def trackers() -> list[str]:
    """Trackers of `segdata train`."""
    return list(_table("training/trackers/__init__.py", "TRACKERS"))


def devices() -> list[str]:
    """Kinds of devices."""
    return ["cpu", "cuda"]


def images_of() -> list[str]:
    """What `segdata evaluate --images-of` can be."""
    return ["truth", "predictions"]


def _pack(ctx: typer.Context) -> Any:
    """The pack that was typed, None where it is none."""
    import segdata
    from segdata.pack.layout import is_pack

    for name in ("pack", "packs", "path", "source", "truth"):
        value = ctx.params.get(name)
        path = next(iter(value), None) if isinstance(value, (list, tuple)) else value
        if path and is_pack(Path(path)):
            with contextlib.suppress(segdata.SegdataError, OSError):
                return segdata.open(path)
    return None
