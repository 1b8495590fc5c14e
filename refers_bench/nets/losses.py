"""The losses of pre-training on studies and reports, and of fine-tuning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from refers_bench.nets import distributed


def study_report_contrast(
    study_BF: Tensor,
    text_BF: Tensor,
    *,
    temperature: float,
    image_to_text_weight: float,
    text_to_image_gradient: bool,
    gather: bool = False,
) -> Tensor:
    """Study-report consistency: InfoNCE over the batch, diagonal pairs positive, in float32.

    Args:
        study_BF: study features.
        text_BF: report features.
        temperature: tau; cosine similarities are divided by it.
        image_to_text_weight: lambda in [0, 1]; the text-to-image term weighs 1 - lambda.
        text_to_image_gradient: False: that term is a constant, as the released code has it.
        gather: whether the rows of all processes of a training are each other's negatives; else each has its own.

    Returns:
        Scalar: mean over the batch.

    Source: paper eq. 2 (image to text only); Pre-train/refers/utils/losses.py:13-77.
    """
    # Autocast would multiply in 16 bit, whatever the inputs are.
    with torch.autocast(study_BF.device.type, enabled=False):
        image = F.normalize(study_BF.float(), dim=-1, eps=1e-8)
        text = F.normalize(text_BF.float(), dim=-1, eps=1e-8)
        all_images, all_texts = (distributed.gathered(image), distributed.gathered(text)) if gather else (image, text)
        own_B = torch.arange(len(image), device=image.device) + (distributed.first_row(len(image)) if gather else 0)
        image_to_text = F.cross_entropy(image @ all_texts.T / temperature, own_B)
        text_to_image = F.cross_entropy(text @ all_images.T / temperature, own_B)
    if not text_to_image_gradient:
        text_to_image = text_to_image.detach()
    return image_to_text_weight * image_to_text + (1 - image_to_text_weight) * text_to_image


def unit(x: Tensor) -> Tensor:
    """Float32 vectors of unit length, along the last axis; lengths below 1e-12 count as that (torch's default)."""
    return F.normalize(x.float(), dim=-1)


def paired_first(study_BF: Tensor, text_BF: Tensor, *, among: int) -> Tensor:
    """Share of pairs whose partner is among the `among` nearest by cosine, mean of both directions, in [0, 1].

    Source: mgca/models/mgca/mgca_module.py:110-117, in per cent there.
    """
    scores_BB = unit(study_BF) @ unit(text_BF).T
    own_B, among = torch.arange(len(scores_BB), device=scores_BB.device)[:, None], min(among, len(scores_BB))
    found = [(one.topk(among, 1).indices == own_B).any(1).float().mean() for one in (scores_BB, scores_BB.T)]
    return (found[0] + found[1]) / 2


def report_generation(logits_BTV: Tensor, tokens_BT: Tensor) -> Tensor:
    """Cross-entropy of each next token, mean over those that are not 0 (padding, unknown), in float32.

    Source: Pre-train/refers/models/captioning.py:186-189.
    """
    return distributed.mean_share(generation_total(logits_BTV, tokens_BT), generated(tokens_BT).sum())


def generation_total(logits_BTV: Tensor, tokens_BT: Tensor) -> Tensor:
    """Sum of the cross-entropies that `report_generation` is the mean of."""
    targets = tokens_BT[:, 1:].flatten()
    return F.cross_entropy(logits_BTV[:, :-1].float().flatten(0, 1), targets, ignore_index=0, reduction="sum")


def generated(tokens_BT: Tensor) -> Tensor:
    """Which tokens are generated: all but the first that are not 0, (B, T - 1)."""
    return tokens_BT[:, 1:] != 0


def masked_bce(logits_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Binary cross-entropy per class, mean over the known labels, in float32.

    Args:
        logits_BK: any float.
        labels_BK: 0, 1 or NaN (unknown: left out).
    """
    counted = known(labels_BK)
    labels_BK = torch.where(counted, labels_BK, 0.0)
    losses = F.binary_cross_entropy_with_logits(logits_BK.float(), labels_BK, reduction="none")
    return distributed.mean_share((losses * counted).sum(), counted.sum())


def known(labels_BK: Tensor) -> Tensor:
    """Which labels are known."""
    return ~torch.isnan(labels_BK)
