"""Generates a report from fused views: the post-norm decoder with tied word embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PAD = 0


class ReportTransformer(nn.Module):
    """Predicts each next token of the report from the previous ones and the fused views.

    Args:
        vocabulary: word pieces; id 0 is padding and unknown.
        visual_width: P, of the memory.
        max_tokens: longest report.
        width: of the decoder.
        depth: layers (released code: 1; the paper's reference 20: 6).
        heads: attention heads.
        mlp_width: of the feed-forward part.
        dropout: on embedding, attention weights, residual branches and inside the feed-forward part.
        activation: "gelu" (released code) or "relu".

    Source: Pre-train/refers/modules/textual_heads.py:107-254, embedding.py.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        visual_width: int,
        max_tokens: int,
        width: int,
        depth: int,
        heads: int,
        mlp_width: int,
        dropout: float,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        self.visual_projection = nn.Linear(visual_width, width)
        self.words = nn.Embedding(vocabulary, width, padding_idx=PAD)
        self.positions = nn.Embedding(max_tokens, width)
        self.norm = nn.LayerNorm(width, eps=1e-8)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width, heads, dim_feedforward=mlp_width, dropout=dropout, activation=activation, batch_first=True
            )
            for _ in range(depth)
        )
        self.output_bias = nn.Parameter(torch.zeros(vocabulary))
        self.apply(_initialise)

    def embed(self, tokens_BT: Tensor) -> Tensor:
        """Token ids -> embeddings (B, T, width); zero wherever the id is 0, also inside a sentence."""
        places = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        embedded = self.dropout(self.norm(self.words(tokens_BT) + self.positions(places)))
        masked: Tensor = embedded * (tokens_BT != PAD).unsqueeze(-1).to(embedded.dtype)
        return masked

    def forward(self, memory_BMP: Tensor, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, T, vocabulary) of the token after each position.

        Args:
            memory_BMP: fused views.
            tokens_BT: [SOS] ids [EOS], right-padded with 0.
            lengths_B: tokens of each report, padding not counted.
        """
        T = tokens_BT.shape[1]
        places = torch.arange(T, device=tokens_BT.device)
        causal_TT = places[None, :] > places[:, None]
        padding_BT = places[None, :] >= lengths_B[:, None]
        memory = self.visual_projection(memory_BMP)
        hidden = self.embed(tokens_BT)
        for layer in self.layers:
            hidden = layer(hidden, memory, tgt_mask=causal_TT, tgt_key_padding_mask=padding_BT)
        # The output map is the word embedding itself.
        return F.linear(hidden, self.words.weight, self.output_bias)


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for weights of linear maps, attention and embeddings (textual_heads.py:163-174)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.normal_(module.in_proj_weight, std=0.02)
        nn.init.normal_(module.out_proj.weight, std=0.02)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
