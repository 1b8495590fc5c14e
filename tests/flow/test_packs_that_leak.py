"""The authors' own lists on drawn images of their names: what a run refuses, and what its tables say of leaks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from command_line import Commands
from refers_bench.data.phantoms.dicom_files import save_dicom
from refers_bench.data.split_packs import read_list
from refers_bench.datasets import vinbigdata_cxr, vindr_cxr
from refers_bench.store.plan import read

MANIFEST = """version: 1
name: leaking
protocol: {{preset: smoke, overrides: {{pretrain: {{steps: 2, warmup_steps: 1, validate_every: 1}}, finetune: {{steps: 3}}}}}}
{source}methods: [{methods}]
targets:
  - {{dataset: {dataset}, params: {params}, tasks: [{task}], {more}}}
seeds: [0]
execution: {{executor: debug}}
"""
#: Tables that show figures of a target -> how their captions begin.
TABLES = {
    "cells": "Manifest leaking: mean class AUC",
    "test-images": "Mean class AUC in per cent with what the choice of test images leaves open",
    "operating": "Average precision, operating point",
    "aggregates": "Mean class AUC in per cent, aggregated over 2 columns",
    "against-published": "Mean class AUC in per cent of this run beside figures that others published",
}
#: Parts of captions of figures, likewise.
FIGURES = ("Mean class AUC of every seed", "ROC curves")
SIIM_LEAK = "LEAKS: 494 of 672 positive test images are images of its own training list (73.5 %)"


@pytest.fixture
def packs(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lists as their authors published them."""
    folder = real_data / "split-packs"
    if not folder.is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    monkeypatch.setenv("REFERS_BENCH_ROOT_SPLIT_PACKS", str(folder))
    return folder


def manifest(folder: Path, **parts: str) -> str:
    path = folder / "leaking.yaml"
    path.write_text(MANIFEST.format(**{"source": "", "methods": "scratch", **parts}))
    return str(path)


def drawn(path: Path, uid: str, *, positive: bool) -> None:
    """A small radiograph of noise, brighter where it is positive."""
    rng = np.random.default_rng(sum(map(ord, path.stem)))
    pixels = rng.integers(0, 120, (40, 40), dtype=np.uint8)
    pixels[8:20, 8:20] += 100 * positive
    save_dicom(path, pixels, uid=uid, stored="raw_12_bit", facts={"Modality": "CR"})


