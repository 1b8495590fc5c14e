"""Links of the Markdown pages lead somewhere: files and folders exist, and so do the headings that anchors name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for folder in ("", "docs/**/", "manifests/", "results/published/", ".github/")
    for path in ROOT.glob(f"{folder}*.md")
)
#: The target of a link or of an image; titles in quotes may follow it.
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
#: A file or folder of this repository that a sentence names.
NAMED = re.compile(r"`((?:refers_bench|tests|manifests|docs)/[\w./*-]*)`")
CODE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)


@cache
def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Names by which headings of a page can be reached, as GitHub and MkDocs form them."""
    found = set(re.findall(r"(?:id=\"|name=\"|\{ ?#)([\w-]+)", text_of(page)))
    for heading in re.findall(r"^#{1,6} +(.+?)(?: *\{.*\})?$", text_of(page), flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        github = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found |= {github, re.sub(r"-+", "-", github)}
    return frozenset(found)


def test_there_are_pages() -> None:
    assert {path.name for path in PAGES} >= {"README.md", "CONTRIBUTING.md", "evidence.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", target):  # another place on the web
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("tells of files as they were")
    assert not [named for named in NAMED.findall(text_of(page)) if not list(ROOT.glob(named.rstrip("/")))]


def test_headings_become_anchors(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# What the *tables* cost\n## `plan` & `run`\n## Named {#here}\n```\n# no heading\n```\n")
    assert anchors(page) == {"what-the-tables-cost", "plan--run", "plan-run", "named", "here"}
