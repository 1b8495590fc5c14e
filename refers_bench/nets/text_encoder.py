"""Encodes a report as one feature: BERT's pooled output and a linear map."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.errors import UserError


class TextEncoder(nn.Module):
    """BERT and ``Linear(hidden, out_width)`` on its pooled output; all weights are trained.

    Args:
        bert: a transformers ``BertModel``.
        out_width: of the study feature it is compared with.

    Source: Pre-train/refers/modules/contrastive_learning.py:14-26.
    """

    def __init__(self, bert: nn.Module, out_width: int) -> None:
        super().__init__()
        self.bert = bert
        self.fc = nn.Linear(bert.config.hidden_size, out_width)  # type: ignore[union-attr,arg-type]

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Token ids and their 0/1 mask -> (B, out_width)."""
        pooled = self.bert(input_ids=ids_BT, attention_mask=seen(mask_BT, self.bert)).pooler_output
        feature: Tensor = self.fc(pooled)
        return feature


def seen(mask_BT: Tensor, bert: nn.Module) -> Tensor:
    """Which tokens each token of a text may look at, as a BERT's attention takes it (B, 1, T, T).

    Of a (B, T) mask transformers asks whether it holds any padding, and waits for the device.

    Args:
        mask_BT: 1 where there is a token.
        bert: its attention is "sdpa", which takes truth values, or "eager", which adds to its products.
    """
    whole_B1TT = mask_BT.bool()[:, None, None].expand(-1, 1, mask_BT.shape[1], -1)
    if bert.config._attn_implementation != "eager":  # type: ignore[union-attr]
        return whole_B1TT
    added = torch.zeros(whole_B1TT.shape, device=mask_BT.device)
    return added.masked_fill(~whole_B1TT, torch.finfo(added.dtype).min)


def build(
    settings: Mapping[str, Any], *, vocabulary: int, max_tokens: int, out_width: int, path: str | None
) -> TextEncoder:
    """A text encoder of `bert`, with its linear map to the width of the study feature; see there."""
    return TextEncoder(bert(settings, vocabulary=vocabulary, max_tokens=max_tokens, path=path), out_width)


def bert(
    settings: Mapping[str, Any], *, vocabulary: int, max_tokens: int, path: str | None, layers: int = 0, **model: Any
) -> nn.Module:
    """A BERT from a local folder, or of the given sizes with random weights.

    Args:
        settings: width, depth, heads, mlp_width, dropout of a BERT trained from scratch.
        vocabulary: word pieces of its tokenizer.
        max_tokens: longest input.
        path: folder with ``config.json`` and weights, or None.
        layers: the first so many are kept, where there are more; 0 for all.
        **model: further arguments of transformers' ``BertModel``.

    Raises:
        UserError: `path` holds no BERT. Nothing is fetched from anywhere.
    """
    from transformers import BertConfig, BertModel

    found: nn.Module
    if path is None:
        # As transformers makes it of a configuration alone: the kernels of `from_pretrained`.
        kernels = {"attn_implementation": model.pop("attn_implementation")} if "attn_implementation" in model else {}
        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=settings["width"],
            num_hidden_layers=settings["depth"],
            num_attention_heads=settings["heads"],
            intermediate_size=settings["mlp_width"],
            max_position_embeddings=max_tokens,
            pad_token_id=0,
            hidden_dropout_prob=settings["dropout"],
            attention_probs_dropout_prob=settings["dropout"],
            # BERT's 0.02 belongs to a width of 768. Kept in a narrow network it leaves all texts with nearly the
            # same feature, and the contrast stays at ln(batch) for hundreds of steps.
            initializer_range=0.02 * (768 / settings["width"]) ** 0.5,
            **kernels,
        )
        found = BertModel(config, **model)
    elif (Path(path) / "config.json").is_file():
        # transformers keeps the number format of the file; what is trained here is float32, whatever autocast computes
        # in.
        found = BertModel.from_pretrained(path, local_files_only=True, **model).float()
    else:
        raise UserError(
            "no BERT here (config.json is missing)",
            allowed="a folder saved by transformers, for example Bio_ClinicalBERT, downloaded beforehand",
            path=path,
        )
    if layers:
        found.encoder.layer = found.encoder.layer[:layers]  # type: ignore[union-attr,index]
    return found
