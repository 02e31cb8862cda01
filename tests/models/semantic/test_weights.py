"""Weights into networks: the same classes, other classes, a backbone alone, another network."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch
from torchvision.models import resnet18

import segdata
from segdata.core.labels import Category, LabelSpace
from segdata.models import registry
from segdata.models.semantic.networks.settings import DeepLabV3Plus
from segdata.models.semantic.weights import class_tensors, renamed
from segdata.models.weights import Weights

SETTINGS: dict[str, Any] = {"backbone": "resnet18", "head_channels": 8, "auxiliary": True}
MODEL = registry.model("deeplabv3plus")
CONFIG = DeepLabV3Plus().changed(**SETTINGS)


def space(*names: str) -> LabelSpace:
    return LabelSpace("own", tuple(Category(id=n, name=name, ignore=name == "off") for n, name in enumerate(names)))


def network(labels: LabelSpace, seed: int) -> Any:
    return MODEL.build(CONFIG, labels, seed=seed)


def test_rows_of_classes_of_the_same_name_are_taken_over() -> None:
    theirs, mine = space("sky", "off", "road", "pole"), space("pole", "car", "sky")
    old, new = network(theirs, 1), network(mine, 2)
    fresh = {name: value.clone() for name, value in new.state_dict().items()}
    source = Weights("run", old.state_dict(), labels=theirs)
    (remark,) = MODEL.put(source, new, mine)
    assert remark.startswith("the weights know 3 classes, here are 3: 2 of the same name are taken over")
    layers = class_tensors("deeplabv3plus", CONFIG)
    assert sorted(layers) == ["auxiliary.4.bias", "auxiliary.4.weight", "decoder.4.bias", "decoder.4.weight"]
    for name, value in new.state_dict().items():
        there = old.state_dict()[name]
        expected = torch.stack((there[2], fresh[name][1], there[0])) if name in layers else there
        assert torch.equal(value, expected), name


def test_the_same_classes_are_taken_as_they_are() -> None:
    labels = space("sky", "road")
    old, new = network(labels, 1), network(labels, 2)
    assert MODEL.put(Weights("run", old.state_dict(), labels=labels), new, labels) == []
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in new.state_dict().items())


def test_a_backbone_alone_and_weights_without_the_auxiliary_head() -> None:
    labels, trunk = space("sky", "road"), resnet18(weights=None)
    new = network(labels, 1)
    remarks = MODEL.put(renamed("resnet18.pth", trunk.state_dict()), new, labels)
    assert remarks == ["only the backbone is in the file; everything else starts afresh"]
    assert torch.equal(new.encoder.layer3[0].conv1.weight, trunk.layer3[0].conv1.weight)
    tensors = {name: value for name, value in network(labels, 3).state_dict().items() if not name.startswith("aux")}
    remarks = MODEL.put(Weights("file", tensors, labels=labels), new, labels)
    assert remarks == ["the auxiliary head is not in the file; it starts afresh"]


def test_another_network_and_numbers_that_are_none_are_refused() -> None:
    labels = space("sky", "road")
    new, old = network(labels, 1), network(labels, 2)
    tensors = dict(old.state_dict())
    del tensors["decoder.0.0.weight"]
    source = Weights("run", tensors, labels=labels, config=json.loads('{"model": "deeplabv3plus"}'))
    with pytest.raises(
        segdata.errors.InvalidInput, match=r"decoder\.0\.0\.weight: not in the file[\s\S]*--model deeplab"
    ):
        MODEL.put(source, new, labels)
    bad = {**old.state_dict(), "decoder.4.bias": torch.full((2,), torch.nan)}
    with pytest.raises(segdata.errors.DamagedData, match=r"not finite"):
        MODEL.put(dataclasses.replace(source, tensors=bad), new, labels)
