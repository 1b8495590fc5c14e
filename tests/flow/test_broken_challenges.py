"""For each way a challenge's folder can be wrong a user sees the path, what was found and what is allowed.

RSNA, SIIM-ACR, COVIDx and Montgomery; tests/flow/test_broken_datasets.py has what all datasets share.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import Commands, Printed
from published_lists import republish_map
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams

Breaker = Callable[[Path], None]
NAMES = ("rsna_pneumonia", "siim_acr", "covidx", "montgomery_tb")
RSNA, DETAILS, SIIM = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "stage_2_train.csv"
COVIDX = "train_COVIDx9A.txt"


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("challenges")
    for name in NAMES:
        (base / name).mkdir()
        plugins.load("dataset", name).write_layout(base / name, PhantomParams(studies=14, size=32, views=1, seed=1))
    return base


@pytest.fixture
def roots(phantoms: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each collection in its official layout, set as a data root, and a root for the map of RSNA to NIH."""
    for name in NAMES:
        shutil.copytree(phantoms / name, home / name)
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name.upper()}", str(home / name))
    images = sorted(path.stem for path in (home / "rsna_pneumonia" / "stage_2_train_images").iterdir())
    republish_map(monkeypatch, home / "map", {image: place for place, image in enumerate(images)})
    monkeypatch.setenv("REFERS_BENCH_ROOT_MAP", str(home / "map"))
    return home


def edit(file: str, pattern: str, new: str) -> Breaker:
    """The first place of a file that a pattern fits is changed."""

    def breaker(root: Path) -> None:
        text, times = re.subn(pattern, new, (root / file).read_text(), count=1, flags=re.MULTILINE)
        assert times == 1, pattern
        (root / file).write_text(text)

    return breaker


def append(file: str, line: str) -> Breaker:
    def breaker(root: Path) -> None:
        first = (root / file).read_text().splitlines()[1]
        (root / file).write_text((root / file).read_text() + line.format(name=first.split(",")[0], line=first) + "\n")

    return breaker


def image(folder: str, content: bytes | None) -> Breaker:
    """The first image is gone, or has other content."""

    def breaker(root: Path) -> None:
        path = sorted((root / folder).iterdir())[0]
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    return breaker


def renamed(root: Path) -> None:
    path = sorted((root / "MontgomerySet" / "CXR_png").iterdir())[0]
    path.rename(path.with_name("MCUCXR_1_0.png"))


