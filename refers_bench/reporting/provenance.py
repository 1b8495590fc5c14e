"""Lists where a figure comes from: seeds, intervals, configuration, log, data, code, machine, command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from refers_bench.analysis.cells import PlannedRun, Target
from refers_bench.analysis.image_statistics import ImageStatistics, image_statistics
from refers_bench.analysis.operating_points import OperatingPoints, operating_points
from refers_bench.analysis.results import Results
from refers_bench.analysis.statistics.auc_intervals import INTERVAL, JOINT
from refers_bench.analysis.statistics.seeds import SeedSummary, mean_interval
from refers_bench.analysis.tracked_runs import parameters
from refers_bench.identity import dotted
from refers_bench.manifest import packaged
from refers_bench.manifest.yaml_text import GIVEN
from refers_bench.render.duration import duration
from refers_bench.render.page import Detail
from refers_bench.reporting import grid, notes
from refers_bench.store import explanations, job_logs
from refers_bench.store.explanations import Explained
from refers_bench.store.results import ResultStore

if TYPE_CHECKING:
    from refers_bench.manifest import protocols

#: With more table cells than this, a page says where configurations and logs stand instead of repeating them.
MOST_FULL = 200
#: Lines of the log of a job that left no traceback.
PRINTED = 15
#: Curves whose last value is the tail of a log.
CURVES = ("loss/", "val/", "lr")


def details(results: Results) -> tuple[Detail, ...]:
    """One block per table cell, in the order of the manifest."""
    names = grid.titles(results)
    images = {target: image_statistics(results, target) for target in results.targets}
    points = {target: operating_points(results, target) for target in results.targets}
    full = len(results.cells) <= MOST_FULL
    blocks = []
    for (method, target), summary in results.cells.items():
        runs = results.runs(method, target)
        facts = [*_intervals(summary, images[target], method), *_trust(points[target], method, names)]
        facts += _facts(results, runs)
        if not full:
            facts.append(("configuration", "in plan.lock.json, by the keys above"))
        blocks.append(
            Detail(
                id=grid.anchor(results, method, target),
                title=f"{names[method]} | {grid.where(target)}",
                facts=tuple(facts),
                changed=tuple(_changed(results, method, target)),
                code="\n".join([*(_logs(results, runs) if full else ()), *_tracebacks(results, runs)]),
                config=_config(results, runs) if full else "",
            )
        )
    return tuple(blocks)


def _intervals(summary: SeedSummary, images: ImageStatistics | None, method: str) -> Iterable[tuple[str, str]]:
    """Mean, spread and intervals, in per cent."""
    if summary.n:
        spread = f", SD {summary.sd * 100:.2f}" if summary.n > 1 else ", one seed: no SD"
        yield "mean", f"{summary.mean * 100:.2f}{spread}, n = {summary.n} of {summary.n_planned} seeds"
    if summary.n > 1 and summary.same_classes and summary.independent:
        low, high = mean_interval(summary.values)
        yield "95 % interval over seeds", f"{low * 100:.2f} to {high * 100:.2f} (t, df = {summary.n - 1})"
    if images is not None and method in images.means:
        found = images.means[method]
        how = f"{INTERVAL[images.unit]}; {images.n_units} {images.unit}s"
        text = f"{found.low * 100:.2f} to {found.high * 100:.2f} ({how})"
        yield f"95 % interval over test {images.unit}s", text
    if images is not None and method in images.joint:
        found = images.joint[method]
        text = f"{found.low * 100:.2f} to {found.high * 100:.2f} ({JOINT[images.unit]}; df = {found.df:.1f})"
        yield f"95 % interval over seeds and test {images.unit}s", text


def _trust(found: OperatingPoints, method: str, names: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """How far the best row of a column may be trusted to be it; of the others, how likely they are the best."""
    if found.best is None or method not in found.best.found.best:
        return
    share = found.best.found.best[method] * 100
    if method != found.best.found.row:
        yield "probability to be the best row", f"{share:.1f} %"
        return
    yield "probability that another row is truly the best", f"{100 - share:.1f} %"
    for other, over in found.best.over.items():
        yield (
            f"P(a run beats one of {names[other]})",
            f"{over.p * 100:.1f} % ({over.low * 100:.1f} to {over.high * 100:.1f})",
        )


@cache
def preset(name: str, dataset: str) -> Mapping[str, protocols.Value]:
    """All constants of a preset, for one target; {} where this version has no such preset."""
    # Slow to import: planning's part of the house.
    from refers_bench.manifest import protocols

    return protocols.resolve(name, dataset=dataset) if name in protocols.names() else {}


def _changed(results: Results, method: str, target: Target) -> Iterable[tuple[str, str, str]]:
    """What the manifest set for a cell: name, value beside that of the preset, place in the manifest."""
    chosen = results.plan.manifest.get("protocol") or {}
    for name, entry in results.plan.values.items():
        base, _, where = name.partition(" [")
        if entry.get("overridden") and where.rstrip("]") in ("", method, target.dataset):
            before = preset(str(chosen.get("preset")), target.dataset).get(base)
            value = json.dumps(entry["value"], ensure_ascii=False)
            value += "" if before is None else f" (preset: {json.dumps(before.value, ensure_ascii=False)})"
            yield base, value, str(entry.get("origin", ""))


def _config(results: Results, runs: Sequence[PlannedRun]) -> str:
    """Resolved values of the first run, and of the pre-training it needs, as JSON; runs differ in their seeds alone."""
    specs = (results.spec(run.run.key) for run in runs)
    spec: Mapping[str, Any] = next((one for one in specs if one), {})
    values = parameters(spec, results.spec(str(spec.get("pretrain", ""))))
    for name in ("seed", "init_seed", "order_seed"):
        values.pop(name, None)
    return json.dumps(values, ensure_ascii=False, indent=1)


def _logs(results: Results, runs: Iterable[PlannedRun]) -> Iterable[str]:
    """The last value of every curve of each finished run: where its log ended."""
    for planned in runs:
        if planned.run.key not in results.records:
            continue
        curves = results.history(planned.run.key, CURVES)
        ends = [f"{name} {values[-1]:.4g} (step {steps[-1]})" for name, (steps, values) in curves.items() if steps]
        if ends:
            yield f"{planned.run.title}, last recorded: {', '.join(ends)}"


def _facts(results: Results, runs: Iterable[PlannedRun]) -> Iterable[tuple[str, str]]:
    environments: dict[tuple[str, str, str], None] = {}
    needed: dict[str, None] = {}
    for planned in runs:
        run = planned.run
        record = results.records.get(run.key, {})
        figure = f"{run.mean_auc * 100:.2f}" if run.counts else run.reason
        yield run.title, f"{figure} | key {run.key}{_cost(record)}"
        yield from ((f"{run.title}, origin", text) for text in results.imported(run.key))
        if text := notes.split(record):
            yield f"{run.title}, memory", text
        if facts := record.get("facts"):
            known = dotted(facts).items()
            yield f"{run.title}, facts", "; ".join(f"{name} {value}" for name, value in sorted(known))
        if record.get("provenance"):
            environments[environment(record)] = None
        spec = results.spec(run.key)
        needed |= dict.fromkeys(str(spec[kind]) for kind in ("pretrain", "prepare") if spec.get(kind))
    for key in needed:
        job, record = results.jobs.get(key), results.records.get(key, {})
        kind, name = (job.kind, job.name) if job else ("needs", "")
        yield kind, f"{name} | key {key}{_cost(record)}"
        if text := notes.split(record):
            yield f"{kind}, memory", text
    for texts in environments:
        yield from ((name, text) for name, text in zip(ENVIRONMENT, texts, strict=True) if text)


def _cost(record: Mapping[str, Any]) -> str:
    if not record:
        return ""
    memory, started, attempts = (record.get(name) for name in ("peak_mem_bytes", "started", "attempts"))
    parts = (
        duration(float(record.get("wall_s") or 0), decimals=1),
        memory and f"peak {memory / 2**30:.2f} GiB",
        started and f"started {started}",
        attempts and attempts > 1 and f"attempt {attempts}",
    )
    return " | " + ", ".join(part for part in parts if part)


def _tracebacks(results: Results, runs: Iterable[PlannedRun]) -> Iterable[str]:
    """Last lines of what failed, of the fine-tuning itself or of a job it needs."""
    keys = dict.fromkeys(key for planned in runs for key in results.failed_needs(planned.run.key))
    for key in keys:
        failure = results.failures[key]
        tail = failure.get("traceback") or [failure.get("message") or "", *_printed(results, key)]
        text = "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail)
        name = results.jobs[key].name
        yield f"{name}: {failure.get('category', 'unknown')}\n{text}".rstrip()


def _printed(results: Results, key: str) -> list[str]:
    """The end of a job's log: all there is of a process that was killed."""
    try:
        return job_logs.tail(ResultStore(results.store.parent).log(key), PRINTED)
    except FileNotFoundError:
        return []


