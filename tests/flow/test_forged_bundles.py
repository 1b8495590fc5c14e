"""Forged bundles: each is one clear error with exit code 2, within bounds, and the store is as it was, byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from command_line import command_in
from refers_bench import identity
from refers_bench.plan import lock
from refers_bench.store.plan_file import unpacked
from refers_bench.store.results import ResultStore
from stored_results import scored

Members = dict[str, bytes]
CLASSES = ("x", "y")
LOCK = "results/mine/plan.lock.json"
#: Strengths of the rows' scores: their figures differ.
ROWS = {"refers": 2.0, "c2l": 0.5}


def run_spec(method: str, seed: int) -> dict[str, Any]:
    """The specification of a fine-tuning, with what results are checked against."""
    return {
        "kind": "finetune", "recipe": 3, "method": method, "params": {}, "impl": 1, "dataset": "own", "task": "t",
        "classes": list(CLASSES), "label_ratio": 0.1, "seed": seed, "prepare": None, "pretrain": None,
    }  # fmt: skip


def job_of(spec: dict[str, Any], name: str = "") -> lock.Job:
    return lock.Job(
        key=identity.key(spec), kind=spec["kind"], name=name or f"{spec['method']}.s{spec['seed']}", spec=spec
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two fine-tuned rows x two seeds."""
    folder = tmp_path_factory.mktemp("made")
    store, jobs, planned = ResultStore(folder / "r"), [], []
    for method, strength in ROWS.items():
        for seed in (0, 1):
            job = job_of(run_spec(method, seed))
            scored(store, job, strength=strength)
            jobs.append(job)
            where = {"method": method, "label": method, "dataset": "own", "task": "t", "label_ratio": 0.1, "seed": seed}
            planned.append(lock.Cell(**where, key=job.key))
    manifest = {"methods": [{"id": method} for method in ROWS]}
    lock.write(lock.Plan(name="mine", manifest=manifest, jobs=tuple(jobs), cells=tuple(planned)), folder / "r")
    done = command_in(folder / "r", "results", "bundle", "mine", "--out", str(folder / "mine.tar.gz"))
    assert done.code == 0, done.err
    return folder / "mine.tar.gz"


def content(path: Path) -> Members:
    """Name below the top folder -> bytes, without the checksums."""
    with tarfile.open(path) as archive:
        found = {one.name.split("/", 1)[1]: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
    del found["SHA256SUMS"]
    return found


def written(path: Path, members: Members) -> Path:
    """An archive with right checksums, as a forger makes it."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(members.items())]
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {**members, "SHA256SUMS": ("\n".join(lines) + "\n").encode()}.items():
            info = tarfile.TarInfo(f"mine/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def first(members: Members, kind: str) -> str:
    """The member of that kind of the first cell."""
    key = unpacked(json.loads(members[LOCK]))["cells"][0]["key"]
    return f"results/store/{key}/{kind}"


def table(change: Callable[[pa.Table], pa.Table], kind: str = "metrics.parquet") -> Callable[[Members], None]:
    """Forge a table of the first cell; its schema's mark stays."""

    def forge(members: Members) -> None:
        name, stream = first(members, kind), io.BytesIO()
        found = pq.read_table(io.BytesIO(members[name]))
        pq.write_table(change(found).replace_schema_metadata(found.schema.metadata), stream)
        members[name] = stream.getvalue()

    return forge


def column(name: str, values: Callable[[pa.Table], Any]) -> Callable[[pa.Table], pa.Table]:
    return lambda found: found.set_column(found.column_names.index(name), name, values(found))


def at_first(name: str, value: Any) -> Callable[[pa.Table], pa.Table]:
    """Another value in the first row of a column."""
    return column(name, lambda found: pa.array([value, *found[name].to_pylist()[1:]], found.schema.field(name).type))


def more_rows(number: int) -> Callable[[pa.Table], pa.Table]:
    """Classes that no prediction has."""

    def change(found: pa.Table) -> pa.Table:
        row = found.slice(0, 1).to_pylist()[0]
        extra = pa.Table.from_pylist([{**row, "class": f"new{n}"} for n in range(number)], schema=found.schema)
        return pa.concat_tables([found, extra])

    return change


def nan_a_class(found: pa.Table) -> pa.Table:
    """A NaN among the scores of each class."""
    seen: set[str] = set()
    logits = []
    for name, score in zip(found["class"].to_pylist(), found["logit"].to_pylist(), strict=True):
        logits.append(score if name in seen else float("nan"))
        seen.add(name)
    return column("logit", lambda _: pa.array(logits, pa.float32(), from_pandas=False))(found)


def record(**changes: Any) -> Callable[[Members], None]:
    def forge(members: Members) -> None:
        name = first(members, "run.json")
        members[name] = json.dumps({**json.loads(members[name]), **changes}).encode()

    return forge


def plan(change: Callable[[dict[str, Any]], Any]) -> Callable[[Members], None]:
    """Forge the lock, each job with its whole specification."""

    def forge(members: Members) -> None:
        found = {**unpacked(json.loads(members[LOCK])), "version": 1}
        found.pop("specs", None)
        change(found)
        members[LOCK] = json.dumps(found).encode()

    return forge


def of_cell(**changes: Any) -> Callable[[Members], None]:
    return plan(lambda found: found["cells"][0].update(changes))


def of_job(**changes: Any) -> Callable[[Members], None]:
    return plan(lambda found: found["jobs"][0].update(changes))


def swapped(found: dict[str, Any]) -> None:
    """The results of two rows exchanged."""
    one, other = (next(cell for cell in found["cells"] if cell["method"] == name) for name in ROWS)
    one["key"], other["key"] = other["key"], one["key"]


def exchanged_seeds(found: dict[str, Any]) -> None:
    one, other = found["cells"][:2]
    one["key"], other["key"] = other["key"], one["key"]


def circle(found: dict[str, Any]) -> None:
    one, other = found["jobs"][:2]
    one["needs"], other["needs"] = [other["key"]], [one["key"]]


def dropped(kind: str) -> Callable[[Members], None]:
    return lambda members: members.pop(first(members, kind)) and None


def large_table(members: Members) -> None:
    """A few kB that stand for 30 million rows."""
    name, stream = first(members, "predictions.parquet"), io.BytesIO()
    schema = pq.read_schema(io.BytesIO(members[name]))
    block = pa.table(
        {
            **{one: pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int32)), [text])
               for one, text in (("image_id", "i"), ("patient_id", ""), ("class", "x"), ("split", "test"))},
            "label": pa.array(np.ones(10**6, np.int8)),
            "logit": pa.array(np.ones(10**6, np.float32)),
        }
    ).select(schema.names).cast(schema)  # fmt: skip
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for _ in range(30):
            writer.write_table(block)
    assert len(stream.getvalue()) < 500_000
    members[name] = stream.getvalue()