@pytest.fixture
def siim(packs: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Stage 2's layout with some images of MRM's lists; EVA-X's name the positive ones. Images of each list."""
    names = {one: list(read_list(packs, "siim-mrm", one)["name"]) for one in ("train", "val", "test", "train_10")}
    positive = {name for part in ("train", "test") for name in read_list(packs, "siim-evax", part)["name"]}
    test, val = set(names["test"]), set(names["val"])
    leaking = [name for name in names["train"] if name in test and name in positive]
    some = {
        "test": leaking[:8] + [name for name in names["test"] if name not in positive][:8],
        "val": both([name for name in names["val"] if name not in test], positive, 4),
        "train_10": both([name for name in names["train_10"] if name not in test | val], positive, 6),
    }
    some["train"] = [*some["train_10"], *[name for name in names["train"] if name not in test | val][:20]]
    root = home / "siim_acr"
    (root / "stage_2_images").mkdir(parents=True)
    rows = ["ImageId,EncodedPixels"]
    for name in sorted({name for part in some.values() for name in part}):
        drawn(root / "stage_2_images" / f"{name}.dcm", name, positive=name in positive)
        rows.append(f"{name},{'8200 90' if name in positive else '-1'}")
    (root / "stage_2_train.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.setenv("REFERS_BENCH_ROOT_SIIM_ACR", str(root))
    assert len(leaking) == 494 and set(leaking) <= positive
    return some


def both(names: Iterable[str], positive: set[str], count: int) -> list[str]:
    """So many positive and so many negative ones."""
    given = list(names)
    return [name for sign in (True, False) for name in [one for one in given if (one in positive) == sign][:count]]


PARAMS = "{{missing: skip, lists: {{pack: siim-mrm{accept}}}}}"
MORE = "label_ratios: [10%, 100%], subsets: {train_10: 10%}"


def test_lists_that_leak_are_refused_and_with_an_exception_named_in_all_tables(
    siim: dict[str, list[str]], cli: Commands, home: Path
) -> None:
    of_siim = {"dataset": "siim_acr", "task": "pneumothorax", "more": MORE}
    said = cli("run", manifest(home, params=PARAMS.format(accept=""), **of_siim), code=2).err
    assert "leaking.yaml:6:" in said and f"other lists: siim-mrm {SIIM_LEAK}; or 'accept: [test_in_training]'" in said
    assert not (home / "results").exists()

    accepted = manifest(home, params=PARAMS.format(accept=", accept: [test_in_training]"), **of_siim)
    cli("run", accepted)
    report = home / "results" / "leaking" / "report"
    line = f"siim_acr: lists siim-mrm: {SIIM_LEAK}"
    for cell in read(home / "results" / "leaking" / "plan.lock.json").cells:
        assert cell.leaks == (line,)
    page, text = ((report / name).read_text(encoding="utf-8") for name in ("index.html", "report.md"))
    plain = text.replace("\\", "")
    for table, caption in TABLES.items():
        assert re.search(rf'id="{table}-note-\d+"><sup>\w</sup> {re.escape(line)}\.', page), table
        (block,) = [one for one in plain.split("\n**")[1:] if one.startswith(caption)]
        assert f"</sup> {line}." in block, table
    for caption in FIGURES:
        (block,) = [one for one in plain.split("\n**")[1:] if caption in one.partition("\n")[0]]
        assert f"{line}." in block, caption


REFUSED = {
    "rsna-benchx": ("rsna_pneumonia", "pneumonia", "LEAKS: 2,715 of 4,003 test images are of patients in its own"),
    "rsna-ark": ("rsna_pneumonia", "three_classes", "LEAKS: 1,917 of 2,709 test images are of patients in its own"),
    "rsna-mrm": ("rsna_pneumonia", "pneumonia", "LEAKS: 1,052 of 1,500 validation images are of patients in its own"),
    "siim-mrm": ("siim_acr", "pneumothorax", SIIM_LEAK),
    "chexpert-mrm-ids": ("chexpert", "competition_mrm", "LEAKS: 2,149 of 5,000 validation images are of patients in"),
    "covidx-cxr3-evax": (
        "covidx",
        "covid19",
        "LEAKS: 129 of 400 test images are, as NIH images, of patients in its own",
    ),
}


@pytest.mark.parametrize("pack", REFUSED)
def test_known_leaks_are_refused_before_anything_is_read(cli: Commands, home: Path, pack: str) -> None:
    dataset, task, leak = REFUSED[pack]
    target = {"dataset": dataset, "task": task, "more": "label_ratios: [100%]"}
    said = cli("validate", manifest(home, params=f"{{lists: {{pack: {pack}}}}}", **target), code=2).err
    assert said.startswith(f"error: {home / 'leaking.yaml'}:6:") and said.count("error:") == 1
    assert f"; allowed: other lists: {pack} {leak}" in said and "or 'accept: [test_in_training]' beside 'pack'" in said
    cli("validate", manifest(home, params=f"{{lists: {{pack: {pack}, accept: [test_in_training]}}}}", **target))


OTHERS = {
    "rsna_pneumonia": ("pneumonia", "rsna-mrm, rsna-benchx, rsna-ark"),
    "siim_acr": ("pneumothorax", "siim-benchx, siim-mrm, siim-evax"),
    "vindr_cxr": ("local14", "vindr-benchx, vindr-ark"),
    "chexpert": ("competition_mrm", "chexpert-mrm-ids, chexpert-official-ids"),
    "covidx": ("covid19", "covidx-cxr3-evax, covidx-cxr4-benchx"),
}


@pytest.mark.parametrize("dataset", OTHERS)
def test_packs_of_another_collection_and_misspelt_ones(cli: Commands, home: Path, dataset: str) -> None:
    task, own = OTHERS[dataset]
    target = {"dataset": dataset, "task": task, "more": "label_ratios: [100%]"}
    for lists, allowed in (
        ("{pack: nih-mrm}", f"allowed: a pack of this dataset: {own}"),
        ("{pack: nih-mmr}", "did you mean 'nih-mrm'?"),
        ("nih-mrm", "allowed: published lists by name: {pack: NAME}"),
    ):
        said = cli("validate", manifest(home, params=f"{{lists: {lists}}}", **target), code=2).err
        assert said.startswith(f"error: {home / 'leaking.yaml'}:6:") and said.count("error:") == 1, said
        assert allowed in said, said


def test_the_test_list_of_refers_is_in_the_training_lists_of_vindr(
    packs: Path, real_data: Path, cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VinBigData (Kaggle) and VinDr-CXR (PhysioNet) name the same images alike."""
    released = real_data / "official-splits" / "vinbigdata"
    tested = [line.split()[0].removesuffix(".png") for line in (released / "test.txt").read_text().splitlines()]
    trained = [line.split()[0].removesuffix(".png") for line in (released / "train.txt").read_text().splitlines()]
    vindr(home / "vindr_cxr", [*tested[:20], *trained[:20]])
    vinbigdata(home / "vinbigdata_cxr", [*tested[:20], *trained[:20]])
    for name in ("vindr_cxr", "vinbigdata_cxr"):
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name.upper()}", str(home / name))
    monkeypatch.setenv("REFERS_BENCH_ROOT_VINBIGDATA_LISTS", str(released))
    target = {"dataset": "vinbigdata_cxr", "params": "{lists: vinbigdata_lists}", "task": "findings"}
    for pack in ("vindr-benchx", "vindr-ark"):
        source = f"source: {{dataset: vindr_cxr, params: {{missing: skip, lists: {{pack: {pack}}}}}}}\n"
        given = {**target, "source": source, "methods": "c2l, scratch"}
        said = cli("run", manifest(home, more="label_ratios: [100%]", **given), code=2).err
        leak = "vinbigdata_cxr: LEAKS: 20 of 20 test images are images, or of patients, of the source vindr_cxr"
        assert "leaking.yaml:7:" in said and f"{leak} (by VinDr images) (100.0 %)" in said
        assert "'accept: [test_in_source]' for this target" in said
        cli("plan", manifest(home, more="label_ratios: [100%], accept: [test_in_source]", **given))
        cells = {cell.method: cell.leaks for cell in read(home / "results" / "leaking" / "plan.lock.json").cells}
        assert cells == {"c2l": (f"{leak} (by VinDr images) (100.0 %)",), "scratch": ()}


def test_all_of_the_released_test_images_are_in_the_lists(packs: Path, real_data: Path, cli: Commands) -> None:
    released = real_data / "official-splits" / "vinbigdata" / "test.txt"
    said = cli("data", "overlap", "vindr-benchx", "vindr-ark", f"REFERS/test={released}").out
    for part, shared in (
        ("benchx/train (12,000)", "2,395"),
        ("benchx/val (3,000)", "605"),
        ("ark/train (15,000)", "3,000"),
    ):
        assert f"vindr-{part} and REFERS/test (3,000): {shared} shared" in said


def vindr(root: Path, names: list[str]) -> None:
    """PhysioNet's layout of images that are in its training folder; three readers agree."""
    for folder in ("train", "test", "annotations"):
        (root / folder).mkdir(parents=True)
    head = ",".join(vindr_cxr.CLASSES)
    rows = []
    for i, name in enumerate(names):
        drawn(root / "train" / f"{name}.dicom", f"2.25.{i + 1}", positive=bool(i % 2))
        found = ",".join(str(int((i + place) % 2 == 0)) for place in range(len(vindr_cxr.CLASSES)))
        rows += [f"{name},R{reader},{found}" for reader in (8, 9, 10)]
    (root / vindr_cxr.TRAIN).write_text("\n".join([f"image_id,rad_id,{head}", *rows]) + "\n")
    (root / vindr_cxr.TEST).write_text(f"image_id,{head}\n")


def vinbigdata(root: Path, names: list[str]) -> None:
    """Kaggle's layout of the same images."""
    (root / "train").mkdir(parents=True)
    rows = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    for i, name in enumerate(names):
        drawn(root / "train" / f"{name}.dicom", f"2.25.{i + 1}", positive=bool(i % 2))
        finding = vinbigdata_cxr.CLASSES[i % 14]
        box = f"{finding},{vinbigdata_cxr.CLASS_IDS[finding]}"
        rows += [f"{name},{box},R{reader},1,1,9,9" for reader in (8, 9, 10)]
    (root / "train.csv").write_text("\n".join(rows) + "\n")
