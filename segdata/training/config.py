"""Settings of a training: the run's (optimiser, data, checkpoints), and with the model's as one flat TOML file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from msgspec import Meta

from segdata.errors import NotThere, UsageError
from segdata.models import registry, settings
from segdata.models.settings import Rule, Settings
from segdata.system import documents

if TYPE_CHECKING:
    import torch

    from segdata.models.contract import Autocast

Fraction = Annotated[float, Meta(ge=0, le=1)]

_MEANT_IN_PREDICTION = {
    "batch_size": "--batch-size: images per batch of a prediction",
    "flip": "--flip: predict the flipped image, too, and merge",
}
"""Setting of the training → the option of a prediction that is called so."""
BEFORE: Mapping[str, Any] = {"jpeg_reduction": False}
"""Settings that are newer than some runs → what these runs were made with, where it is not the default of today."""
_MODEL = "model"
"""The name of the model among the settings."""
_ABOUT_NAMES = "# meaning (range or choices) [name of the same setting in Matterport's Mask R-CNN]"


class RunConfig(Settings, frozen=True, kw_only=True):
    """Settings of a training whatever the model is.

    Raises:
        UsageError: a value is of another type or out of its range.
    """

    SECTIONS: ClassVar = {"batch_size": "optimisation", "aspect_batches": "data", "seed": "run"}
    PREDICTION: ClassVar = frozenset({"precision", "channels_last"})
    """Settings that matter in prediction, too."""

    # optimisation
    batch_size: Annotated[
        int, Meta(ge=1, le=4096, description="images per batch and process (GPU)", extra={"original": "IMAGES_PER_GPU"})
    ] = 2
    accumulate: Annotated[int, Meta(ge=1, le=4096, description="gradient accumulation: batches per update")] = 1
    epochs: Annotated[
        int, Meta(ge=1, le=100_000, description="epochs to train for; without effect where stages are given")
    ] = 12
    steps_per_epoch: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="updates per epoch, 0 = one pass over the data",
            extra={"original": "STEPS_PER_EPOCH"},
        ),
    ] = 0
    layers: Annotated[
        Literal["heads", "3+", "4+", "5+", "all"],
        Meta(
            description="trained layers: all but the backbone (heads), with its stages from 3, 4 or 5 on, or all",
            extra={"original": "train(layers=…)"},
        ),
    ] = "all"
    stages: Annotated[
        tuple[str, ...],
        Meta(
            description="staged training, LAYERS:EPOCHS or LAYERS:EPOCHS:FACTOR of the learning rate, such as heads:2, "
            "4+:4, all:6:0.1"
        ),
    ] = ()
    optimizer: Annotated[Literal["sgd", "adamw"], Meta(description="SGD with momentum, or AdamW")] = "sgd"
    learning_rate: Annotated[
        float, Meta(ge=0, le=100, description="peak learning rate", extra={"original": "LEARNING_RATE"})
    ] = 0.005
    momentum: Annotated[
        float,
        Meta(
            ge=0,
            le=0.9999,
            description="momentum of SGD, beta1 of AdamW",
            extra={"original": "LEARNING_MOMENTUM"},
        ),
    ] = 0.9
    weight_decay: Annotated[
        Fraction,
        Meta(
            description="weight decay, of all parameters but norms and biases",
            extra={"original": "WEIGHT_DECAY"},
        ),
    ] = 0.0001
    head_rate: Annotated[
        float,
        Meta(
            ge=0.01,
            le=1000,
            description="factor of the learning rate for all layers but the backbone's, such as 10 for a pretrained backbone",
        ),
    ] = 1.0
    schedule: Annotated[
        Literal["step", "cosine", "poly", "constant"],
        Meta(description="learning rate schedule after the warm-up; poly: (1 - share of the training) ** 0.9"),
    ] = "step"
    milestones: Annotated[
        tuple[Fraction, ...],
        Meta(description="fractions of the training at which the step schedule divides the learning rate by 10"),
    ] = (0.67, 0.92)
    warmup_steps: Annotated[
        int,
        Meta(
            ge=0, le=1_000_000, description="updates of linear learning rate warm-up, at most a quarter of the training"
        ),
    ] = 500
    warmup_factor: Annotated[
        Fraction, Meta(description="fraction of the peak learning rate that the warm-up begins at")
    ] = 0.001
    gradient_clip_norm: Annotated[
        float,
        Meta(
            ge=0,
            le=1e6,
            description="maximum global L2 norm of gradients, 0 = off",
            extra={"original": "GRADIENT_CLIP_NORM"},
        ),
    ] = 0.0
    average: Annotated[
        float,
        Meta(
            ge=0,
            le=0.99999,
            description="moving average of the weights, which is validated and kept: how much of it stays at an update, "
            "0 = none",
        ),
    ] = 0.0
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        Meta(
            description="autocast dtype (AMP), fp32 = off; auto: bf16 and channels-last where the processor or GPU is good "
            "at it, else fp32"
        ),
    ] = "fp32"
    channels_last: Annotated[bool, Meta(description="channels-last memory format, faster on GPUs with AMP")] = False

    # data
    aspect_batches: Annotated[bool, Meta(description="batches of landscape or of portrait images only")] = True
    workers: Annotated[
        int, Meta(ge=0, le=256, description="threads that decode and augment, 0 = none beside the training")
    ] = 2

    # the run
    seed: Annotated[
        int, Meta(ge=0, le=2**31 - 1, description="random seed of weights, order, augmentation and sampling")
    ] = 0
    checkpoint_steps: Annotated[
        int, Meta(ge=0, le=10_000_000, description="updates between checkpoints, 0 = one per epoch")
    ] = 0
    validate_epochs: Annotated[int, Meta(ge=0, le=100_000, description="epochs between validations, 0 = none")] = 1
    validation_images: Annotated[
        int,
        Meta(
            ge=0,
            le=10**9,
            description="maximum of images per validation, 0 = all",
            extra={"original": "VALIDATION_STEPS"},
        ),
    ] = 0
    example_pictures: Annotated[
        int, Meta(ge=0, le=64, description="pictures per validation, ground truth beside predictions")
    ] = 4
    log_steps: Annotated[int, Meta(ge=1, le=1_000_000, description="updates between log lines")] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.stages:
            _stage(text)

    def require_consistent(self) -> None:
        """See `Settings.require_consistent`."""
        self.require_effect("milestones", f"schedule = {self.schedule!r}", has_effect=self.schedule == "step")
        self.require_effect("warmup_factor", "warmup_steps = 0", has_effect=self.warmup_steps > 0)
        for name in ("epochs", "layers"):
            self.require_effect(name, "stages, which name epochs and layers themselves", has_effect=not self.stages)

    @property
    def autocast(self) -> Autocast:
        """Autocast dtype and memory format."""
        from segdata.models.contract import Autocast

        return Autocast(self.precision, self.channels_last)

    @property
    def plan(self) -> tuple[tuple[str, int, float], ...]:
        """Stages of the training: (layers, epochs, factor of the learning rate)."""
        return tuple(_stage(text) for text in self.stages) or ((self.layers, self.epochs, 1.0),)


def _stage(text: str) -> tuple[str, int, float]:
    parts = text.split(":")
    try:
        layers, epochs, factor = parts[0], int(parts[1]), float(parts[2]) if len(parts) > 2 else 1.0
    except (IndexError, ValueError):
        layers, epochs, factor = "", 0, 0.0
    if layers not in ("heads", "3+", "4+", "5+", "all") or epochs < 1 or factor <= 0 or len(parts) > 3:
        raise UsageError(
            f"a stage is LAYERS:EPOCHS or LAYERS:EPOCHS:FACTOR, not {text!r}",
            place="stages",
            why="layers are heads, 5+, 4+, 3+ or all",
        )
    return layers, epochs, factor


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a training; in files and on the command line their names stand side by side.

    Attributes:
        model: the model's settings, of the type that belongs to its name.
        run: all others.
        name: the model's, see `segdata.models.registry`.
    """

    model: Any
    run: RunConfig
    name: str = registry.DEFAULT

    @classmethod
    def of(cls, name: str = registry.DEFAULT) -> TrainConfig:
        """The defaults of a model.

        Raises:
            NotThere: there is no model with this name.
        """
        model = registry.settings_type(name)
        return cls(model(), RunConfig(**model.RUN), name)

    @classmethod
    def beginning_with(cls, weights: str | Path | None, name: str | None = None) -> TrainConfig:
        """The defaults of the model that weights belong to, but for what their file shows of its network.

        Args:
            name: the model, where it is not to be theirs.

        Raises:
            NotThere: there is no model with this name.
            InvalidInput, DamagedData, Unsafe: a file of Keras that cannot be used.
        """
        if weights is None or name not in (None, registry.KERAS):
            return cls.of(name or registry.DEFAULT)
        return cls.of(name or registry.name_of(weights)).changed(**registry.shown_by(weights))

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        *,
        name: str = registry.DEFAULT,
        weights: str | Path | None = None,
        file: Path | str | None = None,
    ) -> TrainConfig:
        """From names and values, among them the model's name as `model`; what is not named keeps its default.

        Args:
            name: the model, where the values do not say it.
            weights: what the training begins with, which may say the model, too.

        Raises:
            NotThere: there is no model with this name.
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        others = dict(values)
        named = others.pop(_MODEL, name if weights is None else None)
        return cls.beginning_with(weights, None if named is None else str(named))._with(others, file=file)

    @classmethod
    def from_toml(cls, path: Path, *, name: str = registry.DEFAULT, weights: str | Path | None = None) -> TrainConfig:
        """From a TOML file of `name = value` lines; see `from_dict`.

        Raises:
            UsageError: see `from_dict`; the line is named.
        """
        try:
            return cls.from_dict(documents.read_toml(path, UsageError), name=name, weights=weights, file=path)
        except UsageError as error:
            error.place = settings.line_of(path, error.place) or error.place
            raise

    @classmethod
    def chosen(
        cls,
        file: Path | None,
        changes: Sequence[str],
        run: Path | None = None,
        *,
        name: str = registry.DEFAULT,
        weights: str | Path | None = None,
    ) -> TrainConfig:
        """Settings of a TOML file or of a run, else the defaults; then `changes`, each NAME=VALUE.

        Args:
            name: the model, where neither they nor the weights say it.
            weights: what a training begins with.
        """
        if run is not None and file is not None:
            raise UsageError("settings are a file's or a run's, not both", fix="leave out --config")
        if run is not None and not (run / "config.toml").is_file():
            raise NotThere("there is no run here", file=run, fix=f"segdata train PACK -o {run}")
        texts = [text for text in changes if text.partition("=")[0].strip() != _MODEL]
        named = next((text.partition("=")[2].strip() for text in changes if text not in texts), None)
        weights = weights if run is None and named in (None, registry.KERAS) else None
        path = run / "config.toml" if run is not None else file
        if path is not None:
            written = cls.from_toml(path, name=named or name, weights=weights)
        else:
            written = cls.beginning_with(weights, named or (name if weights is None else None))
        if named not in (None, written.name):
            raise UsageError(
                "the settings are those of another model", file=path, why=f"they are of {written.name}, not of {named}"
            )
        return written.changed(**written.parsed(texts))

    def changed(self, **values: Any) -> TrainConfig:
        """The same settings but for some.

        Raises:
            UsageError: an unknown name (close ones are named), or a bad value.
        """
        return self._with(values)

    def require_consistent(self) -> None:
        """Refuse settings that contradict each other or have no effect beside others.

        Raises:
            UsageError: the first that does.
        """
        self.model.require_consistent()
        self.run.require_consistent()
        if self.run.batch_size < self.model.least_batch_size:
            raise UsageError(
                f"batch norm needs batches of at least {self.model.least_batch_size} images",
                place="batch_size",
                why=f"batch_size is {self.run.batch_size}, norm is 'batch'",
                fix="--set norm=group, or a larger batch_size",
            )

    def resolved(self, device: torch.device, made_with: Mapping[str, Any] | None = None) -> TrainConfig:
        """The same settings with `precision = "auto"` decided; a run of before a setting goes on without it.

        Args:
            device: where the network will be.
            made_with: settings of the run that goes on, whose choice stays.
        """
        if made_with is not None:
            before = {name: value for name, value in BEFORE.items() if name not in made_with}
            if before.keys() <= self.as_dict().keys():
                return self.changed(**before)._decided(device, made_with)
        return self._decided(device, made_with)

    def _decided(self, device: torch.device, made_with: Mapping[str, Any] | None) -> TrainConfig:
        if self.run.precision != "auto":
            return self
        names = ("precision", "channels_last")
        if made_with is not None and all(name in made_with for name in names):
            return self.changed(**{name: made_with[name] for name in names})
        from segdata.training.distributed import is_good_at_bf16

        if is_good_at_bf16(device):
            return self.changed(precision="bf16", channels_last=True)
        return self.changed(precision="fp32")

    def for_prediction(self, changes: Mapping[str, Any]) -> TrainConfig:
        """The same settings but for some that matter in prediction.

        Raises:
            UsageError: one that matters in training alone, an unknown name, a bad value, or sizes that contradict each other.
        """
        training = self.model.TRAINING | (self.run.rules().keys() - self.run.PREDICTION)
        settings.require_effect_in_prediction(changes, training, _MEANT_IN_PREDICTION)
        changed = self.changed(**changes)
        if changes:
            changed.model.require_consistent()
        return changed

    def _settings_are_listed(self, values: Mapping[str, Any]) -> str:
        """Where the names of settings are, and which model has the first that this one lacks."""
        fix = Settings.HELP if self.name == registry.DEFAULT else f"segdata config {self.name} lists all settings"
        unknown = next(name for name in values if name not in self.rules())
        model = next((name for name in registry.MODELS if unknown in registry.settings_type(name).rules()), None)
        return fix if model is None else f"{fix}; --model {model} has {unknown}"

    def _with(self, values: Mapping[str, Any], *, file: Path | str | None = None) -> TrainConfig:
        if values.keys() - self.rules():
            settings.require_known(values, self.rules(), fix=self._settings_are_listed(values), file=file)
        parts = [
            {name: value for name, value in values.items() if name in part.rules()} for part in (self.model, self.run)
        ]
        try:
            return replace(self, model=self.model.changed(**parts[0]), run=self.run.changed(**parts[1]))
        except UsageError as error:
            raise error.located(file=file) from error

    def rules(self) -> dict[str, Rule]:
        """Name → rule of every setting, by section: the model's, then the run's."""
        run = {
            name: replace(rule, default=self.model.RUN.get(name, rule.default))
            for name, rule in self.run.rules().items()
        }
        rules = {**self.model.rules(), **run}
        return {name: rules[name] for names in self.sections().values() for name in names}

    def sections(self) -> dict[str, list[str]]:
        """Section → names of its settings; where both have a section, the model's come first."""
        model, run = self.model.sections(), self.run.sections()
        alone = {section: names for section, names in model.items() if section not in run}
        return alone | {section: model.get(section, []) + names for section, names in run.items()}

    def as_dict(self) -> dict[str, Any]:
        """Names and values as JSON holds them; the model's name is among them unless it is the default."""
        values = {**self.model.as_dict(), **self.run.as_dict()}
        named = {} if self.name == registry.DEFAULT else {_MODEL: self.name}
        return named | {name: values[name] for name in self.rules()}

    def as_toml(self, *, explained: bool = False) -> str:
        """A TOML file; with `explained`, meanings, ranges and the original's names as comments."""
        rules, values = self.rules(), self.as_dict()
        lines = [_ABOUT_NAMES, ""] if explained and any(rule.original for rule in rules.values()) else []
        lines += [f"{_MODEL} = {json.dumps(values[_MODEL])}"] if _MODEL in values else []
        for section, names in self.sections().items():
            lines += [f"# -------- {section}", ""] if explained else []
            for name in names:
                lines += settings.toml_lines(rules[name], values[name], explained=explained)
        return "\n".join(lines) + "\n"

    def described(self) -> list[dict[str, Any]]:
        """Every setting: name, value, default, meaning, range or choices, and the original's name."""
        values = self.as_dict()
        return [rule.as_dict(values[name]) for name, rule in self.rules().items()]

    def parsed(self, texts: Sequence[str]) -> dict[str, Any]:
        """`["learning_rate=0.06", "backbone=resnet18", "min_size=[256]"]` as names and values; a list may go without
        brackets, and a setting of Matterport's model may have the original's name.
        """
        values: dict[str, Any] = {}
        rules = self.rules()
        named = self.model.rules() if self.name == registry.KERAS else {}
        originals = {name.upper(): name for name in named} | {rule.original: name for name, rule in named.items()}
        for text in texts:
            name, equals, value = text.partition("=")
            name, value = originals.get(name.strip(), name.strip()), value.strip()
            if not equals:
                raise UsageError(f"a setting is NAME=VALUE, not {text!r}", fix="--set learning_rate=0.01")
            if name in rules and rules[name].is_list and not value.startswith("["):
                values[name] = [settings.parsed(item.strip()) for item in value.split(",") if item.strip()]
            else:
                values[name] = settings.parsed(value)
        return values