FORGED: dict[str, tuple[Callable[[Members], Any], str]] = {
    "first row of a class": (
        table(lambda found: pa.concat_tables([at_first("auc", 0.99)(found).slice(0, 1), found])), "a class twice"),
    "an AUC": (table(at_first("auc", 0.99)), "its predictions give 0."),
    "invented classes": (table(more_rows(40)), "its metrics have it, its predictions do not"),
    "nulls instead of AUCs": (
        table(column("auc", lambda found: pa.nulls(len(found), pa.float64()))), "its metrics say no AUC ()"),
    "a reason of its own": (table(at_first("undefined", "no positives")), "its metrics say"),
    "more images": (table(at_first("n_pos", 100_000)), "n 100000"),
    "a class left out": (table(lambda found: found.slice(1)), "its metrics lack it"),
    "another split": (table(at_first("split", "hidden")), "its predictions do not"),
    "NaN scores": (table(nan_a_class, "predictions.parquet"), "not finite"),
    "infinite scores": (table(at_first("logit", float("inf")), "predictions.parquet"), "not finite"),
    "an image twice": (
        table(lambda found: pa.concat_tables([found, found.slice(0, 1)]), "predictions.parquet"), "has 2 rows"),
    "a label of 3": (table(at_first("label", 3), "predictions.parquet"), "allowed: 1, 0 or null"),
    "a label of -1": (table(at_first("label", -1), "predictions.parquet"), "labels of -1"),
    "a split of its own": (table(at_first("split", "train"), "predictions.parquet"), "the splits"),
    "scores as texts": (
        table(lambda found: found.set_column(4, "logit", pc.cast(found["logit"], pa.string())), "predictions.parquet"),
        "column 'logit' holds string"),
    "a null id": (table(at_first("image_id", None), "predictions.parquet"), "holds nulls"),
    "a long text": (table(at_first("patient_id", "p" * 5000), "predictions.parquet"), "a text of 5000 bytes"),
    "30 million rows": (large_table, "30000000 rows"),
    "no predictions": (dropped("predictions.parquet"), "predictions.parquet: cannot read"),
    "no metrics": (dropped("metrics.parquet"), "metrics.parquet: cannot read"),
    "another's record": (record(key="0" * 20), "the record of '0000"),
    "another kind": (record(kind="prepare"), "its record is that of"),
    "a failure as a result": (record(category="nan"), "its record is that of"),
    "another specification": (record(spec={"kind": "finetune"}), "another specification than its job"),
    "no specification": (record(spec=None), "another specification than its job"),
    "provenance of a wrong type": (record(provenance={"git": 3}), "'git' of its provenance"),
    "a time that is a text": (record(wall_s="long"), "'wall_s' of its record"),
    "rows exchanged": (plan(swapped), "its job is of the method"),
    "seeds exchanged": (plan(exchanged_seeds), "its job has other seeds"),
    "another label ratio": (of_cell(label_ratio=1.0), "its job is for the label_ratio"),
    "another dataset": (of_cell(dataset="nih"), "its job is for the dataset"),
    "another evaluation": (of_cell(evaluation="knn"), "its job is evaluated by 'finetune'"),
    "folds that are none": (of_cell(folds=5), "its job is a finetune, 1 folds"),
    "another candidate": (of_cell(candidate=["finetune.steps=7"]), "its job is not of the candidate finetune.steps=7"),
    "a candidate of no constant": (of_cell(candidate=["x"]), "its job is not of the candidate x"),
    "a candidate that is a number": (of_cell(candidate=[7]), "a list of texts"),
    "a row that no manifest has": (of_cell(method="mine"), "its manifest has no row 'mine'"),
    "a circle of needs": (plan(circle), "needs a job that does not stand before it"),
    "a need of itself": (plan(lambda found: found["jobs"][0].update(needs=[found["jobs"][0]["key"]])), "stand before"),
    "a key that leads elsewhere": (of_job(key="../../x"), "the name of a folder of the store"),
    "a key twice": (plan(lambda found: found["jobs"].append(found["jobs"][0])), "its key occurs twice"),
    "an unknown kind": (of_job(kind="shell", spec={"kind": "shell"}), "its kind is 'shell'"),
    "a specification that is a list": (plan(lambda found: found["jobs"][0].update(spec=[])), "the 'spec' of a job is not a mapping"),
    "needs that are a number": (of_job(needs=3), "no complete plan"),
    "a cell without a job": (of_cell(key="0" * 20), "the key of a job of the plan"),
    "a cell with a field of its own": (of_cell(auc=1.0), "no complete plan"),
    "a ratio of 7": (of_cell(label_ratio=7), "above 0 and at most 1"),
    "a ratio that is true": (of_cell(label_ratio=True), "above 0 and at most 1"),
    "a seed that is a text": (of_cell(seed="0"), "a whole number"),
    "a seed below 0": (of_cell(seed=-1), "a whole number"),
    "footnotes that are numbers": (of_cell(footnotes=[1]), "a list of texts"),
    "an unknown evaluation": (of_cell(evaluation="magic"), "the 'evaluation' of a cell is 'magic'"),
    "two results in one place": (
        plan(lambda found: found["cells"][1].update(seed=found["cells"][0]["seed"])), "several results for"),
    "a manifest that is a list": (plan(lambda found: found.update(manifest=[])), "'manifest' is not a mapping"),
    "a limit that is a text": (plan(lambda found: found["manifest"].update(limit="x")), "'manifest.limit'"),
    "tables that are a text": (plan(lambda found: found.update(tables="table1")), "'tables' is not a list"),
    "another version": (plan(lambda found: found.update(version=99)), "a plan of another version"),
    "NaN in the plan": (plan(lambda found: found.update(images={"k": float("nan")})), "NaN is no JSON"),
    "a plan that is too deep": (lambda members: members.update({LOCK: b"[" * 10**6}), "cannot read"),
    "a plan that is no JSON": (lambda members: members.update({LOCK: b"\xff\xfe"}), "cannot read"),
    "a plan called store": (
        lambda members: [
            members.update({LOCK.replace("mine", "store"): members.pop(LOCK)}),
            members.update({"bundle.json": json.dumps({**json.loads(members["bundle.json"]), "name": "store"}).encode()}),
        ], "its name, 'store'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a result of its own."""
    folder = tmp_path_factory.mktemp("here") / "r"
    scored(ResultStore(folder), job_of(run_spec("scratch", 0)), strength=1.0)
    return folder


@pytest.mark.parametrize("name", FORGED)
def test_a_forgery_is_said_and_the_store_is_as_it_was(made: Path, store: Path, tmp_path: Path, name: str) -> None:
    forge, message = FORGED[name]
    members = content(made)
    forge(members)
    forged, before = written(tmp_path / "forged.tar.gz", members), tree(store)
    done = command_in(store, "results", "import", "bundle", str(forged))
    assert done.code == 2 and message in done.err and "Traceback" not in done.err, done.err + done.out
    assert tree(store) == before


def test_the_same_bundle_unforged_is_sound_and_taken_in(made: Path, tmp_path: Path) -> None:
    """Also with its lock written anew, as the forgeries have it."""
    members = content(made)
    plan(lambda found: None)(members)
    path = written(tmp_path / "mine.tar.gz", members)
    verified = command_in(tmp_path / "r", "results", "verify", str(path))
    assert verified.code == 0 and "metrics of 4 results computed again" in verified.out, verified.err
    taken = command_in(tmp_path / "r", "results", "import", "bundle", str(path))
    assert taken.code == 0 and "4 results added" in taken.out, taken.err


def bomb(path: Path, name: str, size: int) -> Path:
    """An archive whose one member is zeros, as many as its header says."""
    info = tarfile.TarInfo(f"mine/{name}")
    info.size = size
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            stream.write(bytes(1 << 20))
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("results/store/aa/run.json", "bytes; allowed: at most 33554432"),
        ("results/store/aa/checkpoint.safetensors", "unpacks to more than"),
        ("report/index.html", "unpacks to more than"),
    ],
)
def test_a_small_archive_that_would_write_much_is_refused(tmp_path: Path, name: str, message: str) -> None:
    path = bomb(tmp_path / "bomb.tar.gz", name, 300 << 20)
    assert path.stat().st_size < 2 << 20
    done = command_in(tmp_path / "r", "results", "verify", str(path))
    assert done.code == 2 and message in done.err, done.err


