"""The manifest of the field's methods and targets can be planned without any data, and holds all that it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import Commands, command
from refers_bench import plugins
from refers_bench.store.plan import LOCK, Plan, read

#: Rows of the fair comparison: the protocol's network and constants, or what its method cannot be without.
FAIR = ("refers", "convirt", "gloria", "mgca", "mrm", "imagenet", "lsp_transformer", "scratch")
#: Rows of the methods' own: name -> (method, label, its network, batch of its source).
OWN = {
    "convirt_own": ("convirt", "ConVIRT, own recipe, ResNet-50", "resnet50", 32),
    "gloria_own": ("gloria", "GLoRIA, own recipe, ResNet-50", "resnet50", 48),
    "mgca_own": ("mgca", "MGCA, own recipe, ResNet-50", "resnet50", 144),
    "mgca_own_transformer": ("mgca", "MGCA, own recipe, transformer", "radiograph_transformer", 144),
    "mrm_own": ("mrm", "MRM, own network, ViT", "vit", 256),
}
#: The paper's targets, and those on which the field compares beside them -> the tasks that are asked.
TARGETS = {
    "nih_chestxray14": {"findings"},
    "vinbigdata_cxr": {"findings"},
    "shenzhen_tb": {"tuberculosis"},
    "covid19_idc": {"covid19_vs_other", "viral_vs_bacterial"},
    "rsna_pneumonia": {"pneumonia", "three_classes"},
    "chexpert": {"competition_mrm", "competition_u_ones"},
    "siim_acr": {"pneumothorax"},
    "covidx": {"covid19"},
    "montgomery_tb": {"tuberculosis"},
    "vindr_cxr": {"local14", "global6"},
    "padchest": {"findings14_exact"},
    "tbx11k": {"tuberculosis", "three_classes"},
}


@pytest.fixture(scope="module")
def printed_and_planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Plan]:
    """What `plan breadth` prints in an empty folder, and the plan that it writes."""
    results = tmp_path_factory.mktemp("breadth") / "results"
    code, out, err = command("--results", str(results), "plan", "breadth")
    assert (code, err) == (0, "")
    return out, read(results / "breadth" / LOCK)


def test_without_data_everything_is_unavailable_with_its_reason(printed_and_planned: tuple[str, Plan]) -> None:
    out, plan = printed_and_planned
    assert all(job.unavailable for job in plan.jobs)
    heads, *counts = (re.split(r" {2,}", line) for line in out.splitlines()[:4])
    assert [line[0] for line in counts] == ["prepare", "pretrain", "finetune"]
    for _, *found in counts:
        assert set(found[:-1]) == {"0"} and int(found[-1]) > 0 and heads[-1] == "unavailable"
    for dataset in (*TARGETS, "mimic_cxr_jpg"):
        assert f"set REFERS_BENCH_ROOT_{dataset.upper()}, or data_roots.{dataset} in " in out
    assert sum(int(line[-1]) for line in counts) == len(plan.jobs)


def test_its_rows_are_the_methods_in_the_fair_recipe_and_in_their_own(printed_and_planned: tuple[str, Plan]) -> None:
    _, plan = printed_and_planned
    labels = {cell.method: cell.label for cell in plan.cells}
    assert set(labels) == {*FAIR, *OWN}
    assert {name: labels[name] for name in OWN} == {name: label for name, (_, label, *_) in OWN.items()}
    specs = {job.name.split(".")[1]: job.spec for job in plan.jobs if job.kind == "pretrain"}
    fair = {name: specs[name]["pretrain"] for name in ("refers", "convirt", "gloria", "mgca")}
    # Batches of single radiographs are three times as large as those of studies of three views.
    assert {name: section["batch_size"] for name, section in fair.items()} == {
        "refers": 32, "convirt": 96, "gloria": 96, "mgca": 96,
    }  # fmt: skip
    alike = [{**section, "batch_size": 0} for section in fair.values()]
    assert all(section == alike[0] for section in alike)
    for name, (method, _, backbone, batch) in OWN.items():
        spec = specs[name]
        params = plugins.load("method", method).Params(**spec["params"])
        assert (spec["method"], params.backbone, spec["pretrain"]["batch_size"]) == (method, backbone, batch)
        assert spec["pretrain"]["optimizer"] != fair["refers"]["optimizer"]
        fair_params = plugins.load("method", method).Params(**specs[method]["params"])
        assert fair_params.backbone == "radiograph_transformer"


def test_its_targets_are_the_papers_and_those_of_the_field(printed_and_planned: tuple[str, Plan]) -> None:
    _, plan = printed_and_planned
    tasks: dict[str, set[str]] = {}
    rows: dict[str, set[str]] = {}
    for cell in plan.cells:
        tasks.setdefault(cell.dataset, set()).add(cell.task)
        rows.setdefault(cell.dataset, set()).add(cell.method)
    assert tasks == TARGETS
    assert all(found == {*FAIR, *OWN} for found in rows.values()), "every row meets every target"


def test_the_tuned_one_is_the_same_with_a_search_for_every_row(
    printed_and_planned: tuple[str, Plan], cli: Commands, home: Path
) -> None:
    _, plan = printed_and_planned
    cli("plan", "breadth_tuned")
    tuned = read(home / "results" / "breadth_tuned" / LOCK)
    pretrained, again = ({job.key for job in one.jobs if job.kind == "pretrain"} for one in (plan, tuned))
    assert pretrained == again
    candidates: dict[tuple[str, str, str, float, int], set[tuple[str, ...]]] = {}
    for cell in tuned.cells:
        place = (cell.method, cell.dataset, cell.task, cell.label_ratio, cell.seed)
        candidates.setdefault(place, set()).add(cell.candidate)
    assert len(candidates) == len(plan.cells)
    assert {len(found) for found in candidates.values()} == {6}


def test_it_can_be_forecast_without_data(cli: Commands, home: Path) -> None:
    for name in ("breadth", "breadth_tuned"):
        out, _ = cli("plan", name, "--forecast", "--on", "H100 80GB", "--json")
        text = (Path(__file__).resolve().parents[2] / "manifests" / f"{name}.yaml").read_text()
        (stated,) = re.findall(r"About ([\d,]+) hours of one H100, by the model", text)
        (hours,) = re.findall(r'"hours": ([\d.]+),\n "wall_s"', out)
        found = int(stated.replace(",", ""))
        assert abs(float(hours) / found - 1) < 0.02, "the comment of the manifest says what it takes"
