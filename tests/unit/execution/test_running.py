"""A job that has ended is shown with its mean test AUC, where it has one."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.execution.running import figure_of
from refers_bench.plan.lock import Job
from results_folder import Folder


@pytest.mark.parametrize(
    ("aucs", "shown"),
    [({"normal": 0.8, "opacity": 0.701}, "AUC 75.0 %"), ({"normal": 0.5, "opacity": None}, "AUC 50.0 %"),
     ({"normal": None, "opacity": None}, "")],
)  # fmt: skip
def test_figures(aucs: dict[str, float | None], shown: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    key = folder.cell(aucs=aucs)
    assert figure_of(tmp_path / "store", Job(key=key, kind="finetune", name="one", spec={})) == shown


def test_no_metrics_and_unreadable_ones_cost_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    pretraining = Job(key="a" * 20, kind="pretrain", name="one", spec={})
    folder.done(pretraining.key)
    assert figure_of(tmp_path / "store", pretraining) == ""
    (tmp_path / "store" / pretraining.key / "metrics.parquet").write_bytes(b"PAR1")
    assert figure_of(tmp_path / "store", pretraining) == ""
