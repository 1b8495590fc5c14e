"""Does the one warp equal plain slicing and flipping where it must, and does it stay in its ranges elsewhere?"""

from __future__ import annotations

import pytest
import torch

from refers_bench.data.augment import Augment


def augment(**changes: object) -> Augment:
    return Augment(**{"size": 24, "channels": 1, "mean": (0.0,), "std": (1.0,), **changes})  # type: ignore[arg-type]


def images(count: int = 6, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_crop_and_flip_equal_slicing() -> None:
    x = images(40)
    found, flips = augment().training(x, torch.Generator().manual_seed(3))
    assert 0 < flips.sum() < 40
    grey = x.float() / 255
    for n in range(40):
        windows = {
            (top, left): grey[n, top : top + 24, left : left + 24].flip(-1)
            if flips[n]
            else grey[n, top : top + 24, left : left + 24]
            for top in range(9)
            for left in range(9)
        }
        assert any(torch.equal(found[n, 0], window) for window in windows.values()), n


def test_given_flips_are_used() -> None:
    flips = torch.tensor([True, False, True, False, True, False])
    assert torch.equal(augment().training(images(), torch.Generator().manual_seed(0), flips)[1], flips)


def test_the_same_generator_gives_the_same_batch_and_the_global_one_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    settings = augment(rotation_degrees=10, brightness=(0.6, 1.4), contrast=(0.6, 1.4), jitter_probability=0.8)
    one, two = (settings.training(images(), torch.Generator().manual_seed(9))[0] for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_flipping_mirrors_the_unflipped_warp() -> None:
    settings = augment(crop="none")
    x = images()
    plain, _ = settings.training(x, torch.Generator().manual_seed(1), torch.zeros(6, dtype=torch.bool))
    mirrored, _ = settings.training(x, torch.Generator().manual_seed(1), torch.ones(6, dtype=torch.bool))
    assert torch.allclose(plain.flip(-1), mirrored, atol=1e-6)


@pytest.mark.parametrize("crop", ["random", "resized", "none"])
def test_outputs_stay_in_range(crop: str) -> None:
    settings = augment(
        crop=crop, rotation_degrees=10, brightness=(0.6, 1.4), contrast=(0.6, 1.4), jitter_probability=1.0
    )
    x, _ = settings.training(images(200), torch.Generator().manual_seed(0))
    assert x.shape == (200, 1, 24, 24)
    assert x.min() >= 0
    assert x.max() <= 1


def test_rotation_angles_are_uniform_in_their_range() -> None:
    theta = augment(crop="none", rotation_degrees=10)._warp(
        10_000, 32, torch.Generator().manual_seed(0), torch.zeros(10_000, dtype=torch.bool)
    )
    degrees = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    assert degrees.abs().max() <= 10.001
    assert abs(degrees.mean()) < 0.2
    assert degrees.std() == pytest.approx(10 / 3**0.5, rel=0.03)


def test_evaluation_is_the_centre_crop_and_normalised() -> None:
    settings = augment(channels=3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 4.0))
    found = settings.evaluation(images())
    grey = images()[:, 4:28, 4:28].float() / 255
    for channel, (mean, std) in enumerate(((0.1, 1.0), (0.2, 2.0), (0.3, 4.0))):
        assert torch.allclose(found[:, channel], (grey - mean) / std)
