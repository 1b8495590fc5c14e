"""The map from RSNA images to NIH images is read as its makers publish it."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.data.nih_map import TABLE, nih_images
from refers_bench.errors import DataError


def written(folder: Path, *rows: str) -> Path:
    (folder / TABLE).write_text("rsna_id,nih_image\n" + "".join(f"{row}\n" for row in rows))
    return folder


def test_images_have_no_ending(tmp_path: Path) -> None:
    found = nih_images(written(tmp_path, "a,00019124_092", "b,00019124_000.png", "c,00000001_000"))
    assert found.to_dict() == {"a": "00019124_092", "b": "00019124_000", "c": "00000001_000"}


def test_wrong_rows_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        nih_images(written(tmp_path, "a,00019124_092", "a,00019124_093", "b,19124_1"))
    assert f"{TABLE}:3: 'a' comes twice; allowed: each id once" in str(refused.value)
    assert f"{TABLE}:4: '19124_1'; allowed: an NIH image, such as 00019124_092" in str(refused.value)
    (tmp_path / TABLE).unlink()
    with pytest.raises(DataError, match=f"{TABLE}: missing table"):
        nih_images(tmp_path)
