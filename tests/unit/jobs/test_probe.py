"""Does a probe run the real job of every method, prepared or not, and leave nothing but its measurement?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import DataError
from refers_bench.jobs import entry, probe, probe_data
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.plan.expand import expand
from refers_bench.plan.forecast.cost_model import modelled
from refers_bench.plan.forecast.devices import Device
from refers_bench.plan.forecast.measurements import probed
from refers_bench.plan.forecast.probes import probes
from refers_bench.plan.forecast.shapes import Shapes
from refers_bench.plan.forecast.splits import Splits
from refers_bench.plan.lock import Job, Plan
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

CPU = Device(kind="cpu", name="A processor", memory_bytes=1 << 40)
#: Parameters that make any method small, and those that let it pre-train here.
SMALL: Mapping[str, Any] = {
    "queue": 24, "words": 6, "patients": 4, "val_patients": 2, "features": 8, "feature_size": 16, "feature_steps": 8,
    "depth": 18, "stand_in": True, "windows": 20,
}  # fmt: skip
METHODS = sorted(name for name in plugins.names("method") if plugins.load("method", name).build_objective is not None)


def plan_of(folder: Path, method: str) -> Plan:
    fields = plugins.load("method", method).Params.model_fields
    params = {name: value for name, value in SMALL.items() if name in fields}
    (folder / "m.yaml").write_text(json.dumps({
        "version": 1, "protocol": {"preset": "smoke"}, "data": {"phantom": {"phantom": {"studies": 40, "size": 40}}},
        "source": {"dataset": "phantom"}, "methods": [{"id": method, "params": params}],
        "targets": [{"dataset": "phantom", "tasks": ["findings"], "label_ratios": ["50%"]}], "seeds": [3],
    }))  # fmt: skip
    return expand(load(folder / "m.yaml"), Roots())


def probes_of(plan: Plan, results: Path, kind: str) -> list[Job]:
    """Probes of the plan's shapes of one kind, with three updates each."""
    wanted = probes(Shapes(plan.jobs), {}, Splits(plan, ResultStore(results)), CPU, slots=1)
    assert not wanted.refused
    found = [job for job in wanted.jobs if job.spec["job"]["kind"] == kind]
    return [
        Job(key=job.key, kind=job.kind, name=job.name, spec={**job.spec, "steps": 3, "warm_up": 1}) for job in found
    ]


def run(job: Job, context: JobContext) -> dict[str, Any]:
    entry.run({"key": job.key, "kind": job.kind, "name": job.name, "needs": [], "spec": dict(job.spec)}, context)
    content: dict[str, Any] = json.loads((context.results / "probes" / f"{job.key}.json").read_text())
    return content


