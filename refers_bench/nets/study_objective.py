"""What does REFERS minimise: report generation and study-report consistency over fused views?"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from refers_bench.nets import distributed
from refers_bench.nets.losses import (
    generated,
    generation_total,
    known,
    masked_bce,
    report_generation,
    study_report_contrast,
)
from refers_bench.nets.parts import in_parts


class StudyObjective(nn.Module):
    """Encoder, view fusion and the heads of either or both tasks; named losses out, each with weight 1.

    Args:
        encoder: radiograph transformer.
        view_fusion: see `refers_bench.nets.view_fusion`.
        report_transformer: None drops report generation (Table 3 row 6).
        text_encoder: None drops study-report consistency (Table 3 row 5).
        temperature: see `study_report_contrast`, as the next two.
        image_to_text_weight: lambda.
        text_to_image_gradient: whether that term is differentiated.
        gather: whether studies of all processes are each other's negatives in training.

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
        temperature: float,
        image_to_text_weight: float,
        text_to_image_gradient: bool,
        gather: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.view_fusion = encoder, view_fusion
        self.report_transformer, self.text_encoder = report_transformer, text_encoder
        self.contrast: dict[str, Any] = {
            "temperature": temperature,
            "image_to_text_weight": image_to_text_weight,
            "text_to_image_gradient": text_to_image_gradient,
        }
        self.gather = gather
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
        losses = {}
        if self.report_transformer is not None:
            logits = self.report_transformer(memory, batch.tokens_BT, batch.lengths_B)
            losses["report_generation"] = report_generation(logits, batch.tokens_BT)
        if self.text_encoder is not None:
            text = self.text_encoder(batch.text_ids_BT, batch.text_mask_BT)
            losses["study_report_consistency"] = self.consistency(study, text)
        return losses

    def consistency(self, study_BF: Tensor, text_BF: Tensor) -> Tensor:
        """Study-report consistency over the batch."""
        return study_report_contrast(study_BF, text_BF, **self.contrast, gather=self.gather and self.training)

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
                total = generation_total(self.report_transformer(memory, tokens, lengths), tokens)[None]
            if self.text_encoder is not None:
                text = self.text_encoder(ids, mask)
            return study, text, total

        study, text, totals = in_parts(
            features,
            self.parts,
            batch.images_BVCHW,
            batch.tokens_BT,
            batch.lengths_B,
            batch.text_ids_BT,
            batch.text_mask_BT,
            model=self,
        )
        losses = {}
        if self.report_transformer is not None:
            losses["report_generation"] = distributed.mean_share(totals.sum(), generated(batch.tokens_BT).sum())
        if self.text_encoder is not None:
            losses["study_report_consistency"] = self.consistency(study, text)
        return losses


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
        return {"labels": masked_bce(logits, batch.labels_BK)}

    def counts(self, batch: Any) -> dict[str, Tensor]:
        """Known labels, which the loss is the mean over."""
        return {"labels": known(batch.labels_BK).sum()}