#: Dataset, how it is broken, the command's parameters, and the message.
BROKEN: dict[str, tuple[str, Breaker, list[str], str]] = {
    "rsna: no table of classes": ("rsna_pneumonia", lambda root: (root / DETAILS).unlink(), [], rf"{DETAILS}: missing table; allowed: the dataset's folder as downloaded"),
    "rsna: no column": ("rsna_pneumonia", edit(RSNA, "patientId", "patient_id"), [], rf"{RSNA}:1: no column 'patientId'; allowed: patient_id, x"),
    "rsna: target without a box": ("rsna_pneumonia", edit(RSNA, ",,,,0$", ",,,,1"), [], rf"{RSNA}:\d+: the box of '[0-9a-f-]+'; allowed: x, y, width and height where Target is 1"),
    "rsna: unknown class": ("rsna_pneumonia", edit(DETAILS, ",Lung Opacity", ",Lung Opacty"), [], rf"{DETAILS}:\d+: unknown class 'Lung Opacty'.*did you mean 'Lung Opacity'"),
    "rsna: tables disagree": ("rsna_pneumonia", edit(DETAILS, ",Normal", ",Lung Opacity"), [], rf"{DETAILS}: '[0-9a-f-]+' is 'Lung Opacity' with Target 0; allowed: Target 1 for 'Lung Opacity' alone"),
    "rsna: missing image": ("rsna_pneumonia", image("stage_2_train_images", None), [], rf"{RSNA}: image '[0-9a-f-]+\.dcm' is not below "),
    "rsna: no DICOM file": ("rsna_pneumonia", image("stage_2_train_images", b"hello"), [], r"\.dcm: not a DICOM file; allowed: DICOM"),
    "rsna: another map": ("rsna_pneumonia", lambda root: edit("rsna_to_nih.csv", r",00000000_000", ",0_0")(root.parent / "map"), ["nih_map=map"], r"rsna_to_nih\.csv: SHA-256 \w{12}\.\.\., which is not rsna-nih-map; allowed: the file as published, SHA-256 \w{12}\.\.\. uncompressed"),
    "rsna: no map": ("rsna_pneumonia", lambda root: (root.parent / "map" / "rsna_to_nih.csv").unlink(), ["nih_map=map"], r"rsna_to_nih\.csv: missing table; allowed: rsna_to_nih\.csv of the pack rsna-nih-map"),
    "covidx: another map": ("covidx", lambda root: edit("rsna_to_nih.csv", r",00000000_000", ",00000009_000")(root.parent / "map"), ["nih_map=map"], r"rsna_to_nih\.csv: SHA-256 \w{12}\.\.\., which is not rsna-nih-map"),
    "rsna: root of the map not set": ("rsna_pneumonia", lambda root: None, ["nih_map=nowhere"], r"data root 'nowhere' is not set"),
    "siim: table of the other stage": ("siim_acr", lambda root: None, ["release=stage_1"], r"train-rle\.csv: missing table"),
    "siim: half a run": ("siim_acr", edit(SIIM, r",-1$", ",387620 23 996"), [], rf"{SIIM}:\d+: mask '387620 23 996' \(not pairs of whole numbers\); allowed: -1, or pairs"),
    "siim: run outside": ("siim_acr", edit(SIIM, r",-1$", ",1048576 1"), [], r"mask '1048576 1' \(pixel 1048577 of 1048576\)"),
    "siim: with and without a mask": ("siim_acr", append(SIIM, "{name},-1\n{name},5 9"), [], rf"{SIIM}:\d+: '1\.2\.276\S+' has a mask, too; allowed: -1 alone"),
    "siim: no test folder of stage 1": ("siim_acr", lambda root: None, ["split=stage_1_test"], r"no image that stage 1 tested with; allowed: dicom-images-test/"),
    "siim: unknown release": ("siim_acr", lambda root: None, ["release=stage_3"], r"--param release is 'stage_3'; allowed: 'stage_2', 'stage_1' or 'png'"),
    "covidx: no list": ("covidx", lambda root: (root / COVIDX).unlink(), [], rf"{COVIDX}: missing list; allowed: train_COVIDx9A.txt, test_COVIDx9A.txt \(cxr3, as downloaded\)"),
    "covidx: class of the other version": ("covidx", edit("train.txt", "positive", "COVID-19"), ["version=cxr4"], r"train\.txt:\d+: unknown class 'COVID-19'; allowed: negative, positive"),
    "covidx: map of other images": ("covidx", lambda root: None, ["nih_map=map"], r"map: a map of \d+ images, none of which is here"),
    "covidx: three fields": ("covidx", append(COVIDX, "a.png normal rsna"), [], rf"{COVIDX}:\d+: 'a\.png normal rsna'; allowed: 'patient file class source'"),
    "covidx: image in two lists": ("covidx", lambda root: (root / "test_COVIDx9A.txt").write_text((root / COVIDX).read_text()) and None, [], rf"test_COVIDx9A\.txt:1: '\S+' is in {COVIDX}, too; allowed: each file once"),
    "covidx: damaged image": ("covidx", image("train", b"\xff\xd8\xff"), [], r"train/\S+\.(jpg|png): (a damaged image|not an image|a JPEG file)"),
    "montgomery: another name": ("montgomery_tb", renamed, [], r"MCUCXR_1_0\.png: unknown image name 'MCUCXR_1_0'; allowed: MCUCXR_<number of four digits>"),
    "montgomery: masks alone": ("montgomery_tb", lambda root: [path.unlink() for path in (root / "MontgomerySet" / "CXR_png").iterdir()] and None, [], r"no radiograph here; allowed: MontgomerySet/CXR_png/MCUCXR"),
}  # fmt: skip


def verify(cli: Commands, name: str, *parameters: str, code: int = 2) -> Printed:
    options = [word for parameter in parameters for word in ("--param", parameter)]
    return cli("data", "verify", name, *options, code=code)


@pytest.mark.parametrize("name", NAMES)
def test_the_good_ones_are_right(name: str, roots: Path, cli: Commands) -> None:
    assert "error" not in verify(cli, name, code=0).err


def test_the_map_and_the_other_version_are_right(roots: Path, cli: Commands) -> None:
    verify(cli, "rsna_pneumonia", "nih_map=map", code=0)
    two = verify(cli, "covidx", "version=cxr4", code=0).out
    assert re.search(r"three_classes:Normal: 0 positive, 0 negative, \d+ unknown", two)


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what: str, roots: Path, cli: Commands) -> None:
    name, breaker, parameters, message = BROKEN[what]
    breaker(roots / name)
    text = verify(cli, name, *parameters).err
    assert re.search(message, text), text
