"""The objective of masked record modelling: restores hidden patches of a radiograph and hidden words of its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from refers_bench.nets import masked_image, masked_words
from refers_bench.nets.restoration import generator_of

#: Ids of the report tokenizer: padding, the end of a report, what stands for a hidden piece.
PAD, END, MASK = 0, 2, 3


@dataclass(frozen=True, kw_only=True)
class RecordBatch:
    """B radiographs with their reports, and what is hidden of both.

    Attributes:
        images_BVCHW: normalised float32, V = 1; at least of the side that the encoder sees.
        noise_BN: orders the patches of each radiograph: those with the smallest numbers stay.
        ids_BT: whole reports without their end, padded with 0 to one length.
        lengths_B: pieces of each.
        hidden_BT: bool, which of them are hidden.
    """

    images_BVCHW: Tensor
    noise_BN: Tensor
    ids_BT: Tensor
    lengths_B: Tensor
    hidden_BT: Tensor


class RecordObjective(nn.Module):
    """Restore the removed patches, at a higher resolution, and the hidden words, from the visible patches of an image.

    Tokens meet the aggregation embedding as they do in fine-tuning (`RadiographTransformer.patches`); in a plain ViT,
    as which MRM was published, they stay as they are.

    Args:
        encoder: radiograph transformer.
        image_decoder: see `masked_image.PatchDecoder`.
        report_model: see `masked_words.MaskedReportModel`.
        size: side that the encoder sees, in pixels.
        mask_ratio: share of the patches that are removed.
        word_probability: of a word being hidden.
        follows: of each piece of the vocabulary, whether it continues a word; () if none does.
        max_tokens: length to which reports are padded.
        standardise: whether each patch of the target has mean 0 and variance 1.
        antialias: of the resizing to the encoder's size.
        places: over which the report's loss is a mean, see `masked_words.report_loss`.
        image_weight: of its loss.
        report_weight: of its loss.

    Source: MRM, model_mrm.py:225-241, engine_pretrain.py:48.
    """

    follows: Tensor

    def __init__(
        self,
        *,
        encoder: Any,
        image_decoder: nn.Module,
        report_model: Any,
        size: int,
        mask_ratio: float,
        word_probability: float,
        follows: Sequence[bool],
        max_tokens: int,
        standardise: bool,
        antialias: bool,
        places: str,
        image_weight: float,
        report_weight: float,
    ) -> None:
        super().__init__()
        self.encoder, self.image_decoder, self.report_model = encoder, image_decoder, report_model
        self.report_projection = nn.Linear(encoder.patch_width, report_model.width)
        masked_image.xavier(self.report_projection)
        self.size, self.max_tokens = size, max_tokens
        self.patches = encoder.grid**2
        self.kept = masked_image.kept_patches(self.patches, mask_ratio)
        self.word_probability, self.places = word_probability, places
        self.standardise, self.antialias = standardise, antialias
        self.weights = {"masked_patches": image_weight, "masked_words": report_weight}
        self.register_buffer("follows", torch.tensor(follows, dtype=torch.bool), persistent=False)

    def prepared(self, batch: Any, generator: Generator) -> RecordBatch:
        """A batch with what is hidden drawn already, ahead of the forward pass.

        Args:
            batch: `StudyBatch` of single radiographs with reports.
            generator: on the CPU.
        """
        return self._hidden(batch, masked_image.draw_noise(len(batch.tokens_BT), self.patches, generator), generator)

    def _hidden(self, batch: Any, noise_BN: Tensor, generator: Generator) -> RecordBatch:
        tokens = batch.tokens_BT
        ended = tokens == END
        ids = F.pad(tokens.masked_fill(ended, PAD), (0, self.max_tokens - tokens.shape[1]), value=PAD)
        lengths = batch.lengths_B - ended.sum(1)
        follows = self.follows.to(ids.device)[ids] if len(self.follows) else torch.zeros_like(ids, dtype=torch.bool)
        draws = torch.rand(ids.shape, generator=generator, dtype=torch.float64).to(ids.device, non_blocking=True)
        hidden = masked_words.hidden_words(follows, lengths, draws, probability=self.word_probability)
        noise = noise_BN.to(ids.device, non_blocking=True)
        return RecordBatch(
            images_BVCHW=batch.images_BVCHW, noise_BN=noise, ids_BT=ids, lengths_B=lengths, hidden_BT=hidden
        )

    def _shown(self, batch: Any) -> RecordBatch:
        """The batch as it was prepared, or prepared now."""
        if isinstance(batch, RecordBatch):
            return batch
        generator = generator_of(self)
        if self.training:
            return self.prepared(batch, generator)
        noise = masked_image.complementary_noise(len(batch.tokens_BT), self.patches, self.kept, generator)
        return self._hidden(batch, noise, generator)

    def counts(self, batch: RecordBatch) -> dict[str, Tensor]:
        """Hidden pieces, where the report's loss is a mean over them."""
        return {"masked_words": batch.hidden_BT.sum()} if self.places == "masked" else {}

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """`StudyBatch` or `RecordBatch` -> named scalar losses; their sum is minimised."""
        shown = self._shown(batch)
        places, restore, removed = masked_image.masked(shown.noise_BN, kept=self.kept)
        images = shown.images_BVCHW[:, 0]
        seen = masked_image.smaller(images, self.size, antialias=self.antialias)
        tokens = masked_image.visible_tokens(self.encoder, seen, places)
        met = self.met(tokens)
        pixels = self.image_decoder(met, restore)
        losses = {
            "masked_patches": masked_image.image_loss(pixels, self.target(images), removed),
            "masked_words": self.restored_words(met[:, 1:].mean(1), shown),
        }
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def met(self, tokens: Tensor) -> Tensor:
        """All tokens after they have met the aggregation embedding, itself first, (B, 1 + K, patch_width)."""
        met: Tensor = self.encoder.patches(torch.cat([tokens[:, :1], tokens], dim=1))
        return met

    def target(self, images_BCHW: Tensor) -> Tensor:
        """What is to be restored, patch by patch, in float32."""
        patches = masked_image.as_patches(images_BCHW.float(), images_BCHW.shape[-1] // self.encoder.grid)
        return masked_image.standardised(patches) if self.standardise else patches

    def restored_words(self, feature_BD: Tensor, shown: RecordBatch) -> Tensor:
        """The report's loss, given the mean of the visible patches."""
        mask = torch.arange(shown.ids_BT.shape[1], device=shown.ids_BT.device) < shown.lengths_B[:, None]
        ids = shown.ids_BT.masked_fill(shown.hidden_BT, MASK)
        logits = self.report_model(ids, mask, self.report_projection(feature_BD))
        return masked_words.report_loss(logits, shown.ids_BT, shown.hidden_BT, places=self.places)
