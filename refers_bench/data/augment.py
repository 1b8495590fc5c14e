"""Crops, rotates, flips and normalises a batch of prepared images, in one warp on the training device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.data.transfer import moved

#: Windows that are drawn until one fits the image, before the largest central one is taken.
TRIES = 10


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Training and evaluation transforms of prepared images.

    Attributes:
        size: side of the output, in pixels.
        channels: output channels; grey is repeated.
        mean: per channel, of values in [0, 1].
        std: per channel.
        interpolation: "bilinear" or "bicubic", of the whole image where it is resized.
        intensity: "as_is", or "min_max": each prepared image's own range becomes [0, 1].
        crop: "random" (a size x size window of the prepared image, paper), "resized" (a window of random area and
            aspect ratio, resized, as torchvision's RandomResizedCrop; released code) or "none" (the whole image,
            resized).
        scale: area of a "resized" window, as a share.
        ratio: its width / height.
        rotation_degrees: angles are uniform in +- this.
        rotation_order: "before_crop" (corners show the image around the window, as far as there is any) or "after_crop"
            (the window is resized, then rotated; its corners are black, as of torchvision's RandomResizedCrop followed
            by RandomRotation).
        flip_probability: of a horizontal flip.
        brightness: factor range.
        contrast: factor range, about each image's mean.
        jitter_probability: of brightness and contrast being changed.
    """

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    intensity: str = "as_is"
    crop: str = "random"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    rotation_degrees: float = 0.0
    rotation_order: Literal["before_crop", "after_crop"] = "before_crop"
    flip_probability: float = 0.5
    brightness: tuple[float, float] = (1.0, 1.0)
    contrast: tuple[float, float] = (1.0, 1.0)
    jitter_probability: float = 0.0

    @classmethod
    def of(cls, image: Mapping[str, Any], name: str) -> Augment:
        """From a protocol's `image` section; `name` is "pretrain_augment" or "finetune_augment"."""
        names = ("size", "channels", "mean", "std", "interpolation", "intensity")
        settings: dict[str, Any] = {key: image[key] for key in names if key in image} | image[name]
        for key, value in settings.items():
            settings[key] = tuple(value) if isinstance(value, list) else value
        return cls(**settings)

    def normalised(self, x_NHW: Tensor) -> Tensor:
        """Grey in [0, 1] -> (N, channels, H, W), normalised."""
        N, H, W = x_NHW.shape
        normalised = x_NHW.new_empty(N, self.channels, H, W)
        # Channel by channel, with plain numbers: as tensors they would be copied to the device for every batch.
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            torch.sub(x_NHW, mean, out=normalised[:, channel]).div_(std)
        return normalised

    def _grey(self, images_NHW: Tensor) -> Tensor:
        """uint8 -> float32 in [0, 1]."""
        x = images_NHW.float().div_(255)
        if self.intensity == "as_is":
            return x
        low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
        return (x - low) / (high - low).clamp(min=1 / 255)  # an image of one grey value is black

    def evaluation(self, images_NHW: Tensor) -> Tensor:
        """uint8 (N, P, P) -> normalised (N, C, size, size): centre crop where training crops, else resized."""
        x = self._grey(images_NHW)
        if self.crop == "random":
            start = (x.shape[-1] - self.size) // 2
            x = x[:, start : start + self.size, start : start + self.size]
        else:
            x = self._whole(x)
        return self.normalised(x)

    def _whole(self, x_NHW: Tensor) -> Tensor:
        """Whole images, resized; what bicubic interpolation gives beyond [0, 1] is cut off, as Pillow does."""
        if x_NHW.shape[-1] == self.size:
            return x_NHW
        resized = F.interpolate(x_NHW[:, None], size=(self.size, self.size), mode=self.interpolation, antialias=True)
        return resized[:, 0] if self.interpolation == "bilinear" else resized[:, 0].clamp_(0, 1)

    def window(self, prepared: int) -> tuple[float, float, float, float]:
        """What `evaluation` shows of a prepared image of that side: left, top, width, height as shares of it."""
        if self.crop != "random":
            return 0.0, 0.0, 1.0, 1.0
        start, side = (prepared - self.size) // 2 / prepared, self.size / prepared
        return start, start, side, side

    def flips(self, count: int, generator: torch.Generator) -> Tensor:
        """Which of `count` examples are flipped (bool)."""
        return torch.rand(count, generator=generator) < self.flip_probability

    def training(self, images_NHW: Tensor, generator: torch.Generator, flips_N: Tensor | None = None) -> Tensor:
        """Augment a batch: `drawn`, then `applied`.

        Args:
            images_NHW: uint8 (N, P, P), on the training device.
            generator: on the CPU; every random number comes from it.
            flips_N: given flips (one per study, say), or None: `flips` draws them, before anything else is drawn.

        Returns:
            Normalised float32 (N, C, size, size).
        """
        drawn = self.drawn(len(images_NHW), images_NHW.shape[-1], generator, flips_N)
        return self.applied(images_NHW, *(moved(values, images_NHW.device) for values in drawn))

    def drawn(self, N: int, P: int, generator: torch.Generator, flips_N: Tensor | None = None) -> tuple[Tensor, ...]:
        """What is random about N training images of side P, on the CPU; see `training`.

        Returns:
            Tensors with the images as first dimension, for `applied`: any rows of them belong to those images.
        """
        flips_N = self.flips(N, generator) if flips_N is None else flips_N
        if self.rotation_degrees or self.crop == "resized":
            places: tuple[Tensor, ...] = (self._warp(N, P, generator, flips_N),)
        elif self.crop == "random":
            places = (flips_N, torch.randint(0, P - self.size + 1, (N, 2), generator=generator))
        else:
            places = (flips_N,)
        return *places, *self._jitters(N, generator)

    def applied(self, images_NHW: Tensor, *drawn: Tensor) -> Tensor:
        """Augment a batch with what was `drawn` for it: nothing waits for the device.

        Args:
            images_NHW: uint8 (N, P, P).
            *drawn: on the same device.

        Returns:
            Normalised float32 (N, C, size, size).
        """
        x = self._grey(images_NHW)
        if self.crop == "none":
            # As `evaluation` resizes: a warp that reads a larger image without smoothing it gives aliasing.
            x = self._whole(x)
        if self.rotation_degrees or self.crop == "resized":
            theta, *jitters = drawn
            grid = sampling_grid(theta, self.size)
            x = F.grid_sample(x[:, None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]
            if self.rotation_order == "after_crop":
                x = x.masked_fill(beyond_window(theta, grid), 0)
        elif self.crop == "random":
            flips_N, top_left_N2, *jitters = drawn
            x = self._slices(x, top_left_N2, flips_N)
        else:
            flips_N, *jitters = drawn
            x = torch.where(flips_N[:, None, None], x.flip(-1), x)
        return self.normalised(self._jittered(x, *jitters) if jitters else x)

    def _slices(self, x_NHW: Tensor, top_left_N2: Tensor, flips_N: Tensor) -> Tensor:
        """Whole-pixel windows: no interpolation, equal to slicing."""
        side = torch.arange(self.size, device=x_NHW.device)
        rows_NS = top_left_N2[:, :1] + side
        columns_NS = top_left_N2[:, 1:] + torch.where(flips_N[:, None], side.flip(0), side)
        which = torch.arange(len(x_NHW), device=x_NHW.device)[:, None, None]
        return x_NHW[which, rows_NS[:, :, None], columns_NS[:, None, :]]

    def _warp(self, N: int, P: int, generator: torch.Generator, flips_N: Tensor) -> Tensor:
        """Output -> input maps (N, 2, 3) in [-1, 1] coordinates: flip, then scale and rotate, then move.

        Before the crop the image is rotated and the window scaled first; after the crop, the resized window is rotated.
        """
        if self.crop == "resized":
            width, height, x0, y0 = self.windows(N, P, generator)
        else:
            width = height = torch.full((N,), self.size / P if self.crop == "random" else 1.0)
            x0, y0 = ((1 - side) * (2 * torch.rand(N, generator=generator) - 1) for side in (width, height))
        angle = _uniform(-self.rotation_degrees, self.rotation_degrees, N, generator) * math.pi / 180
        cos, sin = angle.cos(), angle.sin()
        signed = torch.where(flips_N, -width, width)
        if self.rotation_order == "before_crop":
            rows = [[cos * signed, -sin * height, x0], [sin * signed, cos * height, y0]]
        else:
            mirrored = torch.where(flips_N, -height, height)
            rows = [[cos * signed, -sin * width, x0], [sin * mirrored, cos * height, y0]]
        return torch.stack([torch.stack(row, 1) for row in rows], 1)

    def windows(self, N: int, P: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Windows of a "resized" crop: whole pixels, the first of `TRIES` that fits, else the largest central one.

        Args:
            N: images.
            P: their side, in pixels.
            generator: gives equally many numbers whatever fits.

        Returns:
            Width and height as shares of the side, and the centre in [-1, 1], (N,) each.

        Source: torchvision.transforms.v2.RandomResizedCrop.
        """
        low, high = (math.log(ratio) for ratio in self.ratio)
        drawn_2TN = torch.rand(2, TRIES, N, generator=generator)
        area_TN = P * P * (self.scale[0] + (self.scale[1] - self.scale[0]) * drawn_2TN[0])
        aspect_TN = torch.exp(low + (high - low) * drawn_2TN[1])
        sides_2TN = torch.stack([(area_TN * aspect_TN).sqrt(), (area_TN / aspect_TN).sqrt()]).round()
        fits_TN = ((sides_2TN >= 1) & (sides_2TN <= P)).all(0)
        first_N = fits_TN.int().argmax(0)
        sides_2N = sides_2TN[:, first_N, torch.arange(N)]
        start_2N = (torch.rand(2, N, generator=generator) * (P - sides_2N + 1)).floor()
        central_21 = torch.tensor([[min(1, self.ratio[1])], [min(1, 1 / self.ratio[0])]]).mul(P).round()
        sides_2N = torch.where(fits_TN.any(0), sides_2N, central_21)
        start_2N = torch.where(fits_TN.any(0), start_2N, ((P - central_21) / 2).floor())
        (width, height), (x0, y0) = sides_2N / P, (2 * start_2N + sides_2N) / P - 1
        return width, height, x0, y0

    def _jitters(self, N: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Factors (N,) of brightness and contrast; none where nothing is ever changed."""
        if not self.jitter_probability:
            return ()
        chosen = torch.rand(N, generator=generator) < self.jitter_probability
        ranges = (self.brightness, self.contrast)
        return tuple(torch.where(chosen, _uniform(*limits, N, generator), 1.0) for limits in ranges)

    def _jittered(self, x_NHW: Tensor, brightness_N: Tensor, contrast_N: Tensor) -> Tensor:
        x = (x_NHW * brightness_N[:, None, None]).clamp_(0, 1)
        mean = x.mean((1, 2), keepdim=True)
        return x.sub_(mean).mul_(contrast_N[:, None, None]).add_(mean).clamp_(0, 1)


def _uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def sampling_grid(theta_N23: Tensor, size: int) -> Tensor:
    """Where each output pixel is read, (N, size, size, 2) in [-1, 1]: `affine_grid` of torch without corners aligned.

    It adds a row's and a column's part instead of taking a product for every pixel: torch's own function costs more
    on a CPU than the sampling itself.
    """
    place_S = (2 * torch.arange(size, device=theta_N23.device) + 1) / size - 1
    grid_NSS2 = theta_N23.new_empty(len(theta_N23), size, size, 2)
    for axis in range(2):
        by_x, by_y, shift = theta_N23[:, axis].unbind(1)
        columns = by_x[:, None] * place_S + shift[:, None]
        rows = by_y[:, None] * place_S
        torch.add(rows[:, :, None], columns[:, None, :], out=grid_NSS2[..., axis])
    return grid_NSS2


def beyond_window(theta_N23: Tensor, grid_NSS2: Tensor) -> Tensor:
    """Output pixels (N, size, size) that read outside the window that was rotated after the crop.

    Args:
        theta_N23: see `Augment._warp`; a row's length is half the window's side, its last entry the window's centre.
        grid_NSS2: where each output pixel is read.
    """
    sides_N2, centre_N2 = theta_N23[:, :, :2].norm(dim=2), theta_N23[:, :, 2]
    beyond: Tensor = (grid_NSS2 - centre_N2[:, None, None]).abs() > sides_N2[:, None, None]
    return beyond.any(-1)
