from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from refers_bench.analysis.cells import Target
from refers_bench.analysis.results import load
from refers_bench.errors import UserError
from refers_bench.files import sha256_of
from refers_bench.store import records, schemas
from refers_bench.store.plan import known_names
from refers_bench.store.records import REMEDY
from refers_bench.store.results import ResultStore
from results_folder import record_again

TARGET = Target(dataset="covid19_idc", task="viral_vs_bacterial", label_ratio=1.0)


def test_done_cell_has_the_mean_of_its_test_classes(folder: Any) -> None:
    folder.cell(aucs={"normal": 0.8, "opacity": 0.6, "mass": None})
    results = folder.load()
    cell = results.cells["refers", TARGET]
    assert (round(cell.mean, 12), cell.n_defined, cell.n_classes) == (0.7, 2, 3)
    assert {metric.split for metric in results.planned[0].metrics} == {"test", "val"}


@pytest.mark.parametrize(
    ("state", "reason"), [("missing", "not run yet"), ("failed", "failed: nan"), ("unavailable", "a later version")]
)
def test_state_and_reason(folder: Any, state: str, reason: str) -> None:
    folder.cell(state=state)
    run = folder.load().planned[0].run
    assert (run.state, run.reason, run.counts) == (state, reason, False)


def test_a_failed_job_explains_the_cells_that_need_it(folder: Any) -> None:
    folder.job("pre", "pretrain")
    folder.failed("pre", "timeout")
    folder.cell(state="missing", needs=["pre"])
    results = folder.load()
    run = results.planned[0].run
    assert (run.state, run.reason) == ("failed", "pretrain failed: timeout")
    assert results.failed_needs(run.key) == ("pre",)


def test_an_unavailable_need_makes_the_cell_unavailable(folder: Any) -> None:
    folder.job("pre", "pretrain", unavailable="C2L is not built yet")
    folder.cell(state="missing", needs=["pre"])
    run = folder.load().planned[0].run
    assert (run.state, run.reason) == ("unavailable", "C2L is not built yet")


def test_a_result_outweighs_an_older_failure(folder: Any) -> None:
    folder.failed(folder.cell())
    results = folder.load()
    assert results.planned[0].run.state == "done" and not results.failures


def test_a_cell_without_any_auc_says_why(folder: Any) -> None:
    folder.cell(aucs={"normal": None})
    run = folder.load().planned[0].run
    assert not run.counts and run.reason == "no class has an AUC: no positives"


def test_columns_and_rows_keep_the_order_of_the_manifest(folder: Any) -> None:
    folder.cell("zebra", ratio=1.0, label="Zebra")
    folder.cell("ant", ratio=0.01, synthetic=True, footnotes=["x"])
    results = folder.load()
    assert list(results.methods.items()) == [("zebra", "Zebra"), ("ant", "ant")]
    assert [target.label_ratio for target in results.targets] == [1.0, 0.01]
    assert {target.label_ratio for target in results.synthetic} == {0.01}
    assert results.footnotes == {"zebra": (), "ant": ("x",)}


def test_tidy_frames(folder: Any) -> None:
    folder.cell()
    folder.cell(seed=1, state="missing")
    results = folder.load()
    cells, classes = pd.DataFrame(results.cell_rows()), results.metrics_frame()
    assert list(cells["state"]) == ["done", "missing"] and cells["mean_auc"].isna().tolist() == [False, True]
    assert len(classes) == 4 and set(classes["class"]) == {"normal", "opacity"}


def test_history_by_name(folder: Any) -> None:
    key = folder.cell()
    folder.history(key, {"loss/total": [3.0, 2.0], "lr": [0.1, 0.2]})
    results = folder.load()
    assert results.history(key, ("loss/total", "val/auc")) == {"loss/total": ((0, 1), (3.0, 2.0))}
    assert list(results.history(key, ("lr", "loss/"))) == ["lr", "loss/total"]
    assert results.history("absent", ("loss/total",)) == {}


def test_nothing_planned_names_what_is(folder: Any) -> None:
    folder.save()
    with pytest.raises(UserError, match=r"manifest 'tinny' has no plan here; allowed: tiny; did you mean 'tiny'\?"):
        load(folder.results, "tinny")
    assert known_names(folder.results) == ["tiny"]


def damaged(folder: Any, path: Path, found: str) -> None:
    """The first cell has no figure, its reason names path and remedy, and the second cell has one."""
    results = folder.load()
    first, second = (planned.run for planned in results.planned)
    reason = f"damaged: {path}: {found}; allowed: {REMEDY}"
    assert (first.state, first.reason, first.counts, second.counts) == ("failed", reason, False, True)
    assert list(results.records) == [second.key]
    assert [*map(str, results.damaged.values())] == [reason.removeprefix("damaged: ")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "cannot read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("", "cannot read: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "holds a list"),
        ('{"key": "another"}', "the record of 'another'"),
        ('{"version": 3}', "a record of version 3 instead of 1 or 2"),
        ('{"version": 2, "key": "KEY"}', "a record without a list of digests"),
        ('{"version": 2, "key": "KEY", "files": {"metrics.parquet": 1}}', "a record without a list of digests"),
        (None, "no such file"),
    ],
)
def test_a_broken_record_is_named_and_the_other_cells_stay(folder: Any, content: str | None, found: str) -> None:
    key, _ = folder.cell(), folder.cell(seed=1)
    path = folder.results / "store" / key / "run.json"
    path.unlink() if content is None else path.write_text(content.replace("KEY", key))
    damaged(folder, path, found)


