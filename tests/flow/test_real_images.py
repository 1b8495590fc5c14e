"""Real radiographs are prepared and verified as a user would: NIH, the COVID collection, and files as in the wild."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import Commands
from refers_bench.data.decode import decode
from refers_bench.data.prepare import PreparedImages, resized
from refers_bench.datasets.vinbigdata_cxr import CLASS_IDS, NO_FINDING

Run = Callable[..., str]


@pytest.fixture
def run(cli: Commands, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Output of a data command that must succeed, with the real folders as data roots."""
    for name, place in {
        "NIH_CHESTXRAY14": "nih-chestxray14-sample", "NIH_LISTS": "official-splits/nih",
        "COVID19_IDC": "covid-chestxray-dataset", "COVID19_LISTS": "official-splits/covid",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name}", str(real_data / place))
    return lambda *arguments: cli("data", *arguments).out


def store_of(out: str) -> PreparedImages:
    return PreparedImages.open(Path(out.strip().rpartition(" in ")[2]))


REAL = {
    "nih_chestxray14": (["--param", "split=released", "--param", "lists=nih_lists"], 1000, (704, 77, 219)),
    "covid19_idc": (["--param", "lists=covid19_lists"], 699, (435, 93, 168)),
}


@pytest.mark.parametrize("name", REAL)
def test_every_real_image_is_prepared_and_verified(run: Run, tmp_path: Path, real_data: Path, name: str) -> None:
    params, count, splits = REAL[name]
    out = run("prepare", name, "--size", "64", "--workers", "2", *params)
    assert out.startswith(f"{count} images in ")
    store = store_of(out)
    assert store.images_NHW.shape == (count, 64, 64)
    assert store.meta["unreadable"] == []
    spread = store.images_NHW[:].reshape(count, -1).std(axis=1)
    assert spread.min() > 5, "an image came out flat"
    root = real_data / ("nih-chestxray14-sample" if name.startswith("nih") else "covid-chestxray-dataset")
    for row in range(0, count, 97):
        assert np.array_equal(store.images_NHW[row], resized(decode(root / store.index["path"][row]), 64))
    out = run("verify", name, *params)
    assert "every image could be read" in out
    found = json.loads((tmp_path / "results" / "data" / name / "verify.json").read_text())
    assert found["right"] and found["images_read"] == count
    assert tuple(found["splits"][split]["images"] for split in ("train", "val", "test")) == splits


def test_rgba_files_equal_their_grey_counterparts(
    run: Run, tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The three RGBA files of NIH, with their rows of the table; then the same as grey files."""
    files = sorted((real_data / "quirks").glob("nih_rgba_*.png"))
    names = [path.name.removeprefix("nih_rgba_") for path in files]
    with gzip.open(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz", "rt") as table:
        lines = table.read().splitlines()
    rows = [lines[0], *(line for line in lines if line.split(",")[0] in names)]
    assert len(rows) == 4
    stores = []
    for kind in ("rgba", "grey"):
        root = tmp_path / kind
        (root / "images").mkdir(parents=True)
        (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
        for path, name in zip(files, names, strict=True):
            with Image.open(path) as image:
                assert image.mode == "RGBA"
                (image if kind == "rgba" else image.getchannel(1)).save(root / "images" / name)
        monkeypatch.setenv("REFERS_BENCH_ROOT_NIH_CHESTXRAY14", str(root))
        stores.append(store_of(run("prepare", "nih_chestxray14", "--size", "256", "--param", "split=seeded")))
    assert stores[0].images_NHW.shape == (3, 256, 256)
    assert np.array_equal(*(store.images_NHW for store in stores))


def test_dicom_files_are_prepared_in_both_readings(
    run: Run, tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A MONOCHROME1 file and its MONOCHROME2 twin, in the layout of VinBigData."""
    pytest.importorskip("gdcm", reason="needs python-gdcm (extra dicom)")
    root = tmp_path / "vinbigdata"
    (root / "train").mkdir(parents=True)
    lines = ["image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"]
    names = [f"{number:032x}" for number in range(2)]
    for name, path in zip(
        names, sorted((real_data / "quirks").glob("*.dcm"), key=lambda one: "MONO" in one.name), strict=True
    ):
        shutil.copy(path, root / "train" / f"{name}.dicom")
        lines += [f"{name},{NO_FINDING},{CLASS_IDS[NO_FINDING]},R{reader},,,," for reader in (1, 2, 3)]
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("REFERS_BENCH_ROOT_VINBIGDATA_CXR", str(root))
    two, one = store_of(run("prepare", "vinbigdata_cxr", "--size", "256")).images_NHW
    # Resizing rounds once more.
    assert np.abs(one.astype(int) - (255 - two.astype(int))).max() <= 1
    two, one = store_of(run("prepare", "vinbigdata_cxr", "--size", "256", "--param", "dicom=official_code")).images_NHW
    assert np.array_equal(one, two), "the released code does not invert"
    assert "every image could be read" in run("verify", "vinbigdata_cxr")
