"""A manifest's rules of its tests, or the defaults; what a plan that was edited by hand may say of them."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.analysis.cells import Target
from refers_bench.errors import UserError
from refers_bench.manifest.analysis_schema import AnalysisPart
from refers_bench.store import rules
from refers_bench.store.plan import Cell
from refers_bench.store.rules import Rules

CELL: dict[str, Any] = {"label": "L", "dataset": "d", "task": "t", "label_ratio": 0.1, "seed": 0, "key": "k"}


def cells(*rows: str, floors: tuple[str, ...] = (), best_of: str = "") -> list[Cell]:
    return [Cell(method=row, floor=row in floors, best_of=best_of, **CELL) for row in rows]


def test_without_analysis_nothing_is_corrected_and_with_it_holm_is_the_default() -> None:
    assert rules.of({}, cells("refers")) == Rules(reference="refers")
    assert rules.of({"analysis": {}}, cells("refers")) == Rules(reference="refers", correction="holm")
    assert rules.of({"analysis": {"correction": "none"}}, cells("refers")) == Rules(reference="refers")


def test_what_the_schema_leaves_out_as_a_default_is_the_default_here() -> None:
    """A plan records the manifest without its defaults."""
    recorded = AnalysisPart().model_dump(mode="json", exclude_defaults=True)
    whole = AnalysisPart().model_dump(mode="json")
    assert rules.of({"analysis": recorded}, ()) == rules.of({"analysis": whole}, ())


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (cells("c2l", "refers"), "refers"),
        (cells("pixels", "c2l", "transvw", floors=("pixels",)), "c2l"),
        (cells("pixels", floors=("pixels",)), "pixels"),
        (cells("small", "large", best_of="refers") + cells("c2l"), "refers"),
        (cells("small", "large", best_of="x") + cells("c2l"), "x"),
        ([], ""),
    ],
)
def test_the_reference_is_refers_or_the_first_row_that_is_no_floor(rows: list[Cell], expected: str) -> None:
    """A choice between rows stands where its first candidate does, whichever of them is chosen."""
    assert rules.of({}, rows).reference == expected
    assert rules.of({"analysis": {"reference": "c2l"}}, rows).reference == "c2l"


@pytest.mark.parametrize(
    ("wanted", "primary"),
    [
        ([], True),
        ([{"dataset": "d"}], True),
        ([{"dataset": "e"}], False),
        ([{"dataset": "e"}, {"dataset": "d"}], True),
        ([{"dataset": "d", "tasks": ["t", "u"]}], True),
        ([{"dataset": "d", "tasks": ["u"]}], False),
        ([{"dataset": "d", "label_ratios": [0.1, 1]}], True),
        ([{"dataset": "d", "label_ratios": [1]}], False),
        ([{"dataset": "d", "evaluation": ["knn"]}], True),
        ([{"dataset": "d", "evaluation": ["finetune"]}], False),
        ([{"dataset": "d", "tasks": ["t"], "label_ratios": [1]}], False),
    ],
)
def test_a_column_is_primary_where_any_part_is_about_it(wanted: list[dict[str, Any]], *, primary: bool) -> None:
    found = rules.of({"analysis": {"columns": wanted}}, ())
    assert found.primary(Target(dataset="d", task="t", label_ratio=0.1, evaluation="knn", folds=5)) is primary


@pytest.mark.parametrize(
    "part",
    [
        3, [], {"margin": 0.1}, {"reference": ""}, {"reference": 3}, {"against": "a"}, {"against": [1]},
        {"columns": {}}, {"columns": ["d"]}, {"columns": [{}]}, {"columns": [{"dataset": 1}]},
        {"columns": [{"dataset": "d", "tasks": "t"}]}, {"columns": [{"dataset": "d", "label_ratios": ["1%"]}]},
        {"columns": [{"dataset": "d", "label_ratios": [True]}]}, {"columns": [{"dataset": "d", "seeds": [1]}]},
        {"test": "z"}, {"test": ["student"]}, {"correction": None}, {"alpha": 0}, {"alpha": 1}, {"alpha": "0.05"},
    ],
)  # fmt: skip
def test_a_plan_that_says_something_else_is_refused(folder: Any, part: Any) -> None:
    folder.lock["manifest"] = {"analysis": part}
    with pytest.raises(UserError, match=r"no complete plan \('manifest\.analysis"):
        folder.load()


def test_a_plan_with_all_that_a_manifest_may_say_is_read(folder: Any) -> None:
    columns = [{"dataset": "d", "tasks": ["t"], "label_ratios": [0.1, 1], "evaluation": ["knn"]}]
    part = {"reference": "a", "against": ["b"], "columns": columns, "test": "welch", "correction": "none", "alpha": 0.1}
    folder.lock["manifest"] = {"analysis": part}
    found = folder.load().rules
    expected = Rules(reference="a", against=("b",), columns=tuple(columns), test="welch", correction="none", alpha=0.1)
    assert found == expected
    assert found.recorded() == part