def test_files_that_nothing_reads_are_not_unpacked(made: Path, tmp_path: Path) -> None:
    from refers_bench.jobs.imports.bundle import checked

    members = {**content(made), "results/other/plan.lock.json": b"{}", "results/store/evil.sh": b"#!/bin/sh\n"}
    members[first(members, "model.pt")] = b"pickle"
    results, _ = checked(written(tmp_path / "more.tar.gz", members), tmp_path / "into")
    assert not [path.name for path in (tmp_path / "into").rglob("*") if path.name in ("model.pt", "evil.sh")]
    assert not (tmp_path / "into" / "report").exists() and len(results.records) == 4


def test_plug_ins_of_the_plan_are_not_looked_for(made: Path, tmp_path: Path) -> None:
    """A file on this machine that the plan of a bundle names, by chance or by malice, is not loaded."""
    (tmp_path / "mine.py").write_text("raise SystemExit('loaded')\n")
    members = content(made)
    plan(lambda found: found.update(plugins=[str(tmp_path / "mine.py")]))(members)
    path = written(tmp_path / "plugged.tar.gz", members)
    assert command_in(tmp_path / "r", "results", "import", "bundle", str(path)).code == 0
    assert "plugins" not in lock.read(tmp_path / "r" / "mine" / "plan.lock.json").recorded()


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[BaseException]]:
    """The import ends when it comes to write its plan, as by a kill: nothing is cleaned up."""
    from refers_bench.jobs.imports import bundle

    class Killed(BaseException):
        pass

    def kill(path: Path, content: bytes) -> None:
        raise Killed

    monkeypatch.setattr(bundle, "publish_bytes", kill)
    yield Killed


