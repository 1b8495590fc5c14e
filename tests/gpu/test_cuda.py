"""Do the promises that hold on the CPU hold on a GPU: runs, same bytes, resume, memory errors, the numbers themselves?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import step_operations
from refers_bench.contracts.methods import PRETRAINED
from refers_bench.data.transfer import OnDevice, gathered, kept

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
ROOT = Path(__file__).resolve().parents[2]
#: Small networks of every kind: attention, convolution, queue, restoration, decoder and text encoder.
SMALL = """
version: 1
title: On a GPU
protocol: {preset: smoke}
data:
  phantom: {phantom: {seed: 1, studies: 160, size: 48, views: 3, contrast: 3.0, noise: 0.02}}
source: {dataset: phantom}
methods:
  - refers
  - model_genesis
  - {id: c2l, params: {queue: 64, momentum: 0.9}, overrides: {pretrain: {select: last}}}
  - id: lsp_convnet
    params: {depth: 18}
    overrides: {pretrain: {steps: 10, warmup_steps: 2, validate_every: 5}, finetune: {steps: 8, warmup_steps: 2, validate_every: 4}}
  - scratch
targets:
  - {dataset: phantom, tasks: [findings], label_ratios: [100%]}
seeds: [0, 1]
execution: {jobs_per_gpu: 2, time_limit: 5m}
"""
#: A transformer of the paper's size and a batch that takes tens of gigabytes in float32.
LARGE = """
version: 1
title: More than fits
protocol:
  preset: paper
  overrides:
    network: {init: random}
    finetune: {steps: 3, warmup_steps: 0, validate_every: 3, batch_size: 256, precision: fp32}
data:
  phantom: {phantom: {seed: 1, studies: 160, size: 256, views: 2, contrast: 3.0, noise: 0.02}}
source: {dataset: phantom}
methods: [scratch]
targets:
  - {dataset: phantom, tasks: [findings], label_ratios: [100%]}
seeds: [0]
"""


def command(folder: Path, *arguments: str, text: str = SMALL) -> list[str]:
    """A call of refers-bench on a manifest in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.yaml").write_text(text)
    head = [sys.executable, "-m", "refers_bench", "--results", str(folder / "results")]
    return [*head, "run", str(folder / "gpu.yaml"), "--no-report", *arguments]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Where it keeps prepared images, and how it finds the package."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "REFERS_BENCH_CACHE": str(folder.parent / "cache"), **more}  # fmt: skip


