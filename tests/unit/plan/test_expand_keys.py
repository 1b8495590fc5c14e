"""Every input that moves a result changes the keys of the jobs that it moves, and of no other job."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from refers_bench import identity, plugins
from refers_bench.data.phantoms import radiographs
from refers_bench.errors import UserError
from refers_bench.manifest import protocols
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import Roots
from refers_bench.manifest.schema import ExecutionPart
from refers_bench.plan import expand, explanation, graph
from refers_bench.plan.lock import Job, Plan

#: A job of every kind: two methods that pre-train (one on visual words), one without, one that brings its weights.
MANIFEST: Mapping[str, Any] = {
    "version": 1,
    "protocol": {"preset": "smoke", "overrides": {}},
    "data": {"phantom": {"phantom": {"studies": 20, "size": 40}}},
    "source": {"dataset": "phantom"},
    "methods": [{"id": "refers"}, {"id": "transvw"}, {"id": "scratch"}, {"id": "checkpoint", "name": "mine"}],
    "targets": [{"dataset": "phantom", "tasks": ["findings"], "label_ratios": [0.1]}],
    "seeds": [0],
}
#: Jobs, as the tables below call them: the explained cell is that of refers.
EXPLAINED = {"attend", "localise"}
TUNED = {"finetune refers", "finetune transvw", "finetune scratch", "finetune mine"} | EXPLAINED
REFERS = {"pretrain refers", "finetune refers"} | EXPLAINED
TRANSVW = {"pretrain transvw", "finetune transvw"}
FROM_SOURCE = REFERS | TRANSVW
NETWORKS = FROM_SOURCE | TUNED
ALL = NETWORKS | {"prepare phantom", "discover transvw"}


class Planner:
    """Plans `MANIFEST` with values replaced, and names its jobs by what they are for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.weights, self.count = folder, folder / "weights.safetensors", 0
        self.weights.write_bytes(b"weights")
        self.yaml = YAML(typ="safe")

    def plan(self, content: Mapping[str, Any] = MANIFEST) -> Plan:
        self.count += 1
        path = self.folder / f"m{self.count}.yaml"
        with path.open("w") as stream:
            self.yaml.dump(dict(content), stream)
        return expand.expand(load(path), Roots(paths={"checkpoint": self.weights}))

    def jobs(self, content: Mapping[str, Any] = MANIFEST) -> dict[str, Job]:
        """Name in the tables -> job."""
        plan = self.plan(content)
        found = {}
        for job in plan.jobs:
            what = job.spec["dataset"] if job.kind == "prepare" else job.spec["method"]
            found[f"{job.kind} {'mine' if what == 'checkpoint' else what}"] = job
        cell = next(cell for cell in plan.cells if cell.method.startswith("refers"))
        _, attend, localise = explanation.jobs_of(plan, cell, {}, maps=["rollout"], threshold=0.3, images=2)[0]
        return found | {"attend": attend, "localise": localise}

    def keys(self, content: Mapping[str, Any] = MANIFEST) -> dict[str, str]:
        return {name: job.key for name, job in self.jobs(content).items()}


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    return Planner(tmp_path_factory.mktemp("plans"))


@pytest.fixture(scope="module")
def jobs(planner: Planner) -> dict[str, Job]:
    return planner.jobs()


@pytest.fixture
def changed(planner: Planner, jobs: Mapping[str, Job]) -> Callable[..., set[str]]:
    """Names of the jobs whose key differs from the unchanged manifest's, or that only one of both has."""

    def differing(content: Mapping[str, Any] = MANIFEST) -> set[str]:
        before = {name: job.key for name, job in jobs.items()}
        return {name for name, _ in before.items() ^ planner.keys(content).items()}

    return differing