def commands(results: Results) -> tuple[str, ...]:
    """How to make the results again, and the page from them."""
    imported = results.plan.manifest.get("command")
    if imported:
        return (str(imported), f"refers-bench report {shlex.quote(results.name)}")
    path = results.plan.manifest_path or f"manifests/{results.name}.yaml"
    manifest = shlex.quote(packaged.named(str(path)))
    if path == str(GIVEN):
        again = "python -c 'import refers_bench; refers_bench.run(manifest)'  # 'manifest' of plan.lock.json"
        return (again, f"refers-bench report {shlex.quote(results.name)}")
    explained = (_explain(manifest, one) for one in explanations.read(results.store.parent, results.name))
    run = " ".join(["refers-bench run", manifest, *map(shlex.quote, changes_of(results))])
    return (run, *explained, f"refers-bench report {manifest}")


def changes_of(results: Results) -> tuple[str, ...]:
    """The words of the options that changed the manifest on the command line."""
    return tuple(word for text in results.plan.changes for word in text.split(" ", 1))


def _explain(manifest: str, one: Explained) -> str:
    kind = one.maps[0] if len(one.maps) == 1 else "both"
    settings = f"--map {kind} --threshold {one.threshold:g} --images {one.images}"
    return f"refers-bench explain {manifest} --cell {shlex.quote(one.name)} {settings}"