def test_an_import_that_fails_at_its_end_leaves_nothing(
    made: Path, tmp_path: Path, killed: type[BaseException]
) -> None:
    from refers_bench.jobs.imports.bundle import publish

    scored(ResultStore(tmp_path / "r"), job_of(run_spec("scratch", 0)), strength=1.0)
    before = tree(tmp_path / "r")
    with pytest.raises(killed):
        publish(made, results=tmp_path / "r", scratch=tmp_path / "scratch", name=None)
    assert tree(tmp_path / "r") == before


def test_an_import_that_was_killed_is_completed_by_another(
    made: Path, tmp_path: Path, killed: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    from refers_bench.jobs.imports.bundle import publish

    with monkeypatch.context() as patched:
        patched.setattr(ResultStore, "withdraw", lambda self, key: None)
        with pytest.raises(killed):
            publish(made, results=tmp_path / "r", scratch=tmp_path / "scratch", name=None)
    left = list((tmp_path / "r" / "store").glob("*/run.json"))
    assert len(left) == 4 and not (tmp_path / "r" / "mine").exists()
    assert all(json.loads(path.read_text())["origin"]["bundle"] == "mine" for path in left)
    monkeypatch.undo()
    done = command_in(tmp_path / "r", "results", "import", "bundle", str(made))
    assert done.code == 0 and "0 results added, 4 were here" in done.out, done.err
