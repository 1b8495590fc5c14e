"""Does TensorBoard itself read back the curves that were stored?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from refers_bench.analysis.tracked_runs import Scalar
from refers_bench.cli import group
from refers_bench.errors import UserError
from refers_bench.render import event_files

CURVES = [
    Scalar(name="loss/total", step=1, value=0.75, time=1000.0),
    Scalar(name="lr", step=1, value=1e-3, time=1000.0),
    Scalar(name="loss/total", step=3, value=0.5, time=1010.5),
]


def read(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Tag -> (step, value, time), by TensorBoard's own reader."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(one.step, one.value, one.wall_time) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]
    }


def test_curves_come_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    path = event_files.write(tmp_path / "run", CURVES)
    assert read(tmp_path / "run") == {
        "loss/total": [(1, 0.75, 1000.0), (3, 0.5, 1010.5)], "lr": [(1, pytest.approx(1e-3), 1000.0)],
    }  # fmt: skip
    content = path.read_bytes()
    assert event_files.write(tmp_path / "run", CURVES).read_bytes() == content
    assert [item.name for item in (tmp_path / "run").iterdir()] == [path.name], "written again, not beside"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("tensorboard", "tensorboard.compat.proto", "tensorboard.summary.writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"TensorBoard is not installed .*; allowed: pip install 'refers-bench\[tens"):
        event_files.check()


def command(results: Path, *arguments: str) -> Any:
    return CliRunner().invoke(group, ["--results", str(results), "results", "tensorboard", *arguments])


def test_the_curves_of_a_plan(folder: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    for seed, losses in enumerate(([0.75, 0.5, 0.25], [0.5, float("nan"), 0.125])):
        key = folder.cell("scratch", seed=seed, state="to do")
        folder.done(key, started="2026-01-02T03:04:05+00:00", wall_s=20.0)
        folder.history(key, {"loss/total": losses, "val/auc": losses[:1]})
    folder.cell("refers", state="to do")
    results = folder.save()
    done = command(results, "tiny")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("2 runs, 7 values: tensorboard --logdir ")
    runs = sorted(item for item in (results / "tiny" / "tensorboard").iterdir())
    assert len(runs) == 2
    start = 1767323045.0
    assert read(runs[0]) == {
        "loss/total": [(0, 0.75, start), (1, 0.5, start + 10), (2, 0.25, start + 20)], "val/auc": [(0, 0.75, start)],
    }  # fmt: skip
    assert [step for step, *_ in read(runs[1])["loss/total"]] == [0, 2], "no value is made up"
    done = command(results, "tiny", "--only", "*-1", "--out", str(tmp_path / "out"))
    assert len(list((tmp_path / "out").iterdir())) == 1
    done = command(results, "tiny", "--only", "nothing")
    assert isinstance(done.exception, UserError)
    assert "no finished job of 'tiny' has curves and such a name" in str(done.exception)
