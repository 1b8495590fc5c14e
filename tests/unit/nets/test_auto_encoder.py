"""Does the auto-encoder pass everything through its pooled map?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from refers_bench.nets.auto_encoder import AutoEncoder


@pytest.mark.parametrize(("size", "width"), [(16, 8), (48, 64), (128, 512)])
def test_shapes(size: int, width: int) -> None:
    net, x = AutoEncoder(size=size, width=width), torch.rand(2, 1, size, size)
    assert net.features(x).shape == (2, width)
    assert net.encoder(x).shape == (2, width, size // 16, size // 16)
    assert net(x).shape == x.shape
    with pytest.raises(ValueError, match="multiple of 16"):
        AutoEncoder(size=40, width=8)


def test_it_learns_to_restore_what_it_is_shown() -> None:
    torch.manual_seed(0)
    net = AutoEncoder(size=32, width=64)
    coarse = torch.rand(8, 1, 2, 2)
    x = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="nearest")
    optimizer, losses = torch.optim.Adam(net.parameters(), 3e-3), []
    for _ in range(60):
        loss = net.losses(SimpleNamespace(images_BCHW=x))["restoration"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
