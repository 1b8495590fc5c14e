"""Readers under published lists, on tables of all their images: do splits and leaks have the numbers that others count?

Files are empty: what is read here are tables, lists and names. Labels are those that the lists of others have.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from refers_bench.data.index import leak
from refers_bench.data.split_packs import read_list, rsna_to_nih
from refers_bench.datasets import chexpert, covidx, rsna_pneumonia, siim_acr, vindr_cxr
from refers_bench.manifest import packs

ACCEPT = {"accept": ["test_in_training"]}


@pytest.fixture(scope="module")
def root(real_data: Path) -> Path:
    if not (real_data / "split-packs").is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    return real_data / "split-packs"


def empty(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def counts(frame: pd.DataFrame) -> dict[str, int]:
    return {str(split): int(number) for split, number in frame["split"].value_counts().items()}


def subsets(frame: pd.DataFrame) -> dict[str, int]:
    return {str(one): int(number) for one, number in frame["subsets"].str.split().explode().value_counts().items()}


@pytest.fixture(scope="module")
def rsna(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 29,684 images; of the three classes an opacity is known, the others are not told apart here."""
    folder = tmp_path_factory.mktemp("rsna")
    labels = pd.concat([read_list(root, "rsna-mrm", part) for part in ("train", "val")])
    tested = read_list(root, "rsna-mrm", "test")["name"].str.rpartition("/")[2]
    images = labels["name"].str.rpartition("/")[2]
    empty(folder / "stage_2_train_images", images)
    empty(folder / "stage_2_test_images", tested)
    ids, positive = images.str.removesuffix(".dcm"), labels["labels"].str[0] == "1"
    boxes = [f"{name},1,1,9,9,1" if one else f"{name},,,,,0" for name, one in zip(ids, positive, strict=True)]
    (folder / rsna_pneumonia.LABELS).write_text("\n".join(["patientId,x,y,width,height,Target", *boxes]) + "\n")
    kinds = [f"{name},{'Lung Opacity' if one else 'Normal'}" for name, one in zip(ids, positive, strict=True)]
    (folder / rsna_pneumonia.DETAILS).write_text("\n".join(["patientId,class", *kinds]) + "\n")
    return folder


RSNA = {
    "rsna-benchx": ({"train": 18_678, "val": 4_003, "test": 4_003}, 2_715, {"train_1": 186, "train_10": 1_867}),
    "rsna-ark": ({"train": 21_295, "val": 2_680, "test": 2_709}, 1_917, {}),
    "rsna-mrm": ({"train": 25_184, "val": 1_500, "test": 3_000}, 0, {"train_1": 251, "train_10": 2_518}),
}


@pytest.mark.parametrize("pack", RSNA)
def test_rsna(rsna: Path, root: Path, pack: str) -> None:
    splits, shared, few = RSNA[pack]
    params = rsna_pneumonia.Params(lists={"pack": pack, **ACCEPT}, nih_map="split_packs", headers="skip")
    frame = rsna_pneumonia.index(rsna, params, {packs.ROOT: root})
    unused = 26_684 + 3_000 * (pack == "rsna-mrm") - sum(splits.values())
    assert counts(frame) == splits | ({"": unused} if unused else {}) and subsets(frame) == few
    assert leak(frame).get("images", 0) == shared, "by the patients that the reader has"
    train = set(frame.loc[frame["split"] == "train", "patient_id"])
    validates = frame.loc[frame["split"] == "val", "patient_id"].isin(train).sum()
    if pack == "rsna-mrm":
        tested = frame.loc[frame["split"] == "test", f"pneumonia:{rsna_pneumonia.OPACITY}"]
        assert (int(tested.sum()), int(validates)) == (1_094, 1_052)
    if pack == "rsna-ark":
        given = pd.concat([read_list(root, pack, part) for part in ("val", "test")])
        opacity = dict(zip(given["name"].str.removesuffix(".png"), given["labels"].str[0] == "2", strict=True))
        ours = frame.set_index("image_id").loc[list(opacity), f"pneumonia:{rsna_pneumonia.OPACITY}"]
        assert ours.astype(bool).tolist() == list(opacity.values()), "MRM's labels are Ark's"


