"""The map from RSNA images to NIH patients is read as its makers publish it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from refers_bench.data.nih_map import TABLE, nih_patients, with_nih_patients
from refers_bench.errors import DataError


def written(folder: Path, *rows: str) -> Path:
    (folder / TABLE).write_text("rsna_id,nih_image\n" + "".join(f"{row}\n" for row in rows))
    return folder


def test_patients_are_the_first_part_of_the_image(tmp_path: Path) -> None:
    found = nih_patients(written(tmp_path, "a,00019124_092", "b,00019124_000.png", "c,00000001_000"))
    assert found.to_dict() == {"a": "00019124", "b": "00019124", "c": "00000001"}


def test_images_without_a_match_keep_their_patient(tmp_path: Path) -> None:
    folder = written(tmp_path, "a,00019124_092", "b,00019124_000")
    own, images = pd.Series(["p", "q", "r"], index=[4, 2, 9]), pd.Series(["b", None, "x"], index=[4, 2, 9])
    assert with_nih_patients(own, images, folder, prefix="nih/").to_dict() == {4: "nih/00019124", 2: "q", 9: "r"}
    assert own[4] == "p"
    none = pd.Series([None, None, None], index=own.index)
    assert with_nih_patients(own, none, folder).equals(own.astype(object)), "no image of the challenge is here"
    with pytest.raises(DataError, match=r"a map of 2 images, none of which is here \(here: 'x'\)"):
        with_nih_patients(own, images.replace("b", "x"), folder)


def test_wrong_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        nih_patients(written(tmp_path, "a,00019124_092", "a,00019124_093", "b,19124_1"))
    assert f"{TABLE}:3: 'a' comes twice; allowed: each id once" in str(refused.value)
    assert f"{TABLE}:4: '19124_1'; allowed: an NIH image, such as 00019124_092" in str(refused.value)
    (tmp_path / TABLE).unlink()
    with pytest.raises(DataError, match=f"{TABLE}: missing table"):
        nih_patients(tmp_path)


def test_the_published_map(real_data: Path) -> None:
    packs = real_data / "split-packs"
    if not packs.is_dir():
        pytest.skip(f"no {packs}")
    found = nih_patients(packs)
    assert found.equals(nih_patients(packs / "rsna-nih-map"))
    assert len(found) == 26_586 and found.index.is_unique
    assert found.index.str.len().unique().tolist() == [36] and found.nunique() < len(found) / 2
