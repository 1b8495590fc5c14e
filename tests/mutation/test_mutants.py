"""The mutation run changes what it says it changes, draws the same sample whatever moves, and notices what it should."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import mutants
import pytest

SOURCE = '''"""Says what it does."""


def chosen(rows: list[int], *, least: int = 3) -> list[int]:
    """Rows of at least so many."""
    if not rows:
        return []
    rows.sort(reverse=True)
    return [row for row in rows if row >= least and row % 2 == 0]
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    room = tmp_path / "refers_bench" / "room"
    room.mkdir(parents=True)
    (room / "module.py").write_text(SOURCE)
    (room.parent / "files.py").write_text(SOURCE.replace("chosen", "kept"))
    return tmp_path


def changed(root: Path) -> dict[str, set[str]]:
    """Kind -> the lines that its changes leave behind, stripped."""
    found: dict[str, set[str]] = {}
    for mutant in mutants.of_module(root / "refers_bench" / "room" / "module.py", root):
        lines = mutant.applied(SOURCE.encode()).decode().splitlines()
        new = [line.strip() for line in lines if line not in SOURCE.splitlines()]
        found.setdefault(mutant.kind, set()).add(" | ".join(new))
    return found


def test_each_kind_of_change(root: Path) -> None:
    last = "return [row for row in rows if {}]"
    assert changed(root) == {
        "condition": {"if (not not rows):"},
        "sign": {"if (rows):"},
        "guard": {"pass"},
        "number": {
            "def chosen(rows: list[int], *, least: int = 4) -> list[int]:",
            last.format("row >= least and row % 3 == 0"),
            last.format("row >= least and row % 2 == 1"),
        },
        "statement": {"pass"},
        "keyword": {"rows.sort()"},
        "flag": {"rows.sort(reverse=False)"},
        "filter": {last.format("True")},
        "boolean": {last.format("(row >= least or row % 2 == 0)")},
        "operand": {last.format("(row % 2 == 0)"), last.format("(row >= least)")},
        "comparison": {
            last.format("(row > least) and row % 2 == 0"),
            last.format("(not row >= least) and row % 2 == 0"),
            last.format("row >= least and (row % 2 != 0)"),
        },
        "arithmetic": {last.format("row >= least and (row // 2) == 0")},
    }


def test_texts_annotations_and_messages_stay(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        '"""Doc."""\nNAME: "list[3]" = "3"\nassert 1 < 2\n\n\ndef f(x: "3") -> "4":\n    raise ValueError(f"{1 + 1}", 5)\n'
    )
    assert list(mutants.of_module(module, tmp_path)) == []


def test_the_sample_is_the_same_when_other_code_moves(root: Path) -> None:
    before = mutants.sample(root, 6, seed=1)
    module = root / "refers_bench" / "room" / "module.py"
    module.write_text(SOURCE.replace('"""Says', '"""A line more.\n\nSays'))
    after = mutants.sample(root, 6, seed=1)
    assert [one.id for one in after] == [one.id for one in before]
    assert [one.line for one in after if one.room == "room"] == [one.line + 2 for one in before if one.room == "room"]
    assert {one.room for one in before} == {"room", "top"}
    module.with_name("other.py").write_text(SOURCE)
    few = {tuple(one.id for one in mutants.sample(root, 2, seed=seed)) for seed in range(5)}
    assert len(few) > 1


def test_a_sample_takes_each_kind_in_turn_and_at_most_one_a_line(root: Path) -> None:
    drawn = [one for one in mutants.sample(root, 40, seed=0) if one.room == "room"]
    assert len({one.line for one in drawn}) == len(drawn) == 4
    assert len({one.kind for one in drawn}) == 4
    assert all(mutants.compiles(one, root) for one in drawn)


def test_changes_of_equal_text_have_names_of_their_own() -> None:
    root = Path(__file__).resolve().parents[2]
    found = mutants.of_package(root)
    assert len({one.id for one in found}) == len(found) > 10_000
    for one in found[:: len(found) // 50]:
        source = (root / one.path).read_bytes()
        assert source[one.start : one.end].decode() == one.old
        assert ast.dump(ast.parse(source)) != "" and one.applied(source) != source


NAMED = tomllib.loads((Path(__file__).parent / "named.toml").read_text(encoding="utf-8"))["change"]


@pytest.mark.parametrize("change", NAMED, ids=lambda change: change["title"])
def test_a_named_change_can_be_made_and_has_its_test(change: dict[str, str]) -> None:
    """Whether the test notices it is what the run finds out."""
    root = Path(__file__).resolve().parents[2]
    assert (root / change["path"]).read_text(encoding="utf-8").count(change["old"]) == 1
    file, _, name = change["test"].partition("::")
    assert f"def {name.partition('[')[0]}" in (root / file).read_text(encoding="utf-8")
