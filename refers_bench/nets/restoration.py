"""Restores radiographs from the tokens of their distorted versions: pixel decoders and the objective."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Seed of the distortions in validation: the same ones every time, so that validation losses compare.
VALIDATION_SEED = 20_220_101

Distort = Callable[[Tensor, torch.Generator], Tensor]


def generator_of(module: nn.Module) -> torch.Generator:
    """Named randomness for a forward pass: torch's own stream, which the loop seeds by update, or always the same."""
    seed = int(torch.randint(0, 2**62, (1,))) if module.training else VALIDATION_SEED
    return torch.Generator().manual_seed(seed)


class ConvolutionalDecoder(nn.Module):
    """Patch tokens to pixels in [0, 1]: doubling stages of [bilinear x2, 3x3 convolution, norm, ReLU], 1x1, sigmoid.

    There is no skip connection from the patch embedding: it would be a short-cut around the encoder.

    Args:
        in_width: of the patch tokens.
        grid: patches along a side.
        size: of the image, in pixels.
        width: channels of the first stage, halved at each further one (256-128-64-32 at full size).

    Source: methods-and-datasets.md 3 (2.16 M parameters with patches of 768).
    """

    def __init__(self, *, in_width: int, grid: int, size: int, width: int) -> None:
        super().__init__()
        self.grid, self.size = grid, size
        doublings = max(1, math.ceil(math.log2(size / grid)))
        widths = [in_width, *(max(8, width >> number) for number in range(doublings))]
        self.stages = nn.ModuleList(stage(a, b) for a, b in itertools.pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, patches_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, size, size) in [0, 1]."""
        B, _, D = patches_BND.shape
        x = patches_BND.transpose(1, 2).reshape(B, D, self.grid, self.grid)
        for doubled in self.stages:
            # The last doubling may overshoot where the patch is no power of two.
            side = min(2 * x.shape[-1], self.size)
            x = doubled(F.interpolate(x, size=(side, side), mode="bilinear", align_corners=False))
        if x.shape[-1] != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return torch.sigmoid(self.last(x))[:, 0]


def stage(channels: int, out: int, *, stride: int = 1) -> nn.Module:
    """3x3 convolution, group normalisation and ReLU: a batch of distorted images has no statistics worth keeping."""
    convolution = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(math.gcd(8, out), out), nn.ReLU())


class LinearDecoder(nn.Module):
    """Each patch token to its own pixels, sigmoid: the minimal decoder.

    Args:
        in_width: of the patch tokens.
        grid: patches along a side.
        size: of the image, in pixels.
    """

    def __init__(self, *, in_width: int, grid: int, size: int) -> None:
        super().__init__()
        self.grid, self.patch = grid, size // grid
        self.linear = nn.Linear(in_width, self.patch**2)

    def forward(self, patches_BND: Tensor) -> Tensor:
        """(B, N, D) -> (B, size, size) in [0, 1]."""
        B, g, p = len(patches_BND), self.grid, self.patch
        pixels = torch.sigmoid(self.linear(patches_BND)).view(B, g, g, p, p)
        return pixels.permute(0, 1, 3, 2, 4).reshape(B, g * p, g * p)


def decoder_of(kind: str, encoder: Any, *, size: int) -> nn.Module:
    """A "convolutional" or "linear" decoder for a radiograph transformer's patches.

    Args:
        kind: of decoder.
        encoder: radiograph transformer.
        size: of the image, in pixels.
    """
    if kind == "linear":
        return LinearDecoder(in_width=encoder.patch_width, grid=encoder.grid, size=size)
    width = max(16, encoder.width // 3)
    return ConvolutionalDecoder(in_width=encoder.patch_width, grid=encoder.grid, size=size, width=width)


class GreyLevels(nn.Module):
    """Between normalised images and grey levels in [0, 1], in which distortions are defined.

    Args:
        image: protocol section with mean and std.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image: Mapping[str, Any]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(image["mean"])[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(image["std"])[:, None, None], persistent=False)

    def grey(self, x_BCHW: Tensor) -> Tensor:
        """Normalised (B, C, H, W) of repeated grey -> (B, H, W) in [0, 1]."""
        return (x_BCHW[:, 0].float() * self.std[0] + self.mean[0]).clamp(0, 1)

    def normalised(self, x_BHW: Tensor) -> Tensor:
        """(B, H, W) -> normalised (B, C, H, W)."""
        return self.normalised_colours(x_BHW[:, None])

    def normalised_colours(self, x_BCHW: Tensor) -> Tensor:
        """(B, C or 1, H, W) in [0, 1] -> normalised (B, C, H, W)."""
        return (x_BCHW - self.mean) / self.std


@dataclass(frozen=True, kw_only=True)
class DistortedBatch:
    """B radiographs whose pairs are made: what is seen, normalised (B, 1, C, H, W), and what is to be restored, grey.

    Attributes:
        images_BVCHW: distorted.
        clean_BHW: in [0, 1].
        labels_BK: as of the batch that it was made from.
    """

    images_BVCHW: Tensor
    clean_BHW: Tensor
    labels_BK: Tensor


class RestorationObjective(nn.Module):
    """Restore a radiograph from its distorted version: mean squared error over all pixels.

    The decoder reads the patch tokens through the recurrent concatenation, so that the aggregation embedding, which
    fine-tuning reads, is trained, too.

    Args:
        encoder: radiograph transformer.
        decoder: patch tokens -> pixels.
        image: protocol section with mean and std.
        target: grey (B, H, W) in [0, 1] and a generator -> what is to be restored (flipped, say).
        distort: the same -> what the encoder sees.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        image: Mapping[str, Any],
        distort: Distort,
        target: Distort = lambda x, generator: x,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.levels = encoder, decoder, GreyLevels(image)
        self.target, self.distort = target, distort

    def prepared(self, batch: Any, generator: torch.Generator) -> DistortedBatch:
        """A batch with its pair made already, ahead of the forward pass: on the thread that draws batches.

        Args:
            batch: `StudyBatch` of single radiographs.
            generator: on the CPU.
        """
        clean, seen = self.pair(batch.images_BVCHW[:, 0], generator)
        return DistortedBatch(images_BVCHW=seen[:, None], clean_BHW=clean, labels_BK=batch.labels_BK)

    def pair_of(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The pair of a batch: as it was prepared, or made now."""
        images = batch.images_BVCHW[:, 0]
        return (batch.clean_BHW, images) if isinstance(batch, DistortedBatch) else self.pair(images, generator_of(self))

    @torch.no_grad()
    def pair(self, x_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What is to be restored, grey (B, H, W), and what the encoder sees of it, normalised (B, C, H, W).

        In float32 whatever the networks compute in: a warp's places would move by up to a pixel.

        Args:
            x_BCHW: normalised images.
            generator: on the CPU.
        """
        with torch.autocast(x_BCHW.device.type, enabled=False):
            clean = self.target(self.levels.grey(x_BCHW), generator)
            return clean, self.levels.normalised(self.distort(clean, generator))

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """A batch of single radiographs (B, 1, C, H, W) -> {"restoration": scalar}."""
        clean, distorted = self.pair_of(batch)
        patches = self.encoder.patches(self.encoder(distorted))  # type: ignore[operator]
        return {"restoration": F.mse_loss(self.decoder(patches).float(), clean)}
