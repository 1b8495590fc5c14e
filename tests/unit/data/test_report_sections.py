"""Do report fragments fall into the sections that the rules of MIMIC-CXR give them? All fragments are invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refers_bench.data.report_sections import cleaned, section_name, sections, study_text, token_count

TITLE = "                                 FINAL REPORT\n"
#: What is tried -> the report, and (section, text) in their order without what stands before the first header.
FRAGMENTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "findings and impression": (
        TITLE + " FINDINGS:  Lungs are clear.\n \n IMPRESSION:  Normal.\n",
        [("findings", "Lungs are clear."), ("impression", "Normal.")],
    ),
    "impression only": (TITLE + " IMPRESSION: No effusion.", [("impression", "No effusion.")]),
    "findings only": (TITLE + " FINDINGS: Small left effusion.\n", [("findings", "Small left effusion.")]),
    "text on the line after the header": (
        TITLE + " FINDINGS:\n \n Heart is large.\n \n IMPRESSION:\n \n Cardiomegaly.",
        [("findings", "Heart is large."), ("impression", "Cardiomegaly.")],
    ),
    "all usual sections": (
        TITLE + " EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  Cough.\n \n TECHNIQUE:  Two views.\n \n"
        " COMPARISON:  ___.\n \n FINDINGS:  Clear.\n \n IMPRESSION:  Normal.",
        [
            ("examination", "CHEST (PA AND LAT)"), ("indication", "Cough."), ("technique", "Two views."),
            ("comparison", "___."), ("findings", "Clear."), ("impression", "Normal."),
        ],
    ),
    "body of several lines": (
        TITLE + " IMPRESSION:  Left lower\n lobe opacity,\n likely atelectasis.",
        [("impression", "Left lower\n lobe opacity,\n likely atelectasis.")],
    ),
    "body of several paragraphs": (TITLE + " FINDINGS: One.\n \n Two.\n \n Three.", [("findings", "One.\n \n Two.\n \n Three.")]),
    "windows line ends": (TITLE + " FINDINGS: Clear.\r\n \r\n IMPRESSION: Normal.\r\n", [("findings", "Clear."), ("impression", "Normal.")]),
    "header without its leading space is text": (
        TITLE + " FINDINGS: Clear.\nIMPRESSION: Normal.", [("findings", "Clear.\nIMPRESSION: Normal.")]
    ),
    "header in small letters is text": (TITLE + " FINDINGS: Clear.\n Impression: Normal.", [("findings", "Clear.\n Impression: Normal.")]),
    "header with a digit is text": (TITLE + " FINDINGS: Clear.\n PART 2: Also.", [("findings", "Clear.\n PART 2: Also.")]),
    "colon without white space is no header": (TITLE + " FINDINGS: Tube.\n RATIO:2 is stated.", [("findings", "Tube.\n RATIO:2 is stated.")]),
    "header indented further": (TITLE + " FINDINGS: Clear.\n    IMPRESSION: Normal.", [("findings", "Clear."), ("impression", "Normal.")]),
    "header after a tab is text": (TITLE + " FINDINGS: Clear.\n\tIMPRESSION: Normal.", [("findings", "Clear.\n\tIMPRESSION: Normal.")]),
    "two headers on one line": (TITLE + " FINDINGS: Clear. IMPRESSION: Normal.", [("findings", "Clear. IMPRESSION: Normal.")]),
    "header on the very first line is not seen": (" FINDINGS: Clear.\n IMPRESSION: Normal.", [("impression", "Normal.")]),
    "conclusion": (TITLE + " CONCLUSION: No change.", [("impression", "No change.")]),
    "findings and impression in one": (TITLE + " FINDINGS AND IMPRESSION: No change.", [("impression", "No change.")]),
    "findings slash impression": (TITLE + " FINDINGS/IMPRESSION: No change.", [("impression", "No change.")]),
    "impression slash findings": (TITLE + " IMPRESSION/FINDINGS: No change.", [("impression", "No change.")]),
    "misspelt impression": (TITLE + " IMPRESSON: No change.", [("impression", "No change.")]),
    "impression with two letters swapped": (TITLE + " IMRPESSION: No change.", [("impression", "No change.")]),
    "finding in the singular": (TITLE + " FINDING: No change.", [("findings", "No change.")]),
    "misspelt findings": (TITLE + " FINDINDGS: No change.", [("findings", "No change.")]),
    "qualified impression": (TITLE + " FINAL IMPRESSION: No change.", [("impression", "No change.")]),
    "qualified findings": (TITLE + " CHEST FINDINGS: No change.", [("findings", "No change.")]),
    "exam as header": (TITLE + " CHEST, TWO VIEWS: Clear.", [("findings", "Clear.")]),
    "portable exam as header": (TITLE + " PORTABLE AP: Clear.", [("findings", "Clear.")]),
    "projections as header": (TITLE + " PA AND LATERAL VIEWS: Clear.", [("findings", "Clear.")]),
    "single projection as header": (TITLE + " SINGLE AP VIEW: Clear.", [("findings", "Clear.")]),
    "ribs as header": (TITLE + " LEFT RIBS: No fracture.", [("findings", "No fracture.")]),
    "comparison of a chest film is a comparison": (TITLE + " COMPARISON CHEST: ___.\n FINDINGS: Clear.", [("comparison", "___."), ("findings", "Clear.")]),
    "reason for exam": (TITLE + " REASON FOR EXAM: Fever.\n FINDINGS: Clear.", [("indication", "Fever."), ("findings", "Clear.")]),
    "reason for examination": (TITLE + " REASON FOR EXAMINATION: Fever.\n FINDINGS: Clear.", [("indication", "Fever."), ("findings", "Clear.")]),
    "clinical indication": (TITLE + " CLINICAL INDICATION: Fever.\n FINDINGS: Clear.", [("indication", "Fever."), ("findings", "Clear.")]),
    "cut-off indication, as the owners map it": (TITLE + " NDICATION: Fever.", [("impression", "Fever.")]),
    "clinical history": (TITLE + " CLINICAL HISTORY: Fever.\n FINDINGS: Clear.", [("history", "Fever."), ("findings", "Clear.")]),
    "other header keeps its name": (TITLE + " WET READ: Clear.\n IMPRESSION: Normal.", [("wet read", "Clear."), ("impression", "Normal.")]),
    "empty findings are dropped": (TITLE + " FINDINGS:\n \n IMPRESSION: Normal.", [("impression", "Normal.")]),
    "empty impression is dropped": (TITLE + " FINDINGS: Clear.\n \n IMPRESSION: ", [("findings", "Clear.")]),
    "last paragraph of the last section": (
        TITLE + " INDICATION: Fever.\n \n Lungs are clear.\n \n No effusion.",
        [("indication", "Fever."), ("last_paragraph", "Lungs are clear.\n \n No effusion.")],
    ),
    "last section without a blank line": (TITLE + " INDICATION: Fever.\n Lungs are clear.", [("indication", "Fever.\n Lungs are clear.")]),
    "last paragraph when both are empty": (
        TITLE + " FINDINGS:\n \n IMPRESSION:\n \n TECHNIQUE: Portable.\n \n Clear lungs.",
        [("technique", "Portable."), ("last_paragraph", "Clear lungs.")],
    ),
    "no last paragraph beside an impression": (
        TITLE + " IMPRESSION: Normal.\n \n COMPARISON: None.\n \n Seen by Dr. ___.",
        [("impression", "Normal."), ("comparison", "None.\n \n Seen by Dr. ___.")],
    ),
    "addendum on top": (
        " ADDENDUM:  Line 2 is ___.\n ______________________________________\n" + TITLE + " IMPRESSION: Normal.",
        [("impression", "Normal.")],
    ),
    "addendum after a title": (
        "                                 ADDENDUM\n ADDENDUM TO REPORT: Corrected side.\n ____________\n" + TITLE + " FINDINGS: Clear.",
        [("addendum", "Corrected side.\n ____________\n                                 FINAL REPORT"), ("findings", "Clear.")],
    ),
    "a section twice": (
        TITLE + " IMPRESSION: First.\n \n IMPRESSION: Second.", [("impression", "First."), ("impression", "Second.")]
    ),
}  # fmt: skip


def test_there_are_at_least_forty() -> None:
    assert len(FRAGMENTS) >= 40


@pytest.mark.parametrize("what", FRAGMENTS)
def test_sections(what: str) -> None:
    report, expected = FRAGMENTS[what]
    found = [(part.name, part.text) for part in sections(report)]
    assert found[0][0] == "preamble"
    assert found[1:] == expected


#: Reports without any header: everything is one section, cut at the first blank line.
HEADLESS = {
    "one paragraph": (" Lungs are clear.\n", [("full report", "Lungs are clear.")]),
    "two paragraphs": (" Chest film.\n \n Lungs are clear.", [("full report", "Chest film."), ("last_paragraph", "Lungs are clear.")]),
    "nothing": ("", [("full report", "")]),
    "a blank line without its space": (" Chest film.\n\n Clear.", [("full report", "Chest film.\n\n Clear.")]),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADLESS)
def test_without_headers(what: str) -> None:
    report, expected = HEADLESS[what]
    assert [(part.name, part.text) for part in sections(report)] == expected


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (TITLE + " FINDINGS: Clear\n lungs.\n \n IMPRESSION: Normal.", "Clear lungs. Normal."),
        (TITLE + " IMPRESSION: Normal.", "Normal."),
        (TITLE + " FINDINGS: Clear.\n IMPRESSION: \n", "Clear."),
        (TITLE + " IMPRESSION: First.\n IMPRESSION: Second.", "Second."),
        (TITLE + " INDICATION: Fever.\n \n Clear. \n \n Discussed with Dr. ___.", "Clear. Discussed with Dr."),
        (TITLE + " INDICATION: Fever.", ""),
        (TITLE + " FINDINGS: Compared to ___, unchanged.\n COMPARISON: None.\n \n Other.", "Compared to, unchanged."),
        (TITLE + " FINDINGS: ___\n \n IMPRESSION: ___.", ""),
    ],
)
def test_what_pretraining_reads(report: str, text: str) -> None:
    assert study_text(dict(sections(report))) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two\n lines\t here ", "two lines here"),
        ("PICC (___) ends.", "PICC ends."),
        ("at 9:30 on ___ by Dr. ___.", "at 9:30 on by Dr."),
        ("___-year-old man", "year-old man"),
        ("Normal chest x-XXXX.", "Normal chest x."),
        ("XXXX/XXXX. No change", "No change"),
        ("dual-XXXX pacer, XXXX, and wires", "dual pacer, and wires"),
        ("The patient's ___'s lungs", "The patient's lungs"),
        ("Addendum\n______________\nText", "Addendum Text"),
        ("snake_case stays", "snake_case stays"),
        ("XXX stays, so does xxxx", "XXX stays, so does xxxx"),
        ("ends ,badly ( )", "ends ,badly ( )"),
        ("ends ,badly ( ) ___", "ends,badly"),
    ],
)
def test_cleaned(text: str, expected: str) -> None:
    assert cleaned(text) == expected


def test_marks_of_removed_words_can_be_kept() -> None:
    assert cleaned("seen by\n Dr. ___ and XXXX.", deidentified="keep") == "seen by Dr. ___ and XXXX."


@given(st.text(alphabet="aB9 _X.,;:()[]<>/-'\n\t", max_size=40))
def test_cleaning_leaves_no_mark_and_is_stable(text: str) -> None:
    once = cleaned(text)
    assert "__" not in once
    assert "XXXX" not in once
    assert cleaned(once) == once


@given(st.text(alphabet="ABFINDGSMPRE: \n(),-x", max_size=120))
def test_any_text_has_sections(text: str) -> None:
    found = sections(text)
    assert found[0].name in ("preamble", "full report")
    assert all(part.text == part.text.strip() for part in found)
    assert sum(len(part.text) for part in found) <= len(text)


def test_names_that_merely_resemble() -> None:
    assert section_name("INDICATION") == "indication"
    assert section_name("BINDING") == "findings"  # two letters from 'findings': a price of mending typing errors
    assert section_name("WET READ") == "wet read"


def test_tokens_are_words_and_numbers() -> None:
    assert token_count("No effusion.") == 2
    assert token_count("1. Clear, 2. left-sided") == 5
    assert token_count(" ... ") == 0
