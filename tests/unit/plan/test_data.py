"""Procedural radiographs for real reports are planned by the reports' bytes, and say what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.openi import write_layout
from refers_bench.errors import DataError, UserError
from refers_bench.jobs import prepare
from refers_bench.manifest.roots import Roots
from refers_bench.plan.lock import Plan
from refers_bench.plugins import load
from refers_bench.store.context import JobContext

REPORTED = (
    (
        "data: {phantom: {phantom: {studies: 20, size: 40}}}",
        "data: {openi: {phantom: {reports: openi, size: 40, views: 2}}}",
    ),
    ("source: {dataset: phantom}", "source: {dataset: openi}"),
    ("{dataset: phantom, tasks: [findings]", "{dataset: openi, tasks: [mesh12]"),
)
#: What it was before real reports could be named.
PHANTOM = {
    "studies": 20,
    "size": 40,
    "seed": 0,
    "views": 3,
    "prevalence": 0.22,
    "contrast": 1.0,
    "noise": 0.04,
    "impl": 1,
}


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """XML files in the layout of the real ones."""
    root = tmp_path / "layout"
    root.mkdir()
    write_layout(root, PhantomParams(studies=30, size=32, views=3, seed=6))
    return root / "ecgen-radiology"


@pytest.fixture
def planned(plan_of: Callable[..., Plan], reports: Path) -> Callable[..., Plan]:
    return lambda *changes: plan_of(*REPORTED, *changes, roots=Roots(paths={"openi_reports": reports}))


def prepare_of(plan: Plan) -> dict[str, object]:
    (job,) = (job for job in plan.jobs if job.kind == "prepare")
    return dict(job.spec["phantom"])


def test_other_procedural_radiographs_are_specified_as_before(plan_of: Callable[..., Plan]) -> None:
    assert prepare_of(plan_of()) == PHANTOM


def test_all_reports_that_can_be_used_are_planned(planned: Callable[..., Plan], reports: Path) -> None:
    plan = planned()
    phantom = prepare_of(plan)
    facts = load("dataset", "openi").real_reports.read(reports, PhantomParams(reports="openi", views=2))
    assert 10 < phantom["studies"] == facts["studies"] <= 30
    assert (phantom["reports"], phantom["reports_digest"]) == ("openi", facts["digest"])
    assert plan.roots == {"openi_reports": "openi_reports"}
    assert list(plan.images.values()) == [facts["images"]]
    said = "real reports, procedural radiographs (openi)"
    assert all(cell.synthetic and said in cell.footnotes for cell in plan.cells)
    assert not any(job.unavailable for job in plan.jobs)


def test_another_byte_of_a_report_gives_other_keys(planned: Callable[..., Plan], reports: Path) -> None:
    before = {job.key for job in planned().jobs}
    assert {job.key for job in planned().jobs} == before
    path = reports / "3.xml"
    path.write_text(path.read_text().replace("None.", "None"))
    assert not before & {job.key for job in planned().jobs}


def test_without_the_root_one_message_says_what_to_set(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(*REPORTED)
    (why,) = {job.unavailable for job in plan.jobs}
    assert "data root 'openi_reports' is not set: set REFERS_BENCH_ROOT_OPENI_REPORTS" in why


def test_a_broken_report_and_too_many_studies_are_named(planned: Callable[..., Plan], reports: Path) -> None:
    with pytest.raises(UserError, match=r"25000 studies of real reports; allowed: at most \d\d, the reports"):
        planned(("reports: openi", "reports: openi, studies: 25000"))
    (reports / "5.xml").write_text("<eCitation>")
    with pytest.raises(UserError, match=r"5\.xml:1:\d+: not XML"):
        planned()


def test_prevalence_is_refused_where_reports_state_the_findings(planned: Callable[..., Plan]) -> None:
    with pytest.raises(UserError, match="no prevalence where real reports state the findings"):
        planned(("reports: openi", "reports: openi, prevalence: 0.3"))


def test_only_the_dataset_itself_is_written_with_its_reports(plan_of: Callable[..., Plan], reports: Path) -> None:
    plan = plan_of(("studies: 20,", "studies: 20, reports: openi,"), roots=Roots(paths={"openi_reports": reports}))
    assert {job.unavailable for job in plan.jobs} == {
        "dataset phantom cannot be written with the real reports of openi"
    }


def test_reports_that_changed_since_planning_are_not_drawn(
    planned: Callable[..., Plan], reports: Path, tmp_path: Path
) -> None:
    (job,) = (job for job in planned().jobs if job.kind == "prepare")
    context = JobContext(results=tmp_path, cache=tmp_path / "cache", roots={"openi_reports": str(reports)})
    dataset = load("dataset", "openi")
    root = prepare.phantom_root(dataset, job.spec, context)
    assert len(list((root / "ecgen-radiology").iterdir())) == job.spec["phantom"]["studies"]
    # What is drawn once is there, whatever becomes of the reports.
    (reports / "3.xml").unlink()
    assert prepare.phantom_root(dataset, job.spec, context) == root
    with pytest.raises(DataError, match="reports changed since planning"):
        prepare.phantom_root(
            dataset, job.spec, JobContext(results=tmp_path, cache=tmp_path / "new", roots=context.roots)
        )
    with pytest.raises(UserError, match="data root 'openi_reports' is not set"):
        prepare.phantom_root(dataset, job.spec, JobContext(results=tmp_path, cache=tmp_path / "none"))
