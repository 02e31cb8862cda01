"""What every model promises: checks to call with its name in the table, small settings, and packs of some images.

    check_settings      they have meanings, and come back from TOML
    check_transform     training samples follow from the random generator alone
    check_training      updates, validation and checkpoints; a resumed run comes to the same bits
    check_prediction    a run predicts, and what it predicts is a pack

Nothing here knows a model; `test_model.py` runs the checks over the table.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import segdata
from segdata.models import checkpoint, registry
from segdata.pack.read import Pack
from segdata.training.config import TrainConfig
from segdata.training.predict import load
from segdata.training.runs import history
from segdata.training.trackers import run_folder
from tests.contracts.format_contract import text_of

RUN = {"steps_per_epoch": 1, "epochs": 2, "batch_size": 2, "warmup_steps": 0, "log_steps": 1, "workers": 0}
"""Two updates, each followed by a validation and a checkpoint."""


def config_of(name: str, settings: Mapping[str, Any]) -> TrainConfig:
    return TrainConfig.from_dict({**RUN, "example_pictures": 1, **settings}, name=name)


def check_settings(name: str, folder: Path) -> None:
    """Every setting has a meaning and a default that its own rule accepts; files name the model and come back equal."""
    config = TrainConfig.of(name)
    for rule in config.rules().values():
        assert rule.meaning, rule.name
        assert rule.checked(rule.default) == rule.default
    assert set(config.model.rules()).isdisjoint(config.run.rules())
    changed = config.changed(learning_rate=0.125)
    for explained in (False, True):
        file = folder / "settings.toml"
        file.write_text(changed.as_toml(explained=explained))
        assert TrainConfig.from_toml(file) == changed != config
    assert TrainConfig.from_dict(changed.as_dict()) == changed
    assert registry.settings_type(name) is type(config.model) is registry.model(name).settings
    assert config.model.METRIC.name and config.model.METRIC.title


def check_transform(name: str, pack: Pack, settings: Mapping[str, Any]) -> None:
    """The same generator gives the same training sample, and the sample stays as it was."""
    model, config = registry.model(name), config_of(name, settings)
    pack, _, facts = model.usable(pack, config.model)
    transform = model.transform(config.model, pack.labels, facts)
    for index in range(len(pack)):
        sample = pack[index]
        before = text_of(sample)
        items = [transform(sample, np.random.default_rng(seed)) for seed in (7, 7)]
        assert pickle.dumps(items[0]) == pickle.dumps(items[1])
        assert text_of(sample) == before
    items = [transform(pack[index], np.random.default_rng(index)) for index in range(len(pack))]
    autocast = config.run.autocast
    batch = model.to_batch(items, config.model, torch.device("cpu"), memory_format=autocast.memory_format)
    network = model.build(config.model, pack.labels, seed=3)
    sums, counts = model.losses(network, batch, config.model, facts)
    names = model.loss_names(config.model)
    assert sums.shape == counts.shape == (len(names),) == (len(model.loss_weights(config.model, 0.5)),)
    assert bool(torch.isfinite(sums).all()) and sums.requires_grad and bool((counts >= 0).all())


def check_training(name: str, pack: Pack, validate: Pack, settings: Mapping[str, Any], folder: Path) -> Path:
    """Two updates at once, and one after another: the same weights, optimiser, metrics and files."""
    model, config = registry.model(name), config_of(name, settings)
    whole = segdata.train(pack, folder / "whole", config, validate=validate, device="cpu")
    segdata.train(pack, folder / "parts", config.changed(epochs=1), validate=validate, device="cpu")
    parts = segdata.train(pack, folder / "parts", config, validate=validate, device="cpu")
    assert (whole.steps, whole.resumed_at, parts.steps, parts.resumed_at) == (2, 0, 2, 1)
    assert whole.metrics == parts.metrics and whole.best == parts.best
    last = whole.metrics[config.model.METRIC.name]
    assert whole.best is not None and last is not None and whole.best >= last
    for path in ("checkpoints/step-00000002", "best"):
        (mine, document), (theirs, other) = (checkpoint.load(report.run / path) for report in (whole, parts))
        for written in (document, other):
            del written["config"]["epochs"]  # the best weights may be those of the first epoch
        assert document == other and mine.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[tensor]) for tensor, value in mine.items())
    fresh = model.build(config.model, pack.labels, seed=config.run.seed).state_dict()
    trained = checkpoint.load(whole.run / "checkpoints/step-00000002")[0]
    assert any(not torch.equal(value, trained[f"model.{tensor}"]) for tensor, value in fresh.items())
    rows = run_folder.lines(whole.run)
    losses = [row for row in rows if "train/loss" in row]
    assert len(losses) == 2
    names = model.loss_names(config.model)
    for row in losses:
        weights = model.loss_weights(config.model, row["step"] / whole.steps)
        expected = sum(weight * row[f"train/{loss}"] for loss, weight in zip(names, weights, strict=True))
        assert np.isclose(row["train/loss"], expected)
    read = history.read(whole.run)
    assert read.metric == config.model.METRIC and read.best(f"validation/{read.metric.name}") == whole.best
    assert (whole.run / "report.html").is_file() and read.pictures
    return whole.run


def check_prediction(name: str, run: Path, pack: Pack, folder: Path) -> None:
    """A run is loaded by itself; its predictions are those of its predictor, in a pack that is whole."""
    assert registry.name_of(run) == name
    predictor = load(run, device="cpu")
    assert predictor.labels == pack.labels
    report = segdata.predict(run, pack, folder / "predicted", batch_size=2)
    assert report.samples == len(pack) and segdata.verify(folder / "predicted", deep=True).is_good
    predictions = predictor.predict([sample.image for sample in pack])
    for sample, prediction in zip(segdata.open(folder / "predicted"), predictions, strict=True):
        expected = prediction.on(sample)
        assert sample.instances.score.tolist() == expected.instances.score.tolist()
        assert sample.has_semantic == expected.has_semantic
        if sample.semantic is not None and expected.semantic is not None:
            assert sample.semantic.tolist() == expected.semantic.tolist()
