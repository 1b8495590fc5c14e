"""The one warp equals plain slicing and flipping, torchvision's and scipy's, and stays in its ranges."""

from __future__ import annotations

import math

import pytest
import torch

from refers_bench.data.augment import Augment, sampling_grid


def augment(**changes: object) -> Augment:
    return Augment(**{"size": 24, "channels": 1, "mean": (0.0,), "std": (1.0,), **changes})  # type: ignore[arg-type]


def images(count: int = 6, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_crop_and_flip_equal_slicing() -> None:
    x, settings = images(40), augment()
    found = settings.training(x, torch.Generator().manual_seed(3))
    flips = settings.flips(40, torch.Generator().manual_seed(3))
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


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_whole_images_are_shown_alike_in_training_and_evaluation(flip: float) -> None:
    """Resized as torchvision does with antialiasing; stripes of one pixel become grey instead of a pattern."""
    from torchvision.transforms import functional as transforms

    stripes = (torch.arange(96) % 2 * 255).to(torch.uint8).expand(2, 96, 96).contiguous()
    noise = torch.randint(0, 256, (2, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = torch.cat([stripes, noise])
    augment = Augment(size=32, channels=1, mean=(0.0,), std=(1.0,), crop="none", flip_probability=flip)
    got = augment.training(images, torch.Generator().manual_seed(1))
    shown = augment.evaluation(images)
    assert torch.equal(got, shown.flip(-1) if flip else shown)
    expected = transforms.resize(images.float() / 255, [32, 32], antialias=True)
    torch.testing.assert_close(shown[:, 0], expected, rtol=0, atol=1e-6)
    assert float(got[0].std()) < 0.1


def test_bicubic_evaluation_is_torchvisions_and_pillows() -> None:
    import numpy as np
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as transforms

    settings, smooth = augment(crop="none", interpolation="bicubic"), images(4, 48) // 3 + 80
    harsh = (images(4, 8) > 127).repeat_interleave(6, 1).repeat_interleave(6, 2).to(torch.uint8) * 255
    theirs = transforms.resize(harsh.float() / 255, [24, 24], InterpolationMode.BICUBIC, antialias=True)
    assert theirs.min() < 0, "nothing is beyond the range: the test shows nothing"
    torch.testing.assert_close(settings.evaluation(harsh)[:, 0], theirs.clamp(0, 1), rtol=0, atol=1e-6)
    # Pillow rounds to whole grey values, and cuts off after each of its two passes.
    whole = [np.asarray(Image.fromarray(one.numpy()).resize((24, 24), Image.Resampling.BICUBIC)) for one in smooth]
    shown = settings.evaluation(smooth)[:, 0]
    torch.testing.assert_close(shown * 255, torch.from_numpy(np.stack(whole)).float(), rtol=0, atol=1.01)
    assert not torch.allclose(shown, augment(crop="none").evaluation(smooth)[:, 0], atol=0.02)


@pytest.mark.parametrize("crop", ["random", "none"])
def test_min_max_stretches_each_prepared_image_to_its_own_range(crop: str) -> None:
    """As scikit-learn's scaler does for each image; an image of one value becomes black instead of NaN."""
    from sklearn.preprocessing import minmax_scale

    x = images(3, 24) // 4 + 20
    x[2] = 77
    settings = augment(crop=crop, intensity="min_max", flip_probability=0.0)
    expected = minmax_scale(x.flatten(1).double().T.numpy()).T.reshape(x.shape)
    for found in (settings.evaluation(x), settings.training(x, torch.Generator().manual_seed(0))):
        torch.testing.assert_close(found[:, 0].double(), torch.from_numpy(expected), rtol=0, atol=1e-6)
    assert augment().evaluation(x).max() < 0.5


def test_given_flips_are_used() -> None:
    flips, x = torch.tensor([True, False, True, False, True, False]), images()
    found = augment(crop="none", size=32).training(x, torch.Generator().manual_seed(0), flips)
    assert torch.equal(found[:, 0], torch.where(flips[:, None, None], x.flip(-1), x) / 255)


def test_the_same_generator_gives_the_same_batch_and_the_global_one_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    settings = augment(rotation_degrees=10, brightness=(0.6, 1.4), contrast=(0.6, 1.4), jitter_probability=0.8)
    one, two = (settings.training(images(), torch.Generator().manual_seed(9)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


def test_flipping_mirrors_the_unflipped_warp() -> None:
    settings = augment(crop="none")
    x = images()
    plain = settings.training(x, torch.Generator().manual_seed(1), torch.zeros(6, dtype=torch.bool))
    mirrored = settings.training(x, torch.Generator().manual_seed(1), torch.ones(6, dtype=torch.bool))
    assert torch.allclose(plain.flip(-1), mirrored, atol=1e-6)


@pytest.mark.parametrize("crop", ["random", "resized", "none"])
def test_outputs_stay_in_range(crop: str) -> None:
    settings = augment(
        crop=crop, rotation_degrees=10, brightness=(0.6, 1.4), contrast=(0.6, 1.4), jitter_probability=1.0
    )
    x = settings.training(images(200), torch.Generator().manual_seed(0))
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


def test_crop_and_flip_equal_torchvisions() -> None:
    """The same windows, drawn again from the same generator, cut by torchvision."""
    from torchvision.transforms.v2 import functional as tv

    x, settings = images(40), augment()
    found = settings.training(x, torch.Generator().manual_seed(7))
    again = torch.Generator().manual_seed(7)
    flips = settings.flips(40, again)
    for n, (top, left) in enumerate(torch.randint(0, 9, (40, 2), generator=again).tolist()):
        expected = tv.crop(x[n : n + 1], top, left, 24, 24)
        expected = tv.horizontal_flip(expected) if flips[n] else expected
        assert torch.equal((found[n] * 255).round().to(torch.uint8), expected)


@pytest.mark.parametrize("size", [1, 7, 24])
def test_sampling_grid_is_torchs(size: int) -> None:
    theta = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.affine_grid(theta, [5, 1, size, size], align_corners=False)
    torch.testing.assert_close(sampling_grid(theta, size), expected)


COUNT = 10_000


def uniform(values: torch.Tensor, low: float, high: float) -> bool:
    """Whether draws lie in the range with the mean and SD of a uniform distribution (5 standard errors)."""
    spread = (high - low) / 12**0.5
    inside = values.min() >= low - 1e-5 and values.max() <= high + 1e-5
    centred = abs(values.mean() - (low + high) / 2) < 5 * spread / len(values) ** 0.5
    return bool(inside and centred and abs(values.std() / spread - 1) < 0.04)


def test_resized_crops_have_the_stated_area_and_shape() -> None:
    settings = augment(crop="resized", scale=(0.05, 0.4), ratio=(0.6, 1.0))
    side = 1 << 20  # whole pixels are next to nothing
    theta = settings._warp(COUNT, side, torch.Generator().manual_seed(1), torch.zeros(COUNT, dtype=torch.bool))
    width, height = theta[:, 0, 0], theta[:, 1, 1]
    assert uniform(width * height, 0.05, 0.4)
    assert uniform(torch.log(width / height), float(torch.tensor(0.6).log()), 0.0)
    # The window stays inside the image, and its place is uniform in what is left.
    for side, centre in ((width, theta[:, 0, 2]), (height, theta[:, 1, 2])):
        assert (centre.abs() + side <= 1 + 1e-6).all()
        assert uniform(centre / (1 - side), -1, 1)


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [((0.05, 1.0), (0.6, 1.0)), ((0.08, 1.0), (0.75, 4 / 3)), ((0.2, 1.0), (0.75, 4 / 3)), ((0.9, 1.0), (0.4, 0.6))],
    ids=["official pre-training", "official fine-tuning", "C2L", "hardly ever fits"],
)
def test_resized_crops_are_distributed_as_torchvisions(scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    from torchvision.transforms import RandomResizedCrop

    side, seen = 256, torch.empty(1, 256, 256)
    torch.manual_seed(11)
    drawn = [RandomResizedCrop.get_params(seen, list(scale), list(ratio)) for _ in range(COUNT)]
    top, left, high, wide = torch.tensor(drawn, dtype=torch.float64).T
    settings = augment(crop="resized", scale=scale, ratio=ratio)
    found = torch.stack(settings.windows(COUNT, side, torch.Generator().manual_seed(12))).double()
    width, height, x0, y0 = found
    pixels = torch.stack([width, height, (x0 + 1 - width) / 2, (y0 + 1 - height) / 2]) * side
    assert torch.equal(pixels, pixels.round()) and pixels.min() >= 0
    assert (pixels[:2] + pixels[2:]).max() <= side

    def close(one: torch.Tensor, other: torch.Tensor) -> None:
        error = ((one.var() + other.var()) / COUNT).sqrt()
        assert (one.mean() - other.mean()).abs() <= 4.5 * error
        assert one.quantile(0.9) - other.quantile(0.9) == pytest.approx(0, abs=0.03)

    close(width * height, wide * high / side**2)
    close((width / height).log(), (wide / high).log())
    close(pixels[2] / side, left / side)
    close(pixels[3] / side, top / side)
    for one, other in ((width, wide), (height, high)):  # windows as wide or as high as the image
        shares = [(values >= whole).double() for values, whole in ((one, 1.0), (other, side))]
        close(shares[0], shares[1])


def test_brightness_and_contrast_have_the_stated_ranges_and_share() -> None:
    settings = augment(
        crop="none", size=8, flip_probability=0.0, brightness=(0.8, 1.2), contrast=(0.6, 1.4), jitter_probability=0.8
    )
    pattern = torch.full((8, 8), 120, dtype=torch.uint8)
    pattern[:4] = 130  # so close to the middle that nothing is clipped
    x = settings.training(pattern.expand(COUNT, 8, 8).contiguous(), torch.Generator().manual_seed(2))
    mean = x.mean((1, 2, 3)) / (125 / 255)
    spread = (x.amax((1, 2, 3)) - x.amin((1, 2, 3))) / (10 / 255)
    changed = (mean - 1).abs() > 1e-6
    assert abs(changed.double().mean() - 0.8) < 5 * (0.16 / COUNT) ** 0.5
    assert torch.allclose(spread[~changed], torch.ones(()), atol=1e-4)
    assert uniform(mean[changed], 0.8, 1.2)
    assert uniform((spread / mean)[changed], 0.6, 1.4)


def test_flips_have_the_stated_share() -> None:
    flips = augment(flip_probability=0.3).flips(COUNT, torch.Generator().manual_seed(0))
    assert abs(flips.double().mean() - 0.3) < 5 * (0.21 / COUNT) ** 0.5


def test_a_turned_image_is_the_image_turned() -> None:
    """Against scipy's rotation of a smooth image, away from the border."""
    from scipy import ndimage

    side, y = 64, torch.arange(64.0)
    smooth = 128 + 60 * torch.sin(y / 9)[:, None] * torch.cos(y / 7)[None]
    settings = augment(crop="none", size=side, rotation_degrees=10)
    generator = torch.Generator().manual_seed(4)
    found = settings.training(smooth.to(torch.uint8)[None], generator, torch.zeros(1, dtype=torch.bool))
    theta = settings._warp(1, side, torch.Generator().manual_seed(4), torch.zeros(1, dtype=torch.bool))
    degrees = torch.rad2deg(torch.atan2(theta[0, 1, 0], theta[0, 0, 0])).item()
    expected = ndimage.rotate(smooth.to(torch.uint8).float().numpy(), degrees, reshape=False, order=1) / 255
    assert abs(degrees) > 1
    middle = slice(16, 48)
    torch.testing.assert_close(
        found[0, 0, middle, middle], torch.from_numpy(expected)[middle, middle], atol=0.01, rtol=0
    )


@pytest.mark.parametrize("flipped", [False, True])
def test_rotation_after_the_crop_is_torchvisions(flipped: bool) -> None:
    """RandomResizedCrop, RandomRotation and a flip of torchvision with the same draws: the image and its black corners."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    count, side, size = 24, 160, 128
    y = torch.linspace(0, 1, side)
    smooth = 150 + 60 * torch.sin(9 * y)[:, None] * torch.cos(7 * y)[None]
    x = smooth.to(torch.uint8).expand(count, side, side).contiguous()
    settings = augment(size=size, crop="resized", scale=(0.2, 1.0), rotation_degrees=10, rotation_order="after_crop")
    flips = torch.full((count,), flipped)
    found = settings.training(x, torch.Generator().manual_seed(3), flips)
    again = torch.Generator().manual_seed(3)
    width, height, x0, y0 = settings.windows(count, side, again)
    degrees = 10 * (2 * torch.rand(count, generator=again) - 1)
    assert degrees.abs().max() > 8
    for n in range(count):
        box = [(y0[n] + 1 - height[n]) / 2, (x0[n] + 1 - width[n]) / 2, height[n], width[n]]
        window = tv.resized_crop(
            x[n : n + 1].float() / 255, *(round(float(one) * side) for one in box), [size, size], antialias=False
        )
        turned = [
            tv.rotate(one, float(degrees[n]), InterpolationMode.BILINEAR, fill=[0.0])
            for one in (window, torch.ones_like(window))
        ]
        expected, shown = ((tv.horizontal_flip(one) if flipped else one)[0] for one in turned)
        # Along the borders of the window torchvision blends with black.
        assert (found[n, 0][shown == 0] == 0).all()
        assert (found[n, 0][shown == 1] > 0).all()
        inside = torch.nn.functional.max_pool2d((shown < 1).float()[None], 3, stride=1, padding=1)[0] == 0
        torch.testing.assert_close(found[n, 0][inside], expected[inside], atol=0.008, rtol=0)


def test_corners_are_black_as_often_as_a_turned_square_leaves_them() -> None:
    """White images, C2L's views. A unit square shares 2 / (1 + sin a + cos a) with itself turned by a about its centre."""
    from scipy import integrate

    ten = math.radians(10)
    share = 1 - integrate.quad(lambda a: 2 / (1 + math.sin(a) + math.cos(a)), 0, ten)[0] / ten
    settings = augment(size=96, crop="resized", scale=(0.2, 1.0), rotation_degrees=10, rotation_order="after_crop")
    x = torch.full((600, 128, 128), 255, dtype=torch.uint8)
    found = settings.training(x, torch.Generator().manual_seed(1))
    ours = (found == 0).double().mean((1, 2, 3))
    assert ours.mean() == pytest.approx(share, abs=4 * (ours.var() / 600).sqrt().item())
    before = augment(size=96, crop="resized", scale=(0.2, 0.5), rotation_degrees=10).training(
        x, torch.Generator().manual_seed(1)
    )
    assert (before == 0).double().mean() < 0.005
