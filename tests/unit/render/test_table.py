from __future__ import annotations

import pytest

from refers_bench.render.table import DAGGER, Cell, Column, Note, Row, Table, slug

A, B, FIXED = Note(text="first"), Note(text="second"), Note(text="significant", mark=DAGGER)


def _table(*rows: Row, columns: tuple[Column, ...] = (Column(title="x"), Column(title="y"))) -> Table:
    return Table(id="t", caption="c", columns=columns, rows=rows)


def test_footnotes_get_letters_in_reading_order_and_once() -> None:
    rows = (
        Row(title="r", cells=(Cell(notes=(B, FIXED)), Cell(notes=(A,)))),
        Row(title="s", cells=(Cell(notes=(A,)), Cell())),
    )
    assert list(_table(*rows).footnotes().items()) == [(B, "a"), (A, "b"), (FIXED, DAGGER)]


def test_more_than_26_footnotes() -> None:
    cells = tuple(Cell(notes=(Note(text=str(number)),)) for number in range(28))
    table = _table(Row(title="r", cells=cells), columns=tuple(Column(title=str(n)) for n in range(28)))
    assert list(table.footnotes().values())[24:] == ["y", "z", "aa", "ab"]


def test_figures_and_spread() -> None:
    assert (Cell(value=76.66, sd=0.25).figure, Cell(value=76.66, sd=0.26).spread) == ("76.7", "0.3")
    assert (Cell(text="n/a").figure, Cell(value=1.0).spread) == ("n/a", "")


def test_nan_and_ragged_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Cell(value=float("nan"))
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        _table(Row(title="r", cells=(Cell(),)))
    with pytest.raises(ValueError, match="kind"):
        Cell(kind="other")
    with pytest.raises(ValueError, match="id holds"):
        Table(id="../up", caption="", columns=(), rows=())


def test_groups_and_blocks_join_neighbours() -> None:
    columns = tuple(Column(title=str(n), group=group) for n, group in enumerate("aab"))
    rows = tuple(
        Row(title=str(n), cells=(Cell(),) * 3, block=block) for n, block in enumerate(("ours", "ours", "test"))
    )
    table = _table(*rows, columns=columns)
    assert table.groups == (("a", 2), ("b", 1))
    assert [(block, len(rows)) for block, rows in table.blocks] == [("ours", 2), ("test", 1)]
    assert len(table.without("test").rows) == 2


def test_slug_is_never_empty() -> None:
    assert slug("") == "-" and slug("Ünï/..") == "-n----"
