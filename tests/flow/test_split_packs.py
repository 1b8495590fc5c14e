"""Published lists by name: what a user writes, what is refused, and what tables say of lists and sources that leak."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.manifest import packs
from refers_bench.manifest.packs import KnownPack, Leak, PackList
from refers_bench.store.plan import read

SETTINGS = "{pretrain: {steps: 4, warmup_steps: 1, validate_every: 2}, finetune: {steps: 3}}"
MANIFEST = """version: 1
name: packed
protocol: {{preset: smoke, overrides: {settings}}}
{source}methods: [{methods}]
targets:
  - {{dataset: {dataset}, params: {params}, tasks: [{task}], {more}}}
seeds: [0, 1]
execution: {{executor: debug}}
"""


def manifest(folder: Path, **parts: str) -> Path:
    """A manifest with these parts."""
    path = folder / "packed.yaml"
    defaults = {
        "settings": SETTINGS,
        "source": "",
        "methods": "scratch",
        "task": "findings",
        "more": "label_ratios: [100%]",
    }
    path.write_text(MANIFEST.format(**defaults | parts))
    return path


@pytest.fixture
def nih(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Phantoms in NIH's layout as a data root, and a folder of packs."""
    root, lists = home / "nih", home / "packs"
    root.mkdir()
    lists.mkdir()
    plugins.load("dataset", "nih_chestxray14").write_layout(root, PhantomParams(studies=60, size=64, views=2, seed=1))
    monkeypatch.setenv("REFERS_BENCH_ROOT_NIH_CHESTXRAY14", str(root))
    monkeypatch.setenv("REFERS_BENCH_ROOT_SPLIT_PACKS", str(lists))
    return root


