from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.errors import UserError
from refers_bench.plan.explanation import cells_of, jobs_of
from refers_bench.plan.lock import Cell, Job, Plan

HOW: dict[str, Any] = {"maps": ["rollout", "class"], "threshold": 0.3, "images": 2}


def plan(phantom: dict[str, Any] | None = None) -> Plan:
    prepare = Job(
        key="p", kind="prepare", name="prepare.phantom", spec={"dataset": "phantom", "params": {}, "phantom": phantom}
    )
    tuned = Job(
        key="f", kind="finetune", name="first.phantom.findings.100%.s0", needs=("p",), spec={"prepare": "p", "seed": 0}
    )
    where: dict[str, Any] = {"dataset": "phantom", "task": "findings", "label_ratio": 1.0, "seed": 0, "key": "f"}
    cells = (Cell(method="first", label="First", **where), Cell(method="second", label="Second", **where))
    return Plan(name="m", jobs=(prepare, tuned), cells=cells)


def test_cells_of_one_job_are_explained_once() -> None:
    (found,) = cells_of(plan(), ["*"])
    assert found.method == "first"
    (found,) = cells_of(plan(), ["second*", "first*"])
    assert found.method == "second", "under the name that was asked for"
    with pytest.raises(UserError, match=r"--cell secnd\.phantom\.findings\.100%\.s0 matches no cell.*mean 'second"):
        cells_of(plan(), ["secnd.phantom.findings.100%.s0"])


def test_another_threshold_keeps_the_maps() -> None:
    one = plan({"seed": 1})
    jobs, explained = jobs_of(one, one.cells[0], {}, **HOW)
    assert [job.kind for job in jobs] == ["prepare", "attend", "localise"]
    prepare, attend, localise = jobs
    assert attend.needs == (prepare.key,) and localise.needs == (prepare.key, attend.key)
    assert (explained.cell, explained.attend, explained.localise) == ("f", attend.key, localise.key)
    for change in ({"threshold": 0.4}, {"maps": ["class"]}, {"images": 3}):
        _, attend_again, other = jobs_of(one, one.cells[0], {}, **{**HOW, **change})[0]
        assert attend_again.key == attend.key and other.key != localise.key
    # The cell decides, not the row that shows it.
    assert jobs_of(one, one.cells[1], {}, **HOW)[0][2].key == localise.key


def test_maps_follow_the_cell_the_data_and_the_boxes(tmp_path: Path) -> None:
    def key(one: Plan, **roots: str) -> str:
        return jobs_of(one, one.cells[0], roots, **HOW)[0][1].key

    first = plan({"seed": 1})
    keys = {key(first), key(plan({"seed": 2}))}
    tuned = replace(first.jobs[1], key="g")
    keys.add(key(replace(first, jobs=(first.jobs[0], tuned), cells=(replace(first.cells[0], key="g"),))))
    plugins.load("dataset", "phantom").write_layout(tmp_path, PhantomParams(studies=10, size=32))
    keys.add(key(plan(), phantom=str(tmp_path)))
    text = (tmp_path / "boxes.csv").read_text().splitlines()
    (tmp_path / "boxes.csv").write_text("\n".join(text[:-1]) + "\n")
    keys.add(key(plan(), phantom=str(tmp_path)))
    assert len(keys) == 5
    with pytest.raises(UserError, match="data root 'phantom' is not set"):
        key(plan())
    (tmp_path / "boxes.csv").unlink()
    with pytest.raises(UserError, match="missing table"):
        key(plan(), phantom=str(tmp_path))
