"""Turns report text into tokens, and swaps left and right for flipped radiographs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

#: Ids fixed by the released code: 0 is unknown and padding.
SPECIAL = ("<unk>", "[SOS]", "[EOS]", "[MASK]")
PAD, SOS, EOS = range(3)
#: How sides are swapped with a flip; see `swap_sides`.
READINGS = ("paper", "official_code")
#: Version of the tokenization: raised when the same reports give other tokens.
RULES = 1
#: What stands for a blank, at the beginning of a piece.
_BLANK = "\N{LOWER ONE EIGHTH BLOCK}"
_WORD = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_SWAP = {"left": "right", "right": "left"}


def clean(text: str) -> str:
    """Collapse white space and strip the ends."""
    return " ".join(text.split())


def swap_sides(text: str, *, reading: str) -> str:
    """The text of a horizontally flipped radiograph.

    Args:
        text: report.
        reading: "paper": whole words, any case, the case is kept; "official_code": case-sensitive substrings, so that
            "upright" becomes "upleft" and "Left" stays (data/transforms.py:155-161).

    Raises:
        ValueError: another reading.

    Example:
        >>> swap_sides("Left apex, upright", reading="paper")
        'Right apex, upright'
        >>> swap_sides("Left apex, upright", reading="official_code")
        'Left apex, upleft'
    """
    if reading == "official_code":
        return text.replace("left", "\0").replace("right", "left").replace("\0", "right")
    if reading != "paper":
        raise ValueError(f"unknown reading {reading!r}; allowed: {', '.join(READINGS)}")

    def other(match: re.Match[str]) -> str:
        word = match[0]
        swapped = _SWAP[word.lower()]
        return swapped.upper() if word.isupper() else swapped.capitalize() if word[0].isupper() else swapped

    return _WORD.sub(other, text)


@dataclass(frozen=True)
class ReportTokenizer:
    """Byte-pair tokenizer of reports: lower case, NFKD, accents stripped (data/transforms.py:90-126)."""

    tokenizer: Tokenizer

    @classmethod
    def train(cls, reports: Iterable[str], *, vocabulary: int) -> ReportTokenizer:
        """Build the tokenizer from training reports; the same reports give the same tokenizer.

        Args:
            reports: the training split's texts.
            vocabulary: pieces at most, special ones included.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
        steps = [normalizers.Lowercase(), normalizers.NFKD(), normalizers.StripAccents()]
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False)
        tokenizer.train_from_iterator(sorted(clean(report) for report in reports), trainer)
        return cls(tokenizer)

    @classmethod
    def from_json(cls, text: str) -> ReportTokenizer:
        """The tokenizer of `to_json`."""
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        """The whole tokenizer as text."""
        return str(self.tokenizer.to_str())

    @property
    def vocabulary(self) -> int:
        """Number of pieces."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def continues(self) -> tuple[bool, ...]:
        """Of each piece, whether it continues the word before it: it is no special one and begins with no blank."""
        pieces = (self.tokenizer.id_to_token(number) or "" for number in range(self.vocabulary))
        return tuple(piece not in SPECIAL and not piece.startswith(_BLANK) for piece in pieces)

    def pieces(self) -> tuple[str, ...]:
        """All pieces in the order of their ids; one that opens a word begins with "▁" (U+2581)."""
        return tuple(str(self.tokenizer.id_to_token(number)) for number in range(self.vocabulary))

    def encode(self, text: str, *, max_tokens: int) -> list[int]:
        """[SOS] ids [EOS], cut to `max_tokens`: a report that is too long loses [EOS], as in the released code."""
        return [SOS, *self.tokenizer.encode(clean(text)).ids, EOS][:max_tokens]
