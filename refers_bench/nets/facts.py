"""What an objective must know of the source dataset before its networks can be built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """Sizes that come from the data.

    Attributes:
        radiographs: of the training split.
        studies: of the training split.
        classes: names of the source's labels; empty when it has none.
        vocabulary: word pieces of the report tokenizer.
        continues: of each of those pieces, whether it continues a word; empty where that is not known.
        max_tokens: longest report, in tokens.
        text_vocabulary: word pieces of the text encoder's tokenizer.
        pieces: those word pieces, in the order of their ids; () where they are not known.
        bert_path: local folder of a pre-trained BERT, or None: a configuration trained from scratch.
    """

    radiographs: int = 0
    studies: int = 0
    classes: tuple[str, ...] = ()
    vocabulary: int = 0
    continues: tuple[bool, ...] = ()
    max_tokens: int = 0
    text_vocabulary: int = 0
    pieces: tuple[str, ...] = ()
    bert_path: str | None = None
