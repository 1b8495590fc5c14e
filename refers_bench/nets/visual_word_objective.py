"""TransVW's objective: classifies distorted crops by their visual word, and restores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets.restoration import Distort, RestorationObjective


class VisualWordObjective(RestorationObjective):
    """Classification of distorted crops by their visual word, and restoration of the crops.

    Args:
        encoder: radiograph transformer; its readout is classified.
        decoder: patch tokens -> pixels.
        image: protocol section with mean and std.
        distort: grey (B, H, W) in [0, 1] and a generator -> what the encoder sees.
        words: C.
        classification_weight: of the cross-entropy.
        restoration_weight: of the mean squared error.

    Source: methods-and-datasets.md 1 C (weights 0.01 and 1) and 3 (LayerNorm and a linear head for a transformer).
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        decoder: nn.Module,
        image: Mapping[str, Any],
        distort: Distort,
        words: int,
        classification_weight: float,
        restoration_weight: float,
    ) -> None:
        super().__init__(encoder=encoder, decoder=decoder, image=image, distort=distort)
        width: Any = encoder.readout_width
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, words))
        self.weights = (classification_weight, restoration_weight)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Crops (B, 1, C, H, W) with the number of their word (B, 1) -> weighted named losses."""
        clean, distorted = self.pair_of(batch)
        tokens: Any = self.encoder(distorted)
        restored = self.decoder(self.encoder.patches(tokens))  # type: ignore[operator]
        return self.losses(self.logits(tokens), batch.labels_BK[:, 0].long(), restored, clean)

    def logits(self, tokens_BND: Tensor) -> Tensor:
        """The encoder's tokens of crops -> logits of the words (B, C)."""
        logits: Tensor = self.head(self.encoder.readout(tokens_BND))  # type: ignore[operator]
        return logits

    def measures(self, batch: Any) -> dict[str, Tensor]:
        """Crops as in `forward` -> share of them whose word has the largest logit, in [0, 1]."""
        _, distorted = self.pair_of(batch)
        found = self.logits(self.encoder(distorted)).argmax(1)
        return {"word_accuracy": (found == batch.labels_BK[:, 0].long()).float().mean()}

    def losses(self, logits_BC: Tensor, words_B: Tensor, restored: Tensor, clean: Tensor) -> dict[str, Tensor]:
        """Weighted cross-entropy over words and mean squared error of the pixels, in float32.

        Args:
            logits_BC: of the words.
            words_B: their numbers.
            restored: crops, of any shape.
            clean: the crops before the warp, of the same shape.
        """
        classification, restoration = self.weights
        return {
            "visual_word": classification * F.cross_entropy(logits_BC.float(), words_B),
            "restoration": restoration * F.mse_loss(restored.float(), clean.float()),
        }
