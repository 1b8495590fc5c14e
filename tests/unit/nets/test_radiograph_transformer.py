"""Do both readings have the tokens, widths and readouts their sources state, and do wrong sizes fail early?"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from refers_bench.manifest.protocols import names, resolve_sections
from refers_bench.nets.radiograph_transformer import RadiographTransformer, build

SMALL: dict[str, Any] = {
    "image_size": 16, "patch_size": 4, "channels": 1, "width": 8, "depth": 2, "heads": 2, "mlp_width": 16,
    "dropout": 0.0, "activation": "gelu", "position": "added", "aggregation": "added",
}  # fmt: skip


def small(**changes: Any) -> RadiographTransformer:
    torch.manual_seed(0)
    return RadiographTransformer(**{**SMALL, **changes}).eval()


@pytest.mark.parametrize(("aggregation", "patch_width"), [("added", 8), ("concatenated", 16), ("none", 8)])
@pytest.mark.parametrize("position", ["added", "concatenated"])
def test_shapes(aggregation: str, position: str, patch_width: int) -> None:
    net, x = small(aggregation=aggregation, position=position), torch.randn(3, 1, 16, 16)
    tokens = net(x)
    assert tokens.shape == (3, 17, 8)
    assert net.patches(tokens).shape == (3, 16, patch_width)
    assert net.readout(tokens).shape == (3, net.readout_width) == (3, patch_width)
    assert net.readout_layers(x, (1, 2)).shape == (3, 16)


def test_recurrent_concatenation_against_a_loop() -> None:
    tokens = torch.randn(2, 17, 8)
    added, joined, plain = (small(aggregation=name).patches(tokens) for name in ("added", "concatenated", "none"))
    for b in range(2):
        for n in range(16):
            aggregate, patch = tokens[b, 0], tokens[b, 1 + n]
            assert torch.equal(added[b, n], patch + aggregate)
            assert torch.equal(joined[b, n], torch.cat([patch, aggregate]))
            assert torch.equal(plain[b, n], patch)


def test_position_concatenated_then_projected_against_a_loop() -> None:
    net, x = small(position="concatenated"), torch.randn(1, 1, 16, 16)
    embedded = net.embed(x)
    for n in range(17):
        if n == 0:
            feature = net.aggregation_embedding[0, 0]
        else:
            row, column = divmod(n - 1, 4)
            patch = x[0, :, row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
            feature = net.patch_embedding(patch[None]).flatten()
        expected = net.position_projection(torch.cat([feature, net.position_embedding[0, n]]))
        torch.testing.assert_close(embedded[0, n], expected)


def test_all_views_in_one_pass_equal_separate_passes() -> None:
    net, views = small(), torch.randn(2, 3, 1, 16, 16)
    together = net(views.flatten(0, 1)).view(2, 3, 17, 8)
    for view in range(3):
        torch.testing.assert_close(together[:, view], net(views[:, view]))


def test_readout_of_the_last_layer_is_the_aggregation_embedding() -> None:
    net, x = small(), torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(net.readout_layers(x, (2,)), net(x)[:, 0])


def test_dropout_only_while_training() -> None:
    net, x = small(dropout=0.5), torch.randn(1, 1, 16, 16)
    assert torch.equal(net(x), net(x))
    net.train()
    assert not torch.equal(net(x), net(x))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "tanh"}, "unknown activation 'tanh'; allowed: gelu, relu"),
        ({"position": "learned"}, "unknown position 'learned'"),
        ({"aggregation": "mean"}, "unknown aggregation 'mean'"),
        ({"patch_size": 5}, "5 must divide image size 16"),
        ({"heads": 3}, "3 heads the width 8"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize("preset", names())
def test_every_protocol_builds(preset: str) -> None:
    sections = copy.deepcopy(resolve_sections(preset))
    with torch.device("meta"):
        net = build(sections["network"], sections["image"])
    parameters = sum(p.numel() for p in net.parameters())
    if preset == "official_code":  # ViT-B/16 without its head
        assert parameters == 85_798_656
    assert net.grid * sections["network"]["patch_size"] == sections["image"]["size"]
