"""An archive of one manifest's results holds what travels, byte for byte, and says what it left out and replaced."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from refers_bench import __version__
from refers_bench.analysis import bundle
from refers_bench.analysis.results import load
from refers_bench.errors import UserError
from refers_bench.files import sha256_of
from results_folder import record_again

ORIGINS = {
    "gpu": {"name": "A100"},
    "packages": {"python": "3.11.9", "refers-bench": "1.2", "torch": "2.6", "numpy": "2.0"},
}


@pytest.fixture
def results(folder: Any, tmp_path: Path) -> Any:
    """Two finished cells, one failed, a pre-training with weights; a manifest that is not in alphabetical order."""
    folder.lock["manifest"] = {"version": 1, "title": "t", "data": {"z": {"root": "/data/z/here"}}, "methods": ["a"]}
    folder.job("pre", kind="pretrain")
    folder.done("pre", kind="pretrain", provenance={"packages": {"python": "3.10"}, "threads": 4})
    for name in ("checkpoint.safetensors", "text.json", "history.parquet", "predictions.parquet"):
        (folder.results / "store" / "pre" / name).write_bytes(b"weights or texts")
    keys = [folder.cell(seed=seed) for seed in (0, 1)]
    for seed, key in enumerate(keys):
        path = folder.results / "store" / key / "run.json"
        record = json.loads(path.read_text())
        record["provenance"] = {**ORIGINS, "threads": seed, "roots": {"covid": "/data/covid"}}
        record["facts"] = {"list": "/data/covid/lists/a.txt", "spec": "/kept/as/it/is"}
        path.write_text(json.dumps(record))
        (path.parent / "subset.json").write_text('{"version":   1}')
        (path.parent / "notes.txt").write_text("")
    failed = folder.cell(seed=2, state="failed")
    path = folder.results / "store" / f"{failed}.failed.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "message": f"no {tmp_path}/results/x"}))
    return load(folder.save(), folder.name)


def test_what_travels(results: Any, tmp_path: Path) -> None:
    contents = bundle.gather(results, cache=tmp_path / "cache")
    own = "refers+covid19_idc-viral_vs_bacterial-1-"
    assert sorted(contents.members) == sorted([
        "results/tiny/plan.lock.json", "results/store/pre/history.parquet", "results/store/pre/run.json",
        *(f"results/store/{own}{seed}/{name}" for seed in (0, 1) for name in ("run.json", "metrics.parquet", "subset.json")),
        f"results/store/{own}2.failed.json", "tiny.yaml", "environment.json", "requirements.txt",
    ])  # fmt: skip
    assert contents.jobs == {"pretrain": 1, "finetune": 2}
    assert contents.left_out == {"checkpoint.safetensors": 1, "text.json": 1, "predictions.parquet": 1, "notes.txt": 2}
    assert contents.members["tiny.yaml"].decode() == (
        "# As it was resolved when it was planned; what it includes stands in it.\n"
        "version: 1\ntitle: t\ndata:\n  z:\n    root: <path>/here\nmethods:\n- a\n"
    )
    assert contents.members["requirements.txt"] == b"# Python 3.11.9\n# refers-bench 1.2\nnumpy==2.0\ntorch==2.6\n"
    # Nothing to replace: the file's own bytes.
    assert contents.members[f"results/store/{own}0/subset.json"] == b'{"version":   1}'
    record = json.loads(contents.members[f"results/store/{own}0/run.json"])
    assert record["facts"] == {"list": "<root covid>/lists/a.txt", "spec": "/kept/as/it/is"}
    failed = json.loads(contents.members[f"results/store/{own}2.failed.json"])
    assert failed["message"] == "no <results>/x"
    assert contents.replaced == {"<path>": 2, "<root covid>": 4, "<results>": 1}
    with_weights = bundle.gather(results, cache=tmp_path / "cache", checkpoints=True)
    assert set(with_weights.members) - set(contents.members) == {"results/store/pre/checkpoint.safetensors"}


def test_environments_most_jobs_first(results: Any) -> None:
    """Threads and data roots make no other environment."""
    assert [(len(one["jobs"]), one["provenance"]) for one in bundle.environment(results)] == [
        (2, ORIGINS),
        (1, {"packages": {"python": "3.10"}}),
    ]


def test_its_description_of_itself(results: Any, tmp_path: Path) -> None:
    contents = bundle.gather(results, cache=tmp_path / "cache")
    assert json.loads(bundle.about(results, contents, commands=("a", "b"))) == {
        "version": 1,
        "name": "tiny",
        "written_by": f"refers-bench {__version__}",
        "cells": 3,
        "cells_with_a_figure": 2,
        "jobs": {"pretrain": 1, "finetune": 2},
        "left_out": {"checkpoint.safetensors": 1, "text.json": 1, "predictions.parquet": 1, "notes.txt": 2},
        "absolute_paths_replaced": {"<path>": 2, "<results>": 1, "<root covid>": 4},
        "synthetic": [],
        "commands": ["a", "b"],
        "read_back": "refers-bench results import bundle tiny.tar.gz",
    }


def test_files_are_lent_by_links_and_texts_are_written(results: Any, tmp_path: Path) -> None:
    contents = bundle.gather(results, cache=tmp_path / "cache")
    staged = bundle.stage(contents, tmp_path / "staged")
    assert staged == tmp_path / "staged" / "results"
    for name, content in contents.members.items():
        path = tmp_path / "staged" / name
        assert path.is_symlink() is isinstance(content, Path)
        assert path.read_bytes() == (content.read_bytes() if isinstance(content, Path) else content)
    assert sys.prefix not in json.dumps(
        {name: str(text) for name, text in contents.members.items() if name.endswith(".json")}
    )


def test_digests_are_those_of_the_files_as_they_travel(folder: Any, tmp_path: Path) -> None:
    """A list of images whose paths are replaced, weights that stay behind, and a changed file, which is refused."""
    place = folder.results / "store" / folder.cell()
    (place / "subset.json").write_text(json.dumps({"from": "/data/here/list.txt"}))
    (place / "checkpoint.safetensors").write_bytes(b"weights")
    record_again(place)
    results = folder.load()
    members = bundle.gather(results, cache=tmp_path / "cache").members
    copied = bundle.stage(bundle.gather(results, cache=tmp_path / "cache"), tmp_path / "staged")
    listed = json.loads(members[f"results/store/{place.name}/run.json"])["files"]
    there = copied / "store" / place.name
    assert "<path>/list.txt" in (there / "subset.json").read_text()
    assert listed == {name: sha256_of(there / name) for name in ("metrics.parquet", "subset.json")}
    assert load(copied, folder.name).damaged == {}
    (place / "metrics.parquet").write_bytes(b"other")
    with pytest.raises(UserError, match=r"metrics\.parquet: changed since it was written"):
        bundle.gather(folder.load(), cache=tmp_path / "cache")
