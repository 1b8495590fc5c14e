"""Whatever the files hold that people give us, a reader takes it or refuses it in words, within 5 s and 1 GiB.

Each reader gets good files with random damage: a few in the fast tests, 10,000 in the slow ones (`REFERS_BENCH_FUZZ`
sets another number). Inputs that once broke a reader lie in `corpus/<reader>` and are read again each time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

import own_images
from command_line import command_in
from fuzzing import as_json, bounded, damaged_bytes, damaged_tree
from refers_bench.errors import UserError

#: Makes a damaged file.
Damage = Callable[[Random], bytes]
ROOT, CORPUS = Path(__file__).resolve().parents[2], Path(__file__).parent / "corpus"
FEW, MANY = 60, int(os.environ.get("REFERS_BENCH_FUZZ", "10000"))


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One reader and its input.

    Attributes:
        name: of the file it is given, with the ending that it knows.
        inputs: gives what makes damaged files, once good ones are made in a folder.
        read: what a user's command does with the file.
    """

    name: str
    inputs: Callable[[Path], Damage]
    read: Callable[[Path], Any]


def either(*makers: Damage) -> Damage:
    """One of several ways to make a damaged file."""
    return lambda random: random.choice(makers)(random)


# --- manifests -------------------------------------------------------------------------------------------------------

SMALL = """
version: 1
protocol: {preset: smoke, overrides: {finetune: {steps: 3}, pretrain.learning_rate: 0.1}}
data: {phantom: {phantom: {studies: 20, size: 32}}}
source: {dataset: phantom}
methods: [refers, {id: refers, name: long, params: {views: 1}, overrides: {pretrain.learning_rate: 0.1}}, scratch]
targets: [{dataset: phantom, tasks: [findings], label_ratios: [10%, 100%], evaluation: [finetune, linear_probe]}]
seeds: {subset: 1, init: 2, order: 1}
tables: [table1]
execution: {cpu_slots: 2, slurm: {partition: gpu}}
"""


def _yaml(tree: Any) -> bytes:
    yaml, stream = YAML(typ="safe", pure=True), io.BytesIO()
    try:
        yaml.dump(tree, stream)
    except Exception:  # noqa: BLE001 - what this writer has no form for
        return as_json(tree)
    return stream.getvalue()


def manifests(folder: Path) -> Damage:
    texts = [SMALL, *(path.read_text() for path in sorted((ROOT / "manifests").glob("*.yaml")))]
    examples = YAML(typ="safe").load(ROOT / "tests" / "support" / "reference_examples.yaml")
    whole = [YAML(typ="safe").load(text) for text in [*texts, *examples[""].split("---")]]
    encoded = [text.encode() for text in texts]
    return either(lambda random: _yaml(damaged_tree(random, whole)), lambda random: damaged_bytes(random, encoded))


def read_manifest(path: Path) -> None:
    from refers_bench.manifest.load import load
    from refers_bench.manifest.roots import Roots
    from refers_bench.plan.expand import expand

    expand(load(path), Roots())


# --- tables ----------------------------------------------------------------------------------------------------------


def tables(folder: Path) -> Damage:
    rows = own_images.rows(6)
    own_images.write_images(folder / "img", rows)
    own_images.write_table(folder / "good.csv", rows)
    good = (folder / "good.csv").read_bytes()
    return lambda random: damaged_bytes(random, [good])


def read_images(path: Path) -> None:
    from refers_bench.datasets.table import Params, index

    named = {"image": "file", "patient": "patient", "labels": ["spot", "stripe"], "split": "split", "text": "report"}
    more = {"view": "view", "sex": "sex", "age": "age", "about": ["site"], "missing": ["-1"]}
    index(path.parent / "img", Params.model_validate({**named, **more}), {"file": path})


SCORES = """method,dataset,task,label_ratio,class,image_id,patient_id,label,score,seed,selected_on
a,own,t,10%,x,i1,p1,1,0.25,0,val
a,own,t,10%,x,i2,p2,0,-3.5,0,val
a,own,t,10%,y,i1,p1,0,1e-3,0,val
a,own,t,10%,y,i2,p2,1,nan,0,val
b,own,t,1,x,i1,p1,,0.5,1,val
b,own,t,1,x,i2,p2,1,0.75,1,val
"""


def scores(folder: Path) -> Damage:
    return lambda random: damaged_bytes(random, [SCORES.encode()])


def read_scores(path: Path) -> None:
    from refers_bench.data.imported.tables import read_table

    read_table(path, format="csv")


# --- plans -----------------------------------------------------------------------------------------------------------


def locks(folder: Path) -> Damage:
    from refers_bench.manifest.load import of_values
    from refers_bench.manifest.roots import Roots
    from refers_bench.plan.expand import expand
    from refers_bench.plan.lock import write

    plan = expand(of_values({"name": "small", **YAML(typ="safe").load(SMALL)}), Roots())
    good = write(plan, folder).read_bytes()
    tree = json.loads(good)
    return either(lambda random: as_json(damaged_tree(random, [tree])), lambda random: damaged_bytes(random, [good]))


