"""Are the attention maps what their definitions say: against slow loops, in every reading of the transformer?"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refers_bench.nets import attention_maps, convnet
from refers_bench.nets.classifier import Classifier
from refers_bench.nets.radiograph_transformer import Attention, RadiographTransformer

#: The paper's reading, the released code's, and the plain ViT of the ablation.
READINGS = {
    "paper": {"activation": "relu", "position": "concatenated", "aggregation": "concatenated"},
    "official_code": {"activation": "gelu", "position": "added", "aggregation": "added"},
    "plain": {"activation": "gelu", "position": "added", "aggregation": "none"},
}
SMALL: dict[str, Any] = {
    "image_size": 16, "patch_size": 4, "channels": 1, "width": 8, "depth": 3, "heads": 2, "mlp_width": 16, "dropout": 0.1,
}  # fmt: skip


def classifier(reading: str, **changes: Any) -> Classifier:
    torch.manual_seed(1)
    net = Classifier(RadiographTransformer(**{**SMALL, **changes}, **READINGS[reading]), 3).double().eval()
    for parameter in net.parameters():  # attention that is far from uniform
        nn.init.normal_(parameter, std=0.6)
    return net


def images(count: int = 2, side: int = 16) -> Tensor:
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(2)).double()


def slow_weights(layer: Attention, x_ND: Tensor) -> list[list[list[float]]]:
    """softmax(q k / sqrt(d)) head by head, token by token, with Python's own numbers."""
    width, size = x_ND.shape[1], x_ND.shape[1] // layer.heads
    projected = [[(layer.qkv.weight[j] @ token + layer.qkv.bias[j]).item() for j in range(3 * width)] for token in x_ND]
    heads = []
    for h in range(layer.heads):
        rows = []
        for i in range(len(x_ND)):
            q = projected[i][h * size : (h + 1) * size]
            scores = []
            for j in range(len(x_ND)):
                k = projected[j][width + h * size : width + (h + 1) * size]
                scores.append(sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(size))
            powers = [math.exp(score - max(scores)) for score in scores]
            rows.append([power / sum(powers) for power in powers])
        heads.append(rows)
    return heads


def watched(net: Classifier, x: Tensor) -> list[tuple[Attention, Tensor, Tensor]]:
    """(layer, its input, its own output) of one pass."""
    seen: list[tuple[Attention, Tensor, Tensor]] = []
    layers = [module for module in net.modules() if isinstance(module, Attention)]
    handles = [layer.register_forward_hook(lambda m, i, o: seen.append((m, i[0], o))) for layer in layers]
    with torch.no_grad():
        net(x)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("reading", READINGS)
def test_weights_against_a_loop_and_against_the_network_s_own_attention(reading: str) -> None:
    net, x = classifier(reading), images()
    with torch.no_grad(), attention_maps.attention_weights(net) as found:
        net(x)
    seen = watched(net, x)
    assert len(found) == len(seen) == SMALL["depth"]
    for weights, (layer, given, own) in zip(found, seen, strict=True):
        assert weights.shape == (2, 2, 17, 17)
        for b in range(2):
            torch.testing.assert_close(weights[b], torch.tensor(slow_weights(layer, given[b])).double())
        # What these weights mix is what torch's fused kernel gave.
        torch.testing.assert_close(layer.mixed(given, weights), own)


@pytest.mark.parametrize("reading", READINGS)
def test_watching_changes_nothing(reading: str) -> None:
    net, x = classifier(reading), images()
    with torch.no_grad():
        before = net(x)
        with attention_maps.attention_weights(net):
            inside = net(x)
        with attention_maps.attention_weights(net, differentiable=True):
            through = net(x)
        after = net(x)
    assert torch.equal(before, inside) and torch.equal(before, after)
    torch.testing.assert_close(through, before)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("reading", READINGS)
def test_rollout_against_a_loop(reading: str) -> None:
    net, x = classifier(reading), images()
    maps = attention_maps.rollout(net, x)
    assert maps.shape == (2, 4, 4)
    for b in range(2):
        reached = [[float(i == j) for j in range(17)] for i in range(17)]
        for layer, given, _ in watched(net, x):
            heads = slow_weights(layer, given[b])
            mixed = []
            for i in range(17):
                row = [0.5 * sum(head[i][j] for head in heads) / len(heads) + 0.5 * (i == j) for j in range(17)]
                mixed.append([value / sum(row) for value in row])
            reached = [
                [sum(mixed[i][k] * reached[k][j] for k in range(17)) for j in range(17)] for i in range(17)
            ]  # fmt: skip
        for n in range(16):
            assert maps[b, n // 4, n % 4].item() == pytest.approx(reached[0][1 + n], abs=1e-10)


@pytest.mark.parametrize("reading", READINGS)
def test_class_activation_against_gradients_by_differences(reading: str) -> None:
    net, x, classes = classifier(reading, image_size=8), images(1, side=8), torch.tensor([2])
    with torch.no_grad(), attention_maps.attention_weights(net) as weights:
        net(x)

    def logit(changed: int, place: tuple[int, int, int], step: float) -> float:
        """The class's logit when one weight of one layer is moved and everything after it follows."""
        number = iter(range(len(weights)))

        def replace(layer: Attention, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            moved = layer.weights(given[0])
            if next(number) == changed:
                moved[0, place[0], place[1], place[2]] += step
            return layer.mixed(given[0], moved)

        layers = [module for module in net.modules() if isinstance(module, Attention)]
        handles = [layer.register_forward_hook(replace) for layer in layers]
        with torch.no_grad():
            value = float(net(x)[0, 2])
        for handle in handles:
            handle.remove()
        return value

    relevant = torch.eye(5).double()
    for number, found in enumerate(weights):
        spoken = torch.zeros(5, 5).double()
        for h in range(2):
            for i in range(5):
                for j in range(5):
                    up, down = logit(number, (h, i, j), 1e-5), logit(number, (h, i, j), -1e-5)
                    spoken[i, j] += max(0.0, found[0, h, i, j].item() * (up - down) / 2e-5) / 2
        relevant = relevant + spoken @ relevant
    maps = attention_maps.class_activation(net, x, classes)
    torch.testing.assert_close(maps[0].flatten(), relevant[0, 1:], rtol=1e-5, atol=1e-7)


def test_class_activation_asks_about_each_image_s_own_class() -> None:
    net, x = classifier("paper"), images(3)
    together = attention_maps.class_activation(net, x, torch.tensor([0, 2, 1]))
    for b, k in enumerate((0, 2, 1)):
        torch.testing.assert_close(
            together[b], attention_maps.class_activation(net, x[b : b + 1], torch.tensor([k]))[0]
        )
    assert not torch.allclose(together[0], attention_maps.class_activation(net, x[:1], torch.tensor([1]))[0])
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_network_without_attention_gives_grad_cam() -> None:
    torch.manual_seed(0)
    net = Classifier(convnet.ConvNet(depth=18, channels=1), 2).eval()
    x = torch.randn(2, 1, 64, 64)
    assert not attention_maps.has_attention(net)
    maps = attention_maps.class_activation(net, x, torch.tensor([0, 1]))
    assert maps.shape == (2, 2, 2)
    features = net.encoder.net(x)
    for b, k in enumerate((0, 1)):
        # Behind a global average pool the gradient of a feature is the head's weight over the number of places.
        expected = sum(net.head.weight[k, d] / 4 * features[b, d] for d in range(512)).clamp(min=0)
        torch.testing.assert_close(maps[b], expected.detach(), rtol=1e-4, atol=1e-6)
