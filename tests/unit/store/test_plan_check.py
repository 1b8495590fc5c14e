"""A plan that was made passes the check that every plan that is read passes; each thing that is wrong is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.plan import lock

JOBS = tuple(
    lock.Job(key=key, kind="finetune", name=f"job {key}", needs=needs, spec={"kind": "finetune"})
    for key, needs in (("a", ()), ("b", ("a",)))
)
CELL = lock.Cell(method="m", label="M", dataset="d", task="t", label_ratio=0.1, seed=0, key="b")
PLAN = lock.Plan(name="p", jobs=JOBS, cells=(CELL, replace(CELL, seed=1, key="a")))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = lock.write(PLAN, tmp_path)
    assert lock.read(path) == PLAN and [job.needs for job in lock.outline(path).jobs] == [(), ("a",)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": "a/b"}, "the 'key' of a job"),
        ({"key": ".hidden"}, "the 'key' of a job"),
        ({"key": "a"}, "its key occurs twice"),
        ({"kind": "Fine Tune"}, "the 'kind' of a job"),
        ({"needs": ("c",)}, "needs a job that does not stand before it"),
        ({"needs": ("b",)}, "needs a job that does not stand before it"),
        ({"needs": (1,)}, "a list of keys"),
        ({"name": 3}, "the 'name' of a job is not a text"),
        ({"unavailable": 3}, "the 'unavailable' of a job"),
        ({"spec": {"kind": "finetune", "classes": 3.5}}, "the 'classes' of a job's specification is not a list"),
    ],
)
def test_a_wrong_job_is_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    refused(tmp_path, monkeypatch, replace(PLAN, jobs=(JOBS[0], replace(JOBS[1], **changes)), cells=()), said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": "c"}, "the 'key' of a cell"),
        ({"method": ""}, "the 'method' of a cell"),
        ({"label": 1}, "the 'label' of a cell"),
        ({"label_ratio": 0.0}, "the 'label_ratio' of a cell"),
        ({"label_ratio": 1.5}, "the 'label_ratio' of a cell"),
        ({"seed": -1}, "the 'seed' of a cell"),
        ({"seed": True}, "the 'seed' of a cell"),
        ({"folds": 10**9}, "the 'folds' of a cell"),
        ({"floor": "no"}, "the 'floor' of a cell"),
        ({"footnotes": (1,)}, "the 'footnotes' of a cell"),
        ({"evaluation": "x"}, "the 'evaluation' of a cell"),
        ({"selected_on": "luck"}, "the 'selected_on' of a cell"),
        ({"crossed": (1, 2)}, "the 'crossed' of a cell"),
        ({"crossed": (0, 0, -1)}, "the 'crossed' of a cell"),
        ({"seed": 1}, "several results for the row, column and seed m, d, t, 0.1, finetune, 0, 1"),
    ],
)
def test_a_wrong_cell_is_neither_written_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    refused(tmp_path, monkeypatch, replace(PLAN, cells=(replace(CELL, **changes), PLAN.cells[1])), said)


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, plan: lock.Plan, said: str) -> None:
    with pytest.raises(UserError) as error:
        lock.write(plan, folder)
    assert said in str(error.value)
    assert not (folder / "p").exists()
    with monkeypatch.context() as patched:  # as another program writes it
        patched.setattr(lock, "checked", lambda plan, path: plan)
        path = lock.write(plan, folder)
    with pytest.raises(UserError) as error:
        lock.read(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_the_same_result_may_stand_twice(tmp_path: Path) -> None:
    twice = replace(PLAN, cells=(CELL, replace(CELL, label="Again")))
    assert lock.read(lock.write(twice, tmp_path)) == twice
