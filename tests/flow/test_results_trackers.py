"""Finished runs are read back from MLflow, Weights & Biases and Trackio by these packages themselves."""

from __future__ import annotations

import contextlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import command_in
from results_folder import Folder

START = 1767323045.0
CLASSES = {"normal": 0.8, "effusion/left": 0.7, "a=b; c": 0.6, "rare": None}
MISSING = "the extra '{}' is not installed"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two finished cells, whose second curve has a gap, their pre-training, and one that is to do."""
    made = Folder(tmp_path / "r")
    spec = {"kind": "pretrain", "pretrain": {"steps": 30}, "source": {"dataset": "phantom"}, "at": "/home/me/a/b.pt"}
    made.job("pre", "pretrain", spec=spec)
    made.done("pre", started="2026-01-02T03:04:05+00:00", kind="pretrain")
    made.history("pre", {"loss/total": [3.0, 2.0]})
    for seed, losses in enumerate(([0.75, 0.5, 0.25], [0.5, float("nan"), 0.125])):
        key = made.cell("scratch", seed=seed, state="to do", label="From scratch", synthetic=True)
        job = made.lock["jobs"][-1]
        job["spec"] = {
            **job["spec"],
            "pretrain": "pre",
            "finetune": {"lr": 0.001, "steps": 2},
            "from": "/home/me/x/y.pt",
        }
        provenance = {"git": {"commit": "c0ffee"}}
        made.done(key, CLASSES, started="2026-01-02T03:04:05+00:00", wall_s=20.0, provenance=provenance)
        made.history(key, {"loss/total": losses, "val/auc": losses[:1]})
    made.cell("refers", state="to do")
    return made.save()


FINAL = {
    "mean_auc/test": pytest.approx(0.7), "mean_auc/val": pytest.approx(0.7), "auc/test/normal": 0.8, "auc/val/normal": 0.8,
    "auc/test/effusion_left": 0.7, "auc/val/effusion_left": 0.7, "wall_s": 20.0,
}  # fmt: skip
NAME = "scratch.covid19_idc.viral_vs_bacterial.100%.s0"


def written(results: Path, kind: str, *arguments: str) -> str:
    done = command_in(results, "results", kind, "tiny", *arguments)
    assert done.code == 0, done.err
    return done.out


def test_mlflow_reads_parameters_curves_and_aucs(results: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason=MISSING.format("mlflow"))
    folder = tmp_path / "store"
    assert written(results, "mlflow", "--out", str(folder)).startswith("3 runs written, 0 were there: file://")
    client = mlflow.MlflowClient(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name("tiny")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["pre", NAME, NAME.replace(".s0", ".s1")]
    run = runs[NAME]
    assert run.info.status == "FINISHED" and (run.info.start_time, run.info.end_time) == (
        START * 1000,
        START * 1000 + 20000,
    )
    assert FINAL.items() <= run.data.metrics.items() and run.data.metrics["auc/test/a_b_ c"] == 0.6
    assert not [name for name in run.data.metrics if "rare" in name], "an undefined AUC is no number"
    params = run.data.params
    assert (params["finetune.lr"], params["pretrain.steps"], params["from"]) == ("0.001", "30", "<path>/y.pt")
    tags = {name.removeprefix("refers_bench."): value for name, value in run.data.tags.items()}
    expected = {"manifest": "tiny", "method": "scratch", "label": "From scratch", "dataset": "covid19_idc", "seed": "0"}
    assert (expected | {"synthetic": "true", "commit": "c0ffee", "kind": "finetune"}).items() <= tags.items()
    points = client.get_metric_history(run.info.run_id, "loss/total")
    assert sorted((one.step, one.value, one.timestamp) for one in points) == [
        (0, 0.75, START * 1000), (1, 0.5, START * 1000 + 10000), (2, 0.25, START * 1000 + 20000),
    ]  # fmt: skip
    second = client.get_metric_history(runs[NAME.replace(".s0", ".s1")].info.run_id, "loss/total")
    assert sorted(one.step for one in second) == [0, 2], "no value is made up"
    # Again: what is there stays; what was cut off is written anew; a URI names the same store.
    client.set_terminated(run.info.run_id, "FAILED")
    assert written(results, "mlflow", "--uri", folder.as_uri()).startswith("1 run written, 2 were there: file://")
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert command_in(results, "results", "mlflow", "tiny", "--uri", "x", "--out", "y").code == 2


def records(path: Path) -> Iterator[Any]:
    """Records of an offline run: a log of blocks of 32 KiB, parsed by the definitions that W&B ships."""
    pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    content, place, whole = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place < len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def test_wandb_runs_stand_offline(results: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason=MISSING.format("wandb"))
    folder = tmp_path / "offline"
    for _ in range(2):
        assert written(results, "wandb", "--out", str(folder)) == f"3 runs; 'wandb sync' uploads them: {folder}\n"
        runs = sorted(path.name for path in folder.iterdir())
        assert len(runs) == 3 and all(name.startswith("offline-run-20260102_030405-") for name in runs)
    key = next(name for name in runs if name.endswith("scratch+covid19_idc-viral_vs_bacterial-1-0")).split("-", 3)[3]
    found = list(records(folder / f"offline-run-20260102_030405-{key}" / f"run-{key}.wandb"))
    run = next(one.run for one in found if one.WhichOneof("record_type") == "run")
    assert (run.run_id, run.display_name, run.project, run.run_group, run.job_type) == (
        key, NAME, "tiny", "scratch", "finetune",
    )  # fmt: skip
    assert list(run.tags) == ["tiny", "scratch", "covid19_idc", "viral_vs_bacterial", "synthetic"]
    config = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in run.config.update}
    assert (config["finetune.lr"], config["pretrain.steps"], config["from"]) == (0.001, 30, "<path>/y.pt")
    rows = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
        for one in found if one.WhichOneof("record_type") == "history"
    ]  # fmt: skip
    assert [(row["_step"], row["loss/total"], row["_timestamp"]) for row in rows] == [
        (0, 0.75, START), (1, 0.5, START + 10), (2, 0.25, START + 20),
    ]  # fmt: skip
    summary: dict[str, Any] = {}
    for one in found:
        if one.WhichOneof("record_type") == "summary":
            summary |= {
                item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.summary.update
            }
    assert FINAL.items() <= summary.items() and summary["auc/test/a=b; c"] == 0.6 and "auc/test/rare" not in summary
    assert summary["refers_bench/commit"] == "c0ffee"
    everything = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in everything and str(Path.home()).encode() + b"/" not in everything


def test_trackio_reads_its_own_database(results: Path, tmp_path: Path) -> None:
    trackio = pytest.importorskip("trackio", reason=MISSING.format("trackio"))
    folder = tmp_path / "local"
    for _ in range(2):
        out = written(results, "trackio", "--out", str(folder))
        assert out == f"3 runs: TRACKIO_DIR={folder} trackio show --project tiny\n"
    runs = {run.name: run for run in trackio.Api().runs("tiny")}
    assert sorted(runs) == ["pre", NAME, NAME.replace(".s0", ".s1")]
    config = runs[NAME].config
    assert (config["finetune.lr"], config["pretrain.steps"], config["from"]) == (0.001, 30, "<path>/y.pt")
    assert config["refers_bench.label"] == "From scratch" and config["refers_bench.synthetic"] == "true"
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs("tiny", NAME, run_id=runs[NAME].id)
    assert [(row["step"], row["loss/total"], row["timestamp"]) for row in logs] == [
        (0, 0.75, "2026-01-02T03:04:05+00:00"), (1, 0.5, "2026-01-02T03:04:15+00:00"),
        (2, 0.25, "2026-01-02T03:04:25+00:00"),
    ]  # fmt: skip
    assert FINAL.items() <= logs[-1].items() and "auc/test/rare" not in logs[-1] and "auc/test/normal" not in logs[0]


@pytest.mark.parametrize(
    ("kind", "title"), [("mlflow", "MLflow"), ("wandb", "Weights & Biases"), ("trackio", "Trackio")]
)
def test_without_the_extra(results: Path, monkeypatch: pytest.MonkeyPatch, kind: str, title: str) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    done = command_in(results, "results", kind, "tiny")
    assert (done.code, done.out) == (2, "")
    assert f"{title} is not installed" in done.err and f"pip install 'refers-bench[{kind}]'" in done.err
    assert not (results / "tiny" / kind).exists()


def test_nothing_of_such_a_name(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refers_bench.render import wandb_runs

    monkeypatch.setattr(wandb_runs, "check", lambda: None)
    with contextlib.chdir(results):
        done = command_in(results, "results", "wandb", "tiny", "--only", "nothing*")
    assert done.code == 2 and "no finished job of 'tiny' has curves or metrics and such a name" in done.err
