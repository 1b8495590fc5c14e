"""Does a ResNet stand where the radiograph transformer stands?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import timm
import torch

from refers_bench import plugins
from refers_bench.manifest.protocols import resolve_sections
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.convnet import ConvNet
from refers_bench.nets.facts import SourceFacts


@pytest.mark.parametrize(("depth", "width"), [(18, 512), (50, 2048), (101, 2048)])
def test_tokens_and_readout(depth: int, width: int) -> None:
    net = ConvNet(depth=depth, channels=1).eval()
    x = torch.randn(2, 1, 64, 64)
    tokens = net(x)
    assert tokens.shape == (2, 1 + 4, width)
    assert net.patches(tokens).shape == (2, 4, net.patch_width)
    torch.testing.assert_close(net.readout(tokens), net.patches(tokens).mean(1))


def test_equals_timms_classifier() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", in_chans=3, num_classes=5).eval()
    ours = Classifier(ConvNet(depth=18, channels=3), 5).eval()
    weights = theirs.state_dict()
    ours.encoder.net.load_state_dict({name: value for name, value in weights.items() if not name.startswith("fc.")})
    ours.head.load_state_dict({"weight": weights["fc.weight"], "bias": weights["fc.bias"]})
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))


def test_unknown_depth() -> None:
    with pytest.raises(ValueError, match="unknown depth 34; allowed: 18, 50, 101"):
        ConvNet(depth=34, channels=1)


def test_refers_trains_on_a_resnet() -> None:
    """Table 3 row 1: both report tasks reach the ResNet's weights."""
    torch.manual_seed(0)
    sections, method = resolve_sections("smoke"), plugins.load("method", "refers")
    params = method.Params(backbone="resnet101", views=2)
    encoder = method.build_encoder(params, sections["network"], sections["image"])
    facts = SourceFacts(vocabulary=30, max_tokens=12, text_vocabulary=30)
    objective = method.build_objective(
        params, facts, sections["network"], sections["image"], sections["pretrain"], encoder
    )
    ids = torch.randint(3, 30, (3, 10))
    batch = SimpleNamespace(
        images_BVCHW=torch.randn(3, 2, 1, 32, 32), tokens_BT=ids, lengths_B=torch.full((3,), 10), text_ids_BT=ids,
        text_mask_BT=torch.ones_like(ids),
    )  # fmt: skip
    for name, loss in objective(batch).items():
        objective.zero_grad()
        loss.backward(retain_graph=True)
        assert encoder.net.conv1.weight.grad.abs().sum() > 0, name
    assert method.footnotes(params)[0].startswith("ResNet-101 in place of the radiograph transformer")
