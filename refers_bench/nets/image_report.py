"""The objectives of ConVIRT, GLoRIA and MGCA: a radiograph, its study's report, and losses that bring them together.

Features are computed in micro-batches where memory is short (`parts`, see `refers_bench.nets.parts.in_parts`); heads
with batch norm, and losses, see the whole batch. Negatives are those of the own process, as in the released codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from refers_bench.nets import losses, token_alignment
from refers_bench.nets.parts import in_parts
from refers_bench.nets.projection_heads import BatchNormHead
from refers_bench.nets.prototypes import Prototypes
from refers_bench.nets.regions import region_width, regions
from refers_bench.nets.word_encoder import WordEncoder


def summed_contrast(image_BF: Tensor, text_BF: Tensor, *, temperature: float) -> Tensor:
    """The sum, not the mean, of both directions of the contrast."""
    return 2 * losses.study_report_contrast(
        image_BF, text_BF, temperature=temperature, image_to_text_weight=0.5, text_to_image_gradient=True
    )


class GlobalContrast(nn.Module):
    """ConVIRT: one feature of the radiograph, one of the text, contrasted over the batch.

    Args:
        encoder: its readout is the feature.
        text_encoder: gives the text's.
        image_head: map of the former.
        text_head: map of the latter.
        temperature: of the cosines.
        image_to_text_weight: of that direction, in [0, 1].
        scale: factor of the loss.

    Source: Zhang et al., MLHC 2022; cases 01 and 03 of the recorded functions.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        text_encoder: WordEncoder,
        image_head: nn.Module,
        text_head: nn.Module,
        temperature: float,
        image_to_text_weight: float,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder, self.text_encoder = encoder, text_encoder
        self.image_head, self.text_head = image_head, text_head
        self.temperature, self.image_to_text_weight = temperature, image_to_text_weight
        self.scale, self.parts = scale, 1

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """`refers_bench.data.batches.StudyBatch` of one view -> the contrast."""

        def features(images: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            encoder: Any = self.encoder
            return encoder.readout(encoder(images)), self.text_encoder(ids, mask)

        given = (batch.images_BVCHW[:, 0], batch.text_ids_BT, batch.text_mask_BT)
        image, text = in_parts(features, self.parts, *given, model=self)
        contrast = losses.study_report_contrast(
            self.image_head(image),
            self.text_head(text),
            temperature=self.temperature,
            image_to_text_weight=self.image_to_text_weight,
            text_to_image_gradient=True,
        )
        return {"contrast": self.scale * contrast}


class WordRegionContrast(nn.Module):
    """GLoRIA: a contrast of whole radiographs and texts, and one of regions and words.

    Args:
        encoder: radiograph transformer or ResNet.
        text_encoder: its width is that of the common space.
        layers: of the text encoder, from the last on, whose outputs are summed.
        temperatures: temp1, temp2 and temp3; see `token_alignment.word_region_scores`.
        local_weight: of the regions' contrast.
        global_weight: of the other.

    Source: marshuang80/gloria@416466a, gloria/models/gloria_model.py; cases 04 to 07 of the recorded functions.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        text_encoder: WordEncoder,
        layers: int,
        temperatures: Mapping[str, float],
        local_weight: float,
        global_weight: float,
    ) -> None:
        super().__init__()
        self.encoder, self.text_encoder = encoder, text_encoder
        self.global_embedder = nn.Linear(encoder.readout_width, text_encoder.width)  # type: ignore[arg-type]
        self.local_embedder = nn.Linear(region_width(encoder), text_encoder.width, bias=False)
        self.layers, self.temperatures = layers, dict(temperatures)
        self.weights = {"global_contrast": global_weight, "local_contrast": local_weight}
        self.parts = 1

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """`refers_bench.data.batches.StudyBatch` of one view -> both contrasts, each the sum of its directions."""

        def features(images: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
            seen = regions(self.encoder, images)
            image, local = self.global_embedder(seen.feature_BF), self.local_embedder(seen.regions_BPD)
            return (image, local, *self.text_encoder.summed_layers(ids, mask, layers=self.layers))

        given = (batch.images_BVCHW[:, 0], batch.text_ids_BT, batch.text_mask_BT)
        image, local, words, text, counts = in_parts(features, self.parts, *given, model=self)
        scores = token_alignment.word_region_scores(local, words, counts, **self.temperatures)
        rows, columns = token_alignment.region_contrast(scores)
        found = {
            "global_contrast": summed_contrast(image, text, temperature=1 / self.temperatures["temp3"]),
            "local_contrast": rows + columns,
        }
        return {name: self.weights[name] * loss for name, loss in found.items()}


class MultiGranularity(nn.Module):
    """MGCA: contrasts of whole pairs, of words and patches inside each pair, and of assignments to prototypes.

    Args:
        encoder: radiograph transformer or ResNet.
        text_encoder: with a BERT that gives its attention.
        hidden: width inside the heads.
        out: width of the embeddings.
        temperature: of whole pairs.
        local_temperature: of tokens.
        prototypes: see `Prototypes`; those for it besides the width.
        weights: of "instance", "tokens" and "prototypes".
        shifted: whether words are read as the released code does, see `word_encoder.attended_words`.
        max_tokens: longest text.
        unit_contexts: see `token_alignment.token_alignment`.

    Source: HKU-MedAI/MGCA@680fe4a, mgca/models/mgca/mgca_module.py; cases 08 to 12 of the recorded functions.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        text_encoder: WordEncoder,
        hidden: int,
        out: int,
        temperature: float,
        local_temperature: float,
        prototypes: Mapping[str, Any],
        weights: Mapping[str, float],
        shifted: bool,
        max_tokens: int,
        unit_contexts: bool,
    ) -> None:
        super().__init__()
        self.encoder, self.text_encoder = encoder, text_encoder
        self.global_head = BatchNormHead(encoder.readout_width, hidden, out)  # type: ignore[arg-type]
        self.local_head = BatchNormHead(region_width(encoder), hidden, out)
        self.report_head, self.word_head = (BatchNormHead(text_encoder.width, hidden, out) for _ in range(2))
        self.prototypes = Prototypes(out, **prototypes)
        self.temperature, self.weights = temperature, dict(weights)
        self.local = {"temperature": local_temperature, "unit_contexts": unit_contexts}
        self.reading = {"shifted": shifted, "places": max_tokens}
        self.parts = 1

    def after_update(self) -> None:
        """See `Prototypes.after_update`."""
        self.prototypes.after_update()

    def features(self, batch: Any) -> tuple[Tensor, ...]:
        """Feature, regions and their attention; words, report first, their attention and which of them there are."""

        def found(images: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
            seen = regions(self.encoder, images, attention=True)
            words = self.text_encoder.attended(ids, mask, **self.reading)  # type: ignore[arg-type]
            read = (words.words_BWD, words.attention_BW, words.present_BW)
            return (seen.feature_BF, seen.regions_BPD, seen.attention_BP, *read)

        given = (batch.images_BVCHW[:, 0], batch.text_ids_BT, batch.text_mask_BT)
        return in_parts(found, self.parts, *given, model=self)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """`refers_bench.data.batches.StudyBatch` of one view -> the three losses."""
        feature, patches, seen, words, read, present = self.features(batch)
        image, report = self.global_head(feature), self.report_head(words[:, 0])
        of_words, of_patches = token_alignment.token_alignment(
            self.word_head(words[:, 1:]),
            self.local_head(patches),
            words_weight_BW=token_alignment.clipped_weights(read[:, 1:]),
            patches_weight_BP=token_alignment.clipped_weights(seen),
            present_BW=present[:, 1:],
            **self.local,  # type: ignore[arg-type]
        )
        found = {
            "instance": summed_contrast(image, report, temperature=self.temperature),
            "tokens": of_words + of_patches,
            "prototypes": self.prototypes(image, report),
        }
        return {name: self.weights[name] * loss for name, loss in found.items()}

    def measures(self, batch: Any) -> dict[str, Tensor]:
        """How often a report is the nearest of its radiograph, or among the five nearest, in a batch."""
        feature, _, _, words, *_ = self.features(batch)
        pair = (self.global_head(feature), self.report_head(words[:, 0]))
        return {f"top{among}": losses.paired_first(*pair, among=among) for among in (1, 5)}
