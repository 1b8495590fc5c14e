"""Lists of a pack read together: which split an image of several lists is in, rests, repairs, label subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from published_lists import republish_map
from refers_bench.data.split_packs import (
    listed_rows,
    read_list,
    read_pack,
    rsna_to_nih,
    with_nih_patients,
    with_splits,
    with_validation,
)
from refers_bench.errors import DataError
from refers_bench.manifest import packs
from refers_bench.manifest.packs import KnownPack, Leak, Pack, PackList

Publish = Callable[..., Pack]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Writes the lists of a pack, and makes it known."""

    def write(
        lists: dict[str, str], *, name: str = "mine", names: str = "files", leaks: int = 0, **more: object
    ) -> Pack:
        found = {}
        (tmp_path / name).mkdir()
        for one, text in lists.items():
            (tmp_path / name / f"{one}.txt").write_bytes(text.encode())
            digest = hashlib.sha256(text.encode()).hexdigest()
            found[one] = PackList(file=f"{one}.txt", images=len(text.split()), sha256=digest)
        given = (Leak(shared=1, of=1, words="x"),) * leaks
        pack = KnownPack(name=name, names=names, source="", licence="", lists=found, leaks=given, **more)  # type: ignore[arg-type]
        monkeypatch.setitem(packs.known(), name, pack)
        return Pack(pack=name, accept=("test_in_training",))

    return write


def read(pack: Pack, root: Path) -> dict[str, tuple[str, str]]:
    frame = read_pack(pack, {packs.ROOT: root})
    return {image: (row["split"], row["subsets"]) for image, row in frame.iterrows()}


def test_what_is_scored_is_never_trained_on(publish: Publish, tmp_path: Path) -> None:
    pack = publish(
        {"train": "a\nb\nc\r\nd\n", "val": "c\n", "test": "b\nc\n", "train_1": "b\n", "train_10": "a\nd\n"}, leaks=1
    )
    assert read(pack, tmp_path) == {
        "a": ("train", "train_10"), "b": ("test", "train_1"), "c": ("test", ""), "d": ("train", "train_10"),
    }  # fmt: skip


def test_a_subset_outside_the_training_list_is_refused(publish: Publish, tmp_path: Path) -> None:
    pack = publish({"train": "a\n", "test": "b\n", "train_1": "b\n"})
    with pytest.raises(DataError, match="'b' of a label subset is no training image"):
        read(pack, tmp_path)


def test_labels_blanks_and_commas(publish: Publish, tmp_path: Path) -> None:
    pack = publish({"train": "x/a.dcm 1 \n\nb.png,0\n", "test": "c 11\n"}, repairs={"c 11": "c 1"})
    frame = read_pack(pack, {packs.ROOT: tmp_path})
    assert frame["labels"].to_dict() == {"c": ("1",), "a.dcm": ("1",), "b.png": ("0",)}
    assert frame["name"].to_dict()["a.dcm"] == "x/a.dcm"


def test_the_rest_of_another_pack_and_of_a_dataset(publish: Publish, tmp_path: Path) -> None:
    publish({"train": "a 1\nb 1\n", "val": "c 0\n"}, name="other")
    pack = publish({"test": "b\n"}, rest={"train": ("other/train", "other/val")})
    assert read_list(tmp_path, "mine", "train").values.tolist() == [["a", ()], ["c", ()]]
    assert read(pack, tmp_path) == {"b": ("test", ""), "a": ("train", ""), "c": ("train", "")}
    own = publish({"test": "b\n", "train_1": "a\n"}, name="own", rest={"train": ()})
    frame = with_splits(pd.DataFrame({"image_id": ["a", "b", "z"]}), own, read_pack(own, {packs.ROOT: tmp_path}))
    assert frame["split"].tolist() == ["train", "test", "train"] and frame["subsets"].tolist() == ["train_1", "", ""]


