"""Classifies an image by its tokens: one learned query attends to them, and a linear head reads what it finds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentiveProbe(nn.Module):
    """LayerNorm, cross-attention of one learned query over all tokens, LayerNorm, ``Linear(width, classes)``.

    Args:
        width: D, of the tokens; a multiple of `heads`.
        classes: K, independent binary outputs.
        heads: of the attention.

    Source: CheXWorld, models/finetune.py (``tune_type attn``: one query, one cross-attention), without its MLP.
    """

    def __init__(self, *, width: int, classes: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide the width {width}")
        self.heads = heads
        self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.norm_tokens, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens_B1TD: Tensor) -> Tensor:
        """Tokens of B images, as pictures of one channel whose rows are tokens -> logits (B, K)."""
        B, _, T, D = tokens_B1TD.shape
        kv_2BHTd = self.kv(self.norm_tokens(tokens_B1TD[:, 0])).view(B, T, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        q_BH1d = self.q(self.query).view(1, 1, self.heads, -1).transpose(1, 2).expand(B, -1, -1, -1)
        found_BD = F.scaled_dot_product_attention(q_BH1d, kv_2BHTd[0], kv_2BHTd[1]).transpose(1, 2).reshape(B, D)
        logits: Tensor = self.head(self.norm(self.out(found_BD)))
        return logits
