"""`segdata predict --labels`: names for weights that carry none, by the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import segdata
from segdata.models.maskrcnn import weights
from tests.helpers.command import Here, Outcome
from tests.helpers.tiny_training import TINY

pytestmark = pytest.mark.usefixtures("without_pages")

_SIZES = [
    text
    for name in ("min_size", "max_size", "anchor_sizes", "post_nms_rois")
    for text in ("--set", f"{name}={json.dumps(TINY[name])}")
]
_MORE = ["--json", "--threads", 1, "--score-threshold", 0, *_SIZES]


@pytest.fixture(scope="module")
def mine(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's tensors as a file that names nothing."""
    file = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(dict(weights.read(run).tensors), file)
    return file


def _remarks(outcome: Outcome) -> str:
    assert outcome.code == 0, outcome.err
    return " ".join(outcome.document["problems"]["remarks"])


def test_classes_have_the_names_that_are_given(mine: Path, run: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    trained = [category.name for category in segdata.open(pack).labels.categories]
    found = here("predict", run, pack, "-o", tmp_path / "run", *_MORE)
    named = here("predict", mine, pack, "-o", tmp_path / "named", *_MORE, "--labels", ",".join(["bg", *trained]))
    assert "--labels" not in _remarks(found) + _remarks(named)
    predictions = segdata.open(tmp_path / "named")
    assert [(row.id, row.name) for row in predictions.labels.categories] == list(enumerate(trained, 1))
    assert sum(len(sample.instances) for sample in predictions) > 0
    for mine_, theirs in zip(predictions, segdata.open(tmp_path / "run"), strict=True):
        assert mine_.instances.category.tolist() == theirs.instances.category.tolist()
        assert mine_.instances.score.tolist() == theirs.instances.score.tolist()


def test_a_document_of_the_ground_truth_names_them_as_its_pack_does(
    mine: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    document = pack.parent / "raw/annotations/instances_val2017.json"
    _remarks(here("predict", mine, pack, "-o", tmp_path / "found", *_MORE, "--labels", document, "--split", "val2017"))
    evaluated = here("evaluate", tmp_path / "found", pack, "--split", "val2017", "--json")
    assert evaluated.code == 0, evaluated.err


def test_without_names_classes_are_numbered_and_the_option_is_named(
    mine: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    assert "--labels" in _remarks(here("predict", mine, pack, "-o", tmp_path / "found", *_MORE))
    labels = segdata.open(tmp_path / "found").labels
    assert [(row.id, row.name) for row in labels.categories] == [
        (number, f"class_{number}") for number in range(1, len(segdata.open(pack).labels) + 1)
    ]


def test_names_that_do_not_fit_and_names_of_a_run_are_refused(
    mine: Path, run: Path, pack: Path, tmp_path: Path, here: Here
) -> None:
    count = len(segdata.open(pack).labels)
    names = ",".join(f"n{number}" for number in range(count + 2))
    outcome = here("predict", mine, pack, "-o", tmp_path / "found", *_MORE, "--labels", names)
    assert outcome.code == 2
    assert f"{count + 2} names; the network has {count} classes" in outcome.document["error"]["why"]
    for source in (run, *run.glob("best-*.safetensors")):
        outcome = here("predict", source, pack, "-o", tmp_path / "found", *_MORE, "--labels", names)
        assert outcome.code == 2 and "leave out --labels" in outcome.document["error"]["fix"]
        assert segdata.open(pack).labels[0].name in outcome.document["error"]["why"]
    assert not (tmp_path / "found").exists()


def test_a_safetensors_file_of_bare_tensors_is_read(mine: Path, pack: Path, tmp_path: Path, here: Here) -> None:
    tensors = torch.load(mine, weights_only=True)
    file = tmp_path / "model.safetensors"
    save_file({f"module.{name}": value.contiguous() for name, value in tensors.items()}, file)
    read = weights.read(file)
    assert read.config is None and read.tensors.keys() == tensors.keys()
    assert all(torch.equal(value, tensors[name]) for name, value in read.tensors.items())
    names = ",".join(f"n{number}" for number in range(len(segdata.open(pack).labels)))
    _remarks(here("predict", file, pack, "-o", tmp_path / "found", *_MORE, "--labels", names, "--limit", 1))
    assert segdata.open(tmp_path / "found").labels[0].name == "n0"
    file.write_bytes(file.read_bytes()[:-100])
    outcome = here("predict", file, pack, "-o", tmp_path / "cut", *_MORE)
    assert outcome.code == 8 and outcome.document["error"]["file"] == str(file)
