"""Defines a table, whatever its format: what people see, and the numbers behind it."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

#: Mark of a P-value below 0.05; footnotes without a fixed mark get letters.
DAGGER = "†"
#: What is shown where there is no figure.
NO_VALUE = "\N{EN DASH}"

#: What a part of a page is about, for filters: ("dataset", name), ("labels", "10 %"), ("method", title).
Keys = tuple[tuple[str, str], ...]
#: Filters of a page, in order, with their titles.
FACETS = {"dataset": "Dataset", "labels": "Labels", "method": "Method"}

#: Signs of an id.
_ID = frozenset(string.ascii_letters + string.digits + "-_")
#: What a cell holds; also its CSS class.
KINDS = ("value", "missing", "failed", "unavailable", "text", "published", "p")


@dataclass(frozen=True, kw_only=True)
class Note:
    """A footnote.

    Attributes:
        text: one sentence.
        mark: its mark, when it has a fixed one.
        more: further statements, which a page may fold away.
    """

    text: str
    mark: str = ""
    more: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """All of it, for formats that fold nothing away."""
        return " ".join((self.text, *self.more))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One table cell: what is shown, and for CSV and JSON the numbers themselves, unrounded.

    A report that shows a number in a `text` of its own gives the number as well, in the same unit: CSV and JSON take
    `value`, `low`, `high`, `n`, `df` and `unadjusted`, and of such a cell no text but `word`.

    Attributes:
        text: what is shown; by default `value` with its `decimals`, or a dash.
        value: a figure, in the unit of the table (AUC: per cent); NaN is not allowed.
        sd: its standard deviation over seeds.
        low: lower end of its interval, or of what is allowed; None for none.
        high: upper end.
        n: what the figure was computed from: the number of seeds or images; of each group, where there are several.
        df: degrees of freedom.
        unadjusted: the P-value before the correction for several tests, where `value` is the corrected one.
        test: name of the test or of the way in which the interval was made.
        word: what the text says besides the numbers: a verdict ("holds"), a unit ("seconds").
        decimals: digits after the point of `value` and `sd`.
        signed: whether a positive `value` is shown with its sign.
        ranged: whether `low` and `high` stand below the figure, in small type (HTML only: elsewhere there is no room).
        best: shown in bold.
        kind: one of `KINDS`.
        tag: what must be seen beside the figure: "n=2/3", "13/14 classes"; '' for nothing.
        notes: footnotes of this cell.
        link: id of the provenance block this cell leads to; '' for none.
        title: short explanation shown when a pointer rests on it (HTML only).
    """

    text: str = NO_VALUE
    value: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    n: tuple[int, ...] = ()
    df: float | None = None
    unadjusted: float | None = None
    test: str = ""
    word: str = ""
    decimals: int = 1
    signed: bool = False
    ranged: bool = False
    best: bool = False
    kind: str = "value"
    tag: str = ""
    notes: tuple[Note, ...] = ()
    link: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of cell '{self.kind}'; known: {', '.join(KINDS)}")
        if not all(map(math.isfinite, self.numbers)):
            raise ValueError("a cell holds no NaN and no infinity: give it a text and a note instead")

    @property
    def figure(self) -> str:
        """What is shown, without the spread: the text, or the figure ("76.7")."""
        if self.value is None or self.text != NO_VALUE:
            return self.text
        return f"{self.value:{'+' if self.signed else ''}.{self.decimals}f}"

    @property
    def numbers(self) -> tuple[float, ...]:
        """All numbers of the cell that stand for its text."""
        numbers = (self.value, self.sd, self.low, self.high, *self.n, self.df, self.unadjusted)
        return tuple(float(number) for number in numbers if number is not None)

    @property
    def words(self) -> str:
        """The text for programs: no numbers that stand in fields of their own, and no dash for what is not there."""
        return self.word if self.numbers else "" if self.text == NO_VALUE else self.text

    @property
    def spread(self) -> str:
        """The standard deviation ("0.3"), '' where there is none."""
        return "" if self.value is None or self.sd is None else f"{self.sd:.{self.decimals}f}"

    @property
    def ends(self) -> str:
        """The interval, where it stands below the figure ("71.2 to 80.3"); else ''."""
        if not self.ranged or self.low is None or self.high is None:
            return ""
        return f"{self.low:.{self.decimals}f} to {self.high:.{self.decimals}f}"


#: A cell without a figure; the reason stands elsewhere.
MISSING = Cell(kind="missing")


def words(*texts: str) -> tuple[Cell, ...]:
    """Cells that hold a text and no number."""
    return tuple(Cell(text=text, kind="text") for text in texts)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's title, what stands under it, the group of columns it belongs to, and what it is about."""

    title: str
    subtitle: str = ""
    group: str = ""
    notes: tuple[Note, ...] = ()
    keys: Keys = ()


