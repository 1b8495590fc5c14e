"""Each promise of `docs/security.md` names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    line for line in PAGE.splitlines() if line.startswith("|") and line.count("|") == 4 and "`" in line.split("|")[3]
]


def test_rows_are_found() -> None:
    assert len(ROWS) > 35


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:40] for row in ROWS])
def test_the_tests_of_a_promise_exist(row: str) -> None:
    found, content = re.findall(r"`([^`]+)`", row.split("|")[3]), ""
    for name in found:
        if "test" not in name:
            continue
        file, _, function = name.partition("::")
        content = (TESTS / file).read_text(encoding="utf-8") if file else content
        assert not function or f"def {function}(" in content, name
    assert any("test_" in name for name in found)
