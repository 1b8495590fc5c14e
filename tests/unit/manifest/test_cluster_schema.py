"""What a manifest and a site may set for Slurm, which of them wins, and where mistakes are reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.execution.engine import Settings
from refers_bench.execution.engines import make, merged
from refers_bench.execution.slurm.engine import SlurmEngine
from refers_bench.manifest.load import load
from refers_bench.manifest.roots import load_roots
from refers_bench.plan.expand import expand

MANIFEST = """\
version: 1
protocol: {preset: smoke}
source: {dataset: phantom}
methods: [scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0]
execution:
  executor: EXECUTOR
  slurm:
    partition: gpu
    time: 2h
    kinds: {prepare: {partition: cpu}}
    KEY
"""


def manifest(folder: Path, *, executor: str = "slurm", key: str = "") -> Path:
    path = folder / "m.yaml"
    path.write_text(MANIFEST.replace("EXECUTOR", executor).replace("KEY", key))
    return path


def problems(folder: Path, **what: str) -> str:
    with pytest.raises(UserError) as refused:
        load(manifest(folder, **what))
    return str(refused.value)


def test_a_manifest_says_where_and_how(tmp_path: Path) -> None:
    execution = load(manifest(tmp_path, key="gpus: 2")).content.execution
    assert (execution.executor, execution.slurm.partition, execution.slurm.gpus) == ("slurm", "gpu", 2)
    assert (execution.slurm.time, execution.slurm.kinds["prepare"].partition) == (7200.0, "cpu")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"key": "partitoin: x"}, "13:5: unknown key 'partitoin'; allowed: account, "),
        ({"key": "partitoin: x"}, "did you mean 'partition'?"),
        ({"key": "gpus: many"}, "13:5: execution.slurm.gpus is 'many'"),
        ({"key": "memory: 16 gigs"}, "13:5: execution.slurm.memory is '16 gigs'; allowed: text that matches"),
        ({"key": "signal: 10:00"}, "13:5: execution.slurm.signal is '10:00'; allowed: a number and a unit"),
        ({"key": "extra: [reservation=x]"}, "13:13: execution.slurm.extra.0 is 'reservation=x'"),
        ({"key": 'account: "a b"'}, "13:5: execution.slurm.account is 'a b'"),
        (
            {"executor": "slrum"},
            "8:3: execution.executor is 'slrum'; allowed: debug, local, ray, slurm; did you mean 'slurm'?",
        ),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, what: dict[str, str], said: str) -> None:
    assert said in problems(tmp_path, **what)


def test_kinds_are_checked(tmp_path: Path) -> None:
    text = (
        MANIFEST.replace("EXECUTOR", "slurm").replace("KEY", "").replace("{prepare: {partition: cpu}}", "{K: {P: cpu}}")
    )
    for kind, key, said in (
        ("prepair", "partition", "12:13: execution.slurm.kinds.prepair is 'prepair'; allowed: "),
        ("prepare", "throttle", "12:23: unknown key 'throttle'; allowed: cells_per_task, constraint, "),
    ):
        (tmp_path / "m.yaml").write_text(text.replace("K:", f"{kind}:").replace("P:", f"{key}:"))
        with pytest.raises(UserError) as refused:
            load(tmp_path / "m.yaml")
        assert said in str(refused.value)


def test_nothing_of_it_is_in_a_key(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    keys = {job.key for job in expand(load(path), load_roots({})).jobs}
    path.write_text(path.read_text().partition("execution:")[0])
    assert {job.key for job in expand(load(path), load_roots({})).jobs} == keys


def test_a_site_fills_what_a_manifest_leaves_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yaml"
    monkeypatch.setenv("REFERS_BENCH_CONFIG", str(config))
    config.write_text("slurm: {partition: all, account: lab, kinds: {prepare: {cpus: 8}, pretrain: {time: 3d}}}\n")
    site = load_roots({}).engines
    execution = load(manifest(tmp_path)).content.model_dump(mode="json")["execution"]
    engine = make("slurm", Settings(results=tmp_path, cache=tmp_path), execution, site=site)
    assert isinstance(engine, SlurmEngine)
    options = engine.sender.options
    assert (options.partition, options.account, options.time) == ("gpu", "lab", 7200.0)
    assert (options.kinds["prepare"]["partition"], options.kinds["prepare"]["cpus"]) == ("cpu", 8)
    assert options.kinds["pretrain"] == {"time": 259200.0}
    assert merged({"a": {"b": 1}}, {"a": {"b": None, "c": 2}, "d": None}) == {"a": {"b": 1, "c": 2}}

    config.write_text("slurm:\n  partition: all\n  gpu: 2\n")
    with pytest.raises(UserError, match=r"config.yaml:3:3: unknown key 'gpu'; allowed: account, .*mean 'gpus'\?"):
        load_roots({})


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"unknown executor 'slrum'; allowed: debug, local, ray, slurm; did you mean 'slurm'\?"
    ):
        make("slrum", Settings(results=tmp_path, cache=tmp_path), {})
