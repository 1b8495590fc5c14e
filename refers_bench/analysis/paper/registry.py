"""Reads the figures that others published on the same targets or neighbouring ones.

Source: papers, pictures of their tables and read-me files, each named in its row; ``results/published/README.md`` says
what was corrected in the transcription.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from refers_bench.errors import DataError, Problem
from refers_bench.evaluations import NOT_CHOSEN, TEST, UNKNOWN, VAL

FILE = "others.csv"
FINE_TUNE, LINEAR_PROBE = "fine-tune", "linear probe"
#: Metric as printed -> whether it is an AUC that is averaged over all classes of the target.
METRICS: Mapping[str, bool] = {
    "mean AUROC": True,
    "mAUC": True,
    "AUROC": True,
    "mean AUROC (5 classes)": False,
    "F1": False,
    "accuracy": False,
    "mean accuracy": False,
}
TARGETS = (
    *("nih", "vindr", "shenzhen+montgomery", "kermany-pneumonia", "chexpert", "padchest", "rsna", "siim"),
    *("covidx", "covidx-cxr3", "covidx-cxr4"),
)
SPLITS = (
    *("nih-mrm", "nih-official", "vindr-benchx", "rsna-mrm", "rsna-benchx", "siim-benchx", "covidx-cxr3-evax"),
    *("covidx-cxr4-benchx", "chexpert-mrm-ids", "chexpert-official-ids/valid", UNKNOWN),
)
#: How a cell of the column begins -> what it means; the rest of the cell says more.
PROTOCOLS = {FINE_TUNE: FINE_TUNE, LINEAR_PROBE: LINEAR_PROBE, "reprinted": UNKNOWN, "not in REFERS paper": UNKNOWN}
SELECTION = {
    VAL: VAL,
    TEST: TEST,
    "test/val": TEST,
    NOT_CHOSEN: NOT_CHOSEN,
    UNKNOWN: UNKNOWN,
    "the reported set itself": TEST,
}
#: Kind of spread -> how many numbers it has.
SPREADS = {"none": 0, "sd of seeds": 1, "sd (unit unclear)": 1, "95% CI over test images": 2}
#: Head of a fine-tuning as its protocol's particulars name it: one linear map and nothing else, or what was added.
PLAIN = "plain head"
_HEAD = re.compile(rf", ({PLAIN}|(?:\+\w+)+)$")
#: A field of a line, quoted or not.
_FIELD = re.compile(r'(?:"(?:[^"]|"")*"|[^,]*)(?:,|$)')


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One figure that others published.

    Attributes:
        method: as its source names it.
        target: one of `TARGETS`.
        ratio: share of the training labels, in (0, 1]; None where it is unstated or a number of images.
        labels: the same as printed ("1%", "4-shot", "unstated").
        metric: one of `METRICS`.
        value: in per cent.
        spread: the standard deviation, or both ends of the interval, in per cent; () for none.
        spread_kind: one of `SPREADS`.
        n_seeds: None where unstated.
        protocol: `FINE_TUNE`, `LINEAR_PROBE` or `UNKNOWN`.
        how: the protocol with its particulars ("fine-tune, ten crops").
        head: of them, the recipe of the head as printed: `PLAIN`, or what was added to it ("+DLR+LN"); '' where the
            figure's source does not say.
        split: one of `SPLITS`: the lists of images.
        selection: which images the figure's epoch or settings were chosen on: `VAL`, `TEST`, `UNKNOWN`, or `NOT_CHOSEN`
            where nothing was to be chosen.
        selected: the same with its particulars.
        backbone: the network; '' where unknown.
        pretraining: data of the pre-training; '' where unknown.
        source: who published it.
        table: where in the source.
        address: where the source was read.
        first_hand: whether the source measured it, rather than another one that it quotes.
        note: a remark; '' for none.
    """

    method: str
    target: str
    ratio: float | None
    labels: str
    metric: str
    value: float
    spread: tuple[float, ...]
    spread_kind: str
    n_seeds: int | None
    protocol: str
    how: str
    head: str
    split: str
    selection: str
    selected: str
    backbone: str
    pretraining: str
    source: str
    table: str
    address: str
    first_hand: bool
    note: str


class _Column(NamedTuple):
    """How a column is read: a function that raises ValueError at anything else than what is allowed."""

    read: Callable[[str], Any]
    allowed: str


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text


def _one_of(known: Mapping[str, Any] | tuple[str, ...]) -> _Column:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError
        return text

    return _Column(read, ", ".join(known))


def _begins(known: Mapping[str, Any]) -> _Column:
    """Cells that begin with a known word, which may be followed by particulars."""

    def read(text: str) -> Any:
        found = [name for name in known if re.match(rf"{re.escape(name)}($|[ ,])", text)]
        if not found:
            raise ValueError
        return known[found[0]]

    return _Column(read, ", ".join(known) + "; particulars may follow a blank or a comma")


