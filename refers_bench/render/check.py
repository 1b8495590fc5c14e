"""How is the outcome of a check shown to a CI system: JUnit XML and a Markdown summary?"""

from __future__ import annotations

from xml.etree import ElementTree

from refers_bench.analysis.regression import DRIFT, FAILED_JOBS, INCOMPLETE, SAME, Comparison, Finding
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


def _remarks(finding: Finding) -> str:
    return "\n".join(printable(message) for message in finding.messages)


def junit(comparison: Comparison) -> str:
    """JUnit XML: one test case per cell; drift is a failure, a failed job an error, a missing cell a failure."""
    failures = comparison.count(DRIFT) + comparison.count(INCOMPLETE)
    counts = {
        "tests": str(len(comparison.findings)),
        "failures": str(failures),
        "errors": str(comparison.count(FAILED_JOBS)),
        "time": f"{sum(finding.seconds for finding in comparison.findings):.3f}",
    }
    name = printable(comparison.manifest)
    root = ElementTree.Element("testsuites", counts)
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
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def markdown(comparison: Comparison, *, limit: int = 50) -> str:
    """Summary for a pull request: the outcome, then every cell that is not the same.

    Args:
        comparison: what was found.
        limit: most cells listed; the rest is counted.
    """
    lines = [f"## refers-bench check {escape(comparison.manifest)}: {comparison.outcome}", ""]
    lines += [escape(summary_line(comparison)), ""]
    bad = [finding for finding in comparison.findings if finding.outcome != SAME]
    if bad:
        lines += ["| cell | outcome | found |", "| --- | --- | --- |"]
    for finding in bad[:limit]:
        found = "<br>".join(escape(message) for message in finding.messages)
        lines.append(f"| {escape(finding.cell)} | {finding.outcome} | {found} |")
    if len(bad) > limit:
        lines += ["", f"and {len(bad) - limit} more"]
    return "\n".join(lines).rstrip() + "\n"
