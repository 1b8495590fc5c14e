from __future__ import annotations

import math

from refers_bench.analysis.statistics.seeds import SeedRun, mean_sd, summarise


def _run(seed: int, auc: float = math.nan, *, state: str = "done", defined: tuple[str, ...] = ("a",)) -> SeedRun:
    return SeedRun(
        seed=seed, key=str(seed), state=state, reason="" if state == "done" else state, mean_auc=auc,
        defined=defined if state == "done" else (), n_classes=2,
    )  # fmt: skip


def test_mean_and_sd_have_n_minus_1() -> None:
    cell = summarise([_run(2, 0.9), _run(0, 0.7), _run(1, 0.8)])
    assert (round(cell.mean, 12), round(cell.sd, 12), cell.n, cell.n_planned) == (0.8, 0.1, 3, 3)
    assert [run.seed for run in cell.runs] == [0, 1, 2] and cell.complete
    assert (cell.n_defined, cell.n_classes) == (1, 2)


def test_missing_seeds_are_counted_not_averaged() -> None:
    cell = summarise([_run(0, 0.7), _run(1, state="failed"), _run(2, state="missing")])
    assert (cell.mean, cell.n, cell.n_planned, cell.complete) == (0.7, 1, 3, False)
    assert math.isnan(cell.sd) and cell.reasons == ("failed", "missing") and cell.state == "done"


def test_a_finished_seed_without_any_auc_is_no_figure() -> None:
    cell = summarise([_run(0, math.nan, defined=())])
    assert cell.n == 0 and math.isnan(cell.mean) and not cell.complete


def test_seeds_over_different_classes_do_not_make_a_complete_cell() -> None:
    cell = summarise([_run(0, 0.7, defined=("a", "b")), _run(1, 0.8, defined=("a",))])
    assert not cell.complete and not cell.same_classes and cell.n_defined == 1


def test_state_without_any_figure_is_the_worst() -> None:
    assert summarise([_run(0, state="missing"), _run(1, state="failed")]).state == "failed"
    assert summarise([_run(0, state="missing"), _run(1, state="unavailable")]).state == "unavailable"
    assert summarise([_run(0, state="missing")]).state == "missing"
    assert summarise([]).state == "missing"


def test_identical_values_have_an_sd_of_exactly_zero() -> None:
    assert mean_sd([0.1 + 0.2] * 3) == (0.1 + 0.2, 0.0)


def test_a_cell_without_a_figure_is_called_by_the_worst_of_its_seeds() -> None:
    def state(*states: str) -> str:
        return summarise([SeedRun(seed=n, key="", state=one, reason=one) for n, one in enumerate(states)]).state

    assert state("missing", "unavailable", "failed") == "failed" and state("missing", "unavailable") == "unavailable"
    assert state("missing", "missing") == "missing" and state() == "missing"
    done = SeedRun(seed=0, key="", state="done", mean_auc=0.5, defined=("a",))
    found = summarise([SeedRun(seed=1, key="", state="failed", reason="why"), done])
    assert (found.state, found.reasons, found.n, found.n_planned, found.complete) == ("done", ("why",), 1, 2, False)
