"""Fills in a reporting checklist from results, with links to the evidence, and names what the authors must fill in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from refers_bench.analysis.results import Results, load
from refers_bench.errors import UserError
from refers_bench.files import publish_bytes
from refers_bench.render.escape import markdown as escape
from refers_bench.reporting.checklist_facts import Fact, facts
from refers_bench.store.plan import LOCK

FOLDER = Path(__file__).with_name("checklists")
OPEN, CHECK = "to be filled in by the authors", "filled in from the results, to be checked by the authors"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a checklist.

    Attributes:
        number: its official number.
        section: of the checklist.
        wording: in our own short words.
        facts: names of what fills it in; none for what no results show.
        left: what the authors must add to those facts; '' for nothing in particular.
    """

    number: str
    section: str
    wording: str
    facts: tuple[str, ...] = ()
    left: str = ""


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A checklist: its title, the reference of its official form, how many items that has, and ours of them."""

    title: str
    reference: str
    count: int
    items: tuple[Item, ...]


def read(name: str) -> Checklist:
    """The checklist of that name, as its file is called."""
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    items = tuple(Item(**{**item, "facts": tuple(item.get("facts", ()))}) for item in content.pop("item"))
    return Checklist(**content, items=items)


def write(results: Path, name: str, page: Path, kinds: tuple[str, ...]) -> list[Path]:
    """Write ``checklist-<kind>.md`` of some kinds beside a report's page, whose anchors they link to.

    Args:
        results: the results folder.
        name: of the manifest.
        page: ``index.html`` of its report.
        kinds: names of files in `FOLDER`.

    Raises:
        UserError: the manifest has no plan.
        StorageError: a file cannot be written.
    """
    anchors = frozenset(re.findall(r'\sid="([^"]+)"', page.read_text(encoding="utf-8")))
    found = load(results, name)
    near = page.parent.resolve() == (results / name / "report").resolve()
    written = []
    for kind in kinds:
        path = page.with_name(f"checklist-{kind}.md")
        publish_bytes(path, text(read(kind), found, anchors, lock=f"../{LOCK}" if near else "").encode())
        written.append(path)
    return written


def one_manifest(names: list[str] | None) -> str:
    """The manifest that checklists are about.

    Raises:
        UserError: none, or several.
    """
    if names is None or len(set(names)) != 1:
        raise UserError(f"a checklist about {len(set(names or ()))} manifests", allowed="one MANIFEST with --checklist")
    return names[0]


def text(checklist: Checklist, results: Results, anchors: frozenset[str], *, lock: str) -> str:
    """The filled-in checklist as Markdown.

    Args:
        checklist: which.
        results: what fills it in.
        anchors: ids on the report's page.
        lock: address of the plan's file; '' for one that is only named.
    """
    known = {
        item.number: [one for name in item.facts for one in facts(name, results) if _readable(one, anchors)]
        for item in checklist.items
    }
    filled = sum(map(bool, known.values()))
    lines = [
        f"# {escape(checklist.title)}: {escape(results.name)}",
        "",
        f"{filled} of {len(known)} entries have something from the results; {len(known) - filled} are open.",
        "",
        "The wordings of the items are abbreviations, in other words than the checklist's own, under its numbers "
        f"({checklist.count} items). Consult the official form before handing this in: {escape(checklist.reference)}.",
        "",
        "The report states what it can see of the results. Whether that answers an item, the authors decide.",
    ]
    section = ""
    for item in checklist.items:
        if item.section != section:
            section = item.section
            lines += ["", f"## {escape(section)}"]
        lines += [
            "",
            f"### {item.number}: {escape(item.wording)}",
            "",
            *_entry(item, known[item.number], anchors, lock),
        ]
    return "\n".join(lines) + "\n"


def _entry(item: Item, found: list[Fact], anchors: frozenset[str], lock: str) -> Iterator[str]:
    """State of an item, its facts, and what is still open of it."""
    yield f"**{CHECK if found else OPEN}**"
    if found:
        yield ""
        yield from (f"- {escape(fact.text)}{_evidence(fact, anchors, lock)}" for fact in found)
    if found and item.left:
        yield ""
        yield f"**{OPEN}**: {escape(item.left)}"


def _evidence(fact: Fact, anchors: frozenset[str], lock: str) -> str:
    """Where a fact is read: " (evidence: ...)"; '' where nothing more is to be read."""
    ids = [one for wanted in fact.anchors for one in _present(wanted, anchors)]
    links = [f"[{escape(one)}](index.html#{one})" for one in ids]
    if fact.lock:
        file = f"[{LOCK}]({lock})" if lock else LOCK
        links.append(f"{file}: {', '.join(f'`{name}`' for name in fact.lock)}")
    links += [f"`{name}`" for name in fact.docs]
    return f" (evidence: {'; '.join(links)})" if links else ""


def _readable(fact: Fact, anchors: frozenset[str]) -> bool:
    """Whether a fact that rests on the page alone finds there what it is about."""
    return bool(not fact.anchors or fact.lock or fact.docs or any(_present(one, anchors) for one in fact.anchors))


def _present(wanted: str, anchors: frozenset[str]) -> list[str]:
    """The first id of the page that is wanted, by its name or by its beginning."""
    if not wanted.endswith("-"):
        return [wanted] if wanted in anchors else []
    return sorted(one for one in anchors if one.startswith(wanted))[:1]
