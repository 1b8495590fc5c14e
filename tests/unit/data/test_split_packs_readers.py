"""Readers give images the splits and label subsets of published lists, of their own collection and as published."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from published_lists import republish, republish_map
from refers_bench import plugins
from refers_bench.data.index import read_index
from refers_bench.data.phantoms.radiographs import PhantomParams
from refers_bench.errors import DataError
from refers_bench.manifest import packs
from refers_bench.manifest.packs import Pack

PHANTOM = PhantomParams(studies=60, size=32, views=1, seed=6)
#: Dataset -> a pack of its, and the line of an image in it.
READERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "rsna_pneumonia": ("rsna-benchx", str),
    "siim_acr": ("siim-mrm", str),
    "vindr_cxr": ("vindr-benchx", str),
    "chexpert": ("chexpert-mrm-ids", lambda name: f"train/{name}.jpg"),
    "covidx": ("covidx-cxr3-evax", lambda name: f"{name} normal rsna"),
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("packed")
    for name in READERS:
        (base / name).mkdir()
        plugins.load("dataset", name).write_layout(base / name, PHANTOM)
    return base


def read(base: Path, name: str, packed: Path, *, accept: bool = True, **params: Any) -> pd.DataFrame:
    """The index of a dataset under some lists, by image."""
    dataset = plugins.load("dataset", name)
    lists = {"pack": params.pop("pack", READERS[name][0]), "accept": ["test_in_training"] if accept else []}
    model = dataset.Params(lists=lists, **params)
    return read_index(dataset, base / name, model, {packs.ROOT: packed, "map": packed}).set_index("image_id")


def names(base: Path, name: str) -> list[str]:
    dataset = plugins.load("dataset", name)
    frame = dataset.index(base / name, dataset.Params(), {})
    return sorted(frame["image_id"])


def written(
    monkeypatch: pytest.MonkeyPatch, base: Path, name: str, root: Path, more: dict[str, list[str]] | None = None
) -> dict[str, list[str]]:
    """Lists of a pack of the dataset: a third of its images each, and a label subset where the pack has some."""
    pack, line = READERS[name]
    images = names(base, name)
    known = packs.known()[pack].lists
    parts = {"train": images[0::3], "val": images[1::3], "test": images[2::3], "train_10": images[0:12:3]}
    parts = {one: part for one, part in parts.items() if one in known} | (more or {})
    republish(monkeypatch, root, pack, {one: map(line, part) for one, part in parts.items()})
    return parts


@pytest.mark.parametrize("name", ["rsna_pneumonia", "siim_acr", "vindr_cxr"])
def test_splits_and_label_subsets_are_those_of_the_lists(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    parts = written(monkeypatch, phantoms, name, tmp_path)
    frame = read(phantoms, name, tmp_path)
    for split in ("train", "val", "test"):
        assert sorted(frame.index[frame["split"] == split]) == parts[split], split
    assert sorted(frame.index[frame["subsets"] == "train_10"]) == parts["train_10"]
    # What no list names is not used.
    some = {split: part[:-1] for split, part in parts.items() if not split.startswith("train_")}
    republish(monkeypatch, tmp_path, READERS[name][0], some)
    assert (read(phantoms, name, tmp_path)["split"] == "").sum() == 3


def test_the_training_list_of_chexpert_is_the_rest_of_the_official_training_images(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = plugins.load("dataset", "chexpert")
    plain = read_index(dataset, phantoms / "chexpert", dataset.Params(), {}).set_index("image_id")
    official = {split: sorted(plain.index[plain["split"] == split]) for split in ("train", "val", "test")}
    train = official["train"] + official["val"]
    several = plain.loc[train, "patient_id"].duplicated(keep="last")
    val = several.index[several].tolist()[:9]
    train = [name for name in train if name not in val]
    lists = {"val": val, "test": official["test"][1:], "train_10": train[9:12]}
    written(monkeypatch, phantoms, "chexpert", tmp_path, lists)
    frame = read(phantoms, "chexpert", tmp_path)
    assert sorted(frame.index[frame["split"] == "train"]) == sorted(train)
    assert sorted(frame.index[frame["split"] == "val"]) == sorted(val) and len(val) > 4
    assert frame["split"][official["test"][0]] == "", "an image of valid.csv that no list names trains nothing"
    assert sorted(frame.index[frame["subsets"] != ""]) == sorted(train[9:12])
    # Validation images whose patients train are accepted by name, or refused by the index, too.
    monkeypatch.setitem(packs.known(), "chexpert-mrm-ids", no_leaks("chexpert-mrm-ids"))
    with pytest.raises(DataError, match=r"patient 'patient\d{5}' is in train, val; allowed: one split per patient"):
        read(phantoms, "chexpert", tmp_path, accept=False)


def no_leaks(pack: str) -> packs.KnownPack:
    return replace(packs.known()[pack], leaks=())


def test_the_official_test_set_of_chexpert(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = plugins.load("dataset", "chexpert")
    official = dataset.index(phantoms / "chexpert", dataset.Params(split="official_test", views="all"), {})
    lists = {
        one: [f"x/{name}.jpg" for name in official.loc[official["split"] == one, "image_id"]] for one in ("val", "test")
    }
    republish(monkeypatch, tmp_path, "chexpert-official-ids", lists)
    for views in ("all", "frontal"):
        frame = read(phantoms, "chexpert", tmp_path, accept=False, pack="chexpert-official-ids", views=views)
        wanted = dataset.index(phantoms / "chexpert", dataset.Params(split="official_test", views=views), {})
        assert frame["split"].tolist() == wanted["split"].tolist() and len(frame) == len(wanted)


def test_lists_without_validation_images_leave_a_share_of_training_patients(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, pack in (("siim_acr", "siim-evax"), ("vindr_cxr", "vindr-ark"), ("covidx", "covidx-cxr3-evax")):
        images, line = names(phantoms, name), READERS[name][1]
        lists = {"train": map(line, images[:40]), "test": map(line, images[40:])}
        republish(monkeypatch, tmp_path, pack, lists)
        frame = read(phantoms, name, tmp_path, pack=pack, val_share=0.25)
        assert sorted(frame.index[frame["split"] == "test"]) == images[40:], name
        counts = frame["split"].value_counts()
        assert counts["val"] + counts["train"] == 40 and 5 <= counts["val"] <= 15, name
        other = read(phantoms, name, tmp_path, pack=pack, val_share=0.25, split_seed=1)
        assert other["split"].tolist() != frame["split"].tolist(), name
        dataset = plugins.load("dataset", name)
        notes = dataset.notes(dataset.Params(lists=Pack(pack=pack, accept=("test_in_training",)), val_share=0.25))
        said = f"lists {pack}: 25 % of its training images, or patients, drawn by seed, validate"
        assert said in notes and not any("validate" in note for note in dataset.notes(dataset.Params()))


def test_the_rsna_test_images_have_labels_in_lists_alone(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MRM's test list names images that no table of the competition labels."""
    base = Path(shutil.copytree(phantoms, tmp_path / "base"))
    root = base / "rsna_pneumonia"
    images = names(phantoms, "rsna_pneumonia")
    (root / "stage_2_test_images").mkdir()
    for image in images[:3]:
        content = (root / "stage_2_train_images" / f"{image}.dcm").read_bytes()
        (root / "stage_2_test_images" / f"0{image[1:-1]}f.dcm").write_bytes(content)
    tested = [path.stem for path in sorted((root / "stage_2_test_images").iterdir())]
    lists = {
        "train": [f"stage_2_train_images/{image}.dcm 0 " for image in images[:40]],
        "val": [f"stage_2_train_images/{image}.dcm 1 " for image in images[40:]],
        "test": [f"stage_2_test_images/{image}.dcm {i % 2} " for i, image in enumerate(tested)],
    }
    republish(monkeypatch, tmp_path, "rsna-mrm", lists)
    frame = read(base, "rsna_pneumonia", tmp_path, pack="rsna-mrm")
    assert sorted(frame.index[frame["split"] == "test"]) == tested
    assert frame.loc[tested, "pneumonia:Lung Opacity"].tolist() == [0, 1, 0]
    assert frame.loc[tested].filter(like="three_classes:").isna().all(axis=None)
    assert frame.loc[tested[0], "path"] == f"stage_2_test_images/{tested[0]}.dcm"
    dataset = plugins.load("dataset", "rsna_pneumonia")
    plain = read_index(dataset, root, dataset.Params(), {}).set_index("image_id")
    assert len(plain) == len(images), "without these lists they are not read"
    same = frame.loc[images, plain.filter(like=":").columns]
    assert same.equals(plain.loc[images, same.columns]), "labels of the others are those of the tables"
    assert (
        dataset.expected_of(dataset.Params(lists=Pack(pack="rsna-benchx", accept=("test_in_training",))))["images"]
        == 26_684
    )


