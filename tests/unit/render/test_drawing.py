"""Figures are the same bytes, and all of them are there, whoever draws them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from refers_bench.render import drawing
from refers_bench.render.figure import Figure, Panel, Series, draw


def figure(number: int) -> Figure:
    series = Series(label="s", x=(0.0, 1.0), y=(1.0, float(number)))
    return Figure(
        id=f"f{number}", caption="c", alt="a", panels=(Panel(title="t", x_label="x", y_label="y", series=(series,)),)
    )


WANTED = [(figure(number), form) for form in ("svg", "pdf") for number in range(6)]


def named(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    """Stands for drawing where it does not matter what is drawn: takes no time."""
    return f"{figure.id}.{format}".encode()


NAMED = {place: named(one, format=form) for place, (one, form) in enumerate(WANTED)}


def killed_at_the_third(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    """As `named` in this process; dies in any other."""
    if figure.id == "f3" and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return named(figure, format=format)


def all_drawn(wanted: Sequence[tuple[Figure, str]], *, prepared: bool = False) -> dict[int, bytes]:
    """Every figure by its place; asked for from the last to the first."""
    with drawing.Drawings() as drawings:
        if prepared:
            drawings.prepare()
        drawings.begin(wanted, lambda done, total: None)
        return {place: drawings.drawn(*wanted[place]) for place in reversed(range(len(wanted)))}


def test_the_bytes_are_those_of_one_figure_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes."""
    alone = {place: draw(one, format=form) for place, (one, form) in enumerate(WANTED)}
    assert len(set(alone.values())) == len(WANTED)
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "draw", elsewhere_only)
    assert all_drawn(WANTED) == alone


def test_what_a_killed_process_was_to_draw_is_drawn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "draw", killed_at_the_third)
    assert all_drawn(WANTED) == NAMED


def test_one_figure_is_drawn_by_the_process_that_was_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = draw(WANTED[0][0], format="pdf")
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setattr(drawing, "draw", elsewhere_only)
    assert all_drawn([(WANTED[0][0], "pdf")], prepared=True) == {0: alone}


def elsewhere_only(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    """Draws in any process but this one."""
    assert multiprocessing.parent_process() is not None
    return draw(figure, format=format)


@pytest.mark.parametrize(("processors", "figures"), [(64, 11), (1, 12)])
def test_few_figures_or_a_single_core_start_no_process(
    processors: int, figures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this process has matplotlib already."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a process was started")

    monkeypatch.setattr(drawing, "cores", lambda: processors)
    monkeypatch.setattr(drawing, "ProcessPoolExecutor", refuse)
    monkeypatch.setattr(drawing, "draw", named)
    draw(WANTED[0][0])
    assert all_drawn(WANTED[:figures], prepared=True) == {place: NAMED[place] for place in range(figures)}


def test_an_error_in_a_figure_is_raised_and_ends_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    with pytest.raises(ValueError, match="Format 'nothing' is not supported"):
        all_drawn([(WANTED[0][0], "nothing")] * 12)
    assert not multiprocessing.active_children()