def with_value(content: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The content with one value replaced: "methods.0.params.views"."""
    result: dict[str, Any] = copy.deepcopy(dict(content))
    node: Any = result
    *inner, last = path.split("/")
    for part in inner:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    node[int(last) if isinstance(node, list) else last] = value
    return result


# --- a key is a key of the whole specification -----------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Whole floats as integers, which JSON writes otherwise."""
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return int(value) if isinstance(value, float) and value == int(value) else value


def test_a_key_is_the_hash_of_the_whole_specification(jobs: Mapping[str, Job]) -> None:
    assert set(jobs) == ALL
    for name, job in jobs.items():
        text = json.dumps(plain(job.spec), sort_keys=True, separators=(",", ":"))
        assert job.key == hashlib.sha256(text.encode()).hexdigest()[:20], name


def test_specifications_have_these_fields(jobs: Mapping[str, Job]) -> None:
    begin = ["kind", "recipe"]
    networks = [*begin, "method", "params", "impl", "network", "image"]
    tuned = [*networks, "finetune", "dataset", "prepare", "task", "classes", "label_ratio", "seed", "pretrain"]
    fields = {
        "prepare phantom": [*begin, "dataset", "params", "impl", "digest", "phantom", "prepared_size"],
        "discover transvw": [*begin, "method", "impl", "discovery", "seed", "source"],
        "pretrain refers": [*networks, "pretrain", "seed", "source"],
        "pretrain transvw": [*networks, "pretrain", "seed", "source", "discover", "crop_impl"],
        **dict.fromkeys(TUNED - EXPLAINED, tuned),
        "finetune mine": [*tuned, "weights"],
        "attend": [*begin, "cell", "spec", "data", "boxes"],
        "localise": [*begin, "attend", "prepare", "maps", "threshold", "images"],
    }
    assert {name: sorted(job.spec) for name, job in jobs.items()} == {
        name: sorted(names) for name, names in fields.items()
    }
    said: dict[str, Any] = {name: dict(job.spec) for name, job in jobs.items()}
    key = {name: job.key for name, job in jobs.items()}
    phantom = {"seed": 0, "studies": 20, "size": 40, "views": 3, "prevalence": 0.22, "contrast": 1.0, "noise": 0.04}
    assert said["prepare phantom"].items() >= {"kind": "prepare", "dataset": "phantom", "prepared_size": 36}.items()
    assert said["prepare phantom"]["phantom"].items() >= phantom.items()
    source = {"dataset": "phantom", "params": {}, "prepare": key["prepare phantom"]}
    assert said["discover transvw"]["source"] == source
    for name in ("pretrain refers", "pretrain transvw"):
        assert said[name]["source"] == {**source, "task": "findings", "has_reports": True}
    assert said["pretrain transvw"]["discover"] == key["discover transvw"]
    for name in TUNED - EXPLAINED:
        row = name.removeprefix("finetune ")
        told = {one: said[name][one] for one in ("prepare", "task", "classes", "label_ratio", "seed", "pretrain")}
        assert told == {
            "prepare": key["prepare phantom"], "task": "findings", "classes": list(radiographs.FINDINGS),
            "label_ratio": 0.1, "seed": 0, "pretrain": key.get(f"pretrain {row}"),
        }, name  # fmt: skip
    versions = {"prepare": 1, "discover": 1, "pretrain": 4, "finetune": 3, "attend": 1, "localise": 1}
    assert {name: one["recipe"] for name, one in said.items()} == {name: versions[name.split()[0]] for name in said}
    assert said["pretrain transvw"]["crop_impl"] == 2
    assert said["attend"]["spec"] == said["finetune refers"]
    assert said["attend"]["data"] == said["prepare phantom"]
    assert said["attend"]["cell"] == key["finetune refers"]
    assert said["localise"] == {
        "kind": "localise", "recipe": explanation.IMPL["localise"], "attend": key["attend"],
        "prepare": key["prepare phantom"], "maps": ["rollout"], "threshold": 0.3, "images": 2,
    }  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every leaf and every mapping or list below a value."""
    yield path
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[name], (*path, name))


def variants(spec: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The specification with a leaf replaced, left out or added, anywhere; with the place of it."""
    for path in places(spec):
        if path:
            for what in ("replaced", "left out"):
                other = copy.deepcopy(spec)
                node = other
                for name in path[:-1]:
                    node = node[name]
                if what == "replaced":
                    node[path[-1]] = [node[path[-1]], "?"]
                else:
                    del node[path[-1]]
                yield (*path, what), other
        node = other = copy.deepcopy(spec)
        for name in path:
            node = node[name]
        if isinstance(node, dict):
            node["another"] = 0
        elif isinstance(node, list):
            node.append(0)
        else:
            continue
        yield (*path, "added"), other


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_value_of_a_specification_changes_its_key(jobs: Mapping[str, Job], name: str) -> None:
    spec = json.loads(json.dumps(plain(jobs[name].spec)))
    assert identity.key(spec) == jobs[name].key
    seen = {jobs[name].key: ("as it is",)}
    for path, other in variants(spec):
        key = identity.key(other)
        assert key not in seen, f"{path} is not told from {seen[key]}"
        seen[key] = path


#: Dataset -> what specifications said of its reader before it could read published lists.
BEFORE_LISTS: Mapping[str, Mapping[str, Any]] = {
    "rsna_pneumonia": {"headers": "read", "missing": "refuse", "nih_map": "", "split_seed": 0},
    "siim_acr": {
        "headers": "read", "missing": "refuse", "release": "stage_2", "split": "seeded", "split_seed": 0, "val_share": 0.125,
    },
    "vindr_cxr": {"labels": "any", "missing": "refuse", "split_seed": 0, "val_share": 0.2},
    "chexpert": {
        "missing": "refuse", "split": "official_valid", "split_seed": 0, "val_share": 0.1, "views": "frontal",
    },
    "covidx": {"missing": "refuse", "nih_map": "", "split_seed": 0, "val_share": 0.1, "version": "cxr3"},
}  # fmt: skip


@pytest.mark.parametrize("dataset", BEFORE_LISTS)
def test_published_lists_came_later_and_are_in_no_key_without_them(planner: Planner, dataset: str) -> None:
    card: plugins.Dataset = plugins.load("dataset", dataset)
    target = {"dataset": dataset, "tasks": [next(iter(card.tasks))]}
    content = with_value(MANIFEST, "targets", [target]) | {"methods": [{"id": "scratch"}]}
    content["data"] = {dataset: {"phantom": {"studies": 20, "size": 40}}}
    (spec,) = [job.spec for job in planner.plan(content).jobs if job.kind == "prepare"]
    assert spec["params"] == BEFORE_LISTS[dataset] and spec["impl"] == 1


# --- every input reaches the keys it moves ---------------------------------------------------------------------------

#: Place in `MANIFEST`, another value, jobs whose keys change.
INPUTS: list[tuple[str, Any, set[str]]] = [
    *((f"data/phantom/phantom/{name}", value, ALL) for name, value in {
        "seed": 1, "studies": 21, "size": 41, "views": 2, "prevalence": 0.3, "contrast": 0.9, "noise": 0.05,
    }.items()),
    ("seeds/0", 1, TUNED),
    ("targets/0/label_ratios/0", 0.2, TUNED),
    # A pre-training moves the fine-tuning that starts from it, and no other row's.
    ("methods/0/pretrain_seeds", [3], REFERS),
    ("methods/1/pretrain_seeds", [3], TRANSVW | {"discover transvw"}),
    ("methods/0/params", {"view_fusion": False}, REFERS),
    ("methods/0/params", {"tasks": ["report_generation"]}, REFERS),
    *(("methods/1/params", {name: value}, TRANSVW) for name, value in {
        "windows": 6, "alpha": 100.0, "sigma": 7.0, "classification_weight": 0.5, "restoration_weight": 0.5,
        "decoder": "linear",
    }.items()),
    # What visual words are found with moves them, too.
    *(("methods/1/params", {name: value}, TRANSVW | {"discover transvw"}) for name, value in {
        "words": 43, "patients": 199, "val_patients": 29, "side": 0.25, "smallest_scale": 0.8, "largest_scale": 1.2,
        "jitter": 0.2, "border": 0.2, "features": 256, "feature_size": 64, "feature_steps": 100,
        "feature_batch_size": 16, "feature_learning_rate": 0.01, "feature_schedule": "linear",
    }.items()),
    ("methods/3/params", {"coverage": 0.9}, {"finetune mine"}),
    ("methods/0/overrides", {"pretrain.steps": 31}, REFERS),
    ("methods/1/overrides", {"finetune.steps": 31}, {"finetune transvw"}),
    ("methods/2/overrides", {"finetune.steps": 31}, {"finetune scratch"}),
    # What does not move a result.
    ("title", "another", set()),
    ("name", "another", set()),
    ("tables", ["table1"], set()),
    ("analysis", {"reference": "refers", "against": ["scratch"], "test": "welch", "alpha": 0.01}, set()),
    ("methods/0/label", "Ours", set()),
    ("methods/0/name", "refers_again", set()),
    ("methods/0/best_of", "ours", set()),
    # Candidates are jobs of their own; what is not fine-tuned stays as it was.
    ("tuning", {"finetune.steps": [31, 32]}, TUNED),
    ("methods/0/targets", ["phantom"], set()),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "expected"), INPUTS, ids=[f"{path}={value}" for path, value, _ in INPUTS])
