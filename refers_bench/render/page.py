"""Defines what stands on a report page, whatever its format."""

from collections.abc import Iterator
from dataclasses import dataclass

from refers_bench.plugins import REPORT_PARTS
from refers_bench.render.figure import Figure
from refers_bench.render.table import Table, check_id

_TITLES = tuple(REPORT_PARTS.items())


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A block of named facts: the provenance of a table cell, an environment, commands.

    Attributes:
        id: anchor that table cells link to.
        title: shown while the block is folded.
        facts: (name, value) pairs.
        changed: (name, value, origin) of what a manifest set.
        code: text shown as it is: the last lines of a log, a traceback.
        config: text shown as it is, for programs: the resolved configuration.
    """

    id: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()
    code: str = ""
    config: str = ""

    def __post_init__(self) -> None:
        check_id(self.id)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a page shows of one manifest.

    Attributes:
        id: anchor, and prefix of file names when a page has several sections.
        title: the manifest's name.
        facts: one sentence: what was run, how complete it is, what is synthetic.
        answers: at most three sentences: what came out.
        remarks: further sentences about all of it.
        items: tables and figures in order.
        details: provenance blocks, after the tables.
        commands: how to make these results again.
    """

    id: str
    title: str
    facts: str = ""
    answers: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    items: tuple[Table | Figure, ...] = ()
    details: tuple[Detail, ...] = ()
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.id)

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that stands above the tables, for formats that fold nothing away."""
        return (*((self.facts,) if self.facts else ()), *self.answers, *self.remarks)

    @property
    def parts(self) -> tuple[tuple[str, str, tuple[Table | Figure, ...]], ...]:
        """(id, title, tables and figures) of each part of the page that has any, in the order of the menu."""
        found = ((part, title, tuple(item for item in self.items if item.part == part)) for part, title in _TITLES)
        return tuple((f"{self.id}-{part}", title, items) for part, title, items in found if items)

    @property
    def has_runs(self) -> bool:
        """Whether any table or figure stands in the part about runs."""
        return any(item.part == "runs" for item in self.items)

    @property
    def tables(self) -> Iterator[Table]:
        """The tables alone."""
        return (item for item in self.items if isinstance(item, Table))

    @property
    def figures(self) -> Iterator[Figure]:
        """The figures alone."""
        return (item for item in self.items if isinstance(item, Figure))


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report: one section per manifest."""

    title: str
    sections: tuple[Section, ...]
