"""Results are packed, checked, read back elsewhere and compared, without a path of the machine and without trust."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import command_in
from results_folder import record_again


def table(shift: float = 0.0, methods: tuple[str, ...] = ("refers", "c2l"), images: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {"method": method, "dataset": "own", "task": "t", "label_ratio": 1, "class": label, "image_id": f"i{n}",
             "patient_id": f"p{n // 2}", "label": int(n % 3 == 0), "seed": seed, "selected_on": "val",
             "score": rng.normal() + (n % 3 == 0) * strength + (shift if (method, seed, n) == ("c2l", 1, 3) else 0)}
            for method, strength in zip(methods, (2.0, 1.0), strict=False)
            for seed in (0, 1) for n in range(images) for label in ("x", "y")
        ]
    )  # fmt: skip


def imported(folder: Path, frame: pd.DataFrame, results: str = "r") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "mine.csv"
    frame.to_csv(path, index=False)
    done = command_in(folder / results, "results", "import", "csv", str(path))
    assert done.code == 0, done.err
    return folder / results


def content(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


def repacked(path: Path, change: Any) -> Path:
    """The archive with some members changed and its checksums made again, as a forger would."""
    members = {name.split("/", 1)[1]: data for name, data in content(path).items() if not name.endswith("SHA256SUMS")}
    change(members)
    for name in [name for name in members if name.endswith("/run.json")]:
        record, folder = json.loads(members[name]), name.removesuffix("run.json")
        if "files" in record:
            here = {one.removeprefix(folder): data for one, data in members.items() if one.startswith(folder)}
            record["files"] = {one: hashlib.sha256(data).hexdigest() for one, data in here.items() if one != "run.json"}
            members[name] = json.dumps(record).encode()
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(members.items())]
    members["SHA256SUMS"] = ("\n".join(lines) + "\n").encode()
    out = path.with_name("forged.tar.gz")
    with tarfile.open(out, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"mine/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two methods x two seeds, with a failure whose traceback names paths, and weights."""
    folder = tmp_path_factory.mktemp("made here")
    results = imported(folder, table())
    lock_path = results / "mine" / "plan.lock.json"
    lock = json.loads(lock_path.read_text())
    lock["manifest_path"] = str(folder / "manifests" / "mine.yaml")
    lock_path.write_text(json.dumps(lock))
    key = sorted(path.name for path in (results / "store").iterdir())[0]
    (results / "store" / key / "checkpoint.safetensors").write_bytes(b"weights")
    (results / "store" / key / "index.parquet").write_bytes(b"report text")
    record = json.loads((results / "store" / key / "run.json").read_text())
    record["provenance"]["roots"] = {"nih": str(folder / "data" / "nih")}
    record["facts"]["from"] = f"{folder}/data/nih/a.png"
    (results / "store" / key / "run.json").write_text(json.dumps(record))
    record_again(results / "store" / key)
    with contextlib.chdir(folder):
        done = command_in(results, "results", "bundle", "mine", "--out", str(folder / "mine.tar.gz"))
    assert done.code == 0, done.err
    (folder / "said.txt").write_text(done.out)
    return folder / "mine.tar.gz"


def test_a_bundle_holds_everything_but_weights_and_paths(bundle: Path) -> None:
    members = content(bundle)
    names = {name.removeprefix("mine/") for name in members}
    assert {"bundle.json", "environment.json", "requirements.txt", "SHA256SUMS", "report/index.html"} <= names
    assert "results/mine/plan.lock.json" in names
    for kind in ("predictions.parquet", "metrics.parquet", "run.json"):
        assert sum(name.endswith(f"/{kind}") for name in names) == 4, kind
    assert not [name for name in names if name.endswith((".safetensors", "index.parquet"))]
    folder = str(bundle.parent).encode()
    assert [name for name, data in members.items() if folder in data or str(Path.home()).encode() + b"/" in data] == []
    about = json.loads(members["mine/bundle.json"])
    assert about["absolute_paths_replaced"] and about["left_out"] == {"checkpoint.safetensors": 1, "index.parquet": 1}
    said = (bundle.parent / "said.txt").read_text()
    assert "absolute paths replaced: " in said and "not in the archive: 1 x checkpoint.safetensors" in said


