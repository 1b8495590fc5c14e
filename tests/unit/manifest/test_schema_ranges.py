"""Each key of a manifest accepts its range with the ends and nothing beyond, and has its documented default."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from refers_bench.manifest.analysis_schema import AnalysisPart, PrimaryPart
from refers_bench.manifest.cluster_schema import SlurmPart, SlurmResources
from refers_bench.manifest.part import seconds
from refers_bench.manifest.ray_schema import RayPart
from refers_bench.manifest.schema import (
    DataPart,
    ExecutionPart,
    ManifestSchema,
    MethodPart,
    ProtocolPart,
    SourcePart,
    TargetPart,
)

SMALL = {
    "version": 1, "protocol": {"preset": "smoke"}, "source": {"dataset": "phantom"}, "methods": [{"id": "refers"}],
    "targets": [{"dataset": "phantom", "tasks": ["findings"]}], "seeds": [0],
}  # fmt: skip
TARGET = {"dataset": "phantom", "tasks": ["findings"]}
#: Part -> the least that it may say.
LEAST: dict[type[BaseModel], dict[str, Any]] = {
    ManifestSchema: SMALL, ProtocolPart: {"preset": "smoke"}, DataPart: {}, SourcePart: {"dataset": "phantom"},
    MethodPart: {"id": "refers"}, TargetPart: TARGET, ExecutionPart: {}, SlurmPart: {}, SlurmResources: {}, RayPart: {},
    AnalysisPart: {}, PrimaryPart: {"dataset": "phantom"},
}  # fmt: skip


def whole(least: int, most: int) -> tuple[list[Any], list[Any]]:
    return [least, most], [least - 1, most + 1, 1.5, "1"]


#: Part, key, what it accepts, what it refuses.
RANGES: list[tuple[type[BaseModel], str, tuple[list[Any], list[Any]]]] = [
    (ManifestSchema, "version", ([1], [0, 2, "1", None])),
    (ManifestSchema, "name", (["a", "A-1_b", "x" * 80, None], ["", "-a", "a.b", "a/b", "x" * 81])),
    (ManifestSchema, "title", (["", "x" * 300], ["x" * 301, 1])),
    (ManifestSchema, "include", ([[], ["a.yaml"]], [["a", "a"], "a"])),
    (ManifestSchema, "methods", ([[{"id": "refers"}]], [[], [{}], "refers"])),
    (ManifestSchema, "targets", ([[TARGET], [{"dataset": "phantom"}]], [[], [{"tasks": ["a"]}]])),
    (ManifestSchema, "seeds", ([[0], [0, 2**31 - 1]], [[], [0, 0], [-1], [2**31], [0.5], 0])),
    (ManifestSchema, "tables", ([[], ["table1"]], [["table1", "table1"], "table1"])),
    (ManifestSchema, "files", (
        [{"w": "a.npz"}, {"w" * 80: "a/b.npz"}],
        [{"W": "a"}, {"1": "a"}, {"w" * 81: "a"}, {"w": "/a"}, {"w": "~/a"}, {"w": ".a"}, {"w": "a\\b"}, {"w": ""}],
    )),
    (DataPart, "root", (["a", "a_1", None], ["", "A", "1a", "a-b", "a" * 81])),
    (MethodPart, "label", (["", "x" * 200, None], ["x" * 201])),
    (MethodPart, "best_of", (["a", None], ["", "a b"])),
    (MethodPart, "targets", ([["a"], None], [[], "a"])),
    (MethodPart, "pretrain_seeds", ([[0], [1, 1]], [[], [-1], [2**31]])),
    (TargetPart, "tasks", ([["a"]], [[], "a"])),
    (TargetPart, "label_ratios", (
        [[1.0], [1], [0.01], ["1%"], ["100 %"], ["0.5%"]],
        [[], [0.0], [1.01], ["0%"], ["101%"], ["1"], ["-1%"], [True], [None], ["1%x"]],
    )),
    (ManifestSchema, "analysis", ([None, {}, {"reference": "refers"}], [[], "refers", {"margin": 0.01}])),
    (AnalysisPart, "reference", (["a", "A-1_b", None], ["", "a.b", 1])),
    (AnalysisPart, "against", ([[], ["a"], ["a", "b"]], ["a", ["a", "a"], [""], None])),
    (AnalysisPart, "columns", ([[], [{"dataset": "phantom"}]], [{}, ["phantom"], [{"tasks": ["findings"]}]])),
    (AnalysisPart, "test", (["student", "welch"], ["z", "", None])),
    (AnalysisPart, "correction", (["holm", "none"], ["bonferroni", "", None])),
    (AnalysisPart, "alpha", ([0.05, 0.001, 0.999], [0, 1, 0.0, 1.0, -0.05, "5%", None])),
    (PrimaryPart, "tasks", ([["a"]], [[], "a"])),
    (PrimaryPart, "label_ratios", ([["1%"], [1.0]], [[], ["0%"], "1%"])),
    (PrimaryPart, "evaluation", (["knn", ["knn", "finetune"]], [[], ["knn", "knn"], "probe"])),
    (ExecutionPart, "cpu_slots", whole(1, 256)),
    (ExecutionPart, "jobs_per_gpu", ([1, 64, "auto"], [0, 65, 1.5, "many", None])),
    (ExecutionPart, "threads", whole(1, 256)),
    (ExecutionPart, "prepare_processes", whole(1, 1024)),
    (ExecutionPart, "arithmetic", (["native", "portable"], ["fast", None])),
    (ExecutionPart, "compile", ([True, False], ["often", 2, None])),
    (ExecutionPart, "time_limit", (["90s", "1.5h"], ["90", 90, "10:30", ""])),
    (ExecutionPart, "retries", ([{}, {"crash": 0}, {"lost": 9}], [{"crash": -1}, {"crash": 10}, {"ok": 1}])),
    (ExecutionPart, "accumulate", whole(1, 4096)),
    (SlurmResources, "partition", (["a", "a,b", None], ["", "a b"])),
    (SlurmResources, "qos", (["a"], ["", "a b"])),
    (SlurmResources, "constraint", (["a&b | c"], ["", "a\nb"])),
    (SlurmResources, "gpus", whole(0, 64)),
    (SlurmResources, "gpu_type", (["a100"], ["", "a 100"])),
    (SlurmResources, "cpus", whole(1, 1024)),
    (SlurmResources, "memory", (["16G", "1", "20T", "5K", "7M"], ["0G", "16g", "16GB", "G", "1.5G", ""])),
    (SlurmResources, "time", (["2h"], [2, "2"])),
    (SlurmResources, "cells_per_task", whole(1, 10_000)),
    (SlurmPart, "account", (["a"], ["", "a b"])),
    (SlurmPart, "throttle", whole(1, 10_000)),
    (SlurmPart, "signal", (["120s"], ["120"])),
    (SlurmPart, "container", ([[], ["apptainer", "exec"]], [["a b"], [""], "a"])),
    (SlurmPart, "setup", ([["module load cuda"]], [["a\nb"], [""]])),
    (SlurmPart, "python", (["/usr/bin/python"], ["", "a b"])),
    (SlurmPart, "extra", ([["--a=b", "-a b"]], [["a"], ["-"], ["--a\n"]])),
    (SlurmPart, "kinds", (
        [{kind: {"cpus": 2}} for kind in ("prepare", "discover", "pretrain", "finetune")],
        [{"noop": {}}, {"prepare": {"throttle": 1}}, {"prepare": {"account": "a"}}],
    )),
    (RayPart, "address", (["auto", "a:1", "10.0.0.5:65535", None], ["", "a", "a:", "a:123456", "a b:1", "x auto"])),
    (RayPart, "gpus_per_job", ([0.0, 0.5, 1.0, 2, 64.0], [-0.1, 1.5, 64.5, 65])),
    (RayPart, "cpus_per_job", ([0.0, 1024.0, 0.5], [-0.1, 1024.5])),
    (RayPart, "memory", (["16G", "1K", "512M", "2T"], ["16", "0G", "16g", "G"])),
    (RayPart, "resources", (
        [{}, {"a100": 0.001}, {"a100": 1_000_000.0}],
        [{"a100": 0.0}, {"a100": 1_000_001.0}, {"GPU": 1.0}, {"CPU": 1.0}, {"memory": 1.0}],
    )),
    (RayPart, "wait_for_nodes", (["5m"], [300])),
]  # fmt: skip


@pytest.mark.parametrize(("part", "key", "values"), RANGES, ids=[f"{part.__name__}.{key}" for part, key, _ in RANGES])
def test_a_key_has_this_range(part: type[BaseModel], key: str, values: tuple[list[Any], list[Any]]) -> None:
    def accepted(value: Any) -> bool:
        try:
            part.model_validate({**LEAST[part], key: value})
        except ValidationError:
            return False
        return True

    right, wrong = values
    assert [value for value in right if not accepted(value)] == []
    assert [value for value in wrong if accepted(value)] == []


@pytest.mark.parametrize("part", LEAST)
def test_a_misspelt_or_missing_key_is_refused(part: type[BaseModel]) -> None:
    if part is not DataPart:  # whose further keys are readers of one's own images: test_declared.py
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            part.model_validate({**LEAST[part], "another": 1})
    for key in LEAST[part].keys() - {"source", "tasks"}:  # which may be left out: test_load.py
        with pytest.raises(ValidationError, match=f"{key}\n  Field required"):
            part.model_validate({name: value for name, value in LEAST[part].items() if name != key})


def test_what_is_not_said_has_this_default() -> None:
    manifest = ManifestSchema.model_validate(SMALL).model_dump()
    slurm: dict[str, Any] = dict.fromkeys(SlurmPart.model_fields)
    assert manifest == {
        **SMALL,
        "name": None, "title": "", "include": [], "data": {}, "files": {}, "tables": [], "limit": None, "plugins": [],
        "tuning": {}, "analysis": None,
        "protocol": {"preset": "smoke", "select_on": "val", "overrides": {}},
        "source": {"dataset": "phantom", "params": {}},
        "methods": [{
            "id": "refers", "name": None, "label": None, "params": {}, "overrides": {}, "best_of": None,
            "targets": None, "evaluation": None, "pretrain_seeds": [0],
        }],
        "targets": [{**TARGET, "params": {}, "label_ratios": [1.0], "subsets": {}, "accept": [], "evaluation": ["finetune"], "folds": None}],
        "execution": {
            "executor": "local", "cpu_slots": None, "jobs_per_gpu": 1, "threads": 1, "prepare_processes": None,
            "arithmetic": "native", "compile": False, "time_limit": 7 * 24 * 3600.0,
            "retries": {"crash": 1, "lost": 2, "cuda_oom": 9, "host_oom": 9}, "accumulate": 1, "options": {},
            "slurm": {**slurm, "kinds": {}},
            "ray": {
                "address": None, "gpus_per_job": None, "cpus_per_job": None, "memory": None, "resources": {},
                "wait_for_nodes": None,
            },
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90.0), ("15m", 900.0), ("2h", 7200.0), ("1d", 86400.0), ("1.5h", 5400.0), ("3 m", 180.0)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("value", ["", "90", "s", "1w", "-1s", "1.s", "10:30", 90, None, "1h30m"])
def test_what_is_no_duration(value: Any) -> None:
    with pytest.raises(ValueError, match="a number and a unit: 90s, 15m, 2h or 1d"):
        seconds(value)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5 %", 0.005), ("33.3%", 0.333), ("100%", 1.0), (1, 1.0)])
def test_percentages_are_shares(text: Any, share: float) -> None:
    assert TargetPart.model_validate({**TARGET, "label_ratios": [text]}).label_ratios == [share]
