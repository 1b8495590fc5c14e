"""The documentation is whole: every page is in the menu, every command block runs in a test or says why not."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from page_blocks import ROOT, all_blocks

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
#: Page -> test that runs its blocks of commands.
RUN = {
    "ci.md": "tests/flow/test_pages.py",
    "first_hour.md": "tests/flow/test_pages.py",
    "own_code.md": "tests/flow/test_own_code.py",
    "own_images.md": "tests/flow/test_own_images.py",
    "review.md": "tests/flow/test_pages.py",
    "settings.md": "tests/flow/test_own_code.py",
    "statistics.md": "tests/flow/test_pages.py",
}
#: What begins a line of a command.
COMMAND = re.compile(r"^(?:refers-bench|python|pip|nox|podman|apptainer|ray|srun) ", re.MULTILINE)


def in_menu(entry: object) -> list[str]:
    """Pages of the menu, or of a part of it."""
    if isinstance(entry, list):
        return [page for one in entry for page in in_menu(one)]
    if isinstance(entry, dict):
        return [page for one in entry.values() for page in in_menu(one)]
    return [str(entry)]


def test_the_menu_has_every_page_once() -> None:
    menu = in_menu(YAML().load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert len(menu) == len(set(menu))
    assert set(menu) == {str(page.relative_to(DOCS)) for page in (*PAGES, DOCS / "notebook.ipynb")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_command_blocks_run_or_say_why_not(page: Path) -> None:
    for language, text, marked in all_blocks(page):
        if language == "bash" or (language == "" and COMMAND.search(text)):
            assert marked or page.name in RUN, f"{page.name}: neither run nor marked:\n{text}"


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(language == "python" for language, *_ in all_blocks(page))],
    ids=lambda p: p.name,
)
def test_python_blocks_run(page: Path) -> None:
    document = Sybil(parsers=[PythonCodeBlockParser()], pattern="*.md").parse(page)
    for example in document.examples():
        example.evaluate()


def test_a_mark_needs_a_reason_and_stands_just_before_its_block(tmp_path: Path) -> None:
    page, mark, block = tmp_path / "page.md", "<!-- not run in the tests: needs a GPU -->\n", "```bash\nls\n```\n"
    for text, marked in ((mark + block, True), (block, False), (mark + "\n" + block, False)):
        page.write_text(text)
        assert all_blocks(page) == [("bash", "ls\n", marked)]
    page.write_text(mark.replace("needs a GPU", "") + block)
    assert all_blocks(page) == [("bash", "ls\n", False)]


def test_some_page_has_python() -> None:
    assert [page.name for page in PAGES if any(language == "python" for language, *_ in all_blocks(page))]


@pytest.mark.parametrize(("page", "test"), RUN.items())
def test_the_tests_that_run_them_exist(page: str, test: str) -> None:
    assert page in (ROOT / test).read_text(encoding="utf-8")
    assert any(language == "bash" and not marked for language, _, marked in all_blocks(DOCS / page))


def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    if not importlib.util.find_spec("mkdocs") or not importlib.util.find_spec("material"):
        pytest.skip("mkdocs-material is not installed: nox -s docs builds the site in an environment of its own")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "site" / "reference" / "manifest.html").is_file()