def test_a_manifests_value_changes_these_keys(
    changed: Callable[..., set[str]], path: str, value: Any, expected: set[str]
) -> None:
    assert changed(with_value(MANIFEST, path, value)) == expected


def test_another_source_changes_what_is_trained_on_it(planner: Planner, changed: Callable[..., set[str]]) -> None:
    openi = with_value(MANIFEST, "data/openi/phantom", {"studies": 20, "size": 40})
    openi["source"] = {"dataset": "openi"}
    assert changed(openi) == FROM_SOURCE | {"discover transvw", "prepare openi"}
    more = with_value(openi, "data/openi/phantom/studies", 21)
    moved = {name for name, _ in planner.keys(openi).items() ^ planner.keys(more).items()}
    assert moved == FROM_SOURCE | {"discover transvw", "prepare openi"}


def test_no_option_of_execution_changes_a_key(changed: Callable[..., set[str]]) -> None:
    options = {
        "executor": "slurm", "cpu_slots": 7, "jobs_per_gpu": 3, "threads": 5, "prepare_processes": 2,
        "arithmetic": "portable", "compile": True, "time_limit": "5m", "retries": {"crash": 3}, "accumulate": 2,
        "slurm": {"partition": "long"}, "ray": {"address": "auto"}, "options": {"some": "thing"},
    }  # fmt: skip
    assert set(options) == set(ExecutionPart.model_fields), "each is to be tried"
    assert changed({**MANIFEST, "execution": options}) == set()


