"""Defines what stands on a report page, whatever its format."""

from collections.abc import Iterator
from dataclasses import dataclass

from refers_bench.render.figure import Figure
from refers_bench.render.table import Table, check_id


@dataclass(frozen=True, kw_only=True)
class Detail:
    """A block of named facts: the provenance of a table cell, an environment, commands.

    Attributes:
        id: anchor that table cells link to.
        title: shown while the block is folded.
        facts: (name, value) pairs.
        code: text shown as it is: the last lines of a log, a traceback.
        config: text shown as it is: the resolved configuration.
    """

    id: str
    title: str
    facts: tuple[tuple[str, str], ...] = ()
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
        remarks: sentences under the title (how complete it is, what is synthetic).
        items: tables and figures in order.
        details: provenance blocks, after the tables.
        commands: how to make these results again.
    """

    id: str
    title: str
    remarks: tuple[str, ...] = ()
    items: tuple[Table | Figure, ...] = ()
    details: tuple[Detail, ...] = ()
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.id)

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
