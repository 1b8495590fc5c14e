"""Divides radiology reports into sections, and chooses and cleans the text that pre-training reads.

The section rules are those of the MIMIC-CXR owners' parser, stated as facts: what counts as a
header, how its wording maps to a section, and what happens when neither findings nor impression is there. The
owners also list 23 section names and 31 character ranges by hand. To use exactly those, write
``mimic_cxr_sectioned.csv`` with the owners' code; the reader of MIMIC-CXR-JPG takes that file instead.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

FINDINGS, IMPRESSION, LAST_PARAGRAPH = "findings", "impression", "last_paragraph"
PREAMBLE, FULL_REPORT = "preamble", "full report"
#: A header: a new line, one space, capital letters and a few signs, a colon, white space.
_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
#: What separates paragraphs: a line that holds one space, as body lines start with one.
_BLANK_LINE = "\n \n"

#: Header wordings, in lower case, whose section is not the one that they name.
_WORDINGS = {
    "conclusion": IMPRESSION,
    "conclusions": IMPRESSION,
    "findings/impression": IMPRESSION,
    "findings and impression": IMPRESSION,
    "ndication": IMPRESSION,  # the owners' table has it so
    "reason for exam": "indication",
    "reason for examination": "indication",
    "clinical indication": "indication",
    "clinical history": "history",
    "pfi": "history",
}
#: A header that contains one of these is that section; the first hit counts.
_CONTAINED = (IMPRESSION, FINDINGS, "history", "comparison", "addendum")
#: A header that names the examination stands before findings.
_EXAMINATIONS = re.compile(
    "chest|portable|pa and lat|lateral and pa|ap and lat|lateral and ap|frontal and lat|two views|one view|frontal view"
    "|pa view|ap view|lateral view|frontal upright|semi-upright|ribs"
)
#: Letters that a misspelt 'impression' or 'findings' may be away from it.
_TYPOS = 2

#: The mark of something removed to protect people, with the sign that ties it to its neighbour.
_DEIDENTIFIED = re.compile(r"[-/]?(?:_{2,}|X{4,})(?:'[a-z]\b|[-/])?")
#: Repairs of what a removed word leaves: empty brackets, spaces before signs, signs without a word between them.
_MENDED = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"[(\[<]\s*[)\]>]", " "),
        (r"\.\s+\.", "."),
        (r"\s+([.,;:)\]])", r"\1"),
        (r"([(\[])\s+", r"\1"),
        (r"[,;:]+(?=[.,;:])", ""),
        (r"\A[\s.,;:)\]/-]+", ""),
    )
)
_WORD = re.compile(r"\w+")


class Section(NamedTuple):
    """A part of a report: its section name and its text, stripped."""

    name: str
    text: str


def _edits(one: str, two: str, *, limit: int) -> int:
    """Letters inserted, left out or replaced between two words; `limit` + 1 when there are more."""
    if abs(len(one) - len(two)) > limit:
        return limit + 1
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(two, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return min(row[-1], limit + 1)


@functools.lru_cache(maxsize=4096)  # reports use few wordings, and comparing letters takes time
def section_name(header: str) -> str:
    """The section a header opens; a header of another kind is returned in lower case.

    Example:
        >>> section_name("FINDINGS AND IMPRESSION"), section_name("IMPRESSON"), section_name("CHEST, TWO VIEWS")
        ('impression', 'impression', 'findings')
    """
    name = " ".join(header.lower().split())
    if name in _WORDINGS:
        return _WORDINGS[name]
    for known in _CONTAINED:
        if known in name:
            return known
    for known in (IMPRESSION, FINDINGS):
        if _edits(name, known, limit=_TYPOS) <= _TYPOS:
            return known
    return FINDINGS if _EXAMINATIONS.search(name) else name


def sections(report: str) -> tuple[Section, ...]:
    """Divide a report as the owners of MIMIC-CXR do.

    Text before the first header is the `preamble`; without any header everything is the `full report`. A line holds
    one header: the search for the next begins at the end of the line where a section's text begins. Empty findings
    and impressions do not count. Where neither is left, the last section is cut at its first blank line, and what
    follows is the `last_paragraph`.

    Args:
        report: the file's text; body lines begin with one space.

    Returns:
        The sections in their order; a name may repeat.

    Source: MIT-LCP/mimic-cxr, txt/section_parser.py (rules).
    """
    report = report.replace("\r\n", "\n")
    header = _HEADER.search(report)
    found = [Section(PREAMBLE, report[: header.start()]) if header else Section(FULL_REPORT, report)]
    named = False
    while header is not None:
        start = header.end()
        line_end = report.find("\n", start)
        following = _HEADER.search(report, line_end) if line_end >= 0 else None
        text = report[start : following.start() if following else len(report)]
        name = section_name(header[1])
        if name not in (FINDINGS, IMPRESSION):
            found.append(Section(name, text))
        elif text.strip():
            found.append(Section(name, text))
            named = True
        header = following
    if not named and _BLANK_LINE in found[-1].text:
        first, _, rest = found[-1].text.partition(_BLANK_LINE)
        found[-1:] = [Section(found[-1].name, first), Section(LAST_PARAGRAPH, rest)]
    return tuple(Section(name, text.strip()) for name, text in found)


def study_text(texts: dict[str, str], *, deidentified: str = "remove") -> str:
    """What pre-training reads of a study: findings and impression, else the last paragraph, cleaned; '' for nothing.

    Args:
        texts: section name -> text; of a name that repeats in a report, the last (``dict(sections(report))``).
        deidentified: see `cleaned`.
    """
    chosen = [texts.get(FINDINGS, ""), texts.get(IMPRESSION, "")]
    text = " ".join(part for part in chosen if part.strip()) or texts.get(LAST_PARAGRAPH, "")
    return cleaned(text, deidentified=deidentified)


def cleaned(text: str, *, deidentified: str = "remove") -> str:
    """One line of plain text.

    Args:
        text: of a section.
        deidentified: what becomes of the marks of removed names and dates (``___`` in MIMIC-CXR, ``XXXX`` in
            Open-I): "remove" takes them out with the hyphen, slash or 's that tied them to a neighbour and mends
            spaces and empty brackets; "keep" leaves them.

    Example:
        >>> cleaned("Compared to ___, the   PICC (___) is unchanged.")
        'Compared to, the PICC is unchanged.'
    """
    if deidentified == "remove" and _DEIDENTIFIED.search(text):
        before, text = "", _DEIDENTIFIED.sub(" ", text)
        while before != text:  # one repair may make the next one necessary
            before = text
            for pattern, instead in _MENDED:
                text = pattern.sub(instead, text)
    return " ".join(text.split())


def token_count(text: str) -> int:
    """Words and numbers of a text; punctuation does not count."""
    return len(_WORD.findall(text))