def read_lock(path: Path) -> None:
    """What reads a plan: `report` and `run` all of it, `status` its outline, others the keys."""
    from refers_bench.store import plan

    plan.keys(path)
    plan.outline(path)
    plan.read(path)


@cache
def small_plan() -> Any:
    """`SMALL` with rules of its tests, planned."""
    from refers_bench.manifest.load import of_values
    from refers_bench.manifest.roots import Roots
    from refers_bench.plan.expand import expand

    return expand(of_values({"name": "small", **YAML(typ="safe").load(SMALL), "analysis": {"alpha": 0.01}}), Roots())


def frozen_plans(folder: Path) -> Damage:
    """With damage, half of it under a digest that fits, as a forger would make it."""
    from refers_bench import identity
    from refers_bench.store import frozen_plan

    frozen = frozen_plan.of(small_plan(), at="2026-01-02T03:04:05+00:00", program="p")
    frozen_plan.write(frozen, folder / frozen_plan.FROZEN)
    good = (folder / frozen_plan.FROZEN).read_bytes()
    tree = json.loads(good)
    tree.pop("digest")

    def forged(random: Random) -> bytes:
        inside = damaged_tree(random, [tree])
        with contextlib.suppress(Exception):  # what has no canonical text keeps the wrong digest
            inside["digest"] = hashlib.sha256(identity.canonical_json(inside).encode()).hexdigest()
        return as_json(inside)

    return either(forged, lambda random: damaged_bytes(random, [good]))


def read_frozen(path: Path) -> None:
    """What reads a frozen plan compares it, too."""
    from refers_bench.analysis.frozen_plan import deviations
    from refers_bench.store import frozen_plan

    list(map(str, deviations(frozen_plan.read(path), small_plan(), started={}, lacking={})))


# --- bundles ---------------------------------------------------------------------------------------------------------


def bundles(folder: Path) -> Damage:
    """Archives with damage inside of one member, its checksum made again as a forger would, or in their own bytes."""
    (folder / "mine.csv").write_text(SCORES)
    results, archive = folder / "results", folder / "mine.tar.gz"
    for arguments in (("import", "csv", str(folder / "mine.csv")), ("bundle", "mine", "--out", str(archive))):
        done = command_in(results, "results", *arguments)
        assert done.code == 0, done.err
    with tarfile.open(archive) as opened:
        members = {one.name.split("/", 1)[1]: opened.extractfile(one).read() for one in opened}  # type: ignore[union-attr]
    members.pop("SHA256SUMS")
    read = [name for name in members if name == "bundle.json" or name.startswith("results/")]

    whole = archive.read_bytes()

    def forged(random: Random) -> bytes:
        name = random.choice(read)
        if name.endswith(".json") and random.random() < 0.5:
            inside = as_json(damaged_tree(random, [json.loads(members[name])]))
        else:
            inside = damaged_bytes(random, [members[name]])
        return _archive(folder, {**members, name: inside})

    return either(forged, forged, lambda random: damaged_bytes(random, [whole]))


def _archive(folder: Path, members: dict[str, bytes]) -> bytes:
    from refers_bench.store.archive import write

    write(folder / "forged.tar.gz", members, top="mine")
    return (folder / "forged.tar.gz").read_bytes()


