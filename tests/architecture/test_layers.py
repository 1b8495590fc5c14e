"""Do the rooms import only what they may?"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "refers_bench").rglob("*.py"))


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_which_question_it_answers_and_stays_small(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{module} has no docstring"
    assert len(text.splitlines()) <= 400, f"{module} is two rooms: over 400 lines"


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "misc"])
def test_no_room_without_a_purpose(name: str) -> None:
    assert not [path for path in MODULES if name in (path.stem, path.parent.name)]


def test_functions_are_short() -> None:
    long = [
        f"{module.relative_to(ROOT)}:{node.lineno} {node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno - node.lineno + 1 - len((ast.get_docstring(node) or "").splitlines()) > 60
    ]
    assert not long, "\n".join(long)


def test_no_init_file_holds_code() -> None:
    # The command line's group is the one exception: it is the entry point itself.
    for module in MODULES:
        if module.name == "__init__.py" and module.parent.name != "cli":
            body = ast.parse(module.read_text(encoding="utf-8")).body
            kinds = {type(node) for node in body[1:]}
            assert kinds <= {ast.Assign, ast.ImportFrom, ast.Import}, f"{module} holds more than public names"
