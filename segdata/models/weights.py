"""Weights of a network, from a checkpoint, a safetensors file, or a PyTorch file, which is opened in the weights-only way:
code is refused."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere, SegdataError, Unsafe
from segdata.models import checkpoint, safetensors_files, weights_digest
from segdata.system.files import disk_errors
from segdata.system.reading import require_file

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Weights:
    """Tensors of a network and what is known about them.

    Attributes:
        source: where they come from, for messages.
        config: settings of the run that made them, by name; None for other people's files.
        labels: the label space that they know; None likewise.
        categories: (L,) the category of each output of the network, −1 for none; None for those of the label space.
        data: fingerprint of the pack that they were trained on.
        state: what else belongs to them: see `contract.Model.state`.
        remarks: what a user may want to know of the file.
    """

    source: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None
    labels: LabelSpace | None = None
    categories: npt.NDArray[np.int64] | None = None
    data: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def _checkpoint_of(source: str | Path) -> Path | None:
    """The checkpoint (without ending) that a run's folder or one of a checkpoint's files stands for.

    A safetensors file of another name and without JSON beside it is other people's: bare tensors.
    """
    path = Path(source)
    if path.is_dir():
        return checkpoint.of_run(path)
    if path.suffix not in (".json", ".safetensors"):
        return None
    named = checkpoint.path_of(path)
    is_bare = (
        path.suffix == ".safetensors" and named == path.with_suffix("") and not named.with_suffix(".json").exists()
    )
    return None if is_bare else named


def document_of(source: str | Path) -> dict[str, Any] | None:
    """What a run's or a checkpoint's JSON says; None for other sources.

    Raises:
        NotThere: the folder is no run.
        DamagedData: cut short or changed.
    """
    path = _checkpoint_of(source)
    return None if path is None else checkpoint.read_document(path)


def of_checkpoint(source: str | Path) -> Weights | None:
    """The weights of a run's folder, or of one of its checkpoints; None for other sources.

    Raises:
        NotThere: the folder is no run, or the run has no checkpoint yet.
        DamagedData: a checksum differs.
    """
    path = _checkpoint_of(source)
    if path is None:
        return None
    tensors, document = checkpoint.load(path)
    labels = LabelSpace.from_dict(document["labels"])
    return Weights(
        str(path),
        checkpoint.kept_tensors(tensors),
        document["config"],
        labels,
        data=document["data"],
        state=document,
    )


PARTS = ("model", "model_state_dict", "state_dict", "model_ema")
"""Where a checkpoint of a training script has its state dictionary; the first that is there is taken."""

_PREFIXES = ("module.", "model.", "_orig_mod.")
"""What names of tensors begin with where the network was wrapped: in parallel, in a trainer, compiled."""

_MOST_WRAPPERS = 8


def file_of(source: str | Path) -> tuple[Path, str | None]:
    """The file that `source` names, and which of its state dictionaries: FILE, or FILE#PART with one of `PARTS`."""
    file, mark, part = str(source).rpartition("#")
    return (Path(file), part) if mark and not Path(source).exists() else (Path(source), None)


def of_pytorch(source: str | Path) -> dict[str, Tensor]:
    """The state dictionary in a PyTorch file, which may be a training script's checkpoint; see `and_remarks`."""
    return and_remarks(source)[0]


