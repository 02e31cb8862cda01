"""Checkpoints: tensors in safetensors, everything else in JSON beside it, which is written last.

    checkpoints/step-00000400-9f3a12cd34ef.safetensors      tensors; the name holds the beginning of their SHA-256
    checkpoints/step-00000400.json                          the tensors' file, size and SHA-256, and what is no tensor;
                                                            has a checksum of its own

A file under its final name is whole; the JSON is the commit point. A checkpoint that is written anew never overwrites the
tensors that the present JSON names, so that a moment without either does not exist. Nothing is unpickled, and nothing is
used before its checksum was compared.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from segdata.core.labels import LabelSpace
from segdata.errors import DamagedData, InvalidInput, NotThere
from segdata.models import safetensors_files
from segdata.system import documents
from segdata.system.files import canonical_json, checked_name, disk_errors, write_whole
from segdata.system.reading import open_file

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "segdata checkpoint"
VERSION = 2
KEPT = 2
"""Checkpoints that stay; older ones go."""

_STEP = re.compile(r"step-(\d{8})\.json")
_PREFIX = "model."
"""What names of weights begin with in a checkpoint, where the optimiser's tensors are, too."""

_DIGITS = 12
"""Of the digest in a name."""


class _Outer(Struct):
    """The JSON file: the document with its checksum."""

    crc32: str
    content: dict[str, Any]


class _Tensors(Struct):
    """What the document says of the tensors' file."""

    file: str
    bytes: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Content(Struct):
    """What every checkpoint's document has; the training and the model add their own, which they check."""

    tensors: _Tensors
    step: Annotated[int, Meta(ge=0, le=2**62)]
    config: dict[str, Any]
    labels: LabelSpace
    data: str


def save(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write `path` (without ending) as two files; what was there before stays whole until they are.

    Args:
        document: what is no tensor; JSON.
    """
    from safetensors.torch import save as encoded

    data = encoded({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    file = path.with_name(f"{path.name}-{digest[:_DIGITS]}.safetensors")
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "tensors": {"file": file.name, "bytes": len(data), "sha256": digest},
        **document,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, data)
    text = canonical_json(whole)
    write_whole(path.with_suffix(".json"), canonical_json({"crc32": f"{zlib.crc32(text):08x}", "content": whole}))
    for other in path.parent.iterdir():
        if other != file and _is_of(other, path.name):
            other.unlink(missing_ok=True)


def _is_of(file: Path, name: str) -> bool:
    """Whether a file holds tensors of the checkpoint `name`, whole or in the making."""
    return re.fullmatch(rf"\.?{re.escape(name)}-[0-9a-f]{{{_DIGITS}}}\.safetensors(\.part-\d+)?", file.name) is not None


def read_document(path: Path) -> dict[str, Any]:
    """What a checkpoint's JSON says, after its checksum was compared.

    Raises:
        NotThere: no such file.
        DamagedData: cut short, changed, or without what every checkpoint has.
        InvalidInput: of another kind or version.
    """
    path = path.with_suffix(".json")
    what = "the checkpoint's description"
    outer = documents.read_json(path, _Outer, what, fix=_another(path))
    whole = outer.content
    try:
        intact = f"{zlib.crc32(canonical_json(whole)):08x}" == outer.crc32
    except (ValueError, RecursionError):
        intact = False
    if not intact:
        raise DamagedData(f"{what} is damaged", file=path, why="its checksum is not the stated one", fix=_another(path))
    if whole.get("format") != FORMAT or whole.get("version") != VERSION:
        raise InvalidInput(
            "this is no checkpoint that this segdata reads",
            file=path,
            why=f"{whole.get('format')!r:.80} of version {whole.get('version')!r:.80}; "
            f"expected {FORMAT!r} of version {VERSION}",
        )
    documents.typed(whole, _Content, what, path, fix=_another(path))
    return whole


def _another(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    file = path.with_suffix(".json")
    if _STEP.fullmatch(file.name):
        return f"restore this file, or remove {file} to go on from the checkpoint before it"
    return "use another checkpoint of the run, or restore this file"


def path_of(file: Path) -> Path:
    """The checkpoint, without ending, that one of its two files belongs to."""
    stem = file.with_suffix("")
    return stem.with_name(re.sub(rf"-[0-9a-f]{{{_DIGITS}}}$", "", stem.name)) if file.suffix == ".safetensors" else stem


def tensors_file(path: Path, document: Mapping[str, Any]) -> Path:
    """Where the tensors of a checkpoint lie, of which `read_document` gave the document."""
    return path.parent / checked_name(document["tensors"]["file"], "the checkpoint").name


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and document of a checkpoint, verified.

    Raises:
        DamagedData: the tensors are not those that were written; a flipped bit is enough.
    """
    document = read_document(path)
    stated = document["tensors"]
    file = tensors_file(path, document)
    with disk_errors(file), open_file(file) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        data = opened.read() if size == stated["bytes"] else b""
    if len(data) != stated["bytes"]:
        raise DamagedData(
            "the checkpoint's tensors are cut short" if size < stated["bytes"] else "the checkpoint is too long",
            file=file,
            why=f"{size:,} bytes; {stated['bytes']:,} were written",
            fix=_another(path),
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != stated["sha256"]:
        raise DamagedData(
            "the checkpoint's tensors are damaged",
            file=file,
            why=f"sha256 {digest[:12]}… instead of {stated['sha256'][:12]}…",
            fix=_another(path),
        )
    return safetensors_files.decoded(data, file), document


def step_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies, without ending."""
    return folder / f"step-{step:08d}"


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint of a folder, without ending; a damaged one is an error, not a reason to go back."""
    steps = [path for path in folder.glob("step-*.json") if _STEP.fullmatch(path.name)]
    return max(steps).with_suffix("") if steps else None


def remove_old(folder: Path, count: int = KEPT) -> None:
    """Remove all but the last checkpoints, and what unfinished ones left."""
    steps = sorted(path for path in folder.glob("step-*.json") if _STEP.fullmatch(path.name))
    names = {path.stem for path in steps[-count:]}
    for path in folder.iterdir():
        is_ours = path.name.startswith("step-") or ".part-" in path.name
        if is_ours and path.name[: len("step-00000000")] not in names:
            path.unlink(missing_ok=True)


def of_run(run: Path) -> Path:
    """The weights that a run stands for: the best validated, else the newest; without ending.

    Raises:
        NotThere: the folder is no run, or the run has no checkpoint yet.
    """
    if (run / "best.json").is_file():
        return run / "best"
    last = newest(run / "checkpoints") if (run / "checkpoints").is_dir() else None
    if last is None:
        raise NotThere(
            "there is no trained model here",
            file=run,
            why="neither best.json nor checkpoints/ is there",
            fix=f"segdata train PACK -o {run}",
        )
    return last


def is_of_network(name: str) -> bool:
    """Whether a checkpoint's tensor is one of the network's."""
    return name.startswith(_PREFIX)


def network_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's among a checkpoint's tensors, under the network's names."""
    return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if is_of_network(name)}


AVERAGE = "average."
"""What names begin with in a checkpoint that are of the moving average of the weights."""


def kept_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors that a checkpoint stands for: the moving average where it has one; under the network's names."""
    averaged = {name.removeprefix(AVERAGE): value for name, value in tensors.items() if name.startswith(AVERAGE)}
    return network_tensors(averaged or tensors)


def checkpoint_tensors(network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors under the names that checkpoints have."""
    state: Mapping[str, Any] = network.state_dict()
    return {f"{_PREFIX}{name}": value for name, value in state.items()}
