"""Networks of segmentation-models-pytorch, with any encoder of it or of timm."""

from __future__ import annotations

import threading
import warnings
from importlib import util
from typing import Any

from torch import Tensor

from segdata.errors import NotThere, UsageError, close_names
from segdata.models.semantic.network import Network, Outputs
from segdata.models.semantic.networks.settings import SMP

_SECONDS = 3.5
"""How long the server of the weights may take to answer."""

_LEAST = {"pan": 128}
"""Networks that cannot do with images of 32 pixels: PAN halves the features of stride 16 three times."""


class SMPNetwork(Network):
    """The encoder, decoder and head of a network of segmentation-models-pytorch."""

    def __init__(self, parts: Any, least: int) -> None:
        super().__init__()
        self.least = least
        self.encoder = parts.encoder
        self.decoder = parts.decoder
        self.head = parts.segmentation_head

    def outputs_of_padded(self, images: Tensor) -> Outputs:
        """See `Network`."""
        return Outputs(self.head(self.decoder(self.encoder(images))))


def build(name: str, settings: SMP, classes: int, in_channels: int) -> Network:
    """A network with fresh weights.

    Args:
        name: in segmentation-models-pytorch, in lower case.

    Raises:
        UsageError: the packages are not installed, there is no such encoder, or it does not fit the network.
    """
    return SMPNetwork(_parts(name, settings, None, classes, in_channels), _LEAST.get(name, SMPNetwork.least))


def _parts(name: str, settings: SMP, weights: str | None, classes: int, in_channels: int) -> Any:
    require_packages()
    import segmentation_models_pytorch as smp

    encoder = encoder_named(settings.backbone)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return smp.create_model(
                name, encoder_name=encoder, encoder_weights=weights, in_channels=in_channels, classes=classes
            )
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(
            f"smp:{name} cannot be built on the backbone {settings.backbone!r}",
            place="backbone",
            why=f"{type(error).__name__}: {error}",
            fix="choose another, such as resnet34 or efficientnet-b0",
        ) from error


def require_packages() -> None:
    """Raise unless segmentation-models-pytorch and timm are installed.

    Raises:
        UsageError: one is missing; the extra is named.
    """
    missing = [name for name in ("segmentation_models_pytorch", "timm") if util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"networks whose name begins with smp: need {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed",
            fix="pip install 'segdata[smp]'",
        )


def encoder_named(backbone: str) -> str:
    """An encoder's name in segmentation-models-pytorch: its own, or timm's with tu- before it.

    Raises:
        UsageError: there is none; close ones are named.
    """
    import timm
    from segmentation_models_pytorch.encoders import encoders

    name = backbone.removeprefix("tu-")
    if backbone in encoders:
        return backbone
    if timm.is_model(name):
        return f"tu-{name}"
    close = close_names(backbone, encoders) or close_names(name, timm.list_models())
    raise UsageError(
        f"there is no encoder {backbone!r}",
        place="backbone",
        why=f"close ones are {', '.join(close)}" if close else "neither segmentation-models-pytorch nor timm has it",
        fix=f"--set backbone={close[0] if close else 'resnet34'}",
    )


def published_tags(backbone: str) -> tuple[str, ...]:
    """Names of the weights that an encoder is published with; timm's have theirs in the model's name.

    Raises:
        UsageError: there is no such encoder, or a package is missing.
    """
    require_packages()
    from segmentation_models_pytorch.encoders import encoders

    name = encoder_named(backbone)
    return tuple(encoders[name]["pretrained_settings"]) if name in encoders else ("imagenet",)


def pretrained(name: str, settings: SMP, tag: str) -> tuple[dict[str, Tensor], str]:
    """The weights of an encoder, by their names in it, and the file that they come from.

    Args:
        name: of the network, in lower case.
        tag: one of `published_tags(settings.backbone)`.

    Raises:
        NotThere: the file is not in the cache and cannot be downloaded.
        UsageError: the encoder has none, or see `build`.
    """
    import timm
    from segmentation_models_pytorch.encoders import encoders

    encoder = encoder_named(settings.backbone)
    if encoder in encoders:
        origin = encoders[encoder]["pretrained_settings"][tag]
        files, repository, revision = ["config.json", "model.safetensors"], origin["repo_id"], origin["revision"]
    else:
        shown = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if shown is None or not shown.hf_hub_id:
            raise UsageError(f"timm publishes no weights of {settings.backbone!r}", place="backbone")
        files, (repository, _, revision) = ["model.safetensors"], shown.hf_hub_id.partition("@")
    for file in files:
        _require_file(repository, file, revision or None)
    parts = _parts(name, settings, tag, 1, 3)
    return parts.encoder.state_dict(), f"{repository}/{files[-1]}"


def _require_file(repository: str, file: str, revision: str | None) -> None:
    """Have a file in the cache of huggingface_hub, which tries for half a minute where there is no network.

    Raises:
        NotThere: it is not there, and does not come.
    """
    import huggingface_hub as hub

    if isinstance(hub.try_to_load_from_cache(repository, file, revision=revision), str):
        return
    url = hub.hf_hub_url(repository, file, revision=revision)
    answer: list[object] = []

    def ask() -> None:
        try:
            answer.append(hub.get_hf_file_metadata(url, timeout=_SECONDS))
        except Exception as error:  # of httpx or of requests, by the version
            answer.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS)
    reason = answer[0] if answer else f"no answer within {_SECONDS:.0f} s"
    if answer and not isinstance(reason, Exception):
        try:
            hub.hf_hub_download(repository, file, revision=revision)
            return
        except Exception as error:
            reason = error
    raise NotThere(
        "the weights of the encoder could not be downloaded",
        file=url,
        why=str(reason).splitlines()[0],
        fix=f"where there is a network: hf download {repository}; then copy the cache, the folder that HF_HOME names",
    )
