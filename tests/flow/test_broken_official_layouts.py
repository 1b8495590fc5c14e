"""For each way a folder of CheXpert, VinDr-CXR, PadChest or TBX11K can be wrong a user sees where, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from command_line import Commands
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams

Breaker = Callable[[Path], object]
DATASETS = ("chexpert", "vindr_cxr", "padchest", "tbx11k")
PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"


@pytest.fixture
def roots(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small phantom collection in the official layout of each dataset, set as data roots."""
    for name in DATASETS:
        (home / name).mkdir()
        layout = plugins.load("dataset", name).write_layout
        layout(home / name, PhantomParams(studies=24, size=32, views=1, seed=4))
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name.upper()}", str(home / name))
    return home


def edit(path: str, old: str, new: str) -> Breaker:
    def breaker(root: Path) -> None:
        text = (root / path).read_text()
        assert old in text, old
        (root / path).write_text(text.replace(old, new, 1))

    return breaker


def first(root: Path, ending: str) -> Path:
    return min(root.rglob(f"*.{ending}"))


def half(ending: str) -> Breaker:
    return lambda root: first(root, ending).write_bytes(first(root, ending).read_bytes()[:150])


#: How it is broken: dataset, what is done to its root, the command's parameters, and the message.
BROKEN: dict[str, tuple[str, Breaker, list[str], str]] = {
    "chexpert: no table": ("chexpert", lambda root: first(root, "csv").unlink(), ["split=official_test"], r"chexpert/test_labels\.csv: missing table; allowed: the dataset's folder as downloaded"),
    "chexpert: a label": ("chexpert", edit("CheXpert-v1.0-small/train.csv", ",1.0", ",yes"), [], r"train\.csv:2: [\w ]+ is 'yes'; allowed: 1\.0, 0\.0, -1\.0 or empty"),
    "chexpert: a path": ("chexpert", edit("CheXpert-v1.0-small/valid.csv", "/study1/", "/first/"), [], r"valid\.csv:2: path '.*/first/view1_frontal\.jpg'; allowed: \[\.\.\.\]/patientNNNNN/studyN/"),
    "chexpert: half an image": ("chexpert", half("jpg"), ["split=official_test"], r"view1_frontal\.jpg: (?:a damaged image|not an image)"),
    "chexpert: a policy is a task": ("chexpert", lambda root: None, ["uncertain=u_ones"], r"--param uncertain: no such parameter; allowed: split, views, val_share"),
    "vindr_cxr: no label": ("vindr_cxr", edit("annotations/image_labels_test.csv", ",0,", ",,"), [], r"image_labels_test\.csv:2: [\w ]+ is ''; allowed: 0 or 1"),
    "vindr_cxr: no readers": ("vindr_cxr", edit("annotations/image_labels_train.csv", "rad_id", "reader"), [], r"image_labels_train\.csv:1: no column 'rad_id'; allowed: image_id, reader"),
    "vindr_cxr: another picture": ("vindr_cxr", lambda root: Image.new("L", (40, 40)).save(first(root, "dicom"), format="PNG"), [], r"\.dicom: not a DICOM file; allowed: DICOM"),
    "vindr_cxr: no image": ("vindr_cxr", lambda root: first(root, "dicom").unlink(), [], r"image_labels_test\.csv: image '[0-9a-f]{32}\.dicom' is not below .*vindr_cxr"),
    "padchest: no list": ("padchest", edit(PADCHEST, "['", "'"), [], r"01\.02\.19\.csv:2: labels \".*\"; allowed: a list of texts, such as \['normal'\]"),
    "padchest: whose labels": ("padchest", edit(PADCHEST, "Physician", "Physicist"), [], r"\.csv:\d+: MethodLabel 'Physicist'; allowed: Physician or RNN_model"),
    "padchest: a projection": ("padchest", lambda root: None, ['views=["FRONTAL"]'], r"no image of the projections FRONTAL; allowed: AP, AP_horizontal, PA"),
    "tbx11k: no JSON": ("tbx11k", edit("annotations/json/TBX11K_val.json", '"images"', "images"), [], r"TBX11K_val\.json:1:2: no JSON"),
    "tbx11k: a category": ("tbx11k", edit("annotations/json/TBX11K_train.json", '"ActiveTuberculosis"', '"ActiveTB"'), [], r"TBX11K_train\.json: unknown category 'ActiveTB'; allowed: ActiveTuberculosis, Obsolete"),
    "tbx11k: an empty image": ("tbx11k", lambda root: first(root, "png").write_bytes(b""), [], r"health/h0001\.png: an empty file; allowed: PNG"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, roots: Path, cli: Commands) -> None:
    dataset, breaker, parameters, message = BROKEN[name]
    breaker(roots / dataset)
    options = [word for parameter in parameters for word in ("--param", parameter)]
    printed = cli("data", "verify", dataset, *options, code=2)
    assert re.search(message, printed.err), printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_good_ones_are_right(dataset: str, roots: Path, cli: Commands) -> None:
    assert cli("data", "verify", dataset).err == ""
