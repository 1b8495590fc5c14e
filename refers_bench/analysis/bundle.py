"""Gathers what goes into an archive of one manifest's results, and says what of one is unpacked again."""

import hashlib
import io
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refers_bench import __version__
from refers_bench.analysis import kept
from refers_bench.analysis.predictions import FILE
from refers_bench.analysis.results import Results
from refers_bench.errors import UserError
from refers_bench.store import frozen_plan
from refers_bench.store.frozen_plan import FROZEN
from refers_bench.store.plan import LOCK
from refers_bench.store.results import RECORD, ResultStore
from refers_bench.store.scrubbing import Scrubber, roots_of

VERSION = 1
#: The archive's own description, and the results folder inside of it.
ABOUT, RESULTS = "bundle.json", "results"
#: Jobs whose whole result travels: figures and what they were computed from, no pixels, reports or weights.
WHOLE = ("finetune", "frozen", "out_of_fold", "import")
#: Files of those jobs, and of the others.
_FILES = (FILE, "metrics.parquet", "history.parquet", "subset.json", "run.json")
_OTHER_FILES = ("history.parquet", "run.json")
_WEIGHTS = (".safetensors", ".pt", ".bin")
#: Names of the members that are unpacked -> most bytes of each. The largest predictions are those of 200,000 images.
_KEY = rf"{RESULTS}/store/[A-Za-z0-9]+"
_MOST: Mapping[str, int] = {
    ABOUT: 16 << 20,
    rf"{RESULTS}/[\w-]+/({re.escape(LOCK)}|{re.escape(FROZEN)})": 512 << 20,
    rf"{_KEY}/(run|subset)\.json": 32 << 20,
    rf"{_KEY}\.failed\.json": 4 << 20,
    rf"{_KEY}/metrics\.parquet": 4 << 20,
    rf"{_KEY}/history\.parquet": 64 << 20,
    rf"{_KEY}/predictions\.parquet": 256 << 20,
    rf"{_KEY}/checkpoint\.safetensors": 8 << 30,
}


@dataclass(kw_only=True)
class Contents:
    """Members of an archive.

    Attributes:
        members: name -> content, or the file that holds it.
        replaced: placeholder -> how many absolute paths it replaces.
        jobs: finished jobs by kind.
        left_out: weights and other files that stay behind, by name -> number.
    """

    members: dict[str, bytes | Path] = field(default_factory=dict)
    replaced: Mapping[str, int] = field(default_factory=dict)
    jobs: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _yaml(value: Any) -> bytes:
    """A manifest as it was resolved, to be run again."""
    from ruamel.yaml import YAML

    yaml, stream = YAML(typ="safe", pure=True), io.BytesIO()
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(value, stream)
    return b"# As it was resolved when it was planned; what it includes stands in it.\n" + stream.getvalue()


def gather(results: Results, *, cache: Path, checkpoints: bool = False) -> Contents:
    """Lock, frozen plan, records, predictions, metrics, label subsets, curves, failures, environment of a manifest.

    Absolute paths in JSON files are replaced (`Contents.replaced`). Prepared images, indices (which hold report text),
    tokenizers (made from reports) and, by default, checkpoints are left out.

    Args:
        results: of the manifest.
        cache: folder of prepared images, whose path is replaced where it occurs.
        checkpoints: whether weights go along.

    Raises:
        UserError: a result, or the frozen plan, is damaged; image or patient ids, or what was frozen, are absolute
            paths: they decide results or a digest and cannot be replaced.
    """
    if results.damaged:
        raise UserError(list(results.damaged.values()))
    folder = results.store.parent
    folders = {"results": str(folder), "cache": str(cache), "python": sys.prefix, "home": str(Path.home())}
    scrub = Scrubber({**roots_of(results.records.values()), **folders})
    contents = Contents()
    lock = folder / results.name / LOCK
    contents.members[f"{RESULTS}/{results.name}/{LOCK}"] = _scrubbed(lock, scrub)
    if frozen_plan.find(folder, results.name) is not None:
        contents.members[f"{RESULTS}/{results.name}/{FROZEN}"] = _whole(lock.with_name(FROZEN), scrub)
    for key, record in results.records.items():
        _gather_job(results, key, record, contents, scrub, checkpoints=checkpoints)
    for key, failure in results.failures.items():
        contents.members[f"{RESULTS}/store/{key}.failed.json"] = _json(scrub.value(failure))
    manifest = results.plan.manifest
    if results.origin == "run" and manifest:
        contents.members[f"{results.name}.yaml"] = _yaml(scrub.value(manifest))
    contents.members["environment.json"] = _json(scrub.value(environment(results)))
    contents.members["requirements.txt"] = _requirements(results)
    contents.replaced = dict(scrub.replaced)
    return contents


def _scrubbed(path: Path, scrub: Scrubber) -> bytes:
    """A JSON file; its own bytes where nothing had to be replaced."""
    before = path.read_bytes()
    content = json.loads(before)
    clean = scrub.value(content)
    return before if clean == content else _json(clean)


def _whole(path: Path, scrub: Scrubber) -> bytes:
    """The bytes of a JSON file whose digest others have."""
    content = path.read_bytes()
    if _scrubbed(path, scrub) != content:
        allowed = "a frozen plan without absolute paths: they would show where your files lie"
        raise UserError("what was frozen holds an absolute path", allowed=allowed, path=path)
    return content


