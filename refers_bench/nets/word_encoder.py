"""Encodes a report as a feature and its words: word pieces of BERT, summed over the pieces of each word.

Source: GLoRIA, gloria/models/text_model.py:30-144; MGCA, mgca/models/backbones/encoder.py:281-394; ConVIRT's maximum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench.nets import text_encoder
from refers_bench.nets.facts import SourceFacts

#: What begins a piece that opens a word (byte-pair pieces), and one that continues a word (word pieces).
OPENS, CONTINUES = "\u2581", "##"
#: Special pieces, and what begins those of BERT, which GLoRIA does not count as words.
SPECIAL, BRACKET = re.compile(r"\[.+\]|<.+>"), "["
POOLINGS = ("max", "cls", "pooler")


@dataclass(frozen=True, kw_only=True)
class Words:
    """Words of a batch of texts, in order.

    Attributes:
        words_BWD: features; zero behind the last word.
        attention_BW: weight of each word, not normalised; zero behind the last word.
        present_BW: which places hold a word.
    """

    words_BWD: Tensor
    attention_BW: Tensor
    present_BW: Tensor


def opening(pieces: Sequence[str], count: int) -> tuple[Tensor, Tensor]:
    """Which pieces open a word, and which of those are words for GLoRIA: (V,) each, bool.

    Args:
        pieces: in the order of their ids; empty where they are not known: then every piece is a word.
        count: V, ids there are.
    """
    opens, counted = torch.ones(count, dtype=torch.bool), torch.ones(count, dtype=torch.bool)
    byte_pair = any(piece.startswith(OPENS) for piece in pieces)
    for number, piece in enumerate(pieces[:count]):
        special = SPECIAL.fullmatch(piece) is not None
        opens[number] = special or (piece.startswith(OPENS) if byte_pair else not piece.startswith(CONTINUES))
        # The source looks at a word's first letter alone, so that a bracket is no word.
        counted[number] = not special and (byte_pair or not piece.startswith(BRACKET))
    return opens, counted


def groups(opens_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Which place belongs to which word: (B, T, W) of 0 and 1 with W = T; padding belongs to none.

    Args:
        opens_BT: whether the piece of a place opens a word; the first one always does.
        mask_BT: 1 where there is a piece.
    """
    opens_BT = opens_BT.clone()
    opens_BT[:, 0] = True
    number_BT = opens_BT.long().cumsum(1) - 1
    places = torch.arange(opens_BT.shape[1], device=opens_BT.device)
    return (number_BT[..., None] == places) & mask_BT.bool()[..., None]


def summed(pieces_BTD: Tensor, groups_BTW: Tensor) -> Tensor:
    """Features of words: the sums of their pieces', in float32, (B, W, D)."""
    with torch.autocast(pieces_BTD.device.type, enabled=False):
        return groups_BTW.float().transpose(1, 2) @ pieces_BTD.float()


