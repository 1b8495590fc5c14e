"""The rooms import only what they may, and stay small and plain."""

from __future__ import annotations

import ast
import subprocess
import sys

import house
import pytest

ROOT = house.ROOT
HOUSE = house.modules()


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", HOUSE, ids=lambda module: str(module.path.relative_to(ROOT)))
def test_a_module_opens_with_a_statement_and_stays_small(module: house.Module) -> None:
    assert module.opening, "no docstring"
    assert "?" not in module.opening, "it opens with a question"
    assert len(module.text.splitlines()) <= 400, "it is two modules: over 400 lines"


def test_nothing_imports_in_a_circle() -> None:
    assert house.circles(HOUSE) == []


def test_the_formatter_is_overruled_for_few_tables_of_numbers() -> None:
    assert sum(module.text.count("# fmt: skip") for module in HOUSE) <= 20


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "misc"])
def test_no_room_without_a_purpose(name: str) -> None:
    assert not [one for one in HOUSE if name in (one.path.stem, one.path.parent.name)]


def test_functions_are_short() -> None:
    long = [f"{place} ({lines} lines)" for module in HOUSE for place, lines in module.functions() if lines > 60]
    assert not long, "\n".join(long)


def test_no_init_file_holds_code() -> None:
    # Exceptions: the command line's group is the entry point itself, and the package loads its public names when used.
    for module in HOUSE:
        if module.path.name == "__init__.py" and module.path.parent.name not in ("cli", "refers_bench"):
            kinds = {type(node) for node in module.tree.body[1:]}
            assert kinds <= {ast.Assign, ast.ImportFrom, ast.Import}, f"{module.name} holds more than public names"