def test_images_of_the_lists_without_a_row(publish: Publish, tmp_path: Path) -> None:
    pack = publish({"train": "a\nb\n", "val": "c\n", "test": "d\ne\n", "train_1": "a\n"})
    listed, rows = read_pack(pack, {packs.ROOT: tmp_path}), pd.DataFrame({"image_id": ["a", "d", "z"]})
    with pytest.raises(DataError) as refused:
        listed_rows(rows, pack, listed, root=tmp_path, missing="refuse")
    assert str(refused.value).splitlines() == [
        f"{tmp_path / 'mine'}: 3 of 5 images of the lists are not there (missing=skip leaves them out)",
        f"{tmp_path / 'mine' / 'test.txt'}: image 'e' is in no table of the dataset",
        f"{tmp_path / 'mine' / 'val.txt'}: image 'c' is in no table of the dataset",
        f"{tmp_path / 'mine' / 'train.txt'}: image 'b' is in no table of the dataset",
    ]
    frame = listed_rows(rows, pack, listed, root=tmp_path, missing="skip")
    assert frame["split"].tolist() == ["train", "test", ""] and frame["subsets"].tolist() == ["train_1", "", ""]
    with pytest.raises(DataError, match="5 of 5 images of the lists are not there"):
        listed_rows(rows[2:], pack, listed, root=tmp_path, missing="skip")


def test_a_share_of_the_training_patients_validates() -> None:
    rows = [(f"p{i // 2}", "test" if i >= 40 else "" if i >= 36 else "train") for i in range(44)]
    frame = pd.DataFrame(rows, columns=["patient_id", "split"])
    found = with_validation(frame, dataset="x", seed=0, share=0.5)
    assert found["split"].value_counts().to_dict() == {"train": 18, "val": 18, "": 4, "test": 4}
    assert found.groupby("patient_id")["split"].nunique().max() == 1
    other = with_validation(frame, dataset="x", seed=1, share=0.5)
    assert found["split"].tolist() != other["split"].tolist() and frame["split"].tolist() == [row[1] for row in rows]


@pytest.mark.parametrize("below", ["", "rsna-nih-map"])
def test_the_table_of_rsna_images_is_the_published_one_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    assert rsna_to_nih(tmp_path) == {}
    with pytest.raises(DataError, match=r"rsna_to_nih\.csv: missing table; allowed: rsna_to_nih\.csv of the pack"):
        rsna_to_nih(tmp_path, needed=True)
    with monkeypatch.context() as changed:
        republish_map(changed, tmp_path / below, {"a": 1, "b": 1})
        assert rsna_to_nih(tmp_path) == {"a": "00000001_000", "b": "00000001_001"}
    with pytest.raises(
        DataError, match=r"rsna_to_nih\.csv: SHA-256 \w+\.\.\., which is not rsna-nih-map; allowed: the f"
    ):
        rsna_to_nih(tmp_path)


def test_images_without_a_match_keep_their_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = republish_map(monkeypatch, tmp_path, {"a": 19124, "b": 19124})
    own, images = pd.Series(["p", "q", "r"], index=[4, 2, 9]), pd.Series(["b", None, "x"], index=[4, 2, 9])
    assert with_nih_patients(own, images, folder, prefix="nih/").to_dict() == {4: "nih/00019124", 2: "q", 9: "r"}
    assert own[4] == "p"
    none = pd.Series([None, None, None], index=own.index)
    assert with_nih_patients(own, none, folder).equals(own.astype(object)), "no image of the challenge is here"
    with pytest.raises(DataError, match=r"a map of 2 images, none of which is here \(here: 'x'\)"):
        with_nih_patients(own, images.replace("b", "x"), folder)


def test_the_published_map(real_data: Path) -> None:
    if not (real_data / "split-packs").is_dir():
        pytest.skip("no split-packs in $REFERS_BENCH_REAL_DATA")
    found = rsna_to_nih(real_data / "split-packs")
    assert found == rsna_to_nih(real_data / "split-packs" / "rsna-nih-map") and len(found) == 26_586
    assert {len(image) for image in found} == {36} and len({image[:8] for image in found.values()}) < 13_293
