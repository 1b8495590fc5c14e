"""Reads what jobs of a shape took on a device, as finished ones recorded it or as a probe measured it."""

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refers_bench import identity
from refers_bench.errors import DataError
from refers_bench.files import read_json, storage_errors
from refers_bench.plan.fairness import WITH_GRADIENT
from refers_bench.plan.forecast.cost_model import Cost, batch_size, radiographs
from refers_bench.plan.forecast.devices import Device, recorded_on
from refers_bench.plan.forecast.shapes import measured_key, shape_of, unstepped
from refers_bench.store.results import ResultStore

#: Records of a shape that are read: more would say the same.
RECORDS = 5
#: Folder of probes below the results, and layout of their files.
PROBES, VERSION = "probes", 1


def probe_path(results: Path, shape: Mapping[str, Any], device: Device) -> Path:
    """File of a shape's probe on a device."""
    return results / PROBES / f"{measured_key(shape, device.label)}.json"


def probed(results: Path, shape: Mapping[str, Any], device: Device) -> Cost | None:
    """What a probe measured; None where there was none."""
    try:
        content = read_json(probe_path(results, shape, device))
    except (OSError, ValueError):
        return None
    if content.get("version") != VERSION:
        return None
    found = content["measurement"]
    # Processes of a job are not counted, so there is nothing to compare in that case.
    alone = device.kind == "cpu" and content["shape"].get("training", {}).get("processes", 1) == 1
    busy = max(1.0, found["wall_s"] / found["processor_s"]) if alone and found["processor_s"] else 1.0
    figures = ("step_s", "evaluation_s", "fixed_s", "peak_bytes", "checkpoint_bytes")
    return Cost(**{name: found[name] for name in figures}, source="probed", note=found["data"], busy=busy)


def recorded(records: Sequence[Mapping[str, Any]]) -> Cost | None:
    """Mean of what finished jobs of one shape recorded; None without any.

    Args:
        records: contents of their ``run.json``, all of one shape and of one device.
    """
    if not (found := [one for record in records if (one := _of_record(record)) is not None]):
        return None
    return Cost(
        step_s=statistics.mean(one.step_s for one in found),
        evaluation_s=statistics.mean(one.evaluation_s for one in found),
        fixed_s=statistics.median(one.fixed_s for one in found),
        # A worker's peak is the largest of all jobs that it had run: the least of several is nearest to the job's own.
        peak_bytes=min(one.peak_bytes for one in found),
        done=statistics.mean(one.done for one in found),
        checkpoint_bytes=max(one.checkpoint_bytes for one in found),
        source="recorded",
        note=f"{len(found)} finished jobs" if len(found) > 1 else "one finished job",
    )


def records_of(keys: Iterable[str], store: ResultStore, device: Device) -> list[Mapping[str, Any]]:
    """Records of these jobs that ran on the device, `RECORDS` at most, with the size of the checkpoint beside each."""
    return list(itertools.islice(_on(device, keys, store), RECORDS))


def scanned(store: ResultStore, device: Device, wanted: set[str], *, most: int) -> dict[str, list[Mapping[str, Any]]]:
    """Shape -> records of finished jobs of whatever manifest, found by reading the store.

    Args:
        store: results of all manifests.
        device: on which they must have run.
        wanted: shapes (keys of `shape_of`) to look for.
        most: records that are read at most.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    folders = store.root.iterdir() if wanted and store.root.is_dir() else iter(())
    keys = (one.name for one in itertools.islice(folders, most) if one.is_dir() and one.name[0] != ".")
    for record in _on(device, keys, store):
        shape = _shape(record)
        if shape in wanted and len(found.setdefault(shape, [])) < RECORDS:
            found[shape].append(record)
    return found


def _on(device: Device, keys: Iterable[str], store: ResultStore) -> Iterator[Mapping[str, Any]]:
    """Records of jobs that ran on a device, with the size of the checkpoint beside each."""
    for key in keys:
        try:
            record = store.record(key)
        except DataError:  # whoever uses the result reports it
            continue
        if record is not None and recorded_on(record.get("provenance", {})) == device.label:
            checkpoint = store.folder(key) / "checkpoint.safetensors"
            yield {**record, "bytes": checkpoint.stat().st_size if checkpoint.is_file() else 0}


def forget(paths: Iterable[Path]) -> None:
    """Remove probes, so that they are made again.

    Raises:
        StorageError: they cannot be removed.
    """
    for path in paths:
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _shape(record: Mapping[str, Any]) -> str:
    """Key of a record's shape; '' for kinds without one, and for records of earlier versions, which held less."""
    try:
        shape = shape_of(record["spec"])
    except KeyError:
        return ""
    return identity.key(shape) if shape is not None else ""


def _of_record(record: Mapping[str, Any]) -> Cost | None:
    """Figures of one record; None where it has none of use."""
    facts, spec, wall = record["facts"], record["spec"], float(record["wall_s"])
    gpu = record["provenance"].get("gpu")
    peak = int(gpu["peak_mem_bytes"] if gpu else record["peak_mem_bytes"])
    if spec["kind"] == "prepare":
        images = facts["pixels"]["count"]
        if not images or not facts.get("decoded", True):
            return None
        return Cost(step_s=wall / images, evaluation_s=0.0, fixed_s=0.0, peak_bytes=peak)
    if unstepped(spec):
        return Cost(step_s=0.0, evaluation_s=0.0, fixed_s=wall, peak_bytes=peak)
    if spec["kind"] == "features":
        images = facts["shape"][0]
        return Cost(step_s=wall / images, evaluation_s=0.0, fixed_s=0.0, peak_bytes=peak) if facts["computed"] else None
    steps, train_s = facts["steps"], float(facts.get("train_s", 0))
    if not train_s and facts.get("images_per_s"):  # a record of an earlier version
        train_s = steps * radiographs(spec) / facts["images_per_s"]
    # A batch that was split into micro-batches to save memory takes longer than the shape's own.
    if not steps or not train_s or facts.get("accumulation"):
        return None
    step_s = train_s / steps
    evaluation_s = step_s / (WITH_GRADIENT * batch_size(spec))
    seen = facts["examples"] if spec["kind"] == "pretrain" else facts.get("images", {})
    if facts.get("validation_s") and seen.get("val"):
        evaluation_s = facts["validation_s"] / seen["val"]
    evaluated = seen.get("val", 0) * facts.get("validations", 0)
    if spec["kind"] == "finetune":
        evaluated += seen["val"] + seen["test"]
    # A job that was resumed recorded the seconds since then only.
    rest = 0.0 if facts.get("resumed_from") else max(0.0, wall - train_s - evaluated * evaluation_s)
    asked = spec[spec["kind"]]["steps"] if spec["kind"] != "discover" else steps
    return Cost(
        step_s=step_s,
        evaluation_s=evaluation_s,
        fixed_s=rest,
        peak_bytes=peak,
        done=steps / asked,
        checkpoint_bytes=int(record.get("bytes", 0)),
    )
