"""Checklists have the items of their official forms, every link leads to something, and what is unknown stays open."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest

from refers_bench.cli.report import CHECKLISTS
from refers_bench.errors import UserError
from refers_bench.reporting import checklist
from refers_bench.reporting.checklist_facts import NAMES
from refers_bench.reporting.page import write

KINDS = sorted(path.stem for path in checklist.FOLDER.glob("*.toml"))
#: How many parts (a, b, ...) the items of a form have, 0 for an item without; from the published forms.
FORMS = {
    "claim": dict.fromkeys(range(1, 45), 0),
    "neurips": dict.fromkeys(range(1, 17), 0),
    "reforms": dict(enumerate((3, 5, 7, 3, 6, 3, 3, 2), start=1)),
    "tripod-ai": dict.fromkeys(range(1, 28), 0) | {3: 3, 5: 2, 6: 3, 8: 3, 9: 3, 12: 7, 18: 6, 20: 3, 23: 2, 27: 3},
}
#: Of items that no result can show: ethics, funding, registration, consent, who annotated.
AUTHORS = {
    "claim": ("5", "11", "13", "15", "16", "17", "18", "34", "36", "44"),
    "neurips": ("3", "9", "10", "11", "14", "15", "16"),
    "reforms": ("1a", "1b", "1c", "3b", "3g", "5b"),
    "tripod-ai": ("3a", "3c", "5b", "6a", "6c", "8b", "8c", "14", "17", "18a", "18b", "18d", "19", "20b", "27a"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_items_have_the_numbers_of_the_official_form(kind: str) -> None:
    found = checklist.read(kind)
    wanted = [
        f"{number}{letter}"
        for number, parts in FORMS[kind].items()
        for letter in (string.ascii_lowercase[:parts] or [""])
    ]
    assert [item.number for item in found.items] == wanted
    # REFORMS counts its parts, the others their numbers.
    assert found.count == (len(wanted) if kind == "reforms" else len(FORMS[kind]))
    assert {name for item in found.items for name in item.facts} <= NAMES
    assert not any(item.facts for item in found.items if item.number in AUTHORS[kind])
    assert all(len(item.wording) <= 90 and item.section for item in found.items), "short words of our own"


def test_every_fact_is_used_and_every_form_has_its_option() -> None:
    used = {name for kind in KINDS for item in checklist.read(kind).items for name in item.facts}
    assert used == NAMES
    assert set(KINDS) == set(CHECKLISTS.choices) == set(FORMS)


@pytest.fixture
def results(folder: Any) -> Path:
    """Two rows of two seeds, one with a name that Markdown and HTML would obey, one of them without a figure."""
    hostile = "<script>alert(1)</script> [x](http://evil) `|` _a_ \u202e"
    folder.lock["values"] = {
        "finetune.select": {"value": "best_auc", "origin": "here"},
        "image.size": {"value": 64, "origin": "here"},
    }
    folder.lock["manifest_path"] = "m.yaml"
    folder.seeds("refers", (0.8, 0.9))
    folder.cell("c2l", label=hostile)
    folder.cell("c2l", label=hostile, seed=1, state="failed")
    return folder.save()


def filled(results: Path, kind: str, name: str = "tiny") -> str:
    page = next(path for path in write(results, [name]) if path.name == "index.html")
    (path,) = checklist.write(results, name, page, (kind,))
    assert path == page.with_name(f"checklist-{kind}.md")
    return path.read_text(encoding="utf-8")


def entry(text: str, number: str) -> str:
    """What stands under an item."""
    return text.partition(f"### {number}: ")[2].partition("\n#")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_links_lead_somewhere_and_nothing_is_invented(results: Path, kind: str) -> None:
    text = filled(results, kind)
    assert filled(results, kind) == text, "the same bytes again"
    page = (results / "tiny" / "report" / "index.html").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        assert (results / "tiny" / "report" / file).is_file(), link
        assert not anchor or f'id="{anchor}"' in page, link
    for number in AUTHORS[kind]:
        assert checklist.OPEN in entry(text, number) and "evidence" not in entry(text, number)
    assert checklist.read(kind).reference.partition(" ")[0] in text and "abbreviations" in text
    assert "<script" not in text and "[x](" not in text and "\u202e" not in text


def test_facts_are_those_of_the_results(results: Path) -> None:
    text = filled(results, "claim")
    assert "covid19\\_idc: viral\\_vs\\_bacterial, 100 % of labels: refers 85.0 ± 7.1, n \\= 2 of 2." in entry(
        text, "37"
    )
    assert "Checkpoint of fine-tuning: best\\_auc, on the validation images." in entry(text, "26")
    assert "`values.finetune.select`" in entry(text, "26")
    assert "1 of 4 cells have no figure." in entry(text, "40")
    assert "normal 5 of 12" in entry(text, "14")
    assert "size 64" in entry(text, "9")


def test_of_imported_results_nothing_is_said_that_only_their_makers_know(folder: Any) -> None:
    folder.lock["manifest"] = {"origin": "imported", "command": "refers-bench results import csv p.csv"}
    folder.seeds("refers", (0.8, 0.9))
    for cell in folder.lock["cells"]:
        cell["selected_on"] = "test"
    text = filled(folder.save(), "claim")
    for number in ("9", "10", "19", "20", "23", "24", "25", "27", "33"):
        assert entry(text, number).strip().endswith(f"**{checklist.OPEN}**"), number
    assert "as the importer states: 2 cells 'test'." in entry(text, "26")
    assert "Some checkpoints were chosen on test images: their figures are too high." in entry(text, "40")


@pytest.mark.parametrize("names", [None, [], ["a", "b"]])
def test_a_checklist_is_about_one_manifest(names: list[str] | None) -> None:
    with pytest.raises(UserError, match="one MANIFEST with --checklist"):
        checklist.one_manifest(names)