def and_remarks(source: str | Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state dictionary in a PyTorch file, and what to say of it.

    Args:
        source: FILE, or FILE#PART for one of several state dictionaries in it (`PARTS`).

    Raises:
        NotThere: no such file, or no such part.
        DamagedData: cut short, or not what the digest beside it or in its name says.
        Unsafe: more than tensors and settings.
        InvalidInput: tensors, but no state dictionary, or one of other things than weights.
    """
    from torch import Tensor

    path, part = file_of(source)
    state = _opened(path)
    parts = [name for name in PARTS if isinstance(state, dict) and isinstance(state.get(name), dict)]
    if part is not None and part not in parts:
        raise NotThere(
            f"the weights file has no {part!r}", file=path, why=f"it has {', '.join(parts) or 'tensors alone'}"
        )
    chosen = part or (parts[0] if parts else None)
    state = state if chosen is None else state[chosen]
    tensors = _unwrapped(state) if isinstance(state, dict) else {}
    others = [f"{name} is a {type(value).__name__}" for name, value in tensors.items() if not isinstance(value, Tensor)]
    if others or not tensors:
        raise InvalidInput(
            "the weights file holds no state dictionary",
            file=path,
            why=others[0] if others else f"it holds {'nothing' if state == {} else type(state).__name__}",
            fix=f"save model.state_dict(), alone or in a dictionary under one of {', '.join(PARTS)}",
        )
    _check_tensors(tensors, path)
    others = [f"{chosen!r} of the weights file is taken; {path.name}#{name} is {name!r}" for name in parts[1:]]
    return tensors, tuple(others if part is None else ())


def _opened(path: Path) -> Any:
    """What a PyTorch file holds: tensors, plain data, and the settings of a training script; of safetensors, the tensors."""
    import argparse
    from pathlib import PurePosixPath, PureWindowsPath

    import torch

    with disk_errors(path):
        require_file(path)
    weights_digest.check(path)
    if path.suffix == ".safetensors":
        return safetensors_files.read(path)
    data: list[Any] = [argparse.Namespace]
    for module in ("pathlib", "pathlib._local"):
        data += [(PurePosixPath, f"{module}.PosixPath"), (PureWindowsPath, f"{module}.WindowsPath")]
    with disk_errors(path):
        _check_packing(path)
    try:
        with disk_errors(path), torch.serialization.safe_globals(data):
            return torch.load(path, map_location="cpu", weights_only=True)
    except SegdataError:
        raise
    except Exception as error:
        raise _refused(path, error) from error


def _check_packing(path: Path) -> None:
    """Raise when the file is a zip that would unfold: PyTorch stores its records as they are."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            size = sum(record.file_size for record in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise _refused(path, error) from error
    if size > path.stat().st_size:
        raise Unsafe(
            "the weights file would unfold to more than it holds",
            file=path,
            why=f"its records have {size:,} bytes, the file has {path.stat().st_size:,}",
            fix="save it anew with torch.save",
        )


def _check_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise for tensors that are no weights: sparse, quantised, complex, without values, or larger than what is stored."""
    from torch import strided

    for name, value in tensors.items():
        why = next(
            (
                text
                for wrong, text in (
                    (value.layout is not strided, f"its layout is {value.layout}"),
                    (value.is_quantized or value.is_complex(), f"its type is {value.dtype}"),
                    (value.device.type != "cpu", f"it is on the device {value.device}"),
                    (value.is_quantized or value.is_nested, "it is nested"),
                )
                if wrong
            ),
            None,
        )
        if why is None and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            why = f"its shape is {list(value.shape)}, {value.untyped_storage().nbytes():,} bytes are stored"
        if why is not None:
            raise InvalidInput("the weights file holds a tensor that is no weight", file=path, place=name, why=why)


def _unwrapped(state: Mapping[str, Any]) -> dict[str, Any]:
    """Names without what wrappers put before all of them, and without an average's count."""
    tensors = {str(name): value for name, value in state.items() if name != "n_averaged"}
    for _ in range(_MOST_WRAPPERS):
        prefix = next((one for one in _PREFIXES if tensors and all(name.startswith(one) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _refused(path: Path, error: Exception) -> SegdataError:
    """Why a PyTorch file was not opened."""
    text = str(error)
    why = f"{type(error).__name__}: {next((line.strip() for line in text.splitlines() if line.strip()), '')}"[:200]
    named = re.search(r"GLOBAL ([\w.]+)", text)
    if type(error).__name__ == "UnpicklingError" and "invalid load key" not in text:
        return Unsafe(
            "the weights file holds more than tensors; it was not opened",
            file=path,
            why=f"it names {named[1]}, which could run code" if named else "it could run code",
            fix="save model.state_dict() alone; if you trust the file, in Python:\n"
            f"          state = torch.load({str(path)!r}, weights_only=False)\n"
            '          torch.save(state["model"], "weights.pth")    # or state["state_dict"], or state.state_dict()',
        )
    return DamagedData(
        "the weights file cannot be read",
        file=path,
        why=f"it is cut short, damaged, or no PyTorch file: {why}",
        fix="fetch or copy the file again",
    )


def differences(tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], wanted: Sequence[str]) -> list[str]:
    """What is wrong with tensors for a network: those that it lacks or has too many, other shapes, other kinds.

    Args:
        present: the network's.
        wanted: which of these must be there.
    """
    return [
        *(
            f"{name}: not in the file"
            for name in wanted
            if name not in tensors and not name.endswith("num_batches_tracked")
        ),
        *(f"{name}: not in the model" for name in tensors if name not in present),
        *(
            f"{name}: {list(value.shape)} in the file, {list(present[name].shape)} in the model"
            for name, value in tensors.items()
            if name in present and value.shape != present[name].shape
        ),
        *(
            f"{name}: {value.dtype} in the file, {present[name].dtype} in the model"
            for name, value in tensors.items()
            if name in present and value.is_floating_point() != present[name].is_floating_point()
        ),
    ]


def another_model(source: Weights, wrong: Sequence[str], fix: str) -> InvalidInput:
    """The error for weights of another model, with the first differences."""
    return InvalidInput(
        "the weights are of another model",
        file=source.source,
        why="; ".join(wrong[:5]) + (f"; … {len(wrong) - 5} more" if len(wrong) > 5 else ""),
        fix=fix,
    )


def require_finite(tensors: Mapping[str, Tensor], present: Mapping[str, Tensor], source: Weights) -> None:
    """Raise for values that are not finite in the type that the network has.

    Raises:
        DamagedData: naming the first tensor.
    """
    import torch

    for name, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value.to(present[name].dtype)).all():
            raise DamagedData(
                "the weights hold values that are not finite",
                file=source.source,
                place=name,
                why="a training that diverged leaves such weights, a damaged file, too",
                fix="take weights from before the loss became nan, or fetch the file again",
            )
