"""Divides one's own images into training, validation and test images: as they say, or drawn patient by patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from refers_bench.data.index import patient_part, patient_split

#: Split -> words for it, in small letters.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "tr"),
    "val": ("val", "valid", "validate", "validation", "dev", "development"),
    "test": ("test", "testing", "tst", "ts"),
}
_WORDS = {word: split for split, words in SPELLINGS.items() for word in words}
#: What is drawn where nothing else is asked for. Source: paper, Methods (7 : 1 : 2).
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
#: What may stand for a split, in words.
ALLOWED = "train, val or test"

Share = Annotated[float, Field(ge=0, lt=1)]


class Split(BaseModel, extra="forbid", frozen=True):
    """Where the splits come from."""

    column: str = Field(
        default="", description="column of a table with train, val or test; an empty cell leaves out; folders have none"
    )
    train: Share | None = Field(default=None, description="share of the patients that is drawn for training")
    val: Share | None = Field(
        default=None, description="share for validation; of the training patients where the splits are given"
    )
    test: Share | None = Field(default=None, description="share for testing")
    seed: int = Field(default=0, ge=0, description="of what is drawn")

    @model_validator(mode="after")
    def _whole(self) -> Split:
        shares = (self.train, self.val, self.test)
        if self.train is None and self.test is None:
            return self
        if self.column or None in shares or abs(sum(share or 0.0 for share in shares) - 1) > 1e-9:
            raise ValueError(
                "a column, or shares of train, val and test that sum to 1: {train: 0.7, val: 0.1, test: 0.2}"
            )
        return self

    @property
    def drawn(self) -> bool:
        """Whether all of it is drawn."""
        return self.train is not None


def _written(value: Any) -> Any:
    """The column that a text names, as a mapping."""
    return {"column": value} if isinstance(value, str) else value


Splits = Annotated[Split, BeforeValidator(_written, json_schema_input_type=str | Split)]


def split_of(word: str) -> str | None:
    """The split that a word stands for; None where it is no such word.

    Example:
        >>> split_of("Training"), split_of("VALID"), split_of("fold1")
        ('train', 'val', None)
    """
    return _WORDS.get(word.strip().lower())


def drawn(patients: pd.Series, split: Split, *, dataset: str) -> pd.Series:
    """Split of each image, drawn patient by patient: those of `split`, or `SHARES`.

    Args:
        patients: of each image.
        split: shares and seed.
        dataset: names the draw.
    """
    shares = {"train": split.train, "val": split.val, "test": split.test} if split.drawn else SHARES
    train, val = (float(shares[name] or 0.0) for name in ("train", "val"))
    return patient_split(patients, dataset=dataset, seed=split.seed, train=train, val=val)


def with_validation(splits: pd.Series, patients: pd.Series, split: Split, *, dataset: str) -> pd.Series:
    """Given splits, with a drawn share of the training patients as validation where one is asked for.

    Args:
        splits: of each image.
        patients: of each image.
        split: asks for it, as a share.
        dataset: names the draw.
    """
    if not split.val:
        return splits
    training = splits == "train"
    chosen = patient_part(patients[training], dataset=dataset, seed=split.seed, share=split.val)
    return splits.mask(training & chosen.reindex(splits.index, fill_value=False), "val")


def note(split: Split, *, given: bool) -> str:
    """What a table must say of how the splits were made; '' where they are as given.

    Args:
        split: see `Split`.
        given: whether the images have splits of their own.
    """
    if given:
        return (
            f"{split.val * 100:g} % of the training patients drawn for validation (seed {split.seed})"
            if split.val
            else ""
        )
    shares = {"train": split.train, "val": split.val, "test": split.test} if split.drawn else SHARES
    parts = "/".join(f"{(share or 0.0) * 100:g}" for share in shares.values())
    return f"split drawn by patient, {parts} (seed {split.seed}); folds do without it"
