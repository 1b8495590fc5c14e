"""The reader understands the lists of both versions of COVIDx, and whose images they share."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from published_lists import republish_map
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.datasets.covidx import DATASET, LISTS, WORDS, Params, index, read_lists
from refers_bench.errors import DataError

PHANTOM = PhantomParams(studies=60, size=40, views=2, seed=5)
RSNA = [f"{number:08d}-2c1f-4b0e-9d3c-000000000000" for number in range(8)]
#: By hand, as in the files: names with several dots, two that differ in their ending alone, a misspelt source.
CXR3 = {
    "train": (
        "7 SARS-10.1148rg.242035193-g04mr34g0-Fig8a-day0.jpeg pneumonia cohen",
        "A223587 A223587-12-31-1900-NA-CHEST_AP_VIEWONLY-26790-1.000000-AP-81991-1-1.jpg COVID-19 stonybrook",
        "A223587 A223587-12-31-1900-NA-CHEST_AP_VIEWONLY-26790-2.000000-AP-23630-1-1.jpg COVID-19 stonybrook",
        "COVID 12 COVID(12).png COVID-19 sirm",
        "379 8.458-0.jpg COVID-19 cohen",
        "379 8.458-0.png COVID-19 cohen",
        *(f"{name} {name}.png normal {source}" for name, source in zip(RSNA[:4], ["rsna", "rnsa"] * 2, strict=True)),
        *(f"{name} {name}.png pneumonia rsna" for name in RSNA[4:6]),
    ),
    "test": (
        "MIDRC-RICORD-1C-419639-003251 MIDRC-RICORD-1C-419639-003251-46647-0.png COVID-19 ricord",
        *(f"{name} {name}.png normal rsna" for name in RSNA[6:]),
    ),
}


def written(root: Path, version: str, lines: dict[str, tuple[str, ...]]) -> Path:
    for split, texts in lines.items():
        (root / split).mkdir(parents=True, exist_ok=True)
        (root / LISTS[version][split]).write_text("".join(f"{text}\n" for text in texts))
        for text in texts:
            Image.new("L", (9, 7)).save(root / split / text.split()[-3])
    return root


@pytest.fixture
def cxr3(tmp_path: Path) -> Path:
    return written(tmp_path / "covidx", "cxr3", CXR3)


def test_the_official_lists_of_cxr3(cxr3: Path) -> None:
    frame = index(cxr3, Params(), {}).set_index("image_id")
    assert len(frame) == 15, "an image is its whole name"
    assert frame.loc["8.458-0.jpg", "path"] == "train/8.458-0.jpg" and "8.458-0.png" in frame.index
    assert frame.loc["COVID(12).png", "patient_id"] == "sirm/COVID 12", "a patient's name may hold blanks"
    same = frame["patient_id"].str.startswith("stonybrook/")
    assert same.sum() == 2 and frame.loc[same, "split"].nunique() == 1
    assert set(frame["about:source"]) == {"cohen", "stonybrook", "sirm", "rsna", "ricord"}, "rnsa is rsna"
    assert (frame["covid19:COVID-19"] == frame["three_classes:COVID-19"]).all()
    assert frame[[f"three_classes:{name}" for name in WORDS["cxr3"].values()]].sum().tolist() == [6, 3, 6]
    assert (frame["split"] == "test").sum() == 3 and set(frame["about:width"]) == {9}
    assert index(cxr3, Params(val_share=0.5), {})["split"].value_counts()["val"] >= 4


def test_the_class_can_be_read_from_the_source(original: Path) -> None:
    """Nobody's COVID-19 image is RSNA's: a trap that the metadata show."""
    frame = index(original, Params(), {})
    assert frame.groupby("about:source")["covid19:COVID-19"].nunique().max() == 1
    assert "read from the source" in DATASET.quirks[0]


def test_cxr4_has_two_classes_and_three_lists(original: Path) -> None:
    three, two = (index(original, Params(version=version), {}) for version in ("cxr3", "cxr4"))
    assert two["split"].tolist() == two["path"].str.split("/").str[0].tolist()
    assert set(three["image_id"]) == set(two.loc[two["split"] != "val", "image_id"])
    assert two.filter(like="three_classes:").isna().all(axis=None)
    both = two.set_index("image_id")["covid19:COVID-19"].reindex(three["image_id"])
    assert both.tolist() == three["covid19:COVID-19"].tolist()
    assert [DATASET.notes(Params(version=version)) for version in ("cxr3", "cxr4")] == [
        ("version CXR-3",),
        ("version CXR-4",),
    ]


def test_nih_patients_join_rsna_images_and_leave_the_training_list(
    cxr3: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RSNA 0 and 1 are one person, 2 and the test image 6 another."""
    people = dict(zip(RSNA, (1, 1, 2, 3, 4, 5, 2, 6), strict=True))
    republish_map(monkeypatch, tmp_path, {name: patient for name, patient in people.items() if patient != 6})
    frame = index(cxr3, Params(nih_map="map"), {"map": tmp_path}).set_index("image_id")
    rsna = frame.loc[[f"{name}.png" for name in RSNA]]
    assert rsna["patient_id"].tolist()[:7] == [f"nih/{people[name]:08d}" for name in RSNA[:7]]
    assert rsna["patient_id"].iloc[7] == f"rsna/{RSNA[7]}", "an image without a match keeps its own"
    assert rsna["split"].tolist()[2] == "" and rsna["split"].tolist()[6] == "test"
    assert rsna["split"].tolist()[0] == rsna["split"].tolist()[1]
    alone = index(cxr3, Params(), {}).set_index("image_id")
    assert alone.loc[f"{RSNA[2]}.png", "split"] in ("train", "val")