def check(content: Mapping[str, Any], job: Job, context: JobContext, data: str) -> None:
    found = content["measurement"]
    assert found["data"].startswith(data)
    assert found["step_s"] > 0 and found["fixed_s"] >= 0 and found["evaluation_s"] > 0
    assert found["steps"] == 3
    # Updates that were measured are a part of all the time that passed.
    assert 3 * found["step_s"] < found["wall_s"]
    assert 50e6 < found["peak_bytes"] < 8e9
    assert content["provenance"]["packages"]["torch"]
    # Nothing but the measurement is left; no result is published.
    assert [path.name for path in (context.results / "probes").iterdir()] == [f"{job.key}.json"]
    assert not list((context.results / "work").glob("*/*"))
    cost = probed(context.results, content["shape"], CPU)
    assert cost is not None and cost.step_s == found["step_s"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_probed_before_anything_is_prepared(method: str, tmp_path: Path) -> None:
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    (job,) = probes_of(plan_of(tmp_path, method), context.results, "pretrain")
    content = run(job, context)
    check(content, job, context, "random pixels")
    assert content["measurement"]["checkpoint_bytes"] > 10_000
    assert not (context.results / "store").exists() and not context.cache.exists()


def test_a_cell_is_probed_on_prepared_images_and_on_random_ones(tmp_path: Path) -> None:
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    plan = plan_of(tmp_path, "refers")
    (job,) = probes_of(plan, context.results, "finetune")
    check(run(job, context), job, context, "random pixels")
    prepare = plan.jobs[0]
    entry.run({"key": prepare.key, "kind": "prepare", "name": "", "needs": [], "spec": dict(prepare.spec)}, context)
    published = sorted(path.name for path in (context.results / "store").iterdir())
    (again,) = probes_of(plan, context.results, "finetune")
    assert again.key == job.key
    check(run(again, context), again, context, "prepared images")
    assert sorted(path.name for path in (context.results / "store").iterdir()) == published == [prepare.key]


def test_preparation_and_discovery_are_probed(tmp_path: Path) -> None:
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    plan = plan_of(tmp_path, "transvw")
    (job,) = probes_of(plan, context.results, "prepare")
    found = run(job, context)["measurement"]
    assert 0 < found["step_s"] * found["steps"] <= found["wall_s"]
    assert not context.cache.exists() and not (context.results / "store").exists()
    (job,) = probes_of(plan, context.results, "discover")
    content = run(job, JobContext(results=tmp_path / "other", cache=tmp_path / "cache"))
    check(content, job, JobContext(results=tmp_path / "other", cache=tmp_path / "cache"), "random pixels")


def test_a_pretraining_on_two_datasets_is_probed(tmp_path: Path) -> None:
    """On random pixels until both are prepared, then on images of both, as many together as of one."""
    plan_of(tmp_path, "transvw")
    content = json.loads((tmp_path / "m.yaml").read_text())
    content["data"]["covid19_idc"] = {"phantom": {"studies": 40, "size": 40}}
    (tmp_path / "m.yaml").write_text(json.dumps({**content, "source": ["phantom", "covid19_idc"]}))
    plan = expand(load(tmp_path / "m.yaml"), Roots())
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    prepared = [job for job in plan.jobs if job.kind == "prepare"]
    assert len(prepared) == 2
    for todo, data in ((prepared, "random pixels"), ((), "prepared images")):
        for kind in ("discover", "pretrain"):
            (job,) = probes_of(plan, tmp_path / "nothing", kind)
            results = replace(context, results=tmp_path / f"{kind} {data}")
            check(run(job, results), job, results, data)
        for one in todo:
            entry.run({"key": one.key, "kind": "prepare", "name": "", "needs": [], "spec": dict(one.spec)}, context)


def test_a_preparation_of_images_on_disk_is_probed(tmp_path: Path) -> None:
    """As many images as the probe asks for, of those that are there; the root is left as it was."""
    root = tmp_path / "root"
    root.mkdir()
    plugins.load("dataset", "shenzhen_tb").write_layout(root, PhantomParams(studies=12, size=32, views=1))
    (tmp_path / "m.yaml").write_text(json.dumps({
        "version": 1, "protocol": {"preset": "smoke"}, "source": {"dataset": "shenzhen_tb"}, "methods": ["scratch"],
        "targets": [{"dataset": "shenzhen_tb", "tasks": ["tuberculosis"]}], "seeds": [3],
    }))  # fmt: skip
    plan = expand(load(tmp_path / "m.yaml"), Roots(paths={"shenzhen_tb": root}))
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache", roots={"shenzhen_tb": str(root)})
    before = sorted(path.name for path in root.rglob("*"))
    for decoded, images in ((5, 5), (99, 12)):
        (job,) = probes_of(plan, context.results, "prepare")
        found = run(replace(job, spec={**job.spec, "decoded": decoded}), context)["measurement"]
        assert (found["steps"], found["data"]) == (images, f"{images} images decoded")
        assert 0 < found["step_s"] * images + found["fixed_s"] <= found["wall_s"]
    assert sorted(path.name for path in root.rglob("*")) == before
    assert not context.cache.exists() and not (context.results / "store").exists()


def test_the_first_updates_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pandas as pd

    rates = pd.DataFrame({"step": range(1, 6), "name": "images_per_s", "value": [1.0, 8.0, 8.0, 4.0, 4.0]})
    monkeypatch.setattr(probe.schemas, "read", lambda path, kind: rates)
    record = {"key": "k", "name": "n", "facts": {"train_s": 17.5}}
    # Of equal batches the updates took 10, 1.25, 1.25, 2.5 and 2.5 seconds.
    store = ResultStore(tmp_path)
    assert probe._update_seconds(store, record, 5, warm_up=1) == pytest.approx(1.875)
    assert probe._update_seconds(store, record, 5, warm_up=3) == pytest.approx(2.5)
    with pytest.raises(DataError, match="5 throughputs of 6 updates"):
        probe._update_seconds(store, record, 6, warm_up=1)


def test_a_sample_keeps_studies_whole_and_is_what_the_job_can_use(tmp_path: Path) -> None:
    context = JobContext(results=tmp_path / "results", cache=tmp_path / "cache")
    plan = plan_of(tmp_path, "refers")
    prepare = plan.jobs[0]
    entry.run({"key": prepare.key, "kind": "prepare", "name": "", "needs": [], "spec": dict(prepare.spec)}, context)
    whole = PreparedImages.open(context.cache / "prepared" / prepare.key)
    spec = next(job.spec for job in plan.jobs if job.kind == "pretrain")
    probe_data.sampled(
        context.cache / "prepared" / prepare.key,
        tmp_path / "small",
        spec=spec,
        sample={"train": 12, "val": 5, "test": 3},
    )
    small = PreparedImages.open(tmp_path / "small")
    counts = small.index["split"].value_counts().to_dict()
    assert counts == {"train": 12, "val": 5}  # a pre-training never sees the test split
    there = whole.index.set_index("image_id")
    places = {name: place for place, name in enumerate(whole.index["image_id"])}
    for row, name in enumerate(small.index["image_id"]):
        assert np.array_equal(small.images_NHW[row], whole.images_NHW[places[name]])
        assert there.loc[name, "study_id"] == small.index["study_id"][row]
    sizes, full = small.index.groupby("study_id").size(), whole.index.groupby("study_id").size()
    cut = [study for study, count in sizes.items() if count != full[study]]
    assert len(cut) <= 2  # the last one of each split


def test_random_data_fill_the_vocabulary_and_the_longest_report(tmp_path: Path) -> None:
    spec = next(job.spec for job in plan_of(tmp_path, "refers").jobs if job.kind == "pretrain")
    probe_data.synthetic(tmp_path / "random", spec=spec, sample={"train": 60, "val": 9, "test": 9})
    made = PreparedImages.open(tmp_path / "random")
    assert made.index["split"].value_counts().to_dict() == {"train": 60, "val": 9}
    assert made.images_NHW.shape == (69, 36, 36)
    assert {len(text.split()) for text in made.index["report"]} == {spec["pretrain"]["text_tokens"]}
    studies = made.index.groupby("study_id")
    assert studies.size().max() == spec["params"]["views"] and (studies["split"].nunique() == 1).all()
    assert (studies["report"].nunique() == 1).all()


def test_the_model_names_no_source_that_it_does_not_have(tmp_path: Path) -> None:
    for job in plan_of(tmp_path, "c2l").jobs:
        cost = modelled(job.spec, CPU)
        assert cost.source == "model" and cost.step_s > 0 and cost.peak_bytes > 100e6


def test_a_probed_job_is_the_job_cut_short() -> None:
    """Few updates, three validations, no early stop, and nothing that another job or a file would have to give."""
    network = {"init": "imagenet", "init_path_name": "vit", "width": 8}
    section = {"steps": 900, "warmup_steps": 90, "validate_every": 100, "patience": 5, "batch_size": 4}
    cell = {
        "kind": "finetune", "network": network, "finetune": section, "pretrain": "abc", "label_ratio": 0.01,
        "weights": "theirs", "seed": 3,
    }  # fmt: skip
    plain = {**network, "init": "random", "init_path_name": ""}
    short = {**section, "steps": 8, "warmup_steps": 1, "validate_every": 3, "patience": 0}
    found = probe._short({"job": {"spec": cell}, "steps": 5, "warm_up": 3})
    kept = {"kind": "finetune", "seed": 3}
    assert found == ({**kept, "network": plain, "finetune": short, "pretrain": None, "label_ratio": 1.0}, 8)
    assert (cell["pretrain"], cell["weights"], section["steps"], network["init"]) == ("abc", "theirs", 900, "imagenet")
    source = {
        "kind": "pretrain", "network": network, "seed": 3,
        "pretrain": {**section, "text_encoder": {"path_name": "bert", "width": 8}},
    }  # fmt: skip
    expected = {**kept, "kind": "pretrain", "network": plain}
    expected["pretrain"] = {**short, "text_encoder": {"path_name": "", "width": 8}}
    assert probe._short({"job": {"spec": source}, "steps": 5, "warm_up": 3}) == (expected, 8)
    words = {"kind": "discover", "discovery": {"feature_steps": 900, "words": 44, "side": 0.3}}
    found = probe._short({"job": {"spec": words}, "steps": 2, "warm_up": 1})
    assert found == ({"kind": "discover", "discovery": {"feature_steps": 3, "words": 4, "side": 0.3}}, 3)
    few = {"kind": "discover", "discovery": {"feature_steps": 900, "words": 3}}
    assert probe._short({"job": {"spec": few}, "steps": 2, "warm_up": 0})[0]["discovery"]["words"] == 3


@pytest.mark.parametrize(
    ("kind", "facts", "expected"),
    [
        # 10 s in all: 4 of updates, 2 validations of 5 images and 5 + 10 predicted ones at 0.1 s each.
        ("finetune", {"validation_s": 0.5, "validations": 2, "images": {"val": 5, "test": 10}}, (0.1, 3.5)),
        ("pretrain", {"validation_s": 0.5, "validations": 2, "examples": {"val": 5, "test": 0}}, (0.1, 5.0)),
        # Without validation an evaluation is a third of an update of 4 examples: 0.05 s, of 10 predicted ones.
        ("finetune", {"validation_s": None, "validations": 0, "images": {"val": 0, "test": 10}}, (0.05, 5.5)),
        ("finetune", {"validation_s": None, "validations": 0, "images": {"val": 0, "test": 400}}, (0.05, 0.0)),
        ("discover", {"validation_s": None, "validations": 0}, (0.05, 6.0)),
    ],
)
def test_seconds_are_shared_out_between_updates_evaluations_and_all_else(
    kind: str, facts: dict[str, Any], expected: tuple[float, float]
) -> None:
    short = {"kind": kind, kind: {"batch_size": 4}, "discovery": {"feature_batch_size": 4}}
    record = {"kind": kind, "wall_s": 10.0, "facts": {"train_s": 4.0, **facts}}
    found = probe._measured(record, short, 0.6)
    assert found == pytest.approx({"step_s": 0.6, "evaluation_s": expected[0], "fixed_s": expected[1]})
