"""Writes the outcome of a check for a CI system: JUnit XML and a Markdown summary."""

from collections import Counter
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from refers_bench.analysis.compare.bands import BandTest
from refers_bench.analysis.compare.regression import DRIFT, FAILED_JOBS, INCOMPLETE, SAME, Comparison, Finding
from refers_bench.analysis.statistics.equivalence import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, TOST
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.printable import printable
from refers_bench.render.escape import markdown as escape

_MEANING = {
    SAME: "every class AUC is within its tolerance",
    DRIFT: "class AUCs have moved by more than their tolerance",
    INCOMPLETE: "cells are missing",
    FAILED_JOBS: "jobs have failed",
}


def summary_line(comparison: Comparison) -> str:
    """One line for the terminal."""
    counts = ", ".join(f"{comparison.count(outcome)} {outcome}" for outcome in _MEANING if comparison.count(outcome))
    return (
        f"{printable(comparison.manifest)}: {comparison.outcome} - {_MEANING[comparison.outcome]} "
        f"({counts or 'no cells'}; {comparison.classes_compared} class AUCs compared, "
        f"largest difference {comparison.largest:.4f}, allowed {comparison.tolerance:g})"
    )


#: Verdict of a test against the baseline, in the words of a check.
_VERDICTS = {REPRODUCED: "equivalent", INCONCLUSIVE: "inconclusive", NOT_REPRODUCED: "not equivalent"}


def verdict(test: BandTest) -> str:
    """One of the words of `_VERDICTS`, or "not tested"."""
    return "not tested" if isinstance(test.found, Refusal) else _VERDICTS[test.found.verdict]


def tests_line(comparison: Comparison) -> str:
    """How the classes stand over their seeds, with the reasons where nothing was tested; '' without any."""
    if not comparison.tests:
        return ""
    verdicts = [verdict(test) for test in comparison.tests]
    counts = [f"{verdicts.count(one)} {one}" for one in (*_VERDICTS.values(), "not tested") if one in verdicts]
    reasons = Counter(test.found.reason for test in comparison.tests if isinstance(test.found, Refusal))
    why = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return printable(
        f"equivalence over seeds ({TOST}, paired by seed): {', '.join(counts)}" + (f" ({why})" if why else "")
    )


def _case(name: str, finding: Finding) -> Element:
    """The test case of a cell."""
    about = {"classname": name, "name": printable(finding.cell), "time": f"{finding.seconds:.3f}"}
    case = Element("testcase", about)
    remarks = [printable(message) for message in finding.messages]
    if finding.outcome != SAME:
        tag = "error" if finding.outcome == FAILED_JOBS else "failure"
        found = SubElement(case, tag, {"type": finding.outcome, "message": (remarks or [finding.outcome])[0]})
        found.text = "\n".join(remarks)
    elif remarks:
        SubElement(case, "system-out").text = "\n".join(remarks)
    return case


def _band_case(test: BandTest) -> Element:
    """The test case of a class over seeds."""
    case = Element("testcase", {"classname": printable(test.row), "name": printable(test.name), "time": "0.000"})
    found, text = verdict(test), printable(_in_words(test))
    if found == _VERDICTS[REPRODUCED]:
        SubElement(case, "system-out").text = text
    elif found == _VERDICTS[NOT_REPRODUCED]:
        SubElement(case, "failure", {"type": found, "message": text})
    else:
        SubElement(case, "skipped", {"message": text})
    return case


def _counts(cases: Sequence[Element], **tags: str) -> dict[str, str]:
    """Attributes of a suite: its test cases, and how many of them hold each tag."""
    return {
        "tests": str(len(cases)),
        **{name: str(sum(case.find(t) is not None for case in cases)) for name, t in tags.items()},
    }


def junit(comparison: Comparison) -> str:
    """JUnit XML: one test case per cell; drift is a failure, a failed job an error, a missing cell a failure.

    A second suite has a case per row and class: what is not equivalent to the baseline over seeds is a failure, what
    is inconclusive or not tested is skipped, with the reason.
    """
    name = printable(comparison.manifest)
    cells = [_case(name, finding) for finding in comparison.findings]
    bands = [_band_case(test) for test in comparison.tests]
    bad, time = {"failures": "failure", "errors": "error"}, f"{sum(one.seconds for one in comparison.findings):.3f}"
    root = Element("testsuites", {**_counts([*cells, *bands], **bad), "time": time})
    about = {"name": f"refers-bench check {name}", "skipped": "0", **_counts(cells, **bad), "time": time}
    SubElement(root, "testsuite", about).extend(cells)
    if bands:
        counts = _counts(bands, **bad, skipped="skipped")
        about = {"name": f"refers-bench equivalence {name}", **counts, "time": "0.000"}
        SubElement(root, "testsuite", about).extend(bands)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _in_words(test: BandTest) -> str:
    """The outcome with its numbers, band and source."""
    band = f"band {test.band:.4f} ({test.source})"
    if isinstance(test.found, Refusal):
        return f"not tested: {test.found.reason}; {band}"
    found = test.found
    return (
        f"{verdict(test)}: {found.difference:+.4f}, 90 % interval {found.low:+.4f} to {found.high:+.4f}, "
        f"P = {found.p:.3g}, n = {found.n}, df = {found.df}; {band}"
    )


def markdown(comparison: Comparison, *, limit: int = 50) -> str:
    """Summary for a pull request: the outcome, then every cell that is not the same.

    Args:
        comparison: what was found.
        limit: most cells listed; the rest is counted.
    """
    lines = [f"## refers-bench check {escape(comparison.manifest)}: {comparison.outcome}", ""]
    lines += [escape(summary_line(comparison)), ""]
    if comparison.remark:
        lines += [escape(comparison.remark), ""]
    bad = [finding for finding in comparison.findings if finding.outcome != SAME]
    rows = [(escape(one.cell), one.outcome, "<br>".join(map(escape, one.messages))) for one in bad]
    lines += _listed("| cell | outcome | found |", rows, limit)
    return "\n".join([*lines, *_bands(comparison, limit)]).rstrip() + "\n"


def _listed(head: str, rows: Sequence[tuple[str, str, str]], limit: int) -> list[str]:
    """The first rows below the head of a table of three columns, and the number of the others; [] without rows."""
    more = ["", f"and {len(rows) - limit} more"] if len(rows) > limit else []
    return [head, "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows[:limit]), *more] if rows else []


def _bands(comparison: Comparison, limit: int) -> list[str]:
    """The classes over seeds: a line for all, a row for each that was tested and is not equivalent."""
    if not comparison.tests:
        return []
    lines = ["", "### Equivalence bands", "", escape(tests_line(comparison)), ""]
    bands = Counter((test.band, test.source) for test in comparison.tests)
    lines += [f"- {count} classes: band {band:.4g}, {escape(source)}" for (band, source), count in bands.most_common(5)]
    if len(bands) > 5:
        lines.append(f"- and {len(bands) - 5} other bands")
    shown = [
        test for kind in (NOT_REPRODUCED, INCONCLUSIVE) for test in comparison.tests if verdict(test) == _VERDICTS[kind]
    ]
    rows = [(escape(test.row), escape(test.name), escape(_in_words(test))) for test in shown]
    return [*lines, "", *_listed("| row | class | outcome |", rows, limit)]