def test_a_patient_of_several_lists_stays_in_the_test_list(original: Path, tmp_path: Path) -> None:
    lines = {"train": ("p a.png positive x", "q b.png negative x"), "val": ("p c.png positive x", "q d.png negative x")}
    root = written(tmp_path / "cxr4", "cxr4", {**lines, "test": ("p e.png positive x", "q f.png negative y")})
    frame = index(root, Params(version="cxr4"), {}).set_index("image_id")
    assert frame["split"].to_dict() == {
        "a.png": "", "b.png": "", "c.png": "", "d.png": "val", "e.png": "test", "f.png": "test",
    }  # fmt: skip


def line(split: str, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / LISTS["cxr3"][split]
        path.write_text(f"{text}\n{path.read_text()}")

    return change


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no list": (lambda root: (root / LISTS["cxr3"]["test"]).unlink(), r"test_COVIDx9A.txt: missing list; allowed: train_COVIDx9A.txt"),
    "fields": (line("train", "a.png normal rsna"), r"train_COVIDx9A.txt:1: 'a.png normal rsna'; allowed: 'patient file class source'"),
    "folder": (line("train", "1 train/a.png normal rsna"), r"train_COVIDx9A.txt:1: '1 train/a.png normal rsna'; allowed"),
    "class": (line("test", "1 a.png Normal rsna"), r"test_COVIDx9A.txt:1: unknown class 'Normal'.*did you mean 'normal'"),
    "class of the other version": (line("train", "1 a.png negative rsna"), r"unknown class 'negative'; allowed: COVID-19"),
    "twice": (line("test", "1 8.458-0.png COVID-19 cohen"), r"test_COVIDx9A.txt:1: '8.458-0.png' is in train_COVIDx9A.txt, too"),
    "missing": (lambda root: (root / "train" / "8.458-0.png").unlink(), r"1 of 15 images are not there.*'8.458-0.png' is not below"),
    "not text": (lambda root: (root / LISTS["cxr3"]["test"]).write_bytes(b"\xff\xfe1"), r"test_COVIDx9A.txt: not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, cxr3: Path) -> None:
    breaker, message = BROKEN[what]
    breaker(cxr3)
    with pytest.raises(DataError, match=f"(?s){message}"):
        index(cxr3, Params(), {})


def test_the_published_lists_of_cxr3(real_data: Path, tmp_path: Path) -> None:
    """The lists of the pack, whose column of patients was taken out: here each file is its own."""
    packs = real_data / "split-packs"
    if not packs.is_dir():
        pytest.skip(f"no {packs}")
    for split, name in LISTS["cxr3"].items():
        lines = gzip.decompress((packs / "covidx-cxr3-evax" / f"{split}.txt.gz").read_bytes()).decode().splitlines()
        (tmp_path / name).write_text("".join(f"p{place} {text}\n" for place, text in enumerate(lines)))
    frame = read_lists(tmp_path, "cxr3")
    counts = pd.crosstab(frame["split"], frame["word"])
    assert counts.loc["train", ["COVID-19", "normal", "pneumonia"]].tolist() == [16_490, 8_085, 5_555]
    assert counts.loc["test", ["COVID-19", "normal", "pneumonia"]].tolist() == [200, 100, 100]
    train = frame[frame["split"] == "train"]
    assert (train["source"] == "rsna").sum() == 13_389 + 199, "with those that are misspelt"
    stems = frame["image_id"].str.rpartition(".")[0]
    assert frame["image_id"].is_unique and stems.nunique() == len(frame) - 1
    from refers_bench.data.split_packs import rsna_to_nih

    people = stems.where(frame["source"] == "rsna").map(rsna_to_nih(packs)).str[:8]
    shared = people[frame["split"] == "test"].isin(set(people[frame["split"] == "train"].dropna()))
    assert int(shared.sum()) == 129, "as the card says"
