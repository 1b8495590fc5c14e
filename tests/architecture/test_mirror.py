"""Unit tests lie where the code they test lies: a folder a room, each file named after a module of that room."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "tests" / "unit").rglob("test_*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_unit_test_is_named_after_a_module(file: Path) -> None:
    room = ROOT / "refers_bench" / file.parent.relative_to(ROOT / "tests" / "unit")
    modules = {path.stem.lstrip("_") for path in room.glob("*.py")}
    name = file.stem.removeprefix("test_")
    # More words may follow: `test_auc_everywhere.py` tests what uses `auc.py`.
    assert any(name == module or name.startswith(f"{module}_") for module in modules), (
        f"no module of {room} has this name"
    )