def other_value(name: str, value: Any) -> Any:
    """A value that the constant may have instead, found by trying."""
    given = {"network.init": "imagenet", "image.channels": 3}
    tried = [given.get(name)]
    if isinstance(value, bool):
        tried += [not value]
    elif isinstance(value, int | float):
        tried += [value + 1, value * 2, type(value)(value / 2), value * 0.75, value + 0.01]
    elif isinstance(value, list):
        tried += [[one * 0.99 for one in value], [0.5], [5]]
    else:
        words = protocols.CONSTANTS[name].annotation
        tried += [*getattr(words, "__args__", ()), "another"]
    for one in tried:
        try:
            if one is not None and one != value:
                protocols.resolve("smoke", [override(name, one), *beside(name)])
                return one
        except UserError:
            continue
    raise AssertionError(f"no other value of {name} found: {value!r}")


def override(name: str, value: Any) -> protocols.Override:
    return protocols.Override(name=name, value=value, place=protocols.yaml_text.Place(Path("m"), 1, 1))


def beside(name: str) -> list[protocols.Override]:
    """Further constants that such a value needs."""
    if name == "image.channels":
        return [override("image.mean", [0.5] * 3), override("image.std", [0.5] * 3)]
    if name == "network.init":
        return [override("network.init_path_name", "somewhere")]
    return []


def moved(name: str) -> set[str]:
    """Jobs whose keys a constant changes, by the section that holds it."""
    if name in ("image.prepared_size", "image.interpolation", "image.fit"):
        return ALL
    if name in ("network.activation", "network.position"):
        return NETWORKS - {"finetune mine"}  # its weights were trained with this other value, which it keeps anyway
    return {"image": NETWORKS, "network": NETWORKS, "pretrain": FROM_SOURCE, "finetune": TUNED, "frozen": set()}[
        name.partition(".")[0]
    ]


#: Constants that can have one value only.
FIXED = {"finetune.loss"}


@pytest.mark.parametrize("name", sorted(set(protocols.CONSTANTS) - FIXED))
def test_every_constant_of_the_protocol_changes_the_keys_of_its_jobs(
    changed: Callable[..., set[str]], name: str
) -> None:
    base = protocols.resolve("smoke")[name].value
    more = {one.name: one.value for one in beside(name)}
    content = with_value(MANIFEST, "protocol/overrides", {name: other_value(name, base), **more})
    assert changed(content) == moved(name)


# --- what stands outside the manifest --------------------------------------------------------------------------------


