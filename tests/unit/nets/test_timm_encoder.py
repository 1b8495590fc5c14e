"""Shuffled weights keep every value and no order; what timm cannot build is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from encoder_files import RELEASED
from refers_bench import plugins
from refers_bench.errors import UserError
from refers_bench.training import weight_files

ONE = RELEASED["dinov2"]


def loaded(name: str, path: Path, **params: Any) -> Any:
    method = plugins.load("method", name)
    encoder = method.build_encoder(
        method.Params(**ONE.params, **params), {"readout": "auto"}, {"size": 56, "channels": 3}
    )
    weight_files.load(encoder, path, minimum=1.0)
    return encoder.eval()


@torch.no_grad()
def test_shuffled_matrices_hold_the_same_values_in_another_order(tmp_path: Path) -> None:
    torch.save(ONE.content(ONE.reference().state_dict()), tmp_path / "w.pth")
    whole, floor, again, other = (
        loaded(name, tmp_path / "w.pth", **params)
        for name, params in (
            ("encoder", {}),
            ("shuffled_weights", {}),
            ("shuffled_weights", {}),
            ("shuffled_weights", {"draw": 1}),
        )
    )
    for name, value in whole.state_dict().items():
        found = floor.state_dict()[name]
        assert torch.equal(found.flatten().sort().values, value.flatten().sort().values)
        assert torch.equal(found, value) == (value.ndim < 2), name
        assert torch.equal(found, again.state_dict()[name])
        assert torch.equal(found, other.state_dict()[name]) == (value.ndim < 2), name
    x = torch.randn(2, 3, 56, 56)
    assert torch.equal(floor.features(x), again.features(x))
    assert not torch.allclose(floor.features(x), whole.features(x), atol=0.1)


def test_the_floor_is_one_and_the_encoder_is_none() -> None:
    assert plugins.load("method", "shuffled_weights").floor
    assert not any(plugins.load("method", name).floor for name in ("encoder", "refers", "scratch"))


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"architecture": "vit_tinny_patch16_224"}, "no network 'vit_tinny_patch16_224'.*did you mean 'vit_tiny_patch16_224'"),
        ({"architecture": "resnet18", "arguments": {"no_such": 1}}, "timm cannot build resnet18 at 64 px: .*no_such"),
        ({"architecture": "convnext_atto"}, "pools by 'avg' and norms in its head"),
        ({"architecture": "vit_tiny_patch16_224", "arguments": {"global_pool": "map"}}, "pools by 'map'"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_read_are_refused(params: dict[str, Any], says: str) -> None:
    method = plugins.load("method", "encoder")
    with pytest.raises(UserError, match=says):
        method.build_encoder(method.Params(layout="timm", **params), {"readout": "auto"}, {"size": 64, "channels": 3})


def test_a_readout_that_the_network_lacks_is_refused() -> None:
    method = plugins.load("method", "encoder")
    with pytest.raises(UserError, match="readout 'cls' of resnet18; allowed: mean"):
        method.build_encoder(
            method.Params(layout="timm", architecture="resnet18"), {"readout": "cls"}, {"size": 64, "channels": 3}
        )


@torch.no_grad()
def test_the_protocols_readout_stands_in_place_of_the_sheets() -> None:
    method, x = plugins.load("method", "encoder"), torch.randn(2, 3, 56, 56)
    encoder = method.build_encoder(method.Params(**ONE.params), {"readout": "mean"}, {"size": 56, "channels": 3}).eval()
    torch.testing.assert_close(encoder.readout(encoder(x)), encoder(x)[:, 1:].mean(1))
