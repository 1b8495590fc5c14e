"""Knows the published lists of images: their digests and defects. The lists themselves lie in a data root."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, WrapValidator, model_validator

from refers_bench.errors import nearest

#: Data root that holds the folders of all packs.
ROOT = "split_packs"
#: Folder and file, below that root, that say which NIH image an RSNA image is; SHA-256 of the uncompressed bytes.
RSNA_TO_NIH = "rsna-nih-map/rsna_to_nih.csv"
RSNA_TO_NIH_SHA256 = "df9282d72fecadf6474d73e27200817d6c65a5a5f2ff16352ff0fb4621e8c2c0"
#: Share of the test patients (of the test images, where patients are not known) above which a list is said to leak.
LEAKS_ABOVE = 0.05
#: Begins what is said of test images that are in training.
LEAK, SHARED = "LEAKS", "shared with training"


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Test images, or patients, that are in training; of lists without such ones, validation images.

    Attributes:
        shared: how many.
        of: all of them.
        words: what they are and where they are, in words.
    """

    shared: int
    of: int
    words: str

    @property
    def leaks(self) -> bool:
        """Whether they are more than `LEAKS_ABOVE` of all."""
        return self.shared > LEAKS_ABOVE * self.of

    def __str__(self) -> str:
        share = f"{100 * self.shared / self.of:.1f} %"
        return f"{LEAK if self.leaks else SHARED}: {self.shared:,} of {self.of:,} {self.words} ({share})"


@dataclass(frozen=True, kw_only=True)
class PackList:
    """One list of a pack.

    Attributes:
        file: its name in the pack's folder; it may be gzipped.
        images: different names in it.
        sha256: of its uncompressed bytes.
    """

    file: str
    images: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class KnownPack:
    """Lists that somebody published together.

    Attributes:
        name: of the pack, and of its folder below the data root.
        names: how its images are named, see `refers_bench.data.audit.naming`.
        source: repository and commit.
        licence: of that repository; the dataset's own terms hold for names and labels.
        lists: "train", "val", "test", "train_1" or "train_10" -> its file.
        rest: list that was not published -> "pack/list" of the lists of which it is the rest; () where it is the rest
            of the dataset's own training images.
        leaks: test images in training; of lists without any, validation images.
        notes: what a reader of figures on it must know.
        repairs: line -> how it is read.
    """

    name: str
    names: str
    source: str
    licence: str
    lists: Mapping[str, PackList]
    rest: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leaks: tuple[Leak, ...] = ()
    notes: tuple[str, ...] = ()
    repairs: Mapping[str, str] = field(default_factory=dict)

    @property
    def subsets(self) -> tuple[str, ...]:
        """Names of its label subsets."""
        return tuple(name for name in self.lists if name.startswith("train_"))


@cache
def known() -> dict[str, KnownPack]:
    """Name -> pack.

    Source: digests of the files as their authors published them; `packs.toml` names repositories and commits.
    """
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: _known(name, values) for name, values in content.items()}


def _known(name: str, values: Mapping[str, Any]) -> KnownPack:
    lists = {one: PackList(file=file, images=images, sha256=sha256) for one, file, images, sha256 in values["files"]}
    return KnownPack(
        name=name,
        lists=lists,
        rest={one: tuple(others) for one, others in values.get("rest", {}).items()},
        leaks=tuple(Leak(shared=shared, of=of, words=words) for shared, of, words in values.get("leaks", ())),
        notes=tuple(values.get("notes", ())),
        repairs=values.get("repairs", {}),
        **{one: values[one] for one in ("names", "source", "licence")},
    )


class Pack(BaseModel, extra="forbid", frozen=True):
    """Published lists by name: ``lists: {pack: nih-mrm}``; their folder is below the data root `split_packs`."""

    pack: str = Field(description="name of published lists")
    accept: tuple[Literal["test_in_training"], ...] = Field(
        default=(),
        description="test_in_training: read lists whose test or validation images, or their patients, are in training, "
        "and say so in tables",
    )

    @model_validator(mode="after")
    def _usable(self) -> Pack:
        if self.pack not in known():
            close = nearest(self.pack, known())
            raise ValueError(f"packs: {', '.join(known())}" + (f"; did you mean '{close}'?" if close else ""))
        if "test_in_training" not in self.accept and self.known.leaks:
            said = "; ".join(map(str, self.known.leaks))
            raise ValueError(f"other lists: {self.pack} {said}; or 'accept: [test_in_training]' beside 'pack'")
        return self

    @property
    def known(self) -> KnownPack:
        """What is known of it."""
        return known()[self.pack]

    @property
    def lacks_validation(self) -> bool:
        """Whether it names no validation images."""
        return "val" not in self.known.lists