def raised(monkeypatch: pytest.MonkeyPatch, kind: str, name: str, **values: Any) -> None:
    """Another version of a plug-in."""
    import importlib

    module, (_, value) = importlib.import_module(plugins.names(kind)[name]), plugins.KINDS[kind]
    monkeypatch.setattr(module, value, replace(getattr(module, value), **values))


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("method", "refers", REFERS),
        ("method", "transvw", TRANSVW | {"discover transvw"}),
        ("method", "scratch", {"finetune scratch"}),
        ("method", "checkpoint", {"finetune mine"}),
        ("method", "c2l", set()),
        ("dataset", "phantom", ALL),
        ("dataset", "openi", set()),
    ],
)
def test_a_new_version_of_a_plug_in_changes_the_keys_of_what_uses_it(
    changed: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch, kind: str, name: str, expected: set[str]
) -> None:
    raised(monkeypatch, kind, name, impl=plugins.load(kind, name).impl + 1)
    assert changed() == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classes": ("one", "another")}, TUNED),
        ({"source_task": "others"}, FROM_SOURCE),
        ({"has_reports": False}, FROM_SOURCE),
        ({"label": "another", "licence": "another"}, set()),
    ],
    ids=["classes", "source task", "reports", "label"],
)
def test_what_a_dataset_says_of_itself_changes_these_keys(
    changed: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], expected: set[str]
) -> None:
    tasks = dict(plugins.load("dataset", "phantom").tasks)
    if classes := change.pop("classes", ()):
        change["tasks"] = {**tasks, "findings": replace(tasks["findings"], classes=classes)}
    raised(monkeypatch, "dataset", "phantom", **change)
    assert changed() == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("prepare", ALL),
        ("discover", {"discover transvw"} | TRANSVW),
        ("pretrain", FROM_SOURCE),
        ("finetune", TUNED),
        ("attend", EXPLAINED),
        ("localise", {"localise"}),
        ("phantom", ALL),
    ],
)
def test_a_new_version_of_a_recipe_changes_the_keys_of_its_jobs_and_of_what_needs_them(
    changed: Callable[..., set[str]], monkeypatch: pytest.MonkeyPatch, kind: str, expected: set[str]
) -> None:
    if kind == "phantom":
        monkeypatch.setattr(radiographs, "IMPL", radiographs.IMPL + 1)
    else:
        versions = explanation.IMPL if kind in EXPLAINED else graph.IMPL
        monkeypatch.setitem(versions, kind, versions[kind] + 1)
    assert changed() == expected


@pytest.mark.parametrize(
    ("part", "expected"), [("pretrain_augment", FROM_SOURCE), ("finetune_augment", TUNED)], ids=["before", "after"]
)
def test_a_new_version_of_a_crop_changes_the_keys_of_those_who_use_it(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, part: str, expected: set[str]
) -> None:
    content = with_value(MANIFEST, "protocol/overrides", {f"image.{part}.crop": "resized"})
    before = planner.keys(content)
    monkeypatch.setitem(expand.CROP_IMPL, "resized", expand.CROP_IMPL["resized"] + 1)
    assert {name for name, _ in before.items() ^ planner.keys(content).items()} == expected


def test_weights_that_a_row_brings_change_its_key_and_their_place_does_not(
    planner: Planner, changed: Callable[..., set[str]], tmp_path: Path
) -> None:
    kept = planner.weights
    try:
        planner.weights = tmp_path / "elsewhere.safetensors"
        planner.weights.write_bytes(kept.read_bytes())
        assert changed() == set()
        planner.weights.write_bytes(kept.read_bytes()[:-1] + b"?")
        assert changed() == {"finetune mine"}
    finally:
        planner.weights = kept


# --- a dataset on disk -----------------------------------------------------------------------------------------------


def on_disk(root: Path, **params: Any) -> dict[str, str]:
    """Kind -> key of the jobs of a cell without pre-training."""
    path = root.parent / "disk.yaml"
    target = {"dataset": "covid19_idc", "tasks": ["covid19_vs_other"], "params": params}
    content = {
        **MANIFEST,
        "data": {},
        "methods": ["scratch"],
        "source": {"dataset": "covid19_idc", "params": params},
        "targets": [target],
    }
    with path.open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return {job.kind: job.key for job in expand.expand(load(path), Roots(paths={"covid19_idc": root})).jobs}


def test_files_of_a_dataset_change_the_keys_and_their_place_does_not(root: Path) -> None:
    seen = [on_disk(root)]
    assert list(seen[0]) == ["prepare", "finetune"]
    moved = root.rename(root.with_name("moved"))
    assert on_disk(moved) == seen[0]
    image = sorted((moved / "images").iterdir())[3]
    with image.open("ab") as stream:
        stream.write(b"\0")
    seen.append(on_disk(moved))
    (table,) = moved.glob("*.csv")
    text = table.read_text()
    assert "COVID-19" in text
    place = text.rindex("COVID-19")
    table.write_text(text[:place] + "Influenza" + text[place + len("COVID-19") :])
    seen.append(on_disk(moved))
    image.unlink()
    seen.append(on_disk(moved))
    seen.append(on_disk(moved, split_seed=1))
    for kind in ("prepare", "finetune"):
        assert len({keys[kind] for keys in seen}) == len(seen), kind
    assert on_disk(moved) == seen[3]
