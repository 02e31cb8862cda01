"""Weights of a network, from a checkpoint or a PyTorch file, which is opened in the weights-only way: code is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, SegdataError, Unsafe
from segdata.models import checkpoint, weights_digest
from segdata.system.files import disk_errors

if TYPE_CHECKING:
    from torch import Tensor

"""What names of weights begin with in a checkpoint, where the optimiser's tensors are, too."""


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
    """

    source: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None
    labels: LabelSpace | None = None
    categories: npt.NDArray[np.int64] | None = None
    data: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)


def _checkpoint_of(source: str | Path) -> Path | None:
    """The checkpoint (without ending) that a run's folder or one of a checkpoint's files stands for."""
    path = Path(source)
    if path.is_dir():
        return checkpoint.of_run(path)
    return checkpoint.path_of(path) if path.suffix in (".json", ".safetensors") else None


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
        checkpoint.network_tensors(tensors),
        document["config"],
        labels,
        data=document["data"],
        state=document,
    )


def of_pytorch(path: Path) -> dict[str, Tensor]:
    """The state dictionary in a PyTorch file; it may lie under "model" or "state_dict".

    Raises:
        NotThere: no such file.
        DamagedData: cut short, or not what the digest beside it or in its name says.
        Unsafe: more than tensors.
        InvalidInput: tensors, but no state dictionary.
    """
    import torch
    from torch import Tensor

    weights_digest.check(path)
    try:
        with disk_errors(path):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except SegdataError:
        raise
    except Exception as error:
        raise _refused(path, error) from error
    for name in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InvalidInput(
            "the weights file holds no state dictionary", file=path, why=f"it holds {type(state).__name__}"
        )
    return {str(name): value for name, value in state.items()}


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
            fix="save only model.state_dict(), or the tensors as safetensors",
        )
    return DamagedData(
        "the weights file cannot be read",
        file=path,
        why=f"it is cut short, damaged, or no PyTorch file: {why}",
        fix="fetch or copy the file again",
    )