def test_siim(root: Path, tmp_path: Path) -> None:
    """Stage 1's training images, those of stage 2 that EVA-X names, and the PNG copy."""
    stage_1 = {name for part in ("train", "val", "test") for name in read_list(root, "siim-mrm", part)["name"]}
    positive = {name for part in ("train", "test") for name in read_list(root, "siim-evax", part)["name"]}
    empty(tmp_path / "stage_2_images", (f"{name}.dcm" for name in stage_1 | positive))
    rows = [f"{name},{'5 9' if name in positive else '-1'}" for name in sorted(stage_1 | positive)]
    (tmp_path / siim_acr.TABLES["stage_2"]).write_text("\n".join(["ImageId,EncodedPixels", *rows]) + "\n")
    lists = {"pack": "siim-mrm", **ACCEPT}
    frame = siim_acr.index(tmp_path, siim_acr.Params(lists=lists, headers="skip"), {packs.ROOT: root})
    label = f"pneumothorax:{siim_acr.CLASS}"
    listed = {f"listed {split} images": number for split, number in counts(frame).items() if split}
    assert (listed, counts(frame)[""], subsets(frame)) == (siim_acr.MRM, 290, {"train_10": 797})
    assert int(frame.loc[frame["split"] == "test", label].sum()) == 672
    params = siim_acr.Params(lists={"pack": "siim-evax"}, headers="skip", val_share=0.1)
    frame = siim_acr.index(tmp_path, params, {packs.ROOT: root})
    assert counts(frame) == {"train": 1_681, "val": 187, "test": 801, "": 8_296}
    assert set(frame.loc[frame["split"] != "", label]) == {1}

    png = tmp_path / "png"
    names = [name for part in ("train", "val", "test") for name in read_list(root, "siim-benchx", part)["name"]]
    empty(png / "png_images", (f"{name}.png" for name in names))
    for part, table in siim_acr.COPY.items():
        rows = [f"{name}.png,1.2.276.0.{name},{name[-2]}" for name in names if f"_{part}_" in name]
        (png / table).write_text("\n".join(["new_filename,ImageId,has_pneumo", *rows]) + "\n")
    frame = siim_acr.index(png, siim_acr.Params(release="png", lists={"pack": "siim-benchx"}), {packs.ROOT: root})
    assert counts(frame) == {"train": 9_303, "val": 1_372, "test": 1_372}
    assert subsets(frame) == {"train_1": 93, "train_10": 930}
    assert int(frame.loc[frame["split"] == "test", label].sum()) == 290


def test_vindr(root: Path, tmp_path: Path) -> None:
    names = {part: read_list(root, "vindr-ark", part)["name"].str.rpartition("/")[2] for part in ("train", "test")}
    (tmp_path / "annotations").mkdir()
    head, cells = ",".join(vindr_cxr.CLASSES), ",".join("0" * len(vindr_cxr.CLASSES))
    for part, some in names.items():
        empty(tmp_path / part, some + ".dicom")
    rows = [f"{name},R{reader},{cells}" for name in names["train"] for reader in (8, 9, 10)]
    (tmp_path / vindr_cxr.TRAIN).write_text("\n".join([f"image_id,rad_id,{head}", *rows]) + "\n")
    rows = [f"{name},{cells}" for name in names["test"]]
    (tmp_path / vindr_cxr.TEST).write_text("\n".join([f"image_id,{head}", *rows]) + "\n")
    for pack, splits, few in (
        ("vindr-benchx", {"train": 12_000, "val": 3_000, "test": 3_000}, {"train_1": 120, "train_10": 1_200}),
        ("vindr-ark", {"train": 12_000, "val": 3_000, "test": 3_000}, {}),
    ):
        frame = vindr_cxr.index(tmp_path, vindr_cxr.Params(lists={"pack": pack}), {packs.ROOT: root})
        assert counts(frame) == splits and subsets(frame) == few
        tested = set(frame.loc[frame["split"] == "test", "image_id"])
        assert tested == set(names["test"]), "the official test set, as both say"


