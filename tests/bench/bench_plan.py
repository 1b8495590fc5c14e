"""How long does `plan manifests/table1.yaml` take on datasets of full size: 377,110 + 112,120 + 15,000 images?

The tables are synthetic, the images empty files, the reports two sentences each. The first plan reads every index; the
second remembers their digests.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from refers_bench import plugins
from refers_bench.data.chexpert import FINDINGS_14
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets import nih_chestxray14, shenzhen_tb, vinbigdata_cxr

ROOT = Path(__file__).resolve().parents[2]
MIMIC, STUDIES, NIH, VINBIG = 377_110, 227_835, 112_120, 15_000
REPORT = " FINDINGS: The heart is enlarged. No pneumothorax.\n \n IMPRESSION: Cardiomegaly.\n"


def touch(path: str) -> None:
    """Make an empty file quickly."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))


def mimic(root: Path) -> None:
    """Folders of studies with reports and one or two images, and the three tables that are read."""
    rows = {
        "split": ["dicom_id,study_id,subject_id,split"],
        "metadata": ["dicom_id,subject_id,study_id,ViewPosition"],
        "chexpert": [",".join(["subject_id", "study_id", *FINDINGS_14])],
    }
    extra = MIMIC - STUDIES
    for number in range(STUDIES):
        subject, study = str(10_000_001 + number // 4), str(50_000_001 + number)
        place = f"{root}/files/p{subject[:2]}/p{subject}/s{study}"
        os.makedirs(place)  # noqa: PTH103 - a quarter of a million
        with open(f"{place}.txt", "w") as file:  # noqa: PTH123
            file.write(REPORT)
        split = "test" if number % 70 < 4 else "validate" if number % 70 < 8 else "train"
        split = split if number // 4 % 70 == 0 else "train"
        for image in range(2 if number < extra else 1):
            name = f"{study}-{image:08d}"
            touch(f"{place}/{name}.jpg")
            rows["split"].append(f"{name},{study},{subject},{'validate' if split != 'train' else 'train'}")
            rows["metadata"].append(f"{name},{subject},{study},PA")
        rows["chexpert"].append(",".join([subject, study, *["1.0" if number % 3 == 0 else ""] * 14]))
    for name, lines in rows.items():
        (root / f"mimic-cxr-2.0.0-{name}.csv").write_text("\n".join(lines) + "\n")


def nih(root: Path, lists: Path) -> None:
    """Twelve folders of images and the table of findings; lists of every tenth and fifth patient."""
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
             "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"]  # fmt: skip
    kinds = [*nih_chestxray14.CLASSES, "No Finding", "Mass|Nodule"]
    listed: dict[str, list[str]] = {"val": [], "test": []}
    for number in range(NIH):
        patient, follow_up = divmod(number, 4)
        name, folder = f"{patient + 1:08d}_{follow_up:03d}.png", f"images_{1 + number // 10_000:03d}"
        if number % 10_000 == 0:
            (root / folder / "images").mkdir(parents=True)
        touch(f"{root}/{folder}/images/{name}")
        kind = kinds[number % len(kinds)]
        lines.append(f"{name},{kind},{follow_up},{patient + 1},50,F,PA,2000,2000,0.1,0.1")
        split = {0: "val", 1: "test", 2: "test"}.get(patient % 10)
        if split:
            listed[split].append(f"{folder}/{name} {' '.join(['0'] * 14)}")
    (root / nih_chestxray14.TABLES["v2020"]).write_text("\n".join(lines) + "\n")
    for split, rows in listed.items():
        (lists / f"{split}.txt").write_text("\n".join(rows) + "\n")


def vinbig(root: Path, lists: Path) -> None:
    """DICOM files without content, three readers each."""
    (root / "train").mkdir()
    lines = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    draw = random.Random(0)
    names = [f"{draw.getrandbits(128):032x}" for _ in range(VINBIG)]
    for number, name in enumerate(names):
        touch(f"{root}/train/{name}.dicom")
        kind = vinbigdata_cxr.CLASSES[number % 14] if number % 3 == 0 else vinbigdata_cxr.NO_FINDING
        place = "10,10,90,90" if number % 3 == 0 else ",,,"
        lines += [f"{name},{kind},{vinbigdata_cxr.CLASS_IDS[kind]},R{reader},{place}" for reader in (8, 9, 10)]
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    for split, part in (("train", names[:10_500]), ("val", names[10_500:12_000]), ("test", names[12_000:])):
        (lists / f"{split}.txt").write_text("".join(f"{name}.png {'0.0 ' * 14}\n" for name in part))


def small(roots: Mapping[str, Path]) -> None:
    """The two small collections as phantoms, and lists of the latter."""
    shenzhen_tb.write_layout(roots["shenzhen_tb"], PhantomParams(studies=662, size=32, views=1))
    covid = plugins.load("dataset", "covid19_idc")
    covid.write_layout(roots["covid19_idc"], PhantomParams(studies=60, size=32, views=1))
    frame = covid.index(roots["covid19_idc"], covid.Params(), {})
    for split, rows in frame.groupby("split"):
        lines = [f"{name} 0 1\n" if number % 2 else f"{name} 1 0\n" for number, name in enumerate(rows["image_id"])]
        (roots["covid19_lists"] / f"{split}.txt").write_text("".join(lines))


def main() -> None:
    """Write the roots, plan twice, print seconds."""
    names = ("mimic_cxr_jpg", "nih_chestxray14", "nih_lists", "vinbigdata_cxr", "vinbigdata_lists", "shenzhen_tb",
             "covid19_idc", "covid19_lists")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        roots = {name: Path(folder) / name for name in names}
        for root in roots.values():
            root.mkdir()
        mimic(roots["mimic_cxr_jpg"])
        nih(roots["nih_chestxray14"], roots["nih_lists"])
        vinbig(roots["vinbigdata_cxr"], roots["vinbigdata_lists"])
        small(roots)
        environment = {
            **os.environ, **{f"REFERS_BENCH_ROOT_{name.upper()}": str(root) for name, root in roots.items()},
            "XDG_CACHE_HOME": f"{folder}/cache", "XDG_CONFIG_HOME": f"{folder}/config", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        command = [sys.executable, "-m", "refers_bench", "--results", f"{folder}/results", "plan",
                   str(ROOT / "manifests" / "table1.yaml")]  # fmt: skip
        for what in ("every index read", "indices remembered"):
            start = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            spent = time.perf_counter() - start
            print(
                f"plan table1, {MIMIC:,} + {NIH:,} + {VINBIG:,} images, {what}: {spent:.1f} s (exit {done.returncode})"
            )
            if done.returncode:
                print(done.stderr[-2000:])


if __name__ == "__main__":
    main()