@pytest.fixture
def made_up(nih: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pack by image, not by patient, of the phantoms, as if it were a published one that is known to leak."""
    names = sorted(path.name for path in nih.rglob("*.png"))
    parts = {"train": names[0::3], "val": names[1::3], "test": names[2::3], "train_1": names[0:12:3]}
    lists = {}
    (home / "packs" / "made-up").mkdir()
    for name, part in parts.items():
        text = "".join(f"{one} {' '.join('0' * 14)}\n" for one in part).encode()
        # As the packs are distributed: gzipped where it is worth it.
        path = home / "packs" / "made-up" / f"{name}.txt"
        (path if name == "val" else path.with_name(f"{path.name}.gz")).write_bytes(
            text if name == "val" else gzip.compress(text, mtime=0)
        )
        lists[name] = PackList(file=f"{name}.txt", images=len(part), sha256=hashlib.sha256(text).hexdigest())
    leak = Leak(shared=9, of=20, words="test images are of patients in its own training list")
    known = {"names": "nih", "source": "here", "licence": "none", "notes": ("drawn for a test",)}
    pack = KnownPack(name="made-up", lists=lists, leaks=(leak,), **known)  # type: ignore[arg-type]
    monkeypatch.setitem(packs.known(), "made-up", pack)
    return "made-up"


PARAMS = "{{split: released, lists: {{pack: {pack}{more}}}}}"


def test_a_list_that_leaks_is_refused_unless_it_is_accepted_by_name(made_up: str, cli: Commands, home: Path) -> None:
    path = manifest(home, dataset="nih_chestxray14", params=PARAMS.format(pack=made_up, more=""))
    said = cli("validate", str(path), code=2).err
    assert "packed.yaml:6:" in said and "made-up LEAKS: 9 of 20 test images are of patients in its own" in said
    assert "accept: [test_in_training]" in said
    assert "Traceback" not in said


def test_an_accepted_leak_stands_wherever_its_figures_are(made_up: str, cli: Commands, home: Path) -> None:
    accepted = PARAMS.format(pack=made_up, more=", accept: [test_in_training]")
    more = "label_ratios: [1%, 100%], subsets: {train_1: 1%}, evaluation: [finetune, linear_probe]"
    cli("run", str(manifest(home, dataset="nih_chestxray14", params=accepted, more=more)))
    plan = read(home / "results" / "packed" / "plan.lock.json")
    for cell in plan.cells:
        known, counted = cell.leaks
        assert (
            known
            == "nih_chestxray14: lists made-up: LEAKS: 9 of 20 test images are of patients in its own training list (45.0 %)"
        )
        # A twentieth of the test patients is not yet called a leak.
        few = "shared with training: 1 of 20 test patients, with 1 of 20 test images, are in training (5.0 %)"
        assert counted == f"nih_chestxray14: {few}"
        assert "nih_chestxray14: lists made-up: drawn for a test" in cell.footnotes
        assert "nih_chestxray14 at 1 %: the published label subset train_1, the same for all seeds" in cell.footnotes
    page = (home / "results" / "packed" / "report" / "index.html").read_text()
    assert page.count("LEAKS: 9 of 20 test images") > 1
    # Both seeds train on the published images, which nobody drew.
    found = [json.loads(path.read_text()) for path in (home / "results" / "store").rglob("subset.json")]
    few = {tuple(one["image_ids"]) for one in found if one["label_ratio"] == 0.01}
    names = sorted(path.stem for path in (home / "nih").rglob("*.png"))
    assert few == {tuple(names[0:12:3])} and len(found) == 6, "linear probes on published images are one for both seeds"


@pytest.mark.parametrize("file", ["train.txt.gz", "val.txt"])
def test_another_list_under_the_name_is_refused(made_up: str, cli: Commands, home: Path, file: str) -> None:
    path = home / "packs" / made_up / file
    content = gzip.decompress(path.read_bytes()) if file.endswith(".gz") else path.read_bytes()
    other = content.replace(b" 0", b" 1", 1)
    path.write_bytes(gzip.compress(other) if file.endswith(".gz") else other)
    accepted = PARAMS.format(pack=made_up, more=", accept: [test_in_training]")
    said = cli("plan", str(manifest(home, dataset="nih_chestxray14", params=accepted)), code=2).err
    assert str(path) in said and "SHA-256" in said and "the file as published" in said
    path.write_bytes(path.read_bytes()[:30] if file.endswith(".gz") else b"")
    said = cli("plan", str(manifest(home, dataset="nih_chestxray14", params=accepted)), code=2).err
    assert ("a damaged file" if file.endswith(".gz") else "an empty file") in said
    path.unlink()
    said = cli("plan", str(manifest(home, dataset="nih_chestxray14", params=accepted)), code=2).err
    assert f"no {file.removesuffix('.gz')} of the pack" in said


WRONG = {
    "unknown": ("{pack: nih-mmr}", "did you mean 'nih-mrm'?"),
    "of another dataset": ("{pack: vindr-ark}", "a pack of this dataset: nih-mrm, nih-official"),
    "no name": ("{}", "pack"),
    "another key": ("{pack: nih-mrm, folder: x}", "folder"),
    "a number": ("3", "a data root, or published lists by name: {pack: NAME}"),
    "unknown exception": ("{pack: nih-mrm, accept: [all]}", "test_in_training"),
}


@pytest.mark.parametrize("lists, allowed", WRONG.values(), ids=list(WRONG))
def test_wrong_packs(cli: Commands, home: Path, lists: str, allowed: str) -> None:
    path = manifest(home, dataset="nih_chestxray14", params=f"{{split: released, lists: {lists}}}")
    said = cli("validate", str(path), code=2).err
    assert "packed.yaml:6:" in said and allowed in said


SUBSETS = {
    "no such ratio": ("label_ratios: [1%], subsets: {train_10: 10%}", "allowed: 1%"),
    "two for one": ("label_ratios: [1%], subsets: {a: 1%, b: 1%}", "a label ratio of its own for each"),
    "folds": ("label_ratios: [1%], subsets: {a: 1%}, folds: 3", "subsets, or folds"),
}


@pytest.mark.parametrize("more, allowed", SUBSETS.values(), ids=list(SUBSETS))
def test_wrong_subsets(cli: Commands, home: Path, more: str, allowed: str) -> None:
    path = manifest(home, dataset="nih_chestxray14", params="{}", more=more)
    assert allowed in cli("validate", str(path), code=2).err


def test_a_subset_that_the_lists_do_not_have(made_up: str, cli: Commands, home: Path) -> None:
    accepted = PARAMS.format(pack=made_up, more=", accept: [test_in_training]")
    more = "label_ratios: [10%], subsets: {train_10: 10%}"
    said = cli("plan", str(manifest(home, dataset="nih_chestxray14", params=accepted, more=more)), code=2).err
    assert (
        "packed.yaml:6:" in said and "no published label subset 'train_10' under these params; allowed: train_1" in said
    )
    plain = manifest(home, dataset="nih_chestxray14", params="{split: seeded}", more=more)
    assert "lists that have one" in cli("plan", str(plain), code=2).err


TABLE = "data: {{mine: {{table: {{file: mine.csv, images: nih, image: image, labels: [a], split: split}}}}}}\n"


def own_table(folder: Path, root: Path) -> None:
    """A table of one's own that holds images of the source under their own names, in its test split."""
    paths = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "a", "split"])
        for i, path in enumerate(paths):
            writer.writerow([path.as_posix(), i % 2, ("train", "val", "test", "test")[i % 4]])


