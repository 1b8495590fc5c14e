"""Aligns the words of reports with the regions of radiographs: the local losses of GLoRIA and of MGCA, in float32."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from refers_bench.nets import losses

#: Least product of lengths in GLoRIA's cosines. Source: gloria/loss/gloria_loss.py:8-14.
EPSILON = 1e-8


def region_context(regions_BPD: Tensor, words_WD: Tensor, present_W: Tensor, *, temp1: float) -> tuple[Tensor, Tensor]:
    """What each image shows of each word of one text: contexts (B, W, D), and attention to the regions (B, W, P).

    A softmax over the words, of raw dot products, and then one over the regions.

    Args:
        regions_BPD: of all images.
        words_WD: of one text.
        present_W: which of them count.
        temp1: factor of the second softmax's input.

    Source: gloria/loss/gloria_loss.py:19-58; case 05 of the recorded functions.
    """
    scores_BPW = (regions_BPD @ words_WD.T).masked_fill(~present_W, -math.inf)
    attention_BWP = (temp1 * scores_BPW.softmax(-1)).softmax(1).transpose(1, 2)
    return attention_BWP @ regions_BPD, attention_BWP


def word_region_scores(
    regions_BPD: Tensor, words_BWD: Tensor, counts_B: Tensor, *, temp1: float, temp2: float, temp3: float
) -> Tensor:
    """How well the words of text i find themselves in image b: (B, B), images in rows.

    Text by text, so that memory grows with B x B words and not with B x B words x regions.

    Args:
        regions_BPD: local features of images.
        words_BWD: of texts.
        counts_B: words of each text that count, from the first on.
        temp1: see `region_context`.
        temp2: factor of the cosines whose exponentials are summed over words.
        temp3: factor of the score.

    Source: gloria/loss/gloria_loss.py:86-137; case 05 of the recorded functions.
    """

    def column(regions_BPD: Tensor, words_WD: Tensor, present_W: Tensor) -> Tensor:
        context_BWD, _ = region_context(regions_BPD, words_WD, present_W, temp1=temp1)
        lengths_BW = context_BWD.norm(dim=-1) * words_WD.norm(dim=-1)
        cosine_BW = (context_BWD * words_WD).sum(-1) / lengths_BW.clamp(min=EPSILON)
        scores_B: Tensor = temp3 * (temp2 * cosine_BW).masked_fill(~present_W, -math.inf).logsumexp(-1)
        return scores_B

    with torch.autocast(regions_BPD.device.type, enabled=False):
        regions_BPD, words_BWD = regions_BPD.float(), words_BWD.float()
        present_BW = torch.arange(words_BWD.shape[1], device=words_BWD.device) < counts_B[:, None]
        columns = [
            checkpoint(column, regions_BPD, words_BWD[i], present_BW[i], use_reentrant=False)
            for i in range(len(words_BWD))
        ]
        return torch.stack(columns, 1)


def looked_up(x_BND: Tensor, keys_BMD: Tensor, temperature: float, present_BM: Tensor | None = None) -> Tensor:
    """Each row as a mixture of the keys of its own pair, weighted by softmax of the dot products; (B, N, D).

    Args:
        x_BND: unit length.
        keys_BMD: unit length.
        temperature: of the softmax.
        present_BM: which keys there are; None for all.
    """
    scores_BNM = x_BND @ keys_BMD.transpose(1, 2) / temperature
    if present_BM is not None:
        scores_BNM = scores_BNM.masked_fill(~present_BM[:, None], -math.inf)
    return scores_BNM.softmax(-1) @ keys_BMD


def within_pairs(x_BND: Tensor, context_BND: Tensor, weights_BN: Tensor, temperature: float) -> Tensor:
    """InfoNCE inside each pair: token k against its own context among those of all tokens; mean over the batch.

    Args:
        x_BND: unit length.
        context_BND: what the other modality has for each token.
        weights_BN: of the tokens, sum 1.
        temperature: of the similarities.
    """
    scores_BNN = x_BND @ context_BND.transpose(1, 2) / temperature
    own_BN = scores_BNN.diagonal(dim1=1, dim2=2)
    rows_BN, columns_BN = scores_BNN.logsumexp(2) - own_BN, scores_BNN.logsumexp(1) - own_BN
    return (weights_BN * (rows_BN + columns_BN) / 2).sum(1).mean()


def token_alignment(
    words_BWD: Tensor,
    patches_BPD: Tensor,
    *,
    words_weight_BW: Tensor,
    patches_weight_BP: Tensor,
    present_BW: Tensor,
    temperature: float,
    unit_contexts: bool,
) -> tuple[Tensor, Tensor]:
    """MGCA's token-wise alignment: the losses over words and over patches, each a scalar.

    Words behind the last one are negatives of the others, as in the source; their weight is 0.

    Args:
        words_BWD: embeddings of words, any length.
        patches_BPD: embeddings of patches, any length.
        words_weight_BW: see `clipped_weights`.
        patches_weight_BP: see `clipped_weights`.
        present_BW: which words there are: patches look at no others.
        temperature: of all similarities.
        unit_contexts: whether what patches see of the words has unit length (the source: of a ResNet it has, of a ViT
            not).

    Source: mgca/models/mgca/mgca_module.py:119-236; case 09 of the recorded functions.
    """
    with torch.autocast(words_BWD.device.type, enabled=False):
        words, patches = losses.unit(words_BWD), losses.unit(patches_BPD)
        seen = losses.unit(looked_up(words, patches, temperature))
        read = looked_up(patches, words, temperature, present_BW)
        read = losses.unit(read) if unit_contexts else read
        of_words = within_pairs(words, seen, words_weight_BW, temperature)
        return of_words, within_pairs(patches, read, patches_weight_BP, temperature)


def clipped_weights(attention_BN: Tensor) -> Tensor:
    """Attention as weights of sum 1 in float32, its non-zero entries clipped to their 10 % and 90 % quantiles.

    Rows without any are zero. Weights carry no gradient.

    Source: mgca/models/mgca/mgca_module.py:124-137, 163-176; case 09 of the recorded functions.
    """
    found = attention_BN.detach().float()
    known = found.masked_fill(found == 0, math.nan)
    low, high = (torch.nanquantile(known, share, dim=1, keepdim=True) for share in (0.1, 0.9))
    clipped = torch.where(found == 0, 0.0, found.clamp(low, high))
    return clipped / clipped.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def region_contrast(scores_BB: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the diagonal of float32 scores, over rows (image to text) and over columns (text to image)."""
    own_B = torch.arange(len(scores_BB), device=scores_BB.device)
    return F.cross_entropy(scores_BB, own_B), F.cross_entropy(scores_BB.T, own_B)