def _lists(value: Any, _: Any) -> Any:
    """A data root or a pack: each kind by itself, so that an error is about the kind that was given."""
    if isinstance(value, Mapping):
        return Pack.model_validate(value)
    if not isinstance(value, str | Pack):
        raise ValueError("a data root, or published lists by name: {pack: NAME}")
    return value


def _named(value: Any, _: Any) -> Any:
    """A pack, or '' for none."""
    if isinstance(value, str) and value:
        raise ValueError("published lists by name: {pack: NAME}")
    return _lists(value, _)


#: What a reader's parameter `lists` may be: a data root with lists, '' for none, or published lists by name.
Lists = Annotated[str | Pack, WrapValidator(_lists, json_schema_input_type=str | Pack)]
#: The same of a reader that takes published lists alone.
Named = Annotated[str | Pack, WrapValidator(_named, json_schema_input_type=str | Pack)]
#: What a dataset's card says of the further data roots of a reader: one, or several.
Given = str | Pack | tuple[str | Pack, ...]


def fitting(lists: str | Pack, *namings: str, whose: str = "of this dataset") -> None:
    """Refuse the lists of another collection.

    Args:
        lists: a reader's parameter.
        namings: of the packs that it can read.
        whose: what those packs have in common, in words.

    Raises:
        ValueError: with the packs that fit.
    """
    if isinstance(lists, Pack) and lists.known.names not in namings:
        fit = [name for name, one in known().items() if one.names in namings]
        raise ValueError(f"a pack {whose}: {', '.join(fit)}")


def each(given: Given) -> tuple[str | Pack, ...]:
    """One by one what a card says of further data roots, without ''."""
    return tuple(one for one in (given if isinstance(given, tuple) else (given,)) if one)


def roots_of(given: Given) -> tuple[str, ...]:
    """The data roots that lists lie in, each once; () for none."""
    return tuple(dict.fromkeys(one if isinstance(one, str) else ROOT for one in each(given)))


def accepted(lists: str | Pack) -> bool:
    """Whether lists may put a patient into two splits: `finished_index` is told by this argument, `spread`."""
    return isinstance(lists, Pack) and "test_in_training" in lists.accept


def released(values: Any) -> Any:
    """A reader's parameters as they are given, with ``split: released`` where they name lists and no split."""
    if isinstance(values, Mapping) and values.get("lists") and "split" not in values:
        return {**values, "split": "released"}
    return values


def expected(lists: str | Pack) -> dict[str, int]:
    """Images of each list of a pack, as a dataset's card documents counts; {} without a pack, and unvalidated."""
    given = lists.known.lists if isinstance(lists, Pack) else {}
    return {f"listed {name} images": one.images for name, one in given.items() if name in ("train", "val", "test")}


def leaks(given: Given) -> tuple[str, ...]:
    """What every table must say of known test images in training; () without any."""
    packs = [one for one in each(given) if isinstance(one, Pack)]
    return tuple(f"lists {pack.pack}: {leak}" for pack in packs for leak in pack.known.leaks)


def notes(lists: str | Pack, *, validates: float | None = None) -> tuple[str, ...]:
    """What a table must say of figures on these lists, besides `leaks`.

    Args:
        lists: a reader's parameter.
        validates: share of the training patients that the reader takes where the lists name no validation images.
    """
    if not isinstance(lists, Pack):
        return ()
    said = lists.known.notes
    if validates is not None and lists.lacks_validation:
        said = (*said, f"{100 * validates:g} % of its training images, or patients, drawn by seed, validate")
    return tuple(f"lists {lists.pack}: {one}" for one in said)
