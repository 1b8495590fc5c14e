from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.store.explanations import LOCK, Explained, add, read


def explained(cell: str, threshold: float = 0.3) -> Explained:
    return Explained(
        cell=cell, name=f"scratch.{cell}", attend="a", localise=f"l{threshold}", maps=("rollout",), threshold=threshold,
        images=2,
    )  # fmt: skip


def test_the_last_explanation_of_a_cell_is_listed(tmp_path: Path) -> None:
    assert read(tmp_path, "m") == ()
    add(tmp_path, "m", [explained("two"), explained("one")])
    add(tmp_path, "m", [explained("one", 0.4)])
    assert read(tmp_path, "m") == (explained("one", 0.4), explained("two"))
    before = (tmp_path / "m" / LOCK).read_bytes()
    add(tmp_path, "m", [explained("one", 0.4)])
    assert (tmp_path / "m" / LOCK).read_bytes() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2, "explained": []}', '{"version": 1, "explained": [{}]}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / LOCK).write_text(text)
    with pytest.raises(UserError, match="explain the cells again"):
        read(tmp_path, "m")
