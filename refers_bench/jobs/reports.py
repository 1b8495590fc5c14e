"""Builds or opens the tokenizers that turn the reports of a pre-training into numbers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.data.text import RULES, ReportTokenizer, clean
from refers_bench.errors import StorageError
from refers_bench.files import making, publish_bytes
from refers_bench.store.context import JobContext


@dataclass(frozen=True)
class BertTokenizer:
    """The word-piece tokenizer that belongs to a local BERT folder, cased as it was trained."""

    tokenizer: Any

    @classmethod
    def open(cls, folder: Path) -> BertTokenizer:
        """From the files beside the weights; nothing is fetched."""
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(str(folder), local_files_only=True))

    @property
    def vocabulary(self) -> int:
        """Number of pieces."""
        return len(self.tokenizer)

    def pieces(self) -> tuple[str, ...]:
        """All pieces in the order of their ids; one that continues a word begins with "##"."""
        return tuple(self.tokenizer.convert_ids_to_tokens(list(range(self.vocabulary))))

    def encode(self, text: str, *, max_tokens: int) -> list[int]:
        """[CLS] ids [SEP], cut to `max_tokens`; [SEP] is kept."""
        ids: list[int] = self.tokenizer(clean(text), truncation=True, max_length=max_tokens)["input_ids"]
        return ids


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """Tokenizers of a source's reports.

    Attributes:
        reports: of the report transformer, built from the training reports.
        text: of the text encoder: its own with a local BERT, else the same.
        bert_path: folder of the local BERT, or None.
    """

    reports: ReportTokenizer
    text: ReportTokenizer | BertTokenizer
    bert_path: str | None


def report_tokenizer(reports: Iterable[str], *, vocabulary: int, cache: Path) -> ReportTokenizer:
    """The tokenizer of these reports: built once, then read from ``tokenizers`` below the cache.

    Args:
        reports: texts; their order does not matter.
        vocabulary: pieces at most, special ones included.
        cache: the user's cache folder; where it cannot be written, the tokenizer is built again each time.
    """
    texts = sorted(clean(report) for report in reports)
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    name = identity.key({"texts": digest, "vocabulary": vocabulary, "rules": RULES})
    path = cache / "tokenizers" / f"{name}.json"
    if not path.is_file():
        # Jobs that start together, or the processes of one, wait for the first.
        with contextlib.suppress(StorageError, OSError), making(path):
            if not path.is_file():
                publish_bytes(path, ReportTokenizer.train(texts, vocabulary=vocabulary).to_json().encode())
    if not path.is_file():
        return ReportTokenizer.train(texts, vocabulary=vocabulary)
    return ReportTokenizer.from_json(path.read_text(encoding="utf-8"))


def tokenizers(reports: Iterable[str], pretrain: Mapping[str, Any], context: JobContext) -> Tokenizers:
    """Build or open what a protocol's `pretrain` section asks for.

    Args:
        reports: texts of the training split only.
        pretrain: vocabulary, and text_encoder.path_name ('' or the data root of a local BERT).
        context: holds the data roots.

    Raises:
        UserError: the BERT's data root is not set.
    """
    own = report_tokenizer(reports, vocabulary=pretrain["vocabulary"], cache=context.cache)
    name = pretrain["text_encoder"]["path_name"]
    if not name:
        return Tokenizers(reports=own, text=own, bert_path=None)
    folder = context.data_root(name)
    return Tokenizers(reports=own, text=BertTokenizer.open(folder), bert_path=str(folder))