def test_a_broken_or_foreign_table_is_named_and_the_other_cells_stay(folder: Any) -> None:
    path, _ = folder.results / "store" / folder.cell() / "metrics.parquet", folder.cell(seed=1)
    pd.DataFrame({"auc": [0.5]}).to_parquet(path)
    damaged(folder, path, "written under the schema 'none'")
    path.write_bytes(b"PAR1")
    assert "metrics.parquet: cannot read" in folder.load().planned[0].run.reason


@pytest.mark.parametrize("name", ["predictions.parquet", "metrics.parquet", "history.parquet"])
def test_files_that_reports_read_are_those_that_were_recorded(folder: Any, name: str) -> None:
    """A changed file, and one that is missing."""
    key, _ = folder.cell(), folder.cell(seed=1)
    place = folder.results / "store" / key
    folder.predict(key, [[0, 1]] * 4, [[0.1, 0.2]] * 4)
    folder.history(key, {"loss/total": [1.0]})
    record_again(place)
    assert folder.load().damaged == {}
    digest = sha256_of(place / name)
    path = place / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    damaged(folder, path, f"changed since it was written: SHA-256 {sha256_of(path)}, recorded {digest}")
    path.unlink()
    damaged(folder, path, "missing")
    path.mkdir()
    damaged(folder, path, "cannot be read: Is a directory")


def test_a_file_is_hashed_once_in_a_process(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = folder.cell()
    place, hashed = folder.results / "store" / key, []
    record_again(place)
    monkeypatch.setattr(records, "sha256_of", lambda path: hashed.append(path) or sha256_of(path))
    assert folder.load().damaged == folder.load().damaged == {}
    assert ResultStore(folder.results).file(key, "metrics.parquet") == place / "metrics.parquet"
    assert hashed == [place / "metrics.parquet"]


def test_the_lock_may_hold_nothing(folder: Any) -> None:
    results = folder.load()
    assert results.planned == () and results.targets == () and results.plan.jobs == ()


def test_a_cell_that_cannot_be_planned_gives_its_reason_unless_it_is_done(folder: Any) -> None:
    for method, state in (("a", "done"), ("b", "missing"), ("c", "failed")):
        folder.cell(method, state=state)
        folder.lock["jobs"][-1]["unavailable"] = "needs a licence"
    runs = {planned.method: planned.run for planned in folder.load().planned}
    assert {method: (run.state, run.reason) for method, run in runs.items()} == {
        "a": ("done", ""),
        "b": ("unavailable", "needs a licence"),
        "c": ("unavailable", "needs a licence"),
    }
    assert runs["a"].counts and [run.n_classes for run in runs.values()] == [2, 2, 2]


def test_validation_metrics_neither_count_nor_are_missing_from_the_frame(folder: Any) -> None:
    key = folder.cell(state="missing")
    folder.lock["jobs"][0]["spec"]["classes"] = ["x", "y", "z"]
    rows = [("x", 0.9, "test"), ("y", None, "test"), ("x", 0.1, "val"), ("z", 0.2, "val")]
    stored = pd.DataFrame(
        [
            {
                "class": name,
                "auc": auc,
                "n_pos": 3,
                "n_neg": 4,
                "undefined": "" if auc else "no positives",
                "split": split,
            }
            for name, auc, split in rows
        ]
    )
    folder.done(key)
    schemas.write(folder.results / "store" / key / "metrics.parquet", stored.astype({"auc": "float64"}), "metrics")
    results = folder.load()
    (planned,) = results.planned
    assert (planned.run.mean_auc, planned.run.defined, planned.run.n_classes) == (0.9, ("x",), 2)
    assert planned.validation_auc == pytest.approx(0.15)
    frame = results.metrics_frame()
    assert list(zip(frame["class"], frame["split"], strict=True)) == [(name, split) for name, _, split in rows]
    assert [(row["mean_auc"], row["n_classes_defined"]) for row in results.cell_rows()] == [(0.9, 1)]


def test_runs_with_predictions_are_named_by_row_and_by_seed_where_there_are_several(folder: Any) -> None:
    keys = [folder.cell("a", seed=0), folder.cell("a", seed=3), folder.cell("b"), folder.cell("c")]
    for key in keys[:3]:
        (folder.results / "store" / key / "predictions.parquet").touch()
    results = folder.load()
    (target,) = results.targets
    assert results.predictions == {
        target: (("a, seed 0", "a", keys[0]), ("a, seed 3", "a", keys[1]), ("b", "b", keys[2]))
    }


def test_a_cell_without_a_figure_is_none_in_rows_and_not_nan(folder: Any) -> None:
    folder.cell("a", state="missing")
    folder.cell("b", aucs={"normal": None})
    assert [row["mean_auc"] for row in folder.load().cell_rows()] == [None, None]


def test_seeds_that_share_one_result_are_one_run(folder: Any) -> None:
    folder.cell(seed=0)
    folder.lock["cells"].append({**folder.lock["cells"][0], "seed": 1})
    results = folder.load()
    (summary,) = results.cells.values()
    assert (summary.n, summary.n_planned) == (1, 1)
    assert len(results.planned) == 2


def test_evaluations_and_folds_are_columns_of_their_own(folder: Any) -> None:
    for place, how in enumerate([{}, {"evaluation": "linear_probe"}, {"folds": 5}, {"evaluation": "knn", "folds": 5}]):
        folder.seeds("refers", [0.5 + place / 10, 0.5 + place / 10], **how)
    results = folder.load()
    assert [results.cells["refers", target].mean for target in results.targets] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert [target.suffix for target in results.targets] == [
        "", ", linear probe", ", 5 folds", ", k nearest neighbours, 5 folds",
    ]  # fmt: skip
    frame = results.metrics_frame()
    assert set(zip(frame["evaluation"], frame["folds"], strict=True)) == {
        ("finetune", 0), ("linear_probe", 0), ("finetune", 5), ("knn", 5),
    }  # fmt: skip
