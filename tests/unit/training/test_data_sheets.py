"""The sheet beside exported weights says all that a stranger must know of them, and it builds the model that takes them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
from torch import nn

from refers_bench.nets.radiograph_transformer import RadiographTransformer
from refers_bench.training import data_sheets

NETWORK = {
    "patch_size": 8,
    "width": 16,
    "depth": 3,
    "heads": 2,
    "mlp_width": 40,
    "activation": "relu",
    "position": "added",
}
IMAGE = {"size": 24, "channels": 3, "mean": [0.1] * 3, "std": [0.2] * 3, "prepared_size": 30}
RECORD = {
    "key": "abc", "provenance": {"packages": {"torch": "2.0"}, "hardware": {}},
    "spec": {
        "method": "m", "params": {"x": 1}, "network": NETWORK, "image": IMAGE, "seed": 4,
        "source": {"dataset": "s", "prepare": "p"},
    },
    "facts": {
        "steps": 7, "selected": "last", "examples": {"train": 5, "val": 2}, "initial_weights": "random",
        "data_digest": "d", "train_s": 1.0,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Params:
    x: int


class Method:
    """The record of a method whose architecture is its parameter's."""

    label, source, Params = "A method", "a paper", Params

    @staticmethod
    def architecture(params: Params) -> str:
        return {1: "transformer", 2: "resnet18"}[params.x]


@dataclass(frozen=True)
class Source:
    label: str = "A source"
    source: str = "a hospital"
    licence: str = "CC BY 4.0"
    synthetic: bool = False


def sheet(record: dict[str, Any] = RECORD, source: Source = Source(), layout: str = "own") -> dict[str, Any]:
    return data_sheets.data_sheet(record, method=Method, sources={"s": source}, layout=layout, architecture="in words")


EXPECTED = {
    "version": 1, "architecture": "in words", "layout": "own",
    "input": {
        "size": 24, "channels": 3, "mean": [0.1] * 3, "std": [0.2] * 3, "value_range": [0, 1], "resize": 30,
        "interpolation": "bilinear, antialiased",
    },
    "network": NETWORK,
    "method": {"id": "m", "label": "A method", "source": "a paper", "params": {"x": 1}},
    "pretraining": {
        "steps": 7, "selected": "last", "seed": 4, "examples": {"train": 5, "val": 2}, "initial_weights": "random",
    },
    "data": {
        "id": "s", "label": "A source", "source": "a hospital", "licence": "CC BY 4.0", "synthetic": False, "digest": "d",
    },
    "key": "abc", "packages": {"torch": "2.0"},
}  # fmt: skip


def test_a_sheet_says_everything() -> None:
    assert sheet() == EXPECTED
    unknown = sheet(source=Source(licence="", synthetic=True))["data"]
    assert unknown == {**EXPECTED["data"], "licence": "not stated", "synthetic": True}  # type: ignore[dict-item]


def test_a_sheet_names_every_source_with_its_licence() -> None:
    record = copy.deepcopy(RECORD)
    record["facts"]["data_digest"] = {"s": "d", "t": "e"}  # type: ignore[index]
    several = data_sheets.data_sheet(
        record, method=Method, sources={"s": Source(), "t": Source(licence="")}, layout="own", architecture="in words"
    )
    other = {**EXPECTED["data"], "id": "t", "licence": "not stated", "digest": "e"}  # type: ignore[dict-item]
    assert several == {**EXPECTED, "data": [EXPECTED["data"], other]}


def test_timm_builds_the_model_that_takes_the_tensors() -> None:
    """It has as many tensors of the same shapes as ours, and gives all tokens."""
    told = sheet(layout="timm")
    about = told.pop("timm")
    assert told == {**EXPECTED, "layout": "timm"}
    assert about["build"] == "timm.models.VisionTransformer(**arguments)"
    assert about["output"].startswith(
        "forward_features gives all tokens after the final norm, the aggregation embedding"
    )
    theirs = timm.models.VisionTransformer(**about["arguments"]).eval()
    assert sum(isinstance(module, nn.ReLU) for module in theirs.modules()) == 3
    torch.manual_seed(0)
    ours = RadiographTransformer(
        image_size=24, patch_size=8, channels=3, width=16, depth=3, heads=2, mlp_width=40, dropout=0.0,
        activation="relu", position="added", aggregation="none",
    )  # fmt: skip
    shapes = sorted(tuple(value.shape) for value in ours.state_dict().values())
    assert shapes == sorted(tuple(value.shape) for value in theirs.state_dict().values())
    assert theirs.forward_features(torch.zeros(1, 3, 24, 24)).shape == (1, 10, 16)


@pytest.mark.parametrize("channels", [1, 3])
def test_timm_builds_a_resnet_by_its_name(channels: int) -> None:
    spec = {**RECORD["spec"], "params": {"x": 2}, "image": {**IMAGE, "channels": channels}}  # type: ignore[dict-item]
    about = sheet({**RECORD, "spec": spec}, layout="timm")["timm"]
    assert about == {
        "build": "timm.create_model(**arguments)", "output": "mean over the last map",
        "arguments": {"model_name": "resnet18", "in_chans": channels, "num_classes": 0},
    }  # fmt: skip