def test_chexpert(root: Path, tmp_path: Path) -> None:
    """Of the training images those alone that lists name: validation and both label subsets."""
    lists = {one: read_list(root, "chexpert-mrm-ids", one)["name"] for one in ("val", "test", "train_1", "train_10")}
    tested = read_list(root, "chexpert-official-ids", "test")["name"]
    train = sorted({name for one in ("val", "train_1", "train_10") for name in lists[one]})
    for table, names in ((chexpert.TRAIN, train), (chexpert.VALID, lists["test"]), (chexpert.TEST, tested)):
        rows = [row(name, table) for name in names]
        head = ["Path", *([] if table == chexpert.TEST else ["Sex", "Age", "Frontal/Lateral", "AP/PA"])]
        (tmp_path / table).write_text("\n".join([",".join([*head, *chexpert.OBSERVATIONS]), *rows]) + "\n")
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
    mrm = chexpert.Params(lists={"pack": "chexpert-mrm-ids", **ACCEPT}, views="all")
    frame = chexpert.index(tmp_path, mrm, {packs.ROOT: root})
    assert counts(frame) == {"train": len(train) - 5_000, "val": 5_000, "test": 234}
    assert subsets(frame) == {"train_1": 2_184, "train_10": 21_841} and not leak(frame)
    both = frame["subsets"].str.split().map(len)
    assert int((both == 2).sum()) == 213, "images of both label subsets"
    people = set(frame.loc[frame["subsets"].str.contains("train_10"), "patient_id"])
    assert int(frame.loc[frame["split"] == "val", "patient_id"].isin(people).sum()) == 2_149
    official = chexpert.Params(lists={"pack": "chexpert-official-ids"}, views="all")
    frame = chexpert.index(tmp_path, official, {packs.ROOT: root})
    assert counts(frame) == {"train": len(train), "val": 234, "test": 668}
    own = chexpert.index(tmp_path, chexpert.Params(split="official_test", views="all"), {})
    assert frame["split"].tolist() == own["split"].tolist()


def row(name: str, table: str) -> str:
    kind = "Frontal" if "frontal" in name else "Lateral"
    about = [] if table == chexpert.TEST else ["Male", "50", kind, "AP" if kind == "Frontal" else ""]
    return ",".join([name, *about, *[""] * len(chexpert.OBSERVATIONS)])


def test_covidx(root: Path, tmp_path: Path) -> None:
    """All test images of CXR-3, and the training images of their NIH patients."""
    lists = {part: read_list(root, "covidx-cxr3-evax", part) for part in ("train", "test")}
    known = {image: nih[:8] for image, nih in rsna_to_nih(root).items()}
    people = {part: frame["name"].str.rpartition(".")[0].map(known) for part, frame in lists.items()}
    lists["train"] = lists["train"][people["train"].isin(people["test"].dropna())]
    for part, frame in lists.items():
        (tmp_path / part).mkdir()
        lines = []
        for i, (name, words) in enumerate(zip(frame["name"], frame["labels"], strict=True)):
            Image.new("L", (2, 2)).save(tmp_path / part / name)
            lines.append(f"{part}{i} {name} {' '.join(words)}\n")
        (tmp_path / covidx.LISTS["cxr3"][part]).write_text("".join(lines))
    for accepted, expected in ((True, 129), (False, 0)):
        given = {"lists": {"pack": "covidx-cxr3-evax", **ACCEPT}} if accepted else {}
        params = covidx.Params(nih_map="split_packs", missing="skip", val_share=0.0001, **given)
        found = leak(covidx.index(tmp_path, params, {packs.ROOT: root}))
        assert found.get("images", 0) == expected