def run(folder: Path, *arguments: str, text: str = SMALL, **more: str) -> Path:
    """Run to the end; the results folder."""
    done = subprocess.run(
        command(folder, *arguments, text=text),
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "results"


def records(results: Path) -> dict[str, dict[str, Any]]:
    """Name -> record of every finished job."""
    found = [json.loads(path.read_text()) for path in results.glob("store/*/run.json")]
    return {record["name"]: record for record in found}


def predictions(results: Path) -> dict[str, bytes]:
    """Name -> bytes of the predictions of every finished cell."""
    store = results / "store"
    return {
        name: (store / record["key"] / "predictions.parquet").read_bytes()
        for name, record in records(results).items()
        if record["kind"] == "finetune"
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run, two jobs at a time on the GPU."""
    return run(tmp_path_factory.mktemp("whole") / "run", "--device", "cuda")


def test_every_job_ran_on_the_gpu_and_says_so(whole: Path) -> None:
    found = records(whole)
    trained = [record for record in found.values() if record["kind"] in ("pretrain", "finetune")]
    assert len(trained) == 4 + 10
    for record in trained:
        gpu = record["provenance"]["gpu"]
        assert gpu["name"] == torch.cuda.get_device_name(0)
        assert gpu["peak_mem_bytes"] > 0


def test_the_same_bytes_again_one_job_at_a_time(whole: Path, tmp_path: Path) -> None:
    again = run(tmp_path / "again", "--device", "cuda", text=SMALL.replace("jobs_per_gpu: 2", "jobs_per_gpu: 1"))
    assert predictions(again) == predictions(whole)


def test_killed_and_resumed_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = subprocess.Popen(
        command(folder, "--device", "cuda"), env=environment(folder), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(list(folder.glob("results/store/*/run.json"))) < 6:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(records(folder / "results"))
    run(folder, "--device", "cuda")
    assert 0 < before < len(records(folder / "results"))
    assert predictions(folder / "results") == predictions(whole)


def test_first_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    # Without dropout, whose masks each device draws for itself; everything else is drawn on the processor.
    text = SMALL.replace(
        "protocol: {preset: smoke}",
        "protocol: {preset: smoke, overrides: {network: {dropout: 0}, pretrain: {text_encoder: {dropout: 0}, decoder: {dropout: 0}}}}",
    ).replace("seeds: [0, 1]", "seeds: [0]")
    processor = run(tmp_path / "processor", "--device", "cpu", "--slots", "4", text=text)
    card = run(tmp_path / "card", "--device", "cuda", text=text)
    here, there = records(processor), records(card)
    assert set(here) == set(there)
    compared = 0
    for name, record in here.items():
        if record["kind"] not in ("pretrain", "finetune"):
            continue
        if record["kind"] == "finetune" and not name.startswith("scratch"):
            continue  # starts from weights that were trained on the other device
        first = [
            {
                row["name"]: row["value"]
                for row in pq.read_table(path).to_pylist()
                if row["step"] == 1 and "loss/" in row["name"]
            }
            for path in (results / "store" / record["key"] / "history.parquet" for results in (processor, card))
        ]
        assert first[0] and first[0].keys() == first[1].keys()
        for loss, value in first[0].items():
            assert first[1][loss] == pytest.approx(value, rel=1e-4), f"{name} {loss}"
            compared += 1
    assert compared >= 8


def test_memory_that_runs_out_is_met_with_smaller_parts(tmp_path: Path) -> None:
    # Some 6 GiB: neither the whole batch nor its half fits.
    share = 6 * 2**30 / torch.cuda.get_device_properties(0).total_memory
    results = run(
        tmp_path / "large", "--device", "cuda", text=LARGE,
        PYTORCH_CUDA_ALLOC_CONF=f"per_process_memory_fraction:{share:.4f}",
    )  # fmt: skip
    (record,) = [one for one in records(results).values() if one["kind"] == "finetune"]
    assert record["category"] == "ok"
    assert record["attempts"] > 1
    assert record["provenance"]["gpu"]["peak_mem_bytes"] < 6.5 * 2**30


@pytest.mark.parametrize("name", PRETRAINED)
def test_no_update_waits_for_the_gpu(name: str, tmp_path: Path) -> None:
    """With the images in the GPU's memory, where they fit easily."""
    step_operations.of_method(name, tmp_path, device="cuda")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_update_of_a_fine_tuning_waits_for_the_gpu(precision: str, tmp_path: Path) -> None:
    step_operations.of_fine_tuning("scratch", tmp_path, device="cuda", precision=precision)


def test_kept_images_are_those_of_the_store() -> None:
    store = np.random.default_rng(0).integers(0, 256, (600, 32, 32), dtype=np.uint8)
    places, device = np.array([5, 599, 7, 300]), torch.device("cuda")
    near = kept(store, np.arange(600), device)
    assert isinstance(near, OnDevice)
    (images,) = gathered(near, places, device)
    assert np.array_equal(images.cpu().numpy(), store[places])


def test_compiled_networks_give_the_losses_of_plain_ones(tmp_path: Path) -> None:
    text = SMALL.replace("seeds: [0, 1]", "seeds: [0]")
    text = text.replace("protocol: {preset: smoke}", "protocol: {preset: smoke, overrides: {network: {dropout: 0}}}")
    found = []
    for folder, how in (("plain", "false"), ("compiled", "true")):
        named = text.replace("execution: {", f"execution: {{compile: {how}, ")
        results = run(tmp_path / folder, "--device", "cuda", "--rows", "scratch", text=named)
        (record,) = [one for one in records(results).values() if one["kind"] == "finetune"]
        assert record["provenance"]["compiled"] == (how == "true")
        rows = pq.read_table(results / "store" / record["key"] / "history.parquet").to_pylist()
        found.append([row["value"] for row in rows if row["name"] == "loss/total"])
    assert found[0] == pytest.approx(found[1], rel=1e-3)
