"""Lists of a pack read together: which split an image of several lists is in, rests, repairs, label subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.split_packs import read_list, read_pack, rsna_to_nih, with_splits
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


def test_the_table_of_rsna_images_is_the_published_one_or_none(tmp_path: Path) -> None:
    assert rsna_to_nih(tmp_path) == {}
    (tmp_path / "rsna-nih-map").mkdir()
    (tmp_path / "rsna-nih-map" / "rsna_to_nih.csv").write_text("rsna_id,nih_image\na,00000001_000\n")
    with pytest.raises(DataError, match="which is not rsna-nih-map"):
        rsna_to_nih(tmp_path)