#: What `environment` says.
ENVIRONMENT = ("code", "machine", "packages")


def environment(record: Mapping[str, Any]) -> tuple[str, str, str]:
    """Code, machine and packages of a job, in words; '' for what is not known."""
    found = record.get("provenance") or {}
    packages = found.get("packages") or {}
    return _git(found), _hardware(found), ", ".join(f"{name} {packages[name]}" for name in sorted(packages))


def _git(provenance: Mapping[str, Any]) -> str:
    """Commit, and whether the checkout was clean."""
    git = provenance.get("git") or {}
    if not git.get("commit"):
        return str(git.get("reason", ""))
    return f"{str(git['commit'])[:12]}{' with local changes' if git.get('dirty') else ''}"


def _hardware(provenance: Mapping[str, Any]) -> str:
    """Processor, memory, GPU, platform and threads."""
    hardware = provenance.get("hardware") or {}
    cpu, memory, device = hardware.get("cpu"), hardware.get("memory_bytes"), provenance.get("device")
    parts = (
        cpu and f"{cpu}, {hardware.get('cores', '?')} cores",
        memory and f"{memory / 2**30:.0f} GiB",
        (provenance.get("gpu") or {}).get("name"),
        hardware.get("platform"),
        device and f"device {device}, {provenance.get('threads', '?')} threads",
    )
    return "; ".join(str(part) for part in parts if part)