def test_test_images_that_are_in_the_source(nih: Path, cli: Commands, home: Path) -> None:
    own_table(home, nih)
    source = "data: {mine: {table: {file: mine.csv, images: nih, labels: [a]}}}\nsource: {dataset: nih_chestxray14}\n"
    parts = {"dataset": "mine", "params": "{}", "task": "labels", "source": source, "methods": "c2l, scratch"}
    said = cli("plan", str(manifest(home, **parts)), code=2).err
    assert "packed.yaml:8:" in said and "test images are images, or of patients, of the source nih_chestxray14" in said
    assert "accept: [test_in_source]" in said
    cli("plan", str(manifest(home, **parts, more="label_ratios: [100%], accept: [test_in_source]")))
    cells = read(home / "results" / "packed" / "plan.lock.json").cells
    assert {cell.method: bool(cell.leaks) for cell in cells} == {"c2l": True, "scratch": False}
    assert next(cell.leaks for cell in cells if cell.method == "c2l")[0].startswith("mine: LEAKS: ")
    # Rows without pre-training need no exception.
    cli("plan", str(manifest(home, **{**parts, "methods": "scratch"})))


def test_overlap_of_lists_datasets_and_a_manifest(nih: Path, made_up: str, cli: Commands, home: Path) -> None:
    names = sorted(path.name for path in nih.rglob("*.png"))
    (home / "some.txt").write_text("\n".join(names[:10]) + "\n")
    said = cli("data", "overlap", made_up, "nih_chestxray14", "some=some.txt", "--report", "here").out
    assert "NIH images: " in said and "NIH patients: " in said
    rows = list(csv.DictReader((home / "here" / "overlap.csv").open(encoding="utf-8")))
    one = next(
        row for row in rows if (row["view"], row["first"], row["second"]) == ("NIH images", "made-up/train", "some")
    )
    assert (one["size_second"], one["shared"]) == ("10", "4")
    assert json.loads((home / "here" / "overlap.json").read_text())["lists"][0]["name"] == "made-up/train"
    path = manifest(home, dataset="nih_chestxray14", params="{}")
    assert "nih_chestxray14:test" in cli("data", "overlap", "some.txt", "--manifest", str(path)).out
    cli("data", "overlap", made_up, "--strict", code=2)
    assert "did you mean 'nih-mrm'?" in cli("data", "overlap", "nih-mmr", code=2).err
    assert "fewer than two lists" in cli("data", "overlap", "some.txt", code=2).err
    assert "not prepared" in cli("data", "overlap", "nih_chestxray14", "--images", code=2).err


def test_the_known_leaks_are_printed(
    real_data: Path, cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (real_data / "split-packs").is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    monkeypatch.setenv("REFERS_BENCH_ROOT_SPLIT_PACKS", str(real_data / "split-packs"))
    released = real_data / "official-splits" / "vinbigdata" / "test.txt"
    words = ["rsna-benchx", "siim-mrm", "nih-official", "nih-mrm", "vindr-ark", f"REFERS/test={released}"]
    said = cli("data", "overlap", *words).out
    for line in (
        "rsna-benchx/train (9,064) and rsna-benchx/test (2,947): 1,731 shared: 7,176 images of the first, 2,715 of the second",
        "siim-mrm/train (7,969) and siim-mrm/test (1,904): 494 shared",
        "nih-official/test (25,596) and nih-mrm/train (78,468): 17,920 shared",
        "vindr-ark/train (15,000) and REFERS/test (3,000): 3,000 shared",
    ):
        first, _, second = line.partition(" shared: 7,176 ")
        assert first in said and (not second or "2,715 of the second" in said), line


def test_the_lists_of_others_on_real_images(
    real_data: Path, cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NIH's 1 % of MRM and its viral against bacterial lists, read by name as a manifest does."""
    if not (real_data / "split-packs").is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    for name, place in (("NIH_CHESTXRAY14", "nih-chestxray14-sample"), ("COVID19_IDC", "covid-chestxray-dataset")):
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name}", str(real_data / place))
    monkeypatch.setenv("REFERS_BENCH_ROOT_SPLIT_PACKS", str(real_data / "split-packs"))
    said = cli(
        "data",
        "verify",
        "nih_chestxray14",
        "--no-decode",
        "--param",
        "split=released",
        "--param",
        "lists={pack: nih-mrm}",
    ).out
    assert "train: 704 images" in said and "val: 77 images" in said and "test: 219 images" in said
    said = cli("data", "verify", "covid19_idc", "--no-decode", "--param", "lists={pack: covid19-mrm/viral1}").out
    assert "documented listed test images: 85" in said
    params = "{split: released, lists: {pack: nih-official}}"
    cli("plan", str(manifest(home, dataset="nih_chestxray14", params=params)))
    (notes,) = {cell.footnotes for cell in read(home / "results" / "packed" / "plan.lock.json").cells}
    assert any("17,920 of its 25,596 test images are training images of the REFERS lists" in note for note in notes)
    more = "label_ratios: [10%], subsets: {train_10: 10%}"
    cli("plan", str(manifest(home, dataset="nih_chestxray14", params=params.replace("official", "mrm"), more=more)))
    (job,) = {
        job.spec["subset"]
        for job in read(home / "results" / "packed" / "plan.lock.json").jobs
        if job.kind == "finetune"
    }
    assert job == "train_10"
