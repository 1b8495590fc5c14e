"""How is the outcome of a check shown to a CI system: JUnit XML and a Markdown summary?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from refers_bench.analysis.compare.bands import BandTest
from refers_bench.analysis.compare.regression import DRIFT, FAILED_JOBS, INCOMPLETE, SAME, Comparison, Finding
from refers_bench.analysis.statistics.equivalence import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, TOST
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.render.escape import markdown as escape
from refers_bench.render.escape import printable

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


def _remarks(finding: Finding) -> str:
    return "\n".join(printable(message) for message in finding.messages)


def junit(comparison: Comparison) -> str:
    """JUnit XML: one test case per cell; drift is a failure, a failed job an error, a missing cell a failure.

    A second suite has a case per row and class: what is not equivalent to the baseline over seeds is a failure, what
    cannot be told is skipped, with the reason.
    """
    failures = comparison.count(DRIFT) + comparison.count(INCOMPLETE)
    counts = {
        "tests": str(len(comparison.findings)),
        "failures": str(failures),
        "errors": str(comparison.count(FAILED_JOBS)),
        "time": f"{sum(finding.seconds for finding in comparison.findings):.3f}",
    }
    name = printable(comparison.manifest)
    bands = _bands_suite(name, comparison.tests)
    both = {
        "tests": str(len(comparison.findings) + len(comparison.tests)),
        "failures": str(failures + int(bands.get("failures", "0"))),
    }
    root = ElementTree.Element("testsuites", {**counts, **both})
    suite = ElementTree.SubElement(root, "testsuite", {"name": f"refers-bench check {name}", "skipped": "0", **counts})
    for finding in comparison.findings:
        attributes = {"classname": name, "name": printable(finding.cell), "time": f"{finding.seconds:.3f}"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if finding.outcome == SAME:
            if finding.messages:
                ElementTree.SubElement(case, "system-out").text = _remarks(finding)
            continue
        tag = "error" if finding.outcome == FAILED_JOBS else "failure"
        first = printable(finding.messages[0]) if finding.messages else finding.outcome
        element = ElementTree.SubElement(case, tag, {"type": finding.outcome, "message": first})
        element.text = _remarks(finding)
    if comparison.tests:
        root.append(bands)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _bands_suite(name: str, tests: Sequence[BandTest]) -> ElementTree.Element:
    verdicts = [verdict(test) for test in tests]
    failures, equal = verdicts.count(_VERDICTS[NOT_REPRODUCED]), verdicts.count(_VERDICTS[REPRODUCED])
    counts = {
        "tests": str(len(tests)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(len(tests) - failures - equal),
    }
    suite = ElementTree.Element("testsuite", {"name": f"refers-bench equivalence {name}", **counts, "time": "0.000"})
    for test, found in zip(tests, verdicts, strict=True):
        attributes = {"classname": printable(test.row), "name": printable(test.name), "time": "0.000"}
        case = ElementTree.SubElement(suite, "testcase", attributes)
        text = printable(_in_words(test))
        if found == _VERDICTS[NOT_REPRODUCED]:
            ElementTree.SubElement(case, "failure", {"type": found, "message": text})
        elif found != _VERDICTS[REPRODUCED]:
            ElementTree.SubElement(case, "skipped", {"message": text})
        else:
            ElementTree.SubElement(case, "system-out").text = text
    return suite


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
    if bad:
        lines += ["| cell | outcome | found |", "| --- | --- | --- |"]
    for finding in bad[:limit]:
        found = "<br>".join(escape(message) for message in finding.messages)
        lines.append(f"| {escape(finding.cell)} | {finding.outcome} | {found} |")
    if len(bad) > limit:
        lines += ["", f"and {len(bad) - limit} more"]
    lines += _bands(comparison, limit)
    return "\n".join(lines).rstrip() + "\n"


def _bands(comparison: Comparison, limit: int) -> list[str]:
    """The classes over seeds: a line for all, a row for each that was tested and is not equivalent."""
    if not comparison.tests:
        return []
    lines = ["", "### Equivalence bands", "", escape(tests_line(comparison)), ""]
    bands = Counter((test.band, test.source) for test in comparison.tests)
    for (band, source), count in bands.most_common(5):
        lines.append(f"- {count} classes: band {band:.4g}, {escape(source)}")
    if len(bands) > 5:
        lines.append(f"- and {len(bands) - 5} other bands")
    order = {_VERDICTS[NOT_REPRODUCED]: 0, _VERDICTS[INCONCLUSIVE]: 1}
    shown = sorted((t for t in comparison.tests if verdict(t) in order), key=lambda test: order[verdict(test)])
    if shown:
        lines += ["", "| row | class | outcome |", "| --- | --- | --- |"]
        lines += [f"| {escape(t.row)} | {escape(t.name)} | {escape(_in_words(t))} |" for t in shown[:limit]]
    if len(shown) > limit:
        lines += ["", f"and {len(shown) - limit} more"]
    return lines