def word_counts(opens_BT: Tensor, counted_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """How many words GLoRIA compares with regions, from the first place on: 1 and those that are not special, (B,).

    [CLS] is one of them and [SEP] is not; each [UNK] takes away one word at the end.

    Source: gloria/models/gloria_model.py:53-55.
    """
    return 1 + (opens_BT & counted_BT & mask_BT.bool()).sum(1)


def attended_words(
    pieces_BTD: Tensor,
    attention_BT: Tensor,
    opens_BT: Tensor,
    mask_BT: Tensor,
    *,
    shifted: bool = False,
    places: int = 0,
) -> Words:
    """All words of texts, [CLS] first, each with the attention that its pieces get.

    Args:
        pieces_BTD: last hidden states.
        attention_BT: of [CLS] to each place, mean over heads.
        opens_BT: whether the piece of a place opens a word.
        mask_BT: 1 where there is a piece.
        shifted: as the released code has it: a place has the attention to the next one, and a text that fills all
            `places` loses its last piece and the word that is open there.
        places: longest text; 0 for T.

    Source: mgca/models/backbones/encoder.py:281-394; `shifted` is case 12 of the recorded functions.
    """
    mask_BT = mask_BT.bool()
    groups_BTW = groups(opens_BT, mask_BT)
    if shifted:
        attention_BT = torch.cat([attention_BT[:, 1:], torch.zeros_like(attention_BT[:, :1])], 1)
        groups_BTW = groups_BTW & ~_lost(groups_BTW, mask_BT, places or mask_BT.shape[1])[:, None]
    return Words(
        words_BWD=summed(pieces_BTD, groups_BTW),
        attention_BW=summed(attention_BT[..., None], groups_BTW)[..., 0],
        present_BW=groups_BTW.any(1),
    )


def _lost(groups_BTW: Tensor, mask_BT: Tensor, places: int) -> Tensor:
    """Words that the released code loses, (B, W): those at the last two of all `places`, where a text fills them."""
    if mask_BT.shape[1] < places:
        return torch.zeros_like(groups_BTW[:, 0])
    return groups_BTW[:, places - 2 :].any(1) & mask_BT[:, -1:]


class WordEncoder(nn.Module):
    """BERT with the word boundaries of its vocabulary.

    Args:
        bert: a transformers ``BertModel``.
        pieces: of its vocabulary, in the order of ids, or ().
        pooling: of `pooled`: "max" over all outputs, "cls" (the first output) or "pooler" (BERT's pooled output).
        frozen_layers: the first so many layers, and the embeddings, keep their weights.
    """

    opens: Tensor
    counted: Tensor

    def __init__(
        self, bert: nn.Module, *, pieces: Sequence[str] = (), pooling: str = "cls", frozen_layers: int = 0
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"unknown pooling {pooling!r}; allowed: {', '.join(POOLINGS)}")
        self.bert, self.pooling = bert, pooling
        self.width = int(bert.config.hidden_size)  # type: ignore[union-attr,arg-type]
        opens, counted = opening(pieces, int(bert.config.vocab_size))  # type: ignore[union-attr,arg-type]
        self.register_buffer("opens", opens, persistent=False)
        self.register_buffer("counted", counted, persistent=False)
        if frozen_layers:
            bert.embeddings.requires_grad_(False)
            for layer in bert.encoder.layer[:frozen_layers]:  # type: ignore[union-attr,index]
                layer.requires_grad_(False)

    @classmethod
    def build(
        cls,
        settings: Mapping[str, Any],
        facts: SourceFacts,
        *,
        layers: int = 0,
        pooling: str = "cls",
        frozen_layers: int = 0,
        **model: Any,
    ) -> WordEncoder:
        """Of a protocol's text encoder.

        Args:
            settings: see `refers_bench.nets.text_encoder.bert`, as the next and `model`.
            facts: vocabulary, its pieces, and the folder of a given BERT.
            layers: the first so many are kept; 0 for all.
            pooling: see `WordEncoder`.
            frozen_layers: see `WordEncoder`; a BERT that starts at random is trained whole.
            **model: further arguments of transformers' ``BertModel``.

        Raises:
            UserError: that folder holds no BERT.
        """
        sizes: dict[str, Any] = {
            "vocabulary": facts.text_vocabulary,
            "max_tokens": facts.max_tokens,
            "path": facts.bert_path,
        }
        given = text_encoder.bert(settings, **sizes, layers=layers, add_pooling_layer=pooling == "pooler", **model)
        frozen = frozen_layers if facts.bert_path else 0
        return cls(given, pieces=facts.pieces, pooling=pooling, frozen_layers=frozen)

    def _read(self, ids_BT: Tensor, mask_BT: Tensor, **wanted: bool) -> Any:
        """What BERT gives for texts."""
        return self.bert(input_ids=ids_BT, attention_mask=text_encoder.seen(mask_BT, self.bert), **wanted)

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Token ids and their 0/1 mask -> a feature of each text, (B, width)."""
        found = self._read(ids_BT, mask_BT)
        if self.pooling == "pooler":
            pooled: Tensor = found.pooler_output
            return pooled
        hidden: Tensor = found.last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        return hidden.masked_fill(~mask_BT.bool()[..., None], torch.finfo(hidden.dtype).min).amax(1)

    def summed_layers(self, ids_BT: Tensor, mask_BT: Tensor, *, layers: int) -> tuple[Tensor, Tensor, Tensor]:
        """Words as sums over the last layers, their mean over all places, and the numbers of words that count.

        Returns:
            (B, W, D), (B, D), (B,).

        Source: gloria/models/text_model.py:97-144.
        """
        states = self._read(ids_BT, mask_BT, output_hidden_states=True).hidden_states
        return self.words_of(torch.stack(states), ids_BT, mask_BT, layers=layers)

    def words_of(
        self, states_LBTD: Tensor, ids_BT: Tensor, mask_BT: Tensor, *, layers: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What `summed_layers` makes of hidden states."""
        opens_BT, counted_BT = self.opens[ids_BT], self.counted[ids_BT]
        words_BWD = summed(states_LBTD[-layers:].float().sum(0), groups(opens_BT, mask_BT))
        return words_BWD, words_BWD.mean(1), word_counts(opens_BT, counted_BT, mask_BT)

    def attended(self, ids_BT: Tensor, mask_BT: Tensor, *, shifted: bool, places: int) -> Words:
        """Words of the last layer, [CLS] first, with the attention that [CLS] pays them; see `attended_words`.

        Needs a BERT that gives its attention (``attn_implementation="eager"``).
        """
        found = self._read(ids_BT, mask_BT, output_attentions=True)
        attention_BT = found.attentions[-1].mean(1)[:, 0].detach()
        given = (found.last_hidden_state, attention_BT, self.opens[ids_BT], mask_BT)
        return attended_words(*given, shifted=shifted, places=places)
