"""Figures are the same bytes, and all of them are there, whoever draws them; what did not change is not drawn again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import StorageError
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


def all_drawn(wanted: Sequence[tuple[Figure, str]], folder: Path, *, prepared: bool = False) -> dict[int, bytes]:
    """Every figure by its place; asked for from the last to the first."""
    with drawing.Drawings(folder) as drawings:
        if prepared:
            drawings.prepare()
        for figure, form in wanted:
            drawings.begin(figure, form)
        return {place: drawings.drawn(*wanted[place]) for place in reversed(range(len(wanted)))}


def test_the_bytes_are_those_of_one_figure_drawn_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes."""
    alone = {place: draw(one, format=form) for place, (one, form) in enumerate(WANTED)}
    assert len(set(alone.values())) == len(WANTED)
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "draw", elsewhere_only)
    assert all_drawn(WANTED, tmp_path) == alone


def test_what_a_killed_process_was_to_draw_is_drawn_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.setattr(drawing, "draw", killed_at_the_third)
    assert all_drawn(WANTED, tmp_path) == NAMED


def test_one_figure_is_drawn_by_the_process_that_was_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = draw(WANTED[0][0], format="pdf")
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    monkeypatch.delitem(sys.modules, "matplotlib.figure")
    monkeypatch.setattr(drawing, "draw", elsewhere_only)
    assert all_drawn([(WANTED[0][0], "pdf")], tmp_path, prepared=True) == {0: alone}


def elsewhere_only(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    """Draws in any process but this one."""
    assert multiprocessing.parent_process() is not None
    return draw(figure, format=format)


@pytest.mark.parametrize(("processors", "figures"), [(64, 11), (1, 12)])
def test_few_figures_or_a_single_core_start_no_process(
    processors: int, figures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this process has matplotlib already."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a process was started")

    monkeypatch.setattr(drawing, "cores", lambda: processors)
    monkeypatch.setattr(drawing, "ProcessPoolExecutor", refuse)
    monkeypatch.setattr(drawing, "draw", named)
    draw(WANTED[0][0])
    assert all_drawn(WANTED[:figures], tmp_path, prepared=True) == {place: NAMED[place] for place in range(figures)}


def test_an_error_in_a_figure_is_raised_and_ends_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 2)
    with pytest.raises(ValueError, match="Format 'nothing' is not supported"):
        all_drawn([(one, "nothing") for one, _ in WANTED] * 2, tmp_path)
    assert not multiprocessing.active_children()


def test_what_is_kept_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    alone = all_drawn(WANTED[:3], tmp_path)
    monkeypatch.setattr(drawing, "draw", refused)
    # Neither its name nor what is written about it is drawn.
    renamed = [
        (replace(one, id=f"other-{one.id}", caption="d", keys=(("dataset", "d"),)), form) for one, form in WANTED
    ]
    assert all_drawn(renamed[:3], tmp_path, prepared=True) == alone
    with pytest.raises(AssertionError, match="was drawn"):
        all_drawn([(replace(WANTED[0][0], columns=2), "svg")], tmp_path)


def test_another_revision_of_the_code_draws_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    all_drawn(WANTED[:1], tmp_path)
    monkeypatch.setattr(drawing, "_revision", lambda: ("other code", "3.0"))
    drawing._name.cache_clear()
    monkeypatch.setattr(drawing, "draw", named)
    assert all_drawn(WANTED[:1], tmp_path) == {0: NAMED[0]}
    drawing._name.cache_clear()


def test_what_a_report_does_not_need_is_deleted_but_for_other_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "cores", lambda: 1)
    monkeypatch.setattr(drawing, "draw", named)
    all_drawn([*WANTED[:3], *WANTED[6:8]], tmp_path)
    all_drawn(WANTED[1:2], tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pdf", ".pdf", ".svg"]
    with pytest.raises(ValueError, match="stopped"), drawing.Drawings(tmp_path) as drawings:
        drawings.begin(*WANTED[0])
        raise ValueError("stopped")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_that_cannot_be_written_costs_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise StorageError("no space left", path=path)

    monkeypatch.setattr(drawing, "cores", lambda: 1)
    monkeypatch.setattr(drawing, "draw", named)
    monkeypatch.setattr(drawing, "publish_bytes", full)
    folder = tmp_path / "none"
    assert all_drawn(WANTED[:2], folder, prepared=True) == {0: NAMED[0], 1: NAMED[1]} and not folder.exists()


#: Two processes draw for a minute; their numbers are printed.
KILLED = """
import sys, time
from pathlib import Path
from refers_bench.render import drawing
if __name__ == "__main__":
    drawing.cores = lambda: 2
    pool = drawing.Drawings(Path(sys.argv[1]))._start()
    for _ in range(2):
        pool.submit(time.sleep, 60)
    while len(pool._processes) < 2:
        time.sleep(0.05)
    time.sleep(1)
    print(*pool._processes, flush=True)
    time.sleep(60)
"""


def runs(process: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told apart by /proc")
def test_no_drawing_process_outlives_a_killed_report(tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(KILLED)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True) as report:
        assert report.stdout is not None
        drawing_processes = [int(number) for number in report.stdout.readline().split()]
        assert len(drawing_processes) == 2 and all(map(runs, drawing_processes))
        report.kill()
    end = time.monotonic() + 5
    while any(map(runs, drawing_processes)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(runs, drawing_processes))


def refused(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    raise AssertionError(f"{figure.id} was drawn")
