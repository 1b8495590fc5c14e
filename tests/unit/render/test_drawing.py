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


def test_the_bytes_are_those_of_one_figure_drawn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes, and by two of which one is killed."""
    alone = {place: draw(one, format=form) for place, (one, form) in enumerate(WANTED)}
    assert len(set(alone.values())) == len(WANTED)
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    assert dict(drawing.drawn(WANTED)) == alone
    monkeypatch.setattr(drawing, "draw", killed_at_the_third)
    assert dict(drawing.drawn(WANTED)) == alone


def test_few_figures_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a process was started")

    monkeypatch.setattr(drawing, "cores", lambda: 64)
    monkeypatch.setattr(drawing, "ProcessPoolExecutor", refuse)
    assert len(list(drawing.drawn(WANTED[:11]))) == 11