def _percent(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text) or not 0 <= float(text) <= 100:
        raise ValueError
    return float(text)


def _ratio(text: str) -> float | None:
    if text == "unstated" or re.fullmatch(r"[1-9]\d*-shot", text):
        return None
    if not text.endswith("%") or not (share := _percent(text[:-1])):
        raise ValueError
    return round(share / 100, 6)


def _spread(text: str) -> tuple[float, ...]:
    return tuple(map(_percent, text.split("-"))) if text else ()


def _count(text: str) -> int | None:
    if text and not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError
    return int(text) if text else None


_TEXT, _ANY = _Column(_text, "a text"), _Column(str, "")
#: Column of the file -> how it is read.
COLUMNS: Mapping[str, _Column] = {
    "method": _TEXT,
    "target": _one_of(TARGETS),
    "label_ratio": _Column(_ratio, "a percentage above 0 up to 100 ('10%'), a number of images ('4-shot'), unstated"),
    "metric": _one_of(METRICS),
    "value_percent": _Column(_percent, "a number from 0 to 100"),
    "spread": _Column(_spread, "nothing, a number, or two of them ('80.6-84.2')"),
    "spread_kind": _one_of(SPREADS),
    "n_seeds": _Column(_count, "nothing, or a whole number above 0"),
    "protocol": _begins(PROTOCOLS),
    "split_id": _begins({name: name for name in SPLITS}),
    "selection_set": _begins(SELECTION),
    "backbone": _ANY,
    "pretraining_data": _ANY,
    "source": _TEXT,
    "table": _TEXT,
    "address": _TEXT,
    "first_hand": _begins({"yes": True, "second-hand": False}),
    "note": _ANY,
}


def read(text: str, *, path: Path | str = FILE) -> tuple[Entry, ...]:
    """The figures of a file, in its order.

    Args:
        text: of the file: a head, then one figure a line.
        path: for errors.

    Raises:
        DataError: another head, or lines that are malformed or hold unknown values: all of them, with line and column.
    """
    head, *lines = text.splitlines() or [""]
    if head.split(",") != list(COLUMNS):
        raise DataError(f"other columns: {head}", allowed=",".join(COLUMNS), path=path, line=1, column=1)
    problems: list[Problem] = []
    entries = []
    for number, line in enumerate(lines, start=2):
        found = list(_problems(line, path, number))
        problems += found
        if not found:
            entries.append(_entry(dict(zip(COLUMNS, next(csv.reader([line])), strict=True))))
    if problems:
        raise DataError(problems)
    return tuple(entries)


def _problems(line: str, path: Path | str, number: int) -> Iterator[Problem]:
    """What is wrong with a line."""
    starts = [match.start() + 1 for match in _FIELD.finditer(line)]
    cells = next(csv.reader([line]), [])
    if len(cells) != len(COLUMNS):
        at = starts[len(COLUMNS)] if len(cells) > len(COLUMNS) < len(starts) else len(line) + 1
        allowed = f"{len(COLUMNS)}; a text with a comma stands in quotes"
        yield Problem(found=f"{len(cells)} fields", allowed=allowed, path=path, line=number, column=at)
        return
    wrong = False
    for (name, column), cell, start in zip(COLUMNS.items(), cells, starts, strict=False):
        try:
            column.read(cell)
        except ValueError:
            wrong = True
            yield Problem(found=f"{name} '{cell}'", allowed=column.allowed, path=path, line=number, column=start)
    if wrong:
        return
    row = dict(zip(COLUMNS, cells, strict=True))
    ends, kind, at = _spread(row["spread"]), row["spread_kind"], starts[list(COLUMNS).index("spread")]
    inside = len(ends) != 2 or ends[0] <= float(row["value_percent"]) <= ends[1]
    if len(ends) != SPREADS[kind] or not inside:
        allowed = f"as many numbers as '{kind}' has ({SPREADS[kind]}), an interval around the value"
        yield Problem(found=f"spread '{row['spread']}'", allowed=allowed, path=path, line=number, column=at)


def _entry(row: Mapping[str, str]) -> Entry:
    values = {name: column.read(row[name]) for name, column in COLUMNS.items()}
    renamed = {
        "ratio": values.pop("label_ratio"),
        "value": values.pop("value_percent"),
        "split": values.pop("split_id"),
        "selection": values.pop("selection_set"),
        "pretraining": values.pop("pretraining_data"),
    }
    head = _HEAD.search(row["protocol"])
    as_printed: dict[str, Any] = {
        "labels": row["label_ratio"],
        "how": row["protocol"],
        "head": head[1] if head else "",
        "selected": row["selection_set"],
    }
    return Entry(**values, **renamed, **as_printed)


@cache
def entries() -> tuple[Entry, ...]:
    """All figures that others published, in the order of the packaged file."""
    file = resources.files("refers_bench.analysis.paper").joinpath(FILE)
    return read(file.read_text(encoding="utf-8"), path=FILE)
