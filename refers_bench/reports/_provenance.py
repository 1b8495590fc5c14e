"""Where does a figure come from: seeds, keys, data, code, machine, and the command that makes it again?"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench.analysis.cells import PlannedRun
from refers_bench.analysis.results import Results
from refers_bench.render.page import Detail
from refers_bench.reports import _grid
from refers_bench.reports.runs import duration, git_text, hardware_text, packages_text


def details(results: Results) -> tuple[Detail, ...]:
    """One block per table cell, in the order of the manifest."""
    names = _grid.titles(results, results.methods)
    blocks = []
    for method, target in results.cells:
        where = f"{_grid.target_title(target)}, {_grid.percent(target.label_ratio)}"
        blocks.append(
            Detail(
                id=_grid.anchor(results, method, target),
                title=f"{names[method]} | {where}",
                facts=tuple(_facts(results, results.runs(method, target))),
                code="\n".join(_tracebacks(results, results.runs(method, target))),
            )
        )
    return tuple(blocks)


def _facts(results: Results, runs: Iterable[PlannedRun]) -> Iterable[tuple[str, str]]:
    environments: dict[tuple[str, str, str], None] = {}
    pretrained: dict[str, None] = {}
    for planned in runs:
        run = planned.run
        record = results.records.get(run.key, {})
        figure = f"{run.mean_auc * 100:.2f}" if run.counts else run.reason
        yield f"seed {run.seed}", f"{figure} | key {run.key}{_cost(record)}"
        facts = record.get("facts")
        if facts:
            yield f"seed {run.seed}, facts", json.dumps(facts, ensure_ascii=False, sort_keys=True)
        provenance = record.get("provenance")
        if provenance:
            where = (git_text(provenance), hardware_text(provenance), packages_text(provenance))
            environments[where] = None
        spec = results.jobs.get(run.key, {}).get("spec", {})
        if spec.get("pretrain"):
            pretrained[str(spec["pretrain"])] = None
        if spec.get("prepare"):
            pretrained.setdefault(str(spec["prepare"]))
    for key in pretrained:
        job = results.jobs.get(key, {})
        yield str(job.get("kind", "needs")), f"{job.get('name', '')} | key {key}{_cost(results.records.get(key, {}))}"
    for git, hardware, packages in environments:
        yield from (
            (name, text) for name, text in (("code", git), ("machine", hardware), ("packages", packages)) if text
        )


def _cost(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    memory = record.get("peak_mem_bytes")
    parts = [duration(float(record.get("wall_s") or 0))]
    if memory:
        parts.append(f"peak {memory / 2**30:.2f} GiB")
    if record.get("started"):
        parts.append(f"started {record['started']}")
    return " | " + ", ".join(parts)


def _tracebacks(results: Results, runs: Iterable[PlannedRun]) -> Iterable[str]:
    """Last lines of what failed, of the fine-tuning itself or of a job it needs."""
    keys = dict.fromkeys(key for planned in runs for key in results.failed_needs(planned.run.key))
    for key in keys:
        failure = results.failures[key]
        tail = failure.get("traceback") or failure.get("message") or ""
        text = "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail)
        name = results.jobs.get(key, {}).get("name", key)
        yield f"{name}: {failure.get('category', 'unknown')}\n{text}".rstrip()


def commands(results: Results) -> tuple[str, ...]:
    """How to make the results again, and the page from them."""
    imported = (results.lock.get("manifest") or {}).get("command")
    if imported:
        return (str(imported), f"refers-bench report {shlex.quote(results.name)}")
    path = results.lock.get("manifest_path") or f"manifests/{results.name}.yaml"
    manifest = shlex.quote(str(path))
    return (f"refers-bench run {manifest}", f"refers-bench report {manifest}")
