"""A thumbnail is the averages of the grey image on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from refers_bench.nets.thumbnail import Thumbnail


@pytest.mark.parametrize(("size", "side"), [(64, 32), (224, 32), (256, 32), (12, 4)])
def test_is_what_pillow_makes_of_the_image_with_a_box_filter(size: int, side: int) -> None:
    """Where the sides divide; 224 by 32 is 7."""
    image_HW = np.random.default_rng(0).random((size, size), np.float32)
    small_SS = np.asarray(Image.fromarray(image_HW).resize((side, side), Image.Resampling.BOX))
    thumbnail = Thumbnail(side=side)
    found = thumbnail.features(torch.from_numpy(image_HW)[None, None])
    np.testing.assert_allclose(found.numpy()[0], small_SS.ravel(), rtol=1e-5, atol=1e-6)
    assert found.shape == (1, thumbnail.readout_width) == (1, side**2)


def test_an_image_of_three_channels_is_their_mean() -> None:
    images_BCHW = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    thumbnail = Thumbnail(side=8)
    torch.testing.assert_close(
        thumbnail.features(images_BCHW), sum(thumbnail.features(images_BCHW[:, [c]]) for c in range(3)) / 3
    )
    assert not list(thumbnail.parameters()), "it learns nothing"


def test_an_image_smaller_than_the_thumbnail_is_repeated() -> None:
    found = Thumbnail(side=4).features(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).reshape(4, 4)
    assert found.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


@pytest.mark.parametrize("readout", ["cls", "mean", "cls_mean", "last4_cls", "tokens"])
def test_there_is_no_other_readout(readout: str) -> None:
    with pytest.raises(ValueError, match=f"readout '{readout}' of Thumbnail; it has auto"):
        Thumbnail(side=4).features(torch.zeros(1, 1, 8, 8), readout)
