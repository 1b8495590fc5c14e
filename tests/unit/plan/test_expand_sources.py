"""Several source datasets: keys that do not depend on their order, what each job needs, and what a table says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan import lock
from refers_bench.plan.expand import expand
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.plan import read, source_name, source_parts, source_task

PlanOf = Callable[..., Plan]
ROOT = Path(__file__).resolve().parents[3]
#: In place of lsp_transformer, which learns labels.
METHODS = ("methods: [refers, lsp_transformer, scratch]", "methods: [refers, transvw, model_genesis, scratch]")
DATA = ("data: {", "data: {covid19_idc: {phantom: {studies: 40, size: 40}}, ")
ONE = "source: {dataset: phantom}"


def sources(text: str) -> tuple[str, str]:
    return ONE, f"source: {text}"


def by_name(plan: Plan) -> dict[str, Job]:
    return {job.name: job for job in plan.jobs}


def keys(plan: Plan) -> dict[str, str]:
    return {job.name: job.key for job in plan.jobs}


@pytest.fixture
def plan(plan_of: PlanOf) -> Plan:
    return plan_of(METHODS, DATA, sources("[phantom, covid19_idc]"))


def test_the_smoke_manifest_has_the_keys_of_its_committed_results() -> None:
    """They were computed before there could be several sources."""
    cells = json.loads((ROOT / "results" / "smoke" / "baseline.json").read_text())["cells"]
    found = {cell.name: cell.key for cell in expand(load(ROOT / "manifests" / "smoke.yaml"), Roots()).cells}
    assert found == {name: cell["key"] for name, cell in cells.items()}


def test_a_list_of_one_is_the_one(plan_of: PlanOf) -> None:
    one, listed = plan_of(METHODS), plan_of(METHODS, sources("[phantom]"))
    assert one.jobs == listed.jobs and one.cells == listed.cells
    (part,) = source_parts(by_name(one)["pretrain.refers.phantom"].spec)
    assert part == by_name(one)["pretrain.refers.phantom"].spec["source"]


def test_their_order_is_in_no_key(plan: Plan, plan_of: PlanOf) -> None:
    other = plan_of(METHODS, DATA, sources("[{dataset: covid19_idc}, {dataset: phantom, params: {}}]"))
    assert other.jobs == plan.jobs and other.cells == plan.cells
    one = plan_of(METHODS)
    assert keys(one)["prepare.phantom.36px"] == keys(plan)["prepare.phantom.36px"]
    cells = {cell.name: cell.key for cell in plan.cells}
    alone = {cell.name: cell.key for cell in one.cells}
    assert {name for name in cells if cells[name] == alone[name]} == {name for name in cells if "scratch" in name}


def test_every_job_reads_all_of_them(plan: Plan) -> None:
    jobs = by_name(plan)
    prepared = [jobs[f"prepare.{name}.36px"].key for name in ("covid19_idc", "phantom")]
    trained = [name for name in jobs if name.startswith(("pretrain.", "discover."))]
    assert sorted(trained) == [
        "discover.transvw.covid19_idc+phantom",
        "pretrain.model_genesis.covid19_idc+phantom",
        "pretrain.refers.covid19_idc+phantom",
        "pretrain.transvw.covid19_idc+phantom",
    ]
    for name in trained:
        spec = jobs[name].spec
        parts = source_parts(spec)
        assert [part["prepare"] for part in parts] == prepared == list(jobs[name].needs)[:2]
        assert source_name(spec) == "covid19_idc+phantom" and source_task(spec) == ""
        assert parts[0]["params"]["split_seed"] == 0, "parameters of the reader, its defaults among them"
    assert jobs["discover.transvw.covid19_idc+phantom"].key in jobs["pretrain.transvw.covid19_idc+phantom"].needs
    assert set(jobs["pretrain.refers.covid19_idc+phantom"].spec["source"][0]) == {
        "dataset",
        "params",
        "prepare",
        "task",
        "has_reports",
    }


def test_parameters_of_each_are_in_the_key(plan: Plan, plan_of: PlanOf) -> None:
    other = plan_of(METHODS, DATA, sources("[phantom, {dataset: covid19_idc, params: {split_seed: 1}}]"))
    changed = {name for name, key in keys(other).items() if keys(plan)[name] != key}
    assert {name.split(".")[0] for name in changed} == {
        "prepare",
        "discover",
        "pretrain",
        "refers",
        "transvw",
        "model_genesis",
    }
    assert "prepare.phantom.36px" not in changed


def test_the_file_of_a_plan_holds_them(plan: Plan, tmp_path: Path) -> None:
    assert read(lock.write(plan, tmp_path / "results")).jobs == plan.jobs


def test_a_table_says_what_was_pretrained_on(plan: Plan, plan_of: PlanOf) -> None:
    for cell in plan.cells:
        told = "pre-trained on covid19_idc and phantom together" in cell.footnotes
        assert told == (cell.method != "scratch")
    mixed = plan_of(
        METHODS,
        sources("[phantom, covid19_idc]"),
        ("{dataset: phantom, tasks: [findings]", "{dataset: shenzhen_tb, tasks: [tuberculosis]"),
    )
    notes = {note for cell in mixed.cells for note in cell.footnotes if note.startswith("pre-trained")}
    assert notes == {
        "pre-trained on covid19_idc and phantom together",
        "pre-trained on procedural radiographs (phantom)",
    }


def test_a_method_needs_reports_of_each_and_images_of_all(plan_of: PlanOf) -> None:
    """NIH ChestX-ray14 has no reports, and is not here."""
    jobs = by_name(plan_of(METHODS, sources("[phantom, nih_chestxray14]")))
    reason = jobs["pretrain.refers.nih_chestxray14+phantom"].unavailable
    assert reason == "method refers needs reports, which nih_chestxray14 does not have"
    for name in ("pretrain.model_genesis.nih_chestxray14+phantom", "discover.transvw.nih_chestxray14+phantom"):
        assert jobs[name].unavailable == jobs["prepare.nih_chestxray14.36px"].unavailable != ""
