"""The jobs that a manifest implies, what they share, and what changes their keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from refers_bench.manifest.roots import Roots
from refers_bench.plan.lock import Job, Plan

PlanOf = Callable[..., Plan]
ROOT = Path(__file__).resolve().parents[3]


def by_name(plan: Plan) -> dict[str, Job]:
    return {job.name: job for job in plan.jobs}


def keys(plan: Plan) -> dict[str, str]:
    return {job.name: job.key for job in plan.jobs}


def changed(one: Plan, other: Plan) -> set[str]:
    """Names of jobs whose key differs, or that only one of them has."""
    return {name for name, _ in keys(one).items() ^ keys(other).items()}


def test_pretrain_once_finetune_per_cell(plan_of: PlanOf) -> None:
    plan = plan_of()
    assert Counter(job.kind for job in plan.jobs) == {"prepare": 1, "pretrain": 2, "finetune": 12}
    assert len(plan.cells) == 3 * 2 * 2
    jobs = {job.key: job for job in plan.jobs}
    places = list(jobs)
    for job in plan.jobs:
        assert all(places.index(need) < places.index(job.key) for need in job.needs), "needed jobs come first"
        if job.kind == "finetune":
            pretrains = [jobs[need].name for need in job.needs if jobs[need].kind == "pretrain"]
            assert pretrains == ([] if "scratch" in job.name else [f"pretrain.{job.name.split('.')[0]}.phantom"])


def test_a_plan_is_a_function_of_its_manifest(plan_of: PlanOf) -> None:
    assert plan_of() == plan_of()
    assert keys(plan_of()) == keys(plan_of(name="other")), "the file's name is in no key"


def test_equal_rows_share_their_jobs(plan_of: PlanOf) -> None:
    twice = plan_of(("scratch]", "scratch, {id: scratch, name: again}]"))
    assert len(twice.jobs) == len(plan_of().jobs)
    assert len(twice.cells) == 16


def test_a_row_may_be_for_some_targets_only(plan_of: PlanOf) -> None:
    """Its cells are those of a plan in which it is for all of them."""
    two = [
        ("data: {", "data: {covid19_idc: {phantom: {studies: 40, size: 40}}, "),
        ("targets:", "targets:\n  - {dataset: covid19_idc, tasks: [covid19_vs_other]}"),
    ]
    both = plan_of(*two)
    some = plan_of(*two, ("scratch]", "{id: scratch, targets: [covid19_idc]}]"))
    left_out = {name for name in keys(both) if name.startswith("scratch.phantom.")}
    assert len(left_out) == 4
    assert changed(both, some) == left_out


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        # What moves a number changes exactly the keys of the jobs it moves.
        ("preset: smoke", "preset: smoke, overrides: {finetune.learning_rate: 0.01}", {"finetune"}),
        ("preset: smoke", "preset: smoke, overrides: {pretrain.steps: 31}", {"pretrain", "finetune of pretrained"}),
        ("preset: smoke", "preset: smoke, overrides: {network.mlp_width: 48}", {"pretrain", "finetune"}),
        ("preset: smoke", "preset: smoke, overrides: {image.prepared_size: 40}", {"prepare", "pretrain", "finetune"}),
        ("studies: 20", "studies: 21", {"prepare", "pretrain", "finetune"}),
        # What does not, changes none.
        ("version: 1", "version: 1\ntitle: another\nexecution: {cpu_slots: 2, time_limit: 5m}", set()),
        ("[refers,", "[{id: refers, label: ours},", set()),
    ],
    ids=["finetune", "pretrain", "network", "preparation", "data", "execution", "label"],
)
def test_what_a_key_depends_on(plan_of: PlanOf, old: str, new: str, touched: set[str]) -> None:
    one, other = plan_of(), plan_of((old, new))
    expected = set()
    for name, job in {**by_name(one), **by_name(other)}.items():
        if job.kind in touched or (
            "finetune of pretrained" in touched and job.kind == "finetune" and "scratch" not in name
        ):
            expected.add(name)
    assert changed(one, other) == expected


def test_overrides_of_a_row_touch_that_row_only(plan_of: PlanOf) -> None:
    own = "{id: scratch, overrides: {finetune: {learning_rate: 0.01}}}]"
    one, other = plan_of(), plan_of(("scratch]", own))
    assert changed(one, other) == {name for name in keys(one) if name.startswith("scratch")}
    notes = {cell.footnotes for cell in other.cells if cell.method == "scratch"}
    assert notes == {("finetune.learning_rate = 0.01 for this row only",)}


def test_each_seed_with_its_own_pretraining(plan_of: PlanOf) -> None:
    plan = plan_of(("[refers, lsp_transformer, scratch]", "[{id: refers, pretrain_seeds: [0, 7]}]"))
    names = [job.name for job in plan.jobs if job.kind == "pretrain"]
    assert names == ["pretrain.refers.phantom", "pretrain.refers.phantom.p7"]
    jobs = by_name(plan)
    assert jobs["refers.phantom.findings.10%.s1"].needs[1] == jobs["pretrain.refers.phantom.p7"].key


def test_a_missing_root_makes_jobs_unavailable_and_what_needs_them(plan_of: PlanOf) -> None:
    plan = plan_of(
        ("data: {phantom: {phantom: {studies: 20, size: 40}}}\n", ""), ("source: {dataset: phantom}", "source: {dataset: covid19_idc}"),
        ("dataset: phantom, tasks: [findings]", "dataset: covid19_idc, tasks: [covid19_vs_other]"),
    )  # fmt: skip
    assert {job.unavailable for job in plan.jobs} == {plan.jobs[0].unavailable}
    assert "data root 'covid19_idc' is not set: set REFERS_BENCH_ROOT_COVID19_IDC" in plan.jobs[0].unavailable


def test_absent_weights_make_pretraining_unavailable(plan_of: PlanOf, tmp_path: Path) -> None:
    wanting = ("preset: smoke", "preset: smoke, overrides: {pretrain.text_encoder.path_name: bert}")
    jobs = by_name(plan_of(wanting))
    assert "data root 'bert' is not set" in jobs["pretrain.refers.phantom"].unavailable
    assert jobs["pretrain.lsp_transformer.phantom"].unavailable == "", "it reads no report"
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text("{}")
    given = plan_of(wanting, roots=Roots(paths={"bert": tmp_path / "bert"}))
    assert by_name(given)["pretrain.refers.phantom"].unavailable == ""
    before = keys(given)
    (tmp_path / "bert" / "config.json").write_text("{ }")
    assert keys(plan_of(wanting, roots=Roots(paths={"bert": tmp_path / "bert"}))) != before


def test_a_source_without_reports_cannot_train_refers(plan_of: PlanOf) -> None:
    plan = plan_of()
    assert plan.roots == {}
    assert all(not job.unavailable for job in plan.jobs)
    without = plan_of(
        ("data: {", "data: {nih_chestxray14: {phantom: {studies: 20, size: 40}}, "),
        ("source: {dataset: phantom}", "source: {dataset: nih_chestxray14}"),
    )
    reasons = {job.name.removeprefix("pretrain.").partition(".")[0]: job.unavailable for job in without.jobs}
    refused = "method refers needs reports, which nih_chestxray14 does not have"
    assert reasons == {"prepare": "", "refers": refused, "lsp_transformer": "", "scratch": ""}


def test_a_revised_crop_is_in_the_keys_of_those_who_use_it(plan_of: PlanOf) -> None:
    def revised(augment: str) -> set[str]:
        plan = plan_of(("preset: smoke", f"preset: smoke, overrides: {{image: {{{augment}: {{crop: resized}}}}}}"))
        return {job.kind for job in plan.jobs if job.spec.get("crop_impl")}

    assert not any("crop_impl" in job.spec for job in plan_of().jobs)
    assert (revised("pretrain_augment"), revised("finetune_augment")) == ({"pretrain"}, {"finetune"})


@pytest.mark.parametrize("manifest", sorted((ROOT / "manifests").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_manifest_plans_without_its_data(manifest: Path) -> None:
    from refers_bench.manifest.load import load
    from refers_bench.plan.expand import expand

    plan = expand(load(manifest), Roots())
    assert plan.cells
    names = [cell.name for cell in plan.cells]
    assert len(names) == len(set(names))
    for name, value in plan.values.items():
        assert value["origin"], f"{name} has no source"


def test_values_say_where_they_come_from(plan_of: PlanOf) -> None:
    plan = plan_of(("preset: smoke", "preset: smoke, overrides: {finetune.learning_rate: 0.01}"))
    value: Mapping[str, Any] = plan.values["finetune.learning_rate"]
    assert value["value"] == 0.01
    assert value["overridden"]
    assert value["origin"].endswith("m.yaml:3:38") or "m.yaml:3:" in value["origin"]
    assert plan.values["finetune.momentum"]["origin"] == "paper: paper, Methods"


def test_a_plan_keeps_what_its_manifest_says_and_no_default(plan_of: PlanOf) -> None:
    plan = plan_of(("version: 1", "version: 1\ntitle: A title\ntables: [table1]"))
    assert plan.manifest == {
        "version": 1,
        "title": "A title",
        "protocol": {"preset": "smoke"},
        "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
        "source": {"dataset": "phantom"},
        "methods": [{"id": "refers"}, {"id": "lsp_transformer"}, {"id": "scratch"}],
        "targets": [{"dataset": "phantom", "tasks": ["findings"], "label_ratios": [0.1, 1.0]}],
        "seeds": [0, 1],
        "tables": ["table1"],
    }
    assert (plan.name, plan.title, plan.tables) == ("m", "A title", ("table1",))
    (images,) = [job for job in plan.jobs if job.kind == "prepare"]
    assert plan.images == {images.key: 60}, "20 studies of 3 views"


def test_what_a_method_defines_is_said_with_its_source(plan_of: PlanOf) -> None:
    values = plan_of(("scratch]", "transvw]")).values
    crop = values["image.pretrain_augment.crop [transvw]"]
    assert (crop["value"], crop["origin"]) == ("none", "transvw: official code: the crop of a visual word, whole")
    assert not crop.get("overridden")
    assert values["image.pretrain_augment.crop"]["value"] != "none"
    words = values["params.words [transvw]"]
    assert (words["value"], words["official"], words["stated"], words["overridden"]) == (44, 44, True, False)


def test_an_imagenet_row_without_weights_is_unavailable_and_says_how_to_get_them(plan_of: PlanOf) -> None:
    plan = plan_of(("scratch]", "imagenet]"))
    jobs = [job for job in plan.jobs if job.kind == "finetune" and job.spec["method"] == "imagenet"]
    assert jobs and all("data root" in job.unavailable and "timm.create_model" in job.unavailable for job in jobs)
    assert all(not job.unavailable for job in plan.jobs if job.spec.get("method") == "refers")


def test_a_row_keeps_the_network_of_its_weights_and_says_so(plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"x")
    roots = Roots(paths={"imagenet": tmp_path / "w.npz", "imagenet_resnet18": tmp_path / "w.npz"})
    init = "overrides: {network: {init: imagenet, init_path_name: imagenet}}"
    rows = f"[imagenet, {{id: refers, {init}}}, {{id: lsp_convnet, params: {{depth: 18}}, {init}}}, scratch]"
    listed = ("[refers, lsp_transformer, scratch]", rows)
    plan = plan_of(listed, roots=roots)
    said = "as its weights were trained: GELU in place of ReLU, added positions in place of concatenated positions"
    assert {cell.method for cell in plan.cells if said in cell.footnotes} == {"imagenet", "refers"}
    for job in plan.jobs:
        if job.kind in ("pretrain", "finetune"):
            network = job.spec["network"]
            theirs = ("gelu", "added") if job.spec["method"] in ("imagenet", "refers") else ("relu", "concatenated")
            assert (network["activation"], network["position"]) == theirs, job.name
            assert "loading" not in job.spec, "nothing is left to adapt"
    value = plan.values["network.activation [imagenet]"]
    assert (value["value"], value["origin"]) == ("gelu", "weights 'imagenet': as they were trained")
    # What a manifest sets stands, and is said where it is another network than the weights'.
    relu = plan_of(listed, ("preset: smoke", "preset: smoke, overrides: {network.activation: relu}"), roots=roots)
    remark = "weights trained with GELU run here with ReLU"
    assert {cell.method for cell in relu.cells if remark in cell.footnotes} == {"imagenet", "refers"}
    assert all(job.spec["network"]["activation"] == "relu" for job in relu.jobs if "network" in job.spec)
    both = "preset: smoke, overrides: {network.activation: gelu, network.position: added}"
    same = plan_of(listed, ("preset: smoke", both), roots=roots)
    assert not any("weights" in note and "trained" in note for cell in same.cells for note in cell.footnotes)


@pytest.mark.parametrize("ending", ["safetensors", "pth", "bin"])
def test_an_exported_encoder_keeps_what_its_data_sheet_says(plan_of: PlanOf, tmp_path: Path, ending: str) -> None:
    names, path = ["blocks.0.attention.qkv.weight", "position_projection.weight"], tmp_path / f"w.{ending}"
    if ending == "safetensors":
        sheet = json.dumps({"network": {"activation": "gelu", "dropout": 0.25}})
        save_file({name: np.zeros(1, np.float32) for name in names}, path, metadata={"data_sheet": sheet})
    else:
        torch.save({name: torch.zeros(1) for name in names}, path, _use_new_zipfile_serialization=ending == "pth")
    plan = plan_of(
        ("scratch]", "checkpoint]"), ("preset: smoke", "preset: smoke, overrides: {network.position: added}"),
        roots=Roots(paths={"checkpoint": path}),
    )  # fmt: skip
    (network,) = {tuple(j.spec["network"].items()) for j in plan.jobs if j.spec.get("method") == "checkpoint"}
    found = {name: dict(network)[name] for name in ("activation", "dropout", "position")}
    # Torch's files name tensors and say nothing else; what the manifest sets stands.
    said = (
        {"activation": "gelu", "dropout": 0.25} if ending == "safetensors" else {"activation": "relu", "dropout": 0.0}
    )
    assert found == {**said, "position": "added"}


def test_weights_that_are_adapted_are_told_apart_from_those_that_fit(plan_of: PlanOf, tmp_path: Path) -> None:
    def adapted(names: list[str], *changes: tuple[str, str]) -> set[str]:
        save_file({name: np.zeros(1, np.float32) for name in names}, tmp_path / "w.safetensors")
        roots = Roots(paths={"checkpoint": tmp_path / "w.safetensors", "imagenet": tmp_path / "w.safetensors"})
        plan = plan_of(("scratch]", f"checkpoint, {imagenet}]"), *changes, roots=roots)
        return {job.spec["method"] for job in plan.jobs if "loading" in job.spec}

    imagenet = "{id: c2l, overrides: {network: {init: imagenet, init_path_name: imagenet}}}"
    own = ["blocks.0.attention.qkv.weight", "position_projection.weight"]
    adding = ("preset: smoke", "preset: smoke, overrides: {network.position: added}")
    assert adapted(own) == adapted([]) == set(), "rows keep the positions of their weights"
    assert adapted([], adding) == set()
    # A manifest may ask for another network.
    assert adapted(own, adding) == {"checkpoint", "c2l"}
    assert adapted([], ("preset: smoke", "preset: smoke, overrides: {network.position: concatenated}")) == {
        "checkpoint", "c2l",
    }  # fmt: skip


def test_a_resnet_starts_from_a_root_of_its_own(plan_of: PlanOf) -> None:
    row = "{id: lsp_convnet, overrides: {network: {init: imagenet, init_path_name: imagenet}}}]"
    plan = plan_of(("scratch]", row))
    reasons = {job.unavailable for job in plan.jobs if job.spec.get("method") == "lsp_convnet" and job.unavailable}
    assert len(reasons) == 1 and "resnet" in reasons.pop()


def test_files_beside_the_manifest_are_found(plan_of: PlanOf, tmp_path: Path) -> None:
    row = "{id: checkpoint, name: mine, params: {root: mine}}]"
    files = ("version: 1", "version: 1\nfiles: {mine: weights/a.safetensors}")
    absent = plan_of(("scratch]", row), files)
    assert any("a file beside the manifest" in job.unavailable for job in absent.jobs)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.safetensors").write_bytes(b"x")
    there = plan_of(("scratch]", row), files)
    assert not any("a file beside the manifest" in job.unavailable for job in there.jobs)


def test_an_encoders_image_travels_with_its_row_and_a_manifest_has_the_last_word(plan_of: PlanOf) -> None:
    row = "{id: encoder, params: {layout: chexfound}}"
    plan, before = plan_of(("scratch]", f"{row}]")), plan_of()
    image, network = next(
        (job.spec["image"], job.spec["network"]) for job in plan.jobs if job.spec.get("method") == "encoder"
    )
    expected = {
        "size": 512, "prepared_size": 512, "channels": 3, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic", "fit": "crop", "intensity": "min_max",
    }  # fmt: skip
    assert {name: image[name] for name in expected} == expected
    assert (network["patch_size"], network["width"], network["depth"], network["heads"]) == (16, 1024, 24, 16)
    value = plan.values["image.mean [encoder]"]
    assert (value["value"], value["origin"]) == ([0.485, 0.456, 0.406], "encoder: CheXFound: transforms.py: ImageNet")
    names = {job.name: job.spec for job in plan.jobs if job.kind == "prepare"}
    assert set(names) == {"prepare.phantom.36px", "prepare.phantom.512px.bicubic.crop"}
    assert "fit" not in names["prepare.phantom.36px"]
    # No other row's jobs move; what the manifest sets replaces the sheet's.
    others = {name: key for name, key in keys(plan).items() if "refers" in name}
    assert others
    assert others.items() <= keys(before).items()
    changed_row = "{id: encoder, params: {layout: chexfound}, overrides: {image: {size: 256, fit: stretch}}}"
    other = plan_of(("scratch]", f"{changed_row}]"))
    given = next(job.spec["image"] for job in other.jobs if job.spec.get("method") == "encoder")
    assert (given["size"], "fit" in given, given["intensity"]) == (256, False, "min_max")