def columns(*titles: str, group: str = "") -> tuple[Column, ...]:
    """Columns that have titles alone."""
    return tuple(Column(title=title, group=group) for title in titles)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row: its title, its cells, the block it stands in ("ours", "published", "released", "test"), its subject."""

    title: str
    cells: tuple[Cell, ...]
    block: str = "ours"
    notes: tuple[Note, ...] = ()
    keys: Keys = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table.

    Attributes:
        id: file name stem and anchor; letters, digits, '-' and '_' only.
        caption: says what the figures are; names synthetic data.
        stub: title of the column of row titles.
        columns: as many as every row has cells.
        rows: in order; a rule is drawn where the block changes.
        notes: remarks on the whole table, shown after the footnotes.
        numeric: whether cells are figures (aligned right or centred) rather than prose.
        view: "mean" or "class" where a page may show either; '' where it always shows.
        part: the part of the page that it stands in, one of `refers_bench.plugins.REPORT_PARTS`.
        keys: what it is about; see `Keys`.
    """

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stub: str = ""
    notes: tuple[str, ...] = ()
    numeric: bool = True
    view: str = ""
    part: str = "results"
    keys: Keys = ()

    def __post_init__(self) -> None:
        check_id(self.id)
        for row in self.rows:
            if (count := len(row.cells)) != len(self.columns):
                raise ValueError(f"table '{self.id}', row '{row.title}': {count} cells for {len(self.columns)} columns")

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Groups of neighbouring columns: (title, number of columns)."""
        return tuple((title, len(list(some))) for title, some in groupby(self.columns, key=attrgetter("group")))

    @property
    def blocks(self) -> tuple[tuple[str, tuple[Row, ...]], ...]:
        """Runs of neighbouring rows of one block."""
        return tuple((block, tuple(rows)) for block, rows in groupby(self.rows, key=attrgetter("block")))

    def _all_notes(self) -> Iterator[Note]:
        for column in self.columns:
            yield from column.notes
        for row in self.rows:
            yield from row.notes
            for cell in row.cells:
                yield from cell.notes

    def footnotes(self) -> dict[Note, str]:
        """Every footnote once -> its mark, letters in the order a reader meets them."""
        notes = dict.fromkeys(self._all_notes())
        lettered = [note for note in notes if not note.mark]
        marks = {note: _letters(place) for place, note in enumerate(lettered)}
        # Fixed marks last: they explain signs, the letters explain cells.
        return marks | {note: note.mark for note in notes if note.mark}

    def below(self) -> list[tuple[str, str]]:
        """(mark, text) of everything that stands below the table: footnotes, then remarks, whose mark is ''."""
        return [*((mark, note.full) for note, mark in self.footnotes().items()), *(("", text) for text in self.notes)]

    def without(self, *blocks: str) -> Table:
        """The table without the rows of some blocks."""
        return replace(self, rows=tuple(row for row in self.rows if row.block not in blocks))


@dataclass(frozen=True, kw_only=True)
class Markup:
    """How a format writes a cell: templates with one place each.

    Attributes:
        escape: makes a text harmless in the format.
        bold: of the best figures.
        spread: of a standard deviation.
        tag: of what must be seen beside the figure.
        marks: of the marks of footnotes.
    """

    escape: Callable[[object], str]
    bold: str
    spread: str
    tag: str
    marks: str

    def marked(self, notes: tuple[Note, ...], marks: Mapping[Note, str]) -> str:
        """The marks of some footnotes; '' without any."""
        return self.marks.format(",".join(self.escape(marks[note]) for note in notes)) if notes else ""

    def cell(self, cell: Cell, figure: str, marks: Mapping[Note, str]) -> str:
        """A cell whose figure is in the format already."""
        shown = self.bold.format(figure) if cell.best and figure else figure
        spread = self.spread.format(cell.spread) if cell.spread else ""
        tag = self.tag.format(self.escape(cell.tag)) if cell.tag else ""
        return shown + spread + tag + self.marked(cell.notes, marks)


def _letters(number: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa."""
    text = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        text = string.ascii_lowercase[rest] + text
    return text


def check_id(name: str) -> None:
    """Refuse an id that could not be a file name or an anchor."""
    if not name or set(name) - _ID:
        raise ValueError(f"an id holds letters, digits, '-' and '_' only, got {name!r}")


def slug(text: str) -> str:
    """A text as an id: everything but letters, digits, '-' and '_' becomes '-'.

    Example:
        >>> slug("smoke (v2)")
        'smoke--v2-'
    """
    return "".join(sign if sign in _ID else "-" for sign in text) or "-"
