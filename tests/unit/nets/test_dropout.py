"""Is our dropout torch's: which share, which scale, which gradient, whose generator?"""

from __future__ import annotations

import pytest
import torch

from refers_bench.nets.dropout import Dropout, kept

COUNT = 1_000_000


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_share_and_scale(rate: float) -> None:
    torch.manual_seed(0)
    factors = kept(torch.empty(COUNT), rate)
    dropped = (factors == 0).double().mean().item()
    # Five standard deviations of a binomial share, and the rounding of the rate to 16 bits.
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / COUNT) ** 0.5 + 2**-17
    values = factors.unique()
    assert len(values) == 2
    assert values[1].item() == pytest.approx(1 / (1 - rate), rel=1e-4)
    # The expectation is 1 exactly for the share that is really dropped.
    share = 1 - round(rate * 2**16) / 2**16
    assert values[1].item() * share == pytest.approx(1, abs=1e-6)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    zero = (kept(torch.empty(COUNT), 0.25) == 0).double()
    for lag in (1, 2, 3, 4, 8):  # four decisions share one 64-bit draw
        both = (zero[:-lag] * zero[lag:]).mean().item()
        assert abs(both - 0.25**2) < 5 * (0.0625 * 0.9375 / COUNT) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 7), (2, 3, 5)])
def test_sizes_that_are_no_multiple_of_a_draw(shape: tuple[int, ...]) -> None:
    out = Dropout(0.5).train()(torch.ones(shape))
    assert out.shape == shape
    assert set(out.unique().tolist()) <= {0.0, 2.0}


def test_gradient_passes_where_values_do() -> None:
    torch.manual_seed(2)
    x = torch.ones(1000, requires_grad=True)
    out = Dropout(0.4).train()(x)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())


def test_follows_torchs_generator() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return Dropout(0.5).train()(torch.ones(64))

    assert torch.equal(drawn(3), drawn(3))
    assert not torch.equal(drawn(3), drawn(4))


@pytest.mark.parametrize("layer", [Dropout(0.5).eval(), Dropout(0.0).train()])
def test_off(layer: Dropout) -> None:
    x = torch.randn(10)
    assert torch.equal(layer(x), x)


def test_keeps_the_dtype() -> None:
    assert Dropout(0.5).train()(torch.ones(8, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_refuses_no_rate(rate: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        Dropout(rate)
