"""Grey levels between 0 and 1, and decoders whose widths follow the encoder's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from refers_bench.nets.restoration import GreyLevels, LinearDecoder, decoder_of


def test_grey_levels_stay_in_range_and_come_back() -> None:
    levels = GreyLevels({"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.5]})
    x = torch.tensor([-9.0, -2.0, 0.0, 1.0, 3.0, 9.0])[None, None, None, :].repeat(2, 3, 1, 1)
    # Of repeated grey the first channel says it: 0.2 x + 0.4, between 0 and 1.
    assert levels.grey(x)[1, 0].tolist() == pytest.approx([0, 0, 0.4, 0.6, 1, 1])
    back = levels.normalised(torch.full((2, 1, 4), 0.6))
    assert back.shape == (2, 3, 1, 4) and back[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.4, 0.0], abs=1e-6)


@pytest.mark.parametrize(("width", "inner"), [(12, 16), (48, 16), (96, 32), (768, 256)])
def test_a_convolutional_decoder_begins_with_a_third_of_the_encoders_width(width: int, inner: int) -> None:
    encoder = SimpleNamespace(patch_width=10, grid=2, width=width)
    decoder = decoder_of("convolutional", encoder, size=32)
    first = next(layer for layer in decoder.modules() if isinstance(layer, nn.Conv2d))
    assert (first.in_channels, first.out_channels) == (10, inner)
    assert decoder(torch.zeros(3, 4, 10)).shape[-2:] == (32, 32)
    assert isinstance(decoder_of("linear", encoder, size=32), LinearDecoder)


@pytest.mark.parametrize(
    ("grid", "size", "widths"),
    [
        (14, 224, [256, 128, 64, 32]),
        (4, 4, [256]),
        (4, 8, [256]),
        (4, 9, [256, 128]),
        (2, 128, [256, 128, 64, 32, 16, 8]),
    ],
)
def test_a_stage_for_each_doubling_and_one_at_least(grid: int, size: int, widths: list[int]) -> None:
    encoder = SimpleNamespace(patch_width=10, grid=grid, width=768)
    decoder = decoder_of("convolutional", encoder, size=size)
    convolutions = [layer.out_channels for layer in decoder.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions == [*widths, 1]
    if size < 20:
        assert decoder(torch.zeros(2, grid**2, 10)).shape == (2, size, size)
