"""Are figures the same bytes, and all of them there, whoever draws them?"""

from __future__ import annotations

import multiprocessing
import os
import signal
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


def killed_at_the_third(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    """Draws in this process, and dies in any other."""
    if figure.id == "f3" and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(figure, format=format)


@pytest.mark.parametrize("cores", [1, 2])
def test_the_bytes_are_those_of_one_figure_drawn_alone(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_cores", lambda: cores)
    found = dict(drawing.drawn(WANTED))
    assert [found[place] for place in range(len(WANTED))] == [draw(one, format=form) for one, form in WANTED]
    assert len(set(found.values())) == len(WANTED)


def test_a_killed_process_costs_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_cores", lambda: 2)
    monkeypatch.setattr(drawing, "draw", killed_at_the_third)
    assert sorted(place for place, _ in drawing.drawn(WANTED)) == list(range(len(WANTED)))


def test_few_figures_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a process was started")

    monkeypatch.setattr(drawing, "_cores", lambda: 64)
    monkeypatch.setattr(drawing, "ProcessPoolExecutor", refuse)
    assert len(list(drawing.drawn(WANTED[:11]))) == 11
