"""Patches are hidden and shown as said; a transformer that is shown all of them computes what it always does."""

from __future__ import annotations

import pytest
import torch

from refers_bench.errors import UserError
from refers_bench.nets import masked_image
from refers_bench.nets.radiograph_transformer import RadiographTransformer


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("patches", "ratio", "kept"), [(196, 0.75, 49), (16, 0.75, 4), (9, 0.5, 4), (36, 0.99, 0)])
def test_some_patches_stay_and_some_go(patches: int, ratio: float, kept: int) -> None:
    if kept:
        assert masked_image.kept_patches(patches, ratio) == kept
    else:
        with pytest.raises(UserError, match="leaves 0 of 36 patches; allowed: a ratio that leaves 1 to 35"):
            masked_image.kept_patches(patches, ratio)
    with pytest.raises(UserError, match="leaves 9 of 9"):
        masked_image.kept_patches(9, 0.0)


@pytest.mark.parametrize(("patches", "kept"), [(16, 4), (36, 9), (25, 6)])
def test_validation_shows_every_patch_within_as_few_images_as_can_be(patches: int, kept: int) -> None:
    count = -(-patches // kept)
    noise = masked_image.complementary_noise(2 * count, patches, kept, generator())
    places, _, removed = masked_image.masked(noise, kept=kept)
    assert torch.equal(removed.sum(1), torch.full((2 * count,), float(patches - kept)))
    assert set(places[:count].flatten().tolist()) == set(range(patches))
    assert torch.equal(noise, masked_image.complementary_noise(2 * count, patches, kept, generator()))
    assert not torch.equal(noise, masked_image.complementary_noise(2 * count, patches, kept, generator(1)))


@pytest.mark.parametrize("position", ["added", "concatenated"])
def test_shown_all_patches_in_any_order_a_transformer_gives_its_tokens_in_that_order(position: str) -> None:
    torch.manual_seed(0)
    encoder = RadiographTransformer(
        image_size=16, patch_size=4, channels=1, width=16, depth=2, heads=2, mlp_width=32, dropout=0.0,
        activation="gelu", position=position, aggregation="none",
    ).eval()  # fmt: skip
    x, order = torch.randn(3, 1, 16, 16), torch.rand(3, 16).argsort(1)
    tokens, shown = encoder(x), masked_image.visible_tokens(encoder, x, order)
    torch.testing.assert_close(shown[:, 0], tokens[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shown[:, 1:], masked_image.gathered(tokens[:, 1:], order), atol=1e-5, rtol=1e-5)
    hidden = x.clone()
    hidden[:, :, :4, :4] += 1.0  # the first patch
    places = torch.arange(1, 16).expand(3, -1)
    found = masked_image.visible_tokens(encoder, hidden, places)
    assert torch.equal(found, masked_image.visible_tokens(encoder, x, places)), "a hidden patch was seen"


def test_patches_of_a_larger_image_lie_on_the_encoders_grid() -> None:
    small = torch.arange(16.0).view(1, 1, 4, 4)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    patches, larger = masked_image.as_patches(small, 2), masked_image.as_patches(large, 4)
    assert patches.shape == (1, 4, 4) and larger.shape == (1, 4, 16)
    assert torch.equal(patches.mean(2), larger.mean(2))
    assert torch.equal(patches[0, 1], torch.tensor([2.0, 3.0, 6.0, 7.0])), "row by row"


def test_a_constant_patch_is_standardised_to_zeros() -> None:
    found = masked_image.standardised(torch.full((1, 2, 12), 3.0))
    assert torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize(("width", "rule"), [(6, "mae"), (8, "moco")])
def test_other_positions_are_refused(width: int, rule: str) -> None:
    with pytest.raises(ValueError, match="multiples of 4, and mrm, mae"):
        masked_image.fixed_positions(width, 3, rule=rule)
