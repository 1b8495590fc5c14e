"""The objective of REFERS: report generation and study-report consistency over fused views."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from refers_bench.nets import distributed, losses
from refers_bench.nets.parts import in_parts


class StudyObjective(nn.Module):
    """Encoder, view fusion and the heads of either or both tasks; named losses out, each with weight 1.

    Args:
        encoder: radiograph transformer.
        view_fusion: see `refers_bench.nets.view_fusion`.
        report_transformer: None drops report generation (Table 3 row 6).
        text_encoder: None drops study-report consistency (Table 3 row 5).
        gather: whether studies of all processes are each other's negatives in training.
        **contrast: temperature, image_to_text_weight and text_to_image_gradient, see `study_report_contrast`.

    Attributes:
        parts: in which features are computed where memory is short (`refers_bench.nets.parts.in_parts`); the
            consistency still contrasts all studies of the batch.

    Source: paper, Methods (cross-supervised learning); Pre-train/refers/models/captioning.py.
    """

    def __init__(
        self,
        *,
        encoder: nn.Module,
        view_fusion: nn.Module,
        report_transformer: nn.Module | None,
        text_encoder: nn.Module | None,
        gather: bool = False,
        **contrast: Any,
    ) -> None:
        super().__init__()
        self.encoder, self.view_fusion = encoder, view_fusion
        self.report_transformer, self.text_encoder = report_transformer, text_encoder
        self.gather, self.contrast = gather, contrast
        self.parts = 1

    def fuse(self, images_BVCHW: Tensor) -> tuple[Tensor, Tensor]:
        """All views in one forward pass -> (memory of the report transformer, study feature)."""
        B, V = images_BVCHW.shape[:2]
        tokens = self.encoder(images_BVCHW.flatten(0, 1))
        return self.fuse_tokens(tokens.view(B, V, *tokens.shape[1:]))

    def fuse_tokens(self, tokens_BVND: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder tokens of each view -> (memory, study feature)."""
        B, V = tokens_BVND.shape[:2]
        patches: Any = self.encoder.patches(tokens_BVND.flatten(0, 1))  # type: ignore[operator]
        fused: tuple[Tensor, Tensor] = self.view_fusion(patches.view(B, V, *patches.shape[1:]), tokens_BVND[:, :, 0])
        return fused

    def losses_of(self, memory: Tensor, study: Tensor, batch: Any) -> dict[str, Tensor]:
        """Named losses of fused views."""
        named = {}
        if self.report_transformer is not None:
            logits = self.report_transformer(memory, batch.tokens_BT, batch.lengths_B)
            named["report_generation"] = losses.report_generation(logits, batch.tokens_BT)
        if self.text_encoder is not None:
            text = self.text_encoder(batch.text_ids_BT, batch.text_mask_BT)
            named["study_report_consistency"] = self.consistency(study, text)
        return named

    def consistency(self, study_BF: Tensor, text_BF: Tensor) -> Tensor:
        """Study-report consistency over the batch."""
        return losses.study_report_contrast(study_BF, text_BF, **self.contrast, gather=self.gather and self.training)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """`refers_bench.data.batches.StudyBatch` -> named scalar losses; their sum is minimised."""
        if self.parts > 1:
            return self.losses_in_parts(batch)
        memory, study = self.fuse(batch.images_BVCHW)
        return self.losses_of(memory, study, batch)

    def losses_in_parts(self, batch: Any) -> dict[str, Tensor]:
        """The same losses of the whole batch, with one part's activations in memory at a time."""

        def features(
            images: Tensor, tokens: Tensor, lengths: Tensor, ids: Tensor, mask: Tensor
        ) -> tuple[Tensor, Tensor, Tensor]:
            memory, study = self.fuse(images)
            total = text = study.new_zeros(1)
            if self.report_transformer is not None:
                total = losses.generation_total(self.report_transformer(memory, tokens, lengths), tokens)[None]
            if self.text_encoder is not None:
                text = self.text_encoder(ids, mask)
            return study, text, total

        texts = (batch.tokens_BT, batch.lengths_B, batch.text_ids_BT, batch.text_mask_BT)
        study, text, totals = in_parts(features, self.parts, batch.images_BVCHW, *texts, model=self)
        named = {}
        if self.report_transformer is not None:
            named["report_generation"] = distributed.mean_share(totals.sum(), losses.generated(batch.tokens_BT).sum())
        if self.text_encoder is not None:
            named["study_report_consistency"] = self.consistency(study, text)
        return named


class LabelObjective(nn.Module):
    """Label-supervised pre-training: a linear head on the readout, BCE over the known labels.

    Args:
        encoder: radiograph transformer.
        classes: K.
    """

    def __init__(self, *, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.readout_width, classes)  # type: ignore[arg-type]

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """A batch of single radiographs with labels (B, K), NaN where unknown."""
        tokens = self.encoder(batch.images_BVCHW[:, 0])
        logits: Tensor = self.head(self.encoder.readout(tokens))  # type: ignore[operator]
        return {"labels": losses.masked_bce(logits, batch.labels_BK)}

    def counts(self, batch: Any) -> dict[str, Tensor]:
        """Known labels, which the loss is the mean over."""
        return {"labels": losses.known(batch.labels_BK).sum()}