def test_its_crate_names_every_file_but_itself_and_the_checksums(bundle: Path) -> None:
    members = content(bundle)
    crate = json.loads(members["mine/ro-crate-metadata.json"])
    graph = {unquote(one["@id"]): one for one in crate["@graph"]}
    named = {unquote(one["@id"]) for one in graph["./"]["hasPart"]}
    assert named == {name.removeprefix("mine/") for name in members} - {"ro-crate-metadata.json", "SHA256SUMS"}
    assert all(graph[name]["contentSize"] == str(len(members[f"mine/{name}"])) for name in named)
    assert graph["#commands"]["description"].startswith("refers-bench results import csv mine.csv")


def test_again_and_from_elsewhere_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    """Also by another process, which numbers what is hashed otherwise."""
    line = [sys.executable, "-m", "refers_bench", "--results", str(bundle.parent / "r"), "results", "bundle", "mine"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([*line, "--out", str(tmp_path / "b.tar.gz")], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "b.tar.gz").read_bytes() == bundle.read_bytes()


def test_weights_go_along_when_asked_for(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "w.tar.gz"
    assert command_in(bundle.parent / "r", "results", "bundle", "mine", "--checkpoints", "--out", str(out)).code == 0
    names = list(content(out))
    assert sum(name.endswith("checkpoint.safetensors") for name in names) == 1
    assert not [name for name in names if name.endswith("index.parquet")]


def test_a_bundle_is_verified_taken_in_and_the_same(bundle: Path, tmp_path: Path) -> None:
    verified = command_in(tmp_path / "r", "results", "verify", str(bundle))
    assert verified.code == 0 and "sound; mine, 4 of 4 cells" in verified.out, verified.err
    assert not (tmp_path / "r").exists()
    taken = command_in(tmp_path / "r", "results", "import", "bundle", str(bundle))
    assert taken.code == 0, taken.err
    assert "4 results added, 0 were here" in taken.out
    again = command_in(tmp_path / "r", "results", "import", "bundle", str(bundle))
    assert again.code == 0 and "0 results added, 4 were here" in again.out
    lock = json.loads((tmp_path / "r" / "mine" / "plan.lock.json").read_text())
    assert lock["manifest"]["bundle"]["sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    for other in (str(bundle), str(bundle.parent / "r"), str(bundle.parent / "r" / "mine")):
        same = command_in(tmp_path / "r", "results", "diff", "mine", other)
        assert same.code == 0 and "predictions of 4 of 4 byte-identical" in same.out, same.out + same.err
    report = command_in(tmp_path / "r", "report", "mine")
    assert report.code == 0, report.err


def test_the_unpacked_bundle_is_a_results_folder(bundle: Path, tmp_path: Path) -> None:
    with tarfile.open(bundle) as archive:
        archive.extractall(tmp_path, filter="data")
    done = command_in(
        tmp_path / "mine" / "results", "report", "mine", "--format", "csv", "--out", str(tmp_path / "out")
    )
    assert done.code == 0, done.err
    packed = content(bundle)
    for path in (tmp_path / "out").glob("*.csv"):
        assert path.read_bytes() == packed[f"mine/report/{path.name}"], path.name


def forged_metrics(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.endswith("metrics.parquet"))
    found = pq.read_table(io.BytesIO(members[name]))
    changed = found.set_column(
        found.column_names.index("auc"), found.schema.field("auc"), pa.array([0.99] * len(found))
    )
    stream = io.BytesIO()
    pq.write_table(changed.replace_schema_metadata(found.schema.metadata), stream)
    members[name] = stream.getvalue()


def forged_spec(members: dict[str, bytes]) -> None:
    name = "results/mine/plan.lock.json"
    members[name] = members[name].replace(b'"digest": "', b'"digest": "0')


def forged_name(members: dict[str, bytes]) -> None:
    about = json.loads(members["bundle.json"])
    members["bundle.json"] = json.dumps({**about, "name": "../../mine"}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (forged_metrics, "its predictions give 0."),
        (forged_spec, "its key is not that of its specification"),
        (forged_name, "no bundle of this version"),
        (lambda members: members.pop("bundle.json"), "no bundle of this version"),
        (lambda members: members.pop("results/mine/plan.lock.json"), "holds no plan 'mine'"),
    ],
)
def test_a_forged_bundle_is_refused_and_nothing_is_taken_in(
    bundle: Path, tmp_path: Path, change: Any, message: str
) -> None:
    path = tmp_path / "mine.tar.gz"
    shutil.copyfile(bundle, path)
    forged = repacked(path, change)
    for words in (("results", "verify", str(forged)), ("results", "import", "bundle", str(forged))):
        done = command_in(tmp_path / "r", *words)
        assert done.code == 2 and message in done.err, done.err
    assert not (tmp_path / "r").exists()


def test_a_name_that_is_taken_is_not_written_over(bundle: Path, tmp_path: Path) -> None:
    results = imported(tmp_path, table(shift=1.0))
    before = (results / "mine" / "plan.lock.json").read_bytes()
    done = command_in(results, "results", "import", "bundle", str(bundle))
    assert done.code == 2 and "a plan 'mine' with other content is here; allowed: another name" in done.err
    assert (results / "mine" / "plan.lock.json").read_bytes() == before
    other = command_in(results, "results", "import", "bundle", str(bundle), "--name", "theirs")
    assert other.code == 0, other.err
    assert command_in(results, "results", "diff", "mine", "theirs").code == 5
    bad = command_in(results, "results", "import", "bundle", str(bundle), "--name", "../x")
    assert bad.code == 2 and "allowed: letters" in bad.err


def test_a_difference_is_shown_with_its_numbers(bundle: Path, tmp_path: Path) -> None:
    results = imported(tmp_path, table(shift=5.0))
    done = command_in(results, "results", "diff", str(bundle), "mine")
    assert done.code == 5, done.err
    for part in (
        "predictions that differ: 1", "c2l.own.t.100%.s1: differ, max |difference of scores| 5 (another key)",
        "means that differ, B minus A in AUC points: 1", "over seeds 95 %", "over test images 95 %",
        "classes that differ", "specifications that differ", "digest: ",
        "different: 4 cells in both, predictions of 3 of 4 byte-identical",
    ):  # fmt: skip
        assert part in done.out, done.out
    found = json.loads(command_in(results, "results", "diff", str(bundle), "mine", "--json").out)
    assert found["same"] is False and [one["method"] for one in found["means"] if not one["same"]] == ["c2l"]
    (cell,) = [cell for cell in found["cells"] if not cell["same"]]
    assert cell["largest_score_difference"] == pytest.approx(5.0, abs=1e-6)
    fewer = imported(tmp_path / "few", table(methods=("refers",)))
    done = command_in(fewer, "results", "diff", "mine", str(bundle))
    assert done.code == 5 and "cells only in B: 2" in done.out


def test_a_baseline_is_one_side_of_a_comparison(bundle: Path, tmp_path: Path) -> None:
    results = bundle.parent / "r"
    baseline = tmp_path / "baseline.json"
    assert command_in(results, "check", "mine", "--baseline", str(baseline), "--update").code == 0
    same = command_in(results, "results", "diff", "mine", str(baseline))
    assert same.code == 0 and "same: 4 cells in both" in same.out, same.out
    stored = json.loads(baseline.read_text())
    next(iter(stored["cells"].values()))["classes"]["x"]["auc"] = 0.5
    baseline.write_text(json.dumps(stored))
    assert command_in(results, "results", "diff", "mine", str(baseline)).code == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("diff", "mine", "minne"), "did you mean 'mine'"),
        (("diff", "mine", "none.tar.gz"), "no such file"),
        (("verify", "none.tar.gz"), "no such file"),
        (("bundle", "other"), "has no plan here"),
    ],
)
def test_mistakes_are_one_clear_error(bundle: Path, words: tuple[str, ...], message: str) -> None:
    done = command_in(bundle.parent / "r", "results", *words)
    assert done.code == 2 and message in done.err


def test_ids_that_are_paths_are_refused(tmp_path: Path) -> None:
    frame = table()
    frame["image_id"] = "/data/nih/" + frame["image_id"]
    results = imported(tmp_path, frame)
    done = command_in(results, "results", "bundle", "mine", "--out", str(tmp_path / "x.tar.gz"))
    assert done.code == 2 and "image_id '/data/nih/i0'" in done.err
    assert not (tmp_path / "x.tar.gz").exists()
