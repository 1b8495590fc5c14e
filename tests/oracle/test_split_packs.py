"""Do published lists read by name, and the matrix of what they share, agree with counts that others made of them?"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from refers_bench.data import split_packs
from refers_bench.data.audit.contamination import Contamination, matrix
from refers_bench.data.audit.id_lists import IdList, read_ids
from refers_bench.data.audit.naming import plain
from refers_bench.data.index import read_table
from refers_bench.datasets import covid19_idc, nih_chestxray14
from refers_bench.manifest import packs

#: Family of the table -> the view in which it compares.
VIEWS = {
    "COVID-19 IDC images": "file names",
    "COVIDx file names": "file names",
    "COVIDx names that are RSNA ids": "COVIDx names to the first dot",
    "RSNA as NIH images": "NIH images",
    "RSNA as NIH patients": "NIH patients",
}
#: First word of a family -> folder of the REFERS lists that it compares with.
RELEASED = {"NIH": "nih", "RSNA": "nih", "VinDr": "vinbigdata", "COVID-19": "covid", "Shenzhen": "shenzhen"}
SPELLINGS = {"train_list": "train", "val_list": "val", "test_list": "test", "valid": "val"}


@pytest.fixture(scope="module")
def root(real_data: Path) -> Path:
    if not (real_data / "split-packs").is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    return real_data / "split-packs"


def released(real_data: Path) -> list[IdList]:
    """The REFERS lists; its NIH training list is the rest of the collection."""
    found = []
    for folder in sorted(set(RELEASED.values())):
        for path in sorted((real_data / "official-splits" / folder).glob("*.txt")):
            found.append(IdList(name=f"{folder}/{SPELLINGS.get(path.stem, path.stem)}", ids=read_ids(path).ids))
    used = {plain(name) for one in found if one.name.startswith("nih/") for name in one.ids}
    every = read_table(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz", required=["Image Index"])["Image Index"]
    return [*found, IdList(name="nih/train", ids=tuple(name for name in every if plain(name) not in used))]


Shared = dict[tuple[str, frozenset[str]], Contamination]


@pytest.fixture(scope="module")
def shared(root: Path, real_data: Path) -> Shared:
    lists = [one for pack in packs.known().values() for one in split_packs.id_lists(root, pack)]
    found = matrix([*lists, *released(real_data)], rsna_to_nih=split_packs.rsna_to_nih(root))
    return {(one.view, frozenset((one.first, one.second))): one for one in found}


def counted(shared: Shared, view: str, first: str, second: str) -> tuple[int, int, int]:
    """Sizes of two lists and what they share, whichever stands first."""
    one = shared[view, frozenset((first, second))]
    sizes = {one.first: one.size_first, one.second: one.size_second}
    return sizes[first], sizes[second], one.shared


def test_every_pair_of_the_published_matrix(shared: Shared, root: Path) -> None:
    def named(text: str, family: str) -> str:
        pack, _, name = text.rpartition("/")
        return f"{RELEASED[family.split()[0]] if pack == 'REFERS' else pack}/{SPELLINGS.get(name, name)}"

    rows, differing = list(csv.DictReader((root / "overlaps.csv").open(encoding="utf-8"))), []
    for row in rows:
        view, second = VIEWS.get(row["family"], row["family"]), named(row["list_b"], row["family"])
        if row["list_a"] == "RSNA all ids":  # in three lists here, which share nothing
            parts = [counted(shared, view, f"rsna-mrm/{name}", second) for name in ("train", "val", "test")]
            found = (sum(one[0] for one in parts), parts[0][1], sum(one[2] for one in parts))
        else:
            found = counted(shared, view, named(row["list_a"], row["family"]), second)
        if found != tuple(int(row[name]) for name in ("size_a", "size_b", "shared")):
            differing.append((row, found))
    assert len(rows) == 1_232 and not differing


def test_the_known_leaks_are_found(shared: Shared, root: Path) -> None:
    def images(view: str, first: str, second: str) -> int:
        """Images of the second list that are, or whose patient is, in the first one."""
        one = shared[view, frozenset((first, second))]
        return one.names_second if one.second == second else one.names_first

    assert images("NIH patients", "rsna-benchx/train", "rsna-benchx/test") == 2_715
    assert images("NIH patients", "rsna-ark/train", "rsna-ark/test") == 1_917
    assert images("NIH images", "nih/train", "nih-official/test") == 17_920
    assert images("VinDr images", "vindr-ark/train", "vinbigdata/test") == 3_000
    parts = [images("VinDr images", f"vindr-benchx/{name}", "vinbigdata/test") for name in ("train", "val")]
    assert parts == [2_395, 605]
    assert images("SIIM images (UID)", "siim-mrm/train", "siim-mrm/test") == 494
    positive = {name for part in ("train", "test") for name in split_packs.read_list(root, "siim-evax", part)["name"]}
    assert len(positive & set(split_packs.read_list(root, "siim-mrm", "test")["name"])) == 672
    # Not in the table: COVIDx renames RSNA images, which are NIH images.
    assert images("NIH patients", "covidx-cxr3-evax/train", "covidx-cxr3-evax/test") == 129
    assert images("NIH patients", "covidx-cxr4-benchx/train", "covidx-cxr4-benchx/test") == 118


def test_what_is_said_of_packs_is_what_is_found(shared: Shared) -> None:
    """Every pack with test images in training, or else validation images, is known to have so many; no other is."""

    def most(first: str, second: str) -> int:
        """Images of the second list that are, or whose patients are, in the first one."""
        found = [one for (_, names), one in shared.items() if names == frozenset((first, second))]
        return max((one.names_second if one.second == second else one.names_first for one in found), default=0)

    for pack in packs.known().values():
        # CheXpert's training list is no list here; its part is.
        train = f"{pack.name}/{'train_10' if pack.rest.get('train') == () else 'train'}"
        found = most(train, f"{pack.name}/test")
        words = "test images"
        if not found:
            found, words = most(train, f"{pack.name}/val"), "validation images"
        assert found == max((leak.shared for leak in pack.leaks), default=0), pack.name
        assert all(words in leak.words for leak in pack.leaks), pack.name


def test_every_list_has_as_many_images_as_its_index_says(root: Path) -> None:
    index = {
        row["file"].removesuffix(".gz"): row for row in csv.DictReader((root / "INDEX.csv").open(encoding="utf-8"))
    }
    for pack in packs.known().values():
        for name, one in pack.lists.items():
            row = index[f"{pack.name}/{one.file}"]
            assert (one.sha256, one.images) == (row["sha256_uncompressed"], int(row["unique_first_fields"]))
            assert split_packs.read_list(root, pack.name, name)["name"].nunique() == one.images
    assert index[packs.RSNA_TO_NIH]["sha256_uncompressed"] == packs.RSNA_TO_NIH_SHA256


def test_nih_splits_subsets_and_labels(root: Path, real_data: Path) -> None:
    findings = nih_chestxray14.read_findings(real_data / "labels" / "Data_Entry_2017_v2020.csv.gz")
    table = findings.set_index("image_id")[list(nih_chestxray14.CLASSES)].astype(int)
    for name, differing in (("nih-mrm", 188), ("nih-official", 0)):
        params = nih_chestxray14.Params(split="released", lists={"pack": name}, labels="lists")
        frame = nih_chestxray14.packed_split(findings, params.lists, params, {packs.ROOT: root})
        counts = {part: one.images for part, one in packs.known()[name].lists.items() if "_" not in part}
        assert frame["split"].value_counts().to_dict() == counts
        assert frame.groupby("patient_id")["split"].nunique().max() == 1
        ours = frame.set_index("image_id").loc[table.index, list(nih_chestxray14.CLASSES)].astype(int)
        assert (ours != table).to_numpy().sum() == differing
        if name == "nih-mrm":
            inside = {
                one: frame["subsets"].str.split().map(lambda names, one=one: one in names)
                for one in ("train_1", "train_10")
            }
            assert [int(one.sum()) for one in inside.values()] == [785, 7_847]
            assert int((inside["train_1"] & inside["train_10"]).sum()) == 77
            few = frame.loc[inside["train_1"], ["Pneumonia", "Fibrosis", "Hernia"]].astype(int).sum()
            assert few.tolist() == [9, 8, 6]


def test_viral_against_bacterial(root: Path, real_data: Path) -> None:
    """MRM's lists stand in for those of the task C-T2, and their labels are those of the findings."""
    for number in range(1, 6):
        name = f"covid19-mrm/viral{number}"
        params = covid19_idc.Params(lists={"pack": name})
        listed = covid19_idc.read_packed(params.lists, {packs.ROOT: root})
        assert listed["listed"].value_counts().to_dict() == {1: 378, 0: 48}
        index = covid19_idc.index(real_data / "covid-chestxray-dataset", params, {packs.ROOT: root})
        ours = index.set_index("image_id")
        here = listed[listed["name"].isin(ours.index)].set_index("name")
        assert len(here) > 200
        assert (ours.loc[here.index, "split"] == here["split"]).all()
        assert (ours.loc[here.index, "viral_vs_bacterial:Viral"].astype(int) == here["listed"]).all()
        plain = covid19_idc.index(real_data / "covid-chestxray-dataset", covid19_idc.Params(), {}).set_index("image_id")
        found = plain["viral_vs_bacterial:Viral"].reindex(here.index)
        assert (found.dropna().astype(int) == here.loc[found.dropna().index, "listed"]).all()