def read_bundle(path: Path) -> None:
    from refers_bench.jobs.imports.bundle import checked

    scratch = path.with_name("scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    checked(path, scratch)


# --- weights ---------------------------------------------------------------------------------------------------------


@cache
def encoder() -> Any:
    """A radiograph transformer of two blocks of width 16."""
    from refers_bench.nets.radiograph_transformer import RadiographTransformer

    return RadiographTransformer(
        image_size=32,
        patch_size=8,
        channels=1,
        width=16,
        depth=2,
        heads=2,
        mlp_width=32,
        dropout=0.1,
        activation="gelu",
        position="added",
        aggregation="concatenated",
    )


def _odd_tensor(kind: str) -> Any:
    """One that no encoder has; made by its name, for what Hypothesis shows of a choice must be short."""
    import torch

    plain = torch.zeros(4, 4)
    makers: dict[str, Callable[[], Any]] = {
        "expanded": lambda: torch.zeros(1).expand(40000, 20000),
        "sparse": plain.to_sparse,
        "meta": lambda: torch.zeros(4, 4, device="meta"),
        "complex": lambda: plain.to(torch.complex64),
        "quantised": lambda: torch.quantize_per_tensor(plain, 0.1, 0, torch.qint8),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "scalar": lambda: torch.tensor(1.0),
        "empty": lambda: torch.zeros(0, 16),
        "nan": lambda: torch.full((4, 4), torch.nan),
        "bool": lambda: torch.zeros(4, 4, dtype=torch.bool),
        "half": plain.half,
        "int64": plain.long,
        "transposed": plain.t,
        "slice": lambda: plain[:, 1:],
        "parameter": lambda: torch.nn.Parameter(plain),
        "float8": lambda: plain.to(torch.float8_e4m3fn),
        "text": lambda: "text",
        "number": lambda: 3,
        "none": lambda: None,
        "list": lambda: [plain],
        "dict": lambda: {"inside": plain},
    }
    return makers[kind]()


ODD_TENSORS = (
    "expanded", "sparse", "meta", "complex", "quantised", "nested", "scalar", "empty", "nan", "bool", "half", "int64",
    "transposed", "slice", "parameter", "float8", "text", "number", "none", "list", "dict",
)  # fmt: skip


def torch_weights(folder: Path) -> Damage:
    """What `torch.save` writes of a state dict some of whose tensors are odd, and damaged files."""
    import torch

    def saved(content: Any, *, zipped: bool) -> bytes:
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
        return stream.getvalue()

    def odd(random: Random) -> bytes:
        state: dict[Any, Any] = dict(encoder().state_dict())
        for _ in range(random.choice((1, 1, 2, 3))):
            name = random.choice((random.choice(sorted(state)), "extra", "\x1b[2J", "head.weight"))
            state[name] = _odd_tensor(random.choice(ODD_TENSORS))
        return saved(random.choice((state, {"state_dict": state})), zipped=random.random() < 0.5)

    good = [saved(encoder().state_dict(), zipped=zipped) for zipped in (True, False)]
    return either(odd, lambda random: damaged_bytes(random, good))


def safetensors_weights(folder: Path) -> Damage:
    from safetensors.torch import save

    good = save({name: value.contiguous() for name, value in encoder().state_dict().items()})
    end = 8 + int.from_bytes(good[:8], "little")
    tree = json.loads(good[8:end])

    def with_header(random: Random) -> bytes:
        header = as_json(damaged_tree(random, [tree]))
        return len(header).to_bytes(8, "little") + header + good[end:]

    return either(with_header, lambda random: damaged_bytes(random, [good[: end + 400], good]))


def jax_weights(folder: Path) -> Damage:
    stream = io.BytesIO()
    blocks = {
        f"Transformer/encoderblock_0/{name}": np.zeros((4, 4), np.float32)
        for name in ("LayerNorm_0/scale", "MlpBlock_3/Dense_0/kernel", "MultiHeadDotProductAttention_1/query/kernel")
    }
    np.savez(
        stream,
        cls=np.zeros((1, 1, 4), np.float32),
        **{"embedding/kernel": np.zeros((8, 8, 3, 4), np.float32)},
        **blocks,
    )
    good = stream.getvalue()
    return lambda random: damaged_bytes(random, [good])


def read_weights(path: Path) -> None:
    from refers_bench.training import weight_files

    weight_files.converted(weight_files.read(path), path=path)
    weight_files.load(encoder(), path, minimum=0.5)


READERS = {
    "manifest": Reader(name="m.yaml", inputs=manifests, read=read_manifest),
    "table": Reader(name="labels.csv", inputs=tables, read=read_images),
    "predictions": Reader(name="scores.csv", inputs=scores, read=read_scores),
    "lock": Reader(name="plan.lock.json", inputs=locks, read=read_lock),
    "frozen": Reader(name="plan.frozen.json", inputs=frozen_plans, read=read_frozen),
    "bundle": Reader(name="b.tar.gz", inputs=bundles, read=read_bundle),
    "torch": Reader(name="w.pt", inputs=torch_weights, read=read_weights),
    "safetensors": Reader(name="w.safetensors", inputs=safetensors_weights, read=read_weights),
    "jax": Reader(name="w.npz", inputs=jax_weights, read=read_weights),
}


def _fuzz(name: str, folder: Path, number: int, *, repeatable: bool) -> None:
    """Read `number` damaged files; the one that breaks the reader stays in `folder`, as it is.

    Hypothesis draws a number for each file and shows it with a failure: drawing every edit took it longer than the
    readers take, and a file that breaks one needs no smaller one.
    """
    reader = READERS[name]
    reader_loaded(reader, folder)
    damaged = reader.inputs(folder)

    @settings(
        max_examples=number, deadline=None, database=None, derandomize=repeatable, print_blob=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    def each(number: int) -> None:
        path = folder / reader.name
        path.write_bytes(damaged(Random(number)))
        with bounded():
            reader.read(path)

    each()


def reader_loaded(reader: Reader, folder: Path) -> None:
    """Libraries are loaded before time and memory are counted."""
    (folder / reader.name).write_bytes(b"")
    with contextlib.suppress(UserError):
        reader.read(folder / reader.name)


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    _fuzz(name, tmp_path, FEW, repeatable=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    _fuzz(name, tmp_path, MANY, repeatable=False)


def kept() -> Iterator[Any]:
    """The corpus: inputs that once ended with a traceback, took too long or too much memory."""
    for path in sorted(CORPUS.glob("*/*")):
        yield pytest.param(path.parent.name, path, id=f"{path.parent.name}/{path.name}")


@pytest.mark.parametrize(("name", "kept"), list(kept()))
def test_what_once_broke_a_reader_is_read_or_refused(name: str, kept: Path, tmp_path: Path) -> None:
    reader = READERS[name]
    shutil.copyfile(kept, tmp_path / reader.name)
    with bounded():
        reader.read(tmp_path / reader.name)
