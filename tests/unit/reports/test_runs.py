"""Costs and environments of the finished jobs: sums, maxima, counts, and where they ran, most jobs first."""

from __future__ import annotations

from typing import Any

from refers_bench.render.table import NO_VALUE
from refers_bench.reports import runs


def test_sums_longest_jobs_and_peaks_by_kind(folder: Any) -> None:
    for key, kind in (("p", "prepare"), ("a", "pretrain"), ("b", "pretrain"), ("c", "pretrain")):
        folder.job(key, kind)
    folder.done("p", kind="prepare", wall_s=30.0)
    folder.done("a", kind="pretrain", wall_s=3600.0, peak_mem_bytes=5 * 2**30)
    folder.done("b", kind="pretrain", wall_s=245.0, peak_mem_bytes=7.5 * 2**30)
    folder.cell("refers", state="missing")
    cost, _ = runs.build(folder.load())
    assert [(row.title, [cell.figure for cell in row.cells]) for row in cost.rows] == [
        ("prepare", ["1 of 1", "30.0 s", "30.0 s", NO_VALUE]),
        ("pretrain", ["2 of 3", "1 h 04 min", "1 h 00 min", "7.50 GiB"]),
        ("finetune", ["0 of 1", NO_VALUE, NO_VALUE, NO_VALUE]),
    ]
    done, total, longest, memory = cost.rows[1].cells
    assert (done.value, done.n, total.value, longest.value, memory.value) == (2, (3,), 3845, 3600, 7.5)


def test_the_environment_of_most_jobs_comes_first(folder: Any) -> None:
    hardware = {"cpu": "x", "cores": 2, "memory_bytes": 4.4 * 2**30, "platform": "Linux"}
    one = {"git": {"commit": "1" * 40, "dirty": True}, "hardware": hardware, "packages": {"torch": "2", "numpy": "1"}}
    other = {"git": {"reason": "no checkout"}, "gpu": {"name": "H200"}, "device": "cuda:0", "threads": 3}
    for key, provenance in (("a", one), ("b", other), ("c", other)):
        folder.job(key, "pretrain")
        folder.done(key, provenance=provenance)
    folder.job("d", "pretrain")
    folder.done("d")
    _, environments = runs.build(folder.load())
    assert [(row.title, [cell.figure for cell in row.cells]) for row in environments.rows] == [
        ("2 jobs", ["no checkout", "H200; device cuda:0, 3 threads", NO_VALUE]),
        ("1 job", ["111111111111 with local changes", "x, 2 cores; 4 GiB; Linux", "numpy 1, torch 2"]),
        ("1 job", [NO_VALUE, NO_VALUE, NO_VALUE]),
    ]