def travels(kind: str, name: str, *, checkpoints: bool) -> bool:
    """Whether a file of a job of that kind belongs into an archive."""
    if Path(name).suffix in _WEIGHTS:
        return checkpoints
    return name in (_FILES if kind in WHOLE else _OTHER_FILES)


def _gather_job(
    results: Results, key: str, record: Mapping[str, Any], contents: Contents, scrub: Scrubber, *, checkpoints: bool
) -> None:
    kind, store = results.jobs[key].kind, ResultStore(results.store.parent)
    contents.jobs[kind] += 1
    digests: dict[str, str] = {}
    for path in sorted((results.store / key).iterdir()):
        if path.name == RECORD:
            continue
        if not travels(kind, path.name, checkpoints=checkpoints):
            contents.left_out[path.name] += 1
            continue
        store.file(key, path.name)
        if path.name == FILE:
            _check_ids(path)
        member = _scrubbed(path, scrub) if path.suffix == ".json" else path
        recorded = record.get("files", {}).get(path.name, "")
        digests[path.name] = recorded if isinstance(member, Path) else hashlib.sha256(member).hexdigest()
        contents.members[f"{RESULTS}/store/{key}/{path.name}"] = member
    # Those of the files as they travel.
    listed = {**record, "files": digests} if "files" in record else record
    contents.members[f"{RESULTS}/store/{key}/{RECORD}"] = _json(scrub.value(listed))


def _check_ids(path: Path) -> None:
    import pyarrow.compute as pc

    from refers_bench.store.schemas import read_table

    ids = ["image_id", "patient_id"]
    table = read_table(path, "predictions", as_dictionaries=ids)
    for name in ids:
        values = pc.unique(table[name].combine_chunks().dictionary)
        absolute = next((value for value in values.to_pylist() if Path(value).is_absolute()), None)
        if absolute is not None:
            allowed = "ids that are no absolute paths: they would show where your files lie; import with relative ones"
            raise UserError(f"{name} '{absolute}'", allowed=allowed, path=path)


def environment(results: Results) -> list[dict[str, Any]]:
    """Every distinct combination of code, packages and machine, with the jobs that ran under it; most jobs first."""
    groups: dict[str, dict[str, Any]] = {}
    for key, record in results.records.items():
        found = {
            name: value for name, value in (record.get("provenance") or {}).items() if name not in ("roots", "threads")
        }
        text = json.dumps(found, sort_keys=True)
        groups.setdefault(text, {"provenance": found, "jobs": []})["jobs"].append(key)
    return sorted(groups.values(), key=lambda group: (-len(group["jobs"]), json.dumps(group, sort_keys=True)))


def _requirements(results: Results) -> bytes:
    """Versions of the environment that most jobs ran in, as pip reads them."""
    found = environment(results)
    packages = dict((found[0]["provenance"].get("packages") or {}) if found else {})
    python = packages.pop("python", "")
    own = packages.pop("refers-bench", "")
    head = [f"# Python {python}"] if python else []
    # The package itself is installed from its own sources; a version alone does not say which.
    head += [f"# refers-bench {own}"] if own else []
    return ("\n".join([*head, *(f"{name}=={packages[name]}" for name in sorted(packages))]) + "\n").encode()


def about(results: Results, contents: Contents, *, commands: Iterable[str]) -> bytes:
    """The archive's description of itself: what is in it, what is not, what was replaced, how it is done again."""
    return _json(
        {
            "version": VERSION,
            "name": results.name,
            "written_by": f"refers-bench {__version__}",
            "cells": len(results.planned),
            "cells_with_a_figure": sum(planned.run.counts for planned in results.planned),
            "jobs": contents.jobs,
            "left_out": contents.left_out,
            "absolute_paths_replaced": dict(sorted(contents.replaced.items())),
            "synthetic": sorted({f"{target.dataset}: {target.task}" for target in results.synthetic}),
            "commands": list(commands),
            "read_back": f"refers-bench results import bundle {results.name}.tar.gz",
        }
    )


def stage(contents: Contents, folder: Path) -> Path:
    """A results folder with what travels, so that a report is written from that alone; returns it.

    Files that are copied as they are become links.
    """
    for name, content in contents.members.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.symlink_to(content.absolute())
    return folder / RESULTS


def lend(results: Results, other: Results | None, staged: Path) -> None:
    """Let a staged folder see, by links, kept statistics and the released files: a report shows both beside ours."""
    folder = results.store.parent
    if (folder / kept.FOLDER).is_dir():
        drawings = shutil.ignore_patterns("drawings")
        shutil.copytree(folder / kept.FOLDER, staged / kept.FOLDER, ignore=drawings, dirs_exist_ok=True)
    if other is None or other.name == results.name:
        return
    (staged / other.name).mkdir(exist_ok=True)
    (staged / other.name / LOCK).symlink_to((folder / other.name / LOCK).absolute())
    for key in other.records:
        if not (staged / "store" / key).exists():
            (staged / "store" / key).symlink_to((results.store / key).absolute())


def most_bytes(name: str) -> int:
    """Most bytes of a member that is unpacked, from its name below the top folder; 0 for one that nothing reads here.

    Example:
        >>> most_bytes("report/index.html"), most_bytes("results/store/0a1b/checkpoint.pt")
        (0, 0)
    """
    return next((size for pattern, size in _MOST.items() if re.fullmatch(pattern, name)), 0)
