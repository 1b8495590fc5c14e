"""Pre-trains the stand-in for ImageNet weights: it classifies the shapes of procedural photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets.restoration import GreyLevels, generator_of

Scenes = Callable[[int, int, torch.Generator], tuple[Tensor, Tensor]]


class ShapeObjective(nn.Module):
    """Cross-entropy over shapes; of the batch of radiographs only the number counts, their pixels are never read.

    Args:
        encoder: its readout is classified.
        image: protocol section with size, channels, mean and std.
        classes: shapes.
        scenes: ``(count, size, generator) -> (images (N, 3, size, size) in [0, 1], labels (N,))``.
    """

    def __init__(self, *, encoder: nn.Module, image: Mapping[str, Any], classes: int, scenes: Scenes) -> None:
        super().__init__()
        self.scenes = scenes
        self.encoder, self.size, self.channels = encoder, image["size"], image["channels"]
        self.head = nn.Linear(encoder.readout_width, classes)  # type: ignore[arg-type]
        self.levels = GreyLevels(image)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """As many scenes as the batch has radiographs -> {"shape": scalar}."""
        count = batch.images_BVCHW.shape[0] * batch.images_BVCHW.shape[1]
        images, labels = (
            part.to(self.levels.mean.device, non_blocking=True)
            for part in self.scenes(count, self.size, generator_of(self))
        )
        if self.channels == 1:
            images = images.mean(1, keepdim=True)
        tokens = self.encoder(self.levels.normalised_colours(images))
        logits: Tensor = self.head(self.encoder.readout(tokens))  # type: ignore[operator]
        return {"shape": F.cross_entropy(logits.float(), labels)}
