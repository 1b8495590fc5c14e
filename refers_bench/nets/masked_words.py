"""Hides words of a report and restores them with the help of an image's feature: masks, network, and its loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets import distributed

#: Over which places the loss is a mean: all of them, padding included, or those whose word was hidden.
PLACES = ("all", "masked")


def hidden_words(follows_BT: Tensor, lengths_B: Tensor, draws_BT: Tensor, *, probability: float) -> Tensor:
    """Which places are hidden (B, T), bool: whole words, never the first and the last place of T.

    Args:
        follows_BT: whether a piece continues the word of the piece before it; whatever continues the first place is
            never hidden.
        lengths_B: pieces of each report.
        draws_BT: numbers in [0, 1); the words of a report take them one after the other.
        probability: of a word being hidden.

    Source: MRM, util/pretrain_datasets.py:36-55.
    """
    T = follows_BT.shape[1]
    places = torch.arange(T, device=follows_BT.device)
    open_BT = (places >= 1) & (places < T - 1) & (places < lengths_B[:, None])
    word_BT = (open_BT & ~follows_BT).long().cumsum(1) - 1
    drawn_BT = draws_BT.gather(1, word_BT.clamp(min=0))
    return open_BT & (word_BT >= 0) & (drawn_BT < probability)


def report_loss(logits_BTV: Tensor, ids_BT: Tensor, hidden_BT: Tensor, *, places: str) -> Tensor:
    """Cross-entropy of the report's pieces, in float32.

    Args:
        logits_BTV: any float.
        ids_BT: the whole report, padded with 0.
        hidden_BT: see `hidden_words`.
        places: "all": mean over all B * T places, padding, first and visible ones included (official code);
            "masked": mean over the hidden ones.

    Raises:
        ValueError: other places.

    Source: MRM, bert/bert.py:190, util/pretrain_datasets.py:96.
    """
    if places not in PLACES:
        raise ValueError(f"unknown places {places!r}; allowed: {', '.join(PLACES)}")
    losses_BT = F.cross_entropy(logits_BTV.float().transpose(1, 2), ids_BT, reduction="none")
    if places == "all":
        return losses_BT.mean()
    return distributed.mean_share((losses_BT * hidden_BT).sum(), hidden_BT.sum())


class MaskedReportModel(nn.Module):
    """BERT that restores hidden words, with one feature of the image added to every place after its embeddings.

    Args:
        vocabulary: pieces.
        max_tokens: places.
        width: of the hidden states.
        depth: layers.
        heads: attention heads.
        mlp_width: of the feed-forward part.
        dropout: BERT's, everywhere.

    Source: MRM, bert/bert.py:8-201, bert_encoder.py:52-70. The output map is not tied to the word embedding there.
    """

    def __init__(
        self, *, vocabulary: int, max_tokens: int, width: int, depth: int, heads: int, mlp_width: int, dropout: float
    ) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=mlp_width,
            max_position_embeddings=max_tokens,
            pad_token_id=0,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            attn_implementation="sdpa",  # which takes masks of truth values
        )
        self.width = width
        self.bert = BertModel(config, add_pooling_layer=False)
        self.transform = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(width, vocabulary)
        for linear in (self.transform, self.decoder):
            nn.init.normal_(linear.weight, std=config.initializer_range)
            nn.init.zeros_(linear.bias)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor, feature_BD: Tensor) -> Tensor:
        """Logits (B, T, vocabulary) of the piece at each place.

        Args:
            ids_BT: the report with hidden pieces.
            mask_BT: 1 where there is a piece; nobody looks at the other places.
            feature_BD: of the image, as wide as the hidden states.
        """
        hidden = self.bert.embeddings(input_ids=ids_BT) + feature_BD[:, None]
        seen = mask_BT.bool()[:, None, None, :]
        hidden = self.bert.encoder(hidden, attention_mask=seen).last_hidden_state
        logits: Tensor = self.decoder(self.norm(F.gelu(self.transform(hidden))))
        return logits