def test_rsna_lists_that_put_a_person_on_both_sides(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lists lie in one data root, the map of patients in another."""
    parts = written(monkeypatch, phantoms, "rsna_pneumonia", tmp_path)
    people = {image: i // 3 for i, image in enumerate(names(phantoms, "rsna_pneumonia"))}
    republish_map(monkeypatch, tmp_path, people)
    frame = read(phantoms, "rsna_pneumonia", tmp_path, nih_map="map")
    assert sorted(frame.index[frame["split"] == "test"]) == parts["test"]
    assert frame.groupby("patient_id")["split"].nunique().min() == 3
    dataset = plugins.load("dataset", "rsna_pneumonia")
    given = dataset.lists(dataset.Params(nih_map="map", lists=Pack(pack="rsna-mrm", accept=("test_in_training",))))
    assert packs.roots_of(given) == ("map", "split_packs") and len(packs.leaks(given)) == 1
    assert packs.roots_of(dataset.lists(dataset.Params())) == ()
    same = dataset.lists(
        dataset.Params(nih_map="split_packs", lists=Pack(pack="rsna-mrm", accept=("test_in_training",)))
    )
    assert packs.roots_of(same) == ("split_packs",)


def test_covidx_images_of_a_person_stay_in_the_lists_that_are_accepted(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = plugins.load("dataset", "covidx")
    plain = dataset.index(phantoms / "covidx", dataset.Params(), {}).set_index("image_id")
    used = plain[plain["split"] != ""]
    person = used.groupby("patient_id").size().idxmax()
    images = used.index[used["patient_id"] == person].tolist()
    assert len(images) > 1
    rest = [name for name in plain.index if name not in images]
    lists = {"train": [*images[:1], *rest[:30]], "test": [*images[1:], *rest[30:]]}
    republish(
        monkeypatch,
        tmp_path,
        "covidx-cxr3-evax",
        {one: [f"{name} x y" for name in part] for one, part in lists.items()},
    )
    frame = read(phantoms, "covidx", tmp_path)
    assert set(frame.loc[images[1:], "split"]) == {"test"} and frame.loc[images[0], "split"] in ("train", "val")


def test_names_that_are_cut_at_the_first_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BenchX's CXR-4: an ending of its own, and one name of several images, in the folder of each split."""
    root = tmp_path / "base" / "covidx"
    official = {
        "train": ["DX.1.2.png", "DX.3.4.png", "a-1.000.jpg", "b.png"],
        "val": ["DX.5.png", "c.png"],
        "test": ["d.png", "e.png"],
    }
    for split, files in official.items():
        (root / split).mkdir(parents=True)
        for file in files:
            Image.new("L", (9, 7)).save(root / split / file)
        lines = [f"p{file} {file} {'positive' if i % 2 else 'negative'} s" for i, file in enumerate(files)]
        (root / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    lists = {
        "train": ["train/DX.png", "train/DX.png", "train/a-1.png"],
        "val": ["val/DX.png", "val/c.png"],
        "test": ["test/e.png"],
        "train_10": ["train/DX.png", "train/a-1.png"],
    }
    republish(monkeypatch, tmp_path, "covidx-cxr4-benchx", lists)
    frame = read(tmp_path / "base", "covidx", tmp_path, pack="covidx-cxr4-benchx", version="cxr4")
    assert frame["split"].to_dict() == {
        "DX.1.2.png": "train", "DX.3.4.png": "train", "a-1.000.jpg": "train", "b.png": "",
        "DX.5.png": "val", "c.png": "val", "d.png": "", "e.png": "test",
    }  # fmt: skip
    assert frame.index[frame["subsets"] != ""].tolist() == ["a-1.000.jpg"]


WRONG = {
    "rsna_pneumonia": ({"lists": {"pack": "siim-benchx"}}, "a pack of this dataset: rsna-mrm, rsna-benchx, rsna-ark"),
    "vindr_cxr": ({"lists": {"pack": "nih-mrm"}}, "a pack of this dataset: vindr-benchx, vindr-ark"),
    "chexpert": ({"lists": {"pack": "nih-mrm"}}, "a pack of this dataset: chexpert-mrm-ids, chexpert-official-ids"),
    "covidx": ({"lists": {"pack": "nih-mrm"}}, "a pack of this dataset: covidx-cxr3-evax, covidx-cxr4-benchx"),
    "siim_acr": ({"lists": {"pack": "nih-mrm"}}, "a pack of this dataset: siim-benchx, siim-mrm, siim-evax"),
}


@pytest.mark.parametrize("name", WRONG)
def test_packs_of_other_collections(name: str) -> None:
    params, allowed = WRONG[name]
    model = plugins.load("dataset", name).Params
    with pytest.raises(ValidationError, match=allowed):
        model(**params)
    with pytest.raises(ValidationError, match=r"published lists by name: \{pack: NAME\}"):
        model(lists="my_lists")
    with pytest.raises(ValidationError, match="did you mean 'rsna-benchx'"):
        model(lists={"pack": "rsna-benhcx"})
    known = packs.known()[READERS[name][0]]
    if known.leaks:
        with pytest.raises(ValidationError, match=rf"{known.name} LEAKS: .* or 'accept: \[test_in_training\]'"):
            model(lists={"pack": known.name})
    assert "lists" not in model().model_dump(mode="json"), "without lists no key has them"
    accepted = model(lists={"pack": known.name, "accept": ["test_in_training"]})
    assert model(**accepted.model_dump(mode="json")) == accepted


def test_lists_name_images_of_one_release() -> None:
    siim, covidx, chexpert = (plugins.load("dataset", name).Params for name in ("siim_acr", "covidx", "chexpert"))
    with pytest.raises(ValidationError, match="a pack that names the images of release: stage_2: siim-mrm, siim-evax"):
        siim(lists={"pack": "siim-benchx"})
    with pytest.raises(ValidationError, match="a pack that names the images of release: png: siim-benchx"):
        siim(release="png", lists={"pack": "siim-evax"})
    assert siim(release="png", lists={"pack": "siim-benchx"}).split == "released"
    with pytest.raises(ValidationError, match="version: cxr4 for these lists"):
        covidx(lists={"pack": "covidx-cxr4-benchx", "accept": ["test_in_training"]})
    with pytest.raises(ValidationError, match="version: cxr3 for these lists"):
        covidx(version="cxr4", lists={"pack": "covidx-cxr3-evax", "accept": ["test_in_training"]})
    assert chexpert(lists={"pack": "chexpert-official-ids"}).tables == ("train.csv", "valid.csv", "test_labels.csv")
    mrm = {"pack": "chexpert-mrm-ids", "accept": ["test_in_training"]}
    assert chexpert(lists=mrm).tables == ("train.csv", "valid.csv") and chexpert(lists=mrm).split == "released"
    for model in (siim, chexpert):
        with pytest.raises(ValidationError, match="split: released and lists belong together"):
            model(split="released")
        for split in set(get_args(model.model_fields["split"].annotation)) - {"released"}:
            with pytest.raises(ValidationError, match="split: released and lists belong together"):
                model(split=split, lists=mrm)


@pytest.mark.parametrize("name", READERS)
def test_broken_packs(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pack = READERS[name][0]
    with pytest.raises(DataError) as refused:
        read(phantoms, name, tmp_path)
    first = next(packs.known()[pack].lists[one] for one in ("test", "val", "train") if one in packs.known()[pack].lists)
    assert str(refused.value) == (
        f"{tmp_path / pack}: no folder of the pack '{pack}/test'; allowed: {first.file} or {first.file}.gz"
    )
    with monkeypatch.context() as changed:
        some = [*names(phantoms, name)[:5], ABSENT[name]]
        republish(changed, tmp_path, pack, {"test": map(READERS[name][1], some)})
        with pytest.raises(DataError) as refused:
            read(phantoms, name, tmp_path)
        said = str(refused.value).splitlines()
        assert said[0] == (
            f"{tmp_path / pack}: 1 of 6 images of the lists are not there (missing=skip leaves them out)"
        )
        assert said[1:] == [
            f"{tmp_path / pack / first.file}: image '{READERS[name][1](ABSENT[name]).split()[0]}' is in no table of the dataset"
        ]
        assert len(read(phantoms, name, tmp_path, missing="skip")) == len(names(phantoms, name))
    # The digests are those of the published lists again.
    with pytest.raises(DataError) as refused:
        read(phantoms, name, tmp_path)
    said = str(refused.value)
    assert said.startswith(f"{tmp_path / pack / first.file}.gz: SHA-256 ")
    assert f"which is not {pack}/test; allowed: the file as published, SHA-256 {first.sha256[:12]}..." in said


#: An image that is in no layout.
ABSENT = {
    "rsna_pneumonia": "ffffffff-ffff-4fff-8fff-ffffffffffff",
    "siim_acr": "1.2.276.0.7230010.3.1.4.8323329.0.0.0",
    "vindr_cxr": "f" * 32,
    "chexpert": "patient99999/study1/view1_frontal",
    "covidx": "absent.png",
}
