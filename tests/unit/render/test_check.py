"""The outcome of a check, word by word: a line for the terminal, JUnit XML for CI and Markdown for a pull request."""

from __future__ import annotations

from typing import Any

from refers_bench.analysis.compare.bands import BandTest
from refers_bench.analysis.compare.regression import Comparison, Finding
from refers_bench.analysis.statistics.equivalence import Equivalence
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.render import check


def over_seeds(name: str, verdict: str, *, band: float = 0.05, source: str = "fixed") -> BandTest:
    found = Equivalence(
        n=3, df=2, margin=band, difference=-0.0125, low=-0.025, high=0.03125, p=0.04321, verdict=verdict
    )
    return BandTest(row="row", name=name, band=band, source=source, found=found)


def refused(name: str, reason: str, *, band: float = 0.05) -> BandTest:
    return BandTest(row="row", name=name, band=band, source="fixed", found=Refusal(reason=reason))


FOUND = Comparison(
    manifest="small", tolerance=0.02, classes_compared=7, largest=0.04567, remark="another processor",
    findings=(
        Finding(cell="a", outcome="same", seconds=1.5),
        Finding(cell="b", outcome="same", messages=("another key",), seconds=0.25),
        Finding(cell="c", outcome="drift", messages=("x moved", "y moved"), seconds=2.0),
        Finding(cell="d", outcome="incomplete"),
        Finding(cell="e", outcome="failed", messages=("loss is NaN",)),
    ),
    tests=(
        refused("p", "one seed"), over_seeds("q", "inconclusive"), over_seeds("r", "reproduced", source="images"),
        over_seeds("s", "not reproduced"), refused("t", "no spread"), refused("u", "no spread", band=0.1),
    ),
)  # fmt: skip
NUMBERS = "-0.0125, 90 % interval -0.0250 to +0.0312, P = 0.0432, n = 3, df = 2; band 0.0500"
LINE = (
    "small: failed - jobs have failed (2 same, 1 drift, 1 incomplete, 1 failed; 7 class AUCs compared, largest difference "
    "0.0457, allowed 0.02)"
)  # fmt: skip
BANDS = (
    "equivalence over seeds (two one-sided one-sample t-tests (TOST), paired by seed): 1 equivalent, 1 inconclusive, 1 not "
    "equivalent, 3 not tested (2 no spread; 1 one seed)"
)  # fmt: skip


def only(*outcomes: str, **more: Any) -> Comparison:
    findings = tuple(Finding(cell=f"cell{place}", outcome=outcome) for place, outcome in enumerate(outcomes))
    return Comparison(
        manifest="m", tolerance=0.01, findings=findings, **{"classes_compared": 0, "largest": 0.0, **more}
    )


def test_lines_for_the_terminal() -> None:
    assert check.summary_line(FOUND) == LINE
    assert check.tests_line(FOUND) == BANDS
    assert check.tests_line(only("same")) == ""
    assert check.tests_line(only("same", tests=(over_seeds("q", "reproduced"),))).endswith(
        "paired by seed): 1 equivalent"
    )
    assert check.summary_line(only("same", "drift")) == (
        "m: drift - class AUCs have moved by more than their tolerance (1 same, 1 drift; 0 class AUCs compared, largest "
        "difference 0.0000, allowed 0.01)"
    )
    assert check.summary_line(only()) == (
        "m: incomplete - cells are missing (no cells; 0 class AUCs compared, largest difference 0.0000, allowed 0.01)"
    )


def test_junit_has_a_case_a_cell_and_one_a_class_that_was_tested() -> None:
    assert (
        check.junit(FOUND)
        == f"""\
<?xml version="1.0" encoding="utf-8"?>
<testsuites tests="11" failures="3" errors="1" time="3.750">
  <testsuite name="refers-bench check small" skipped="0" tests="5" failures="2" errors="1" time="3.750">
    <testcase classname="small" name="a" time="1.500" />
    <testcase classname="small" name="b" time="0.250">
      <system-out>another key</system-out>
    </testcase>
    <testcase classname="small" name="c" time="2.000">
      <failure type="drift" message="x moved">x moved
y moved</failure>
    </testcase>
    <testcase classname="small" name="d" time="0.000">
      <failure type="incomplete" message="incomplete" />
    </testcase>
    <testcase classname="small" name="e" time="0.000">
      <error type="failed" message="loss is NaN">loss is NaN</error>
    </testcase>
  </testsuite>
  <testsuite name="refers-bench equivalence small" tests="6" failures="1" errors="0" skipped="4" time="0.000">
    <testcase classname="row" name="p" time="0.000">
      <skipped message="not tested: one seed; band 0.0500 (fixed)" />
    </testcase>
    <testcase classname="row" name="q" time="0.000">
      <skipped message="inconclusive: {NUMBERS} (fixed)" />
    </testcase>
    <testcase classname="row" name="r" time="0.000">
      <system-out>equivalent: {NUMBERS} (images)</system-out>
    </testcase>
    <testcase classname="row" name="s" time="0.000">
      <failure type="not equivalent" message="not equivalent: {NUMBERS} (fixed)" />
    </testcase>
    <testcase classname="row" name="t" time="0.000">
      <skipped message="not tested: no spread; band 0.0500 (fixed)" />
    </testcase>
    <testcase classname="row" name="u" time="0.000">
      <skipped message="not tested: no spread; band 0.1000 (fixed)" />
    </testcase>
  </testsuite>
</testsuites>
"""
    )
    assert (
        check.junit(only("same"))
        == """\
<?xml version="1.0" encoding="utf-8"?>
<testsuites tests="1" failures="0" errors="0" time="0.000">
  <testsuite name="refers-bench check m" skipped="0" tests="1" failures="0" errors="0" time="0.000">
    <testcase classname="m" name="cell0" time="0.000" />
  </testsuite>
</testsuites>
"""
    )


def test_a_summary_lists_what_is_not_the_same_and_what_is_not_equivalent() -> None:
    def escaped(text: str) -> str:
        for sign in "()+=":
            text = text.replace(sign, f"\\{sign}")
        return text

    assert (
        check.markdown(FOUND)
        == f"""\
## refers-bench check small: failed

{escaped(LINE)}

another processor

| cell | outcome | found |
| --- | --- | --- |
| c | drift | x moved<br>y moved |
| d | incomplete |  |
| e | failed | loss is NaN |

### Equivalence bands

{escaped(BANDS)}

- 4 classes: band 0.05, fixed
- 1 classes: band 0.05, images
- 1 classes: band 0.1, fixed

| row | class | outcome |
| --- | --- | --- |
| row | s | {escaped(f"not equivalent: {NUMBERS} (fixed)")} |
| row | q | {escaped(f"inconclusive: {NUMBERS} (fixed)")} |
"""
    )
    assert check.markdown(only("same")).splitlines() == [
        "## refers-bench check m: same",
        "",
        "m: same - every class AUC is within its tolerance \\(1 same; 0 class AUCs compared, largest difference 0.0000, "
        "allowed 0.01\\)",
    ]


def test_long_summaries_are_cut_and_the_rest_is_counted() -> None:
    tests = tuple(over_seeds(f"c{place}", "inconclusive", band=0.01 * (1 + place)) for place in range(6))
    lines = check.markdown(only(*["drift"] * 4, tests=tests), limit=3).splitlines()
    assert lines[4:12] == [
        "| cell | outcome | found |",
        "| --- | --- | --- |",
        *(f"| cell{place} | drift |  |" for place in range(3)),
        "",
        "and 1 more",
        "",
    ]
    assert lines[12] == "### Equivalence bands"
    assert lines[16:22] == [*(f"- 1 classes: band 0.0{place}, fixed" for place in range(1, 6)), "- and 1 other bands"]
    assert [line[:11] for line in lines[22:]] == [
        "",
        "| row | cla",
        "| --- | ---",
        "| row | c0 ",
        "| row | c1 ",
        "| row | c2 ",
        "",
        "and 3 more",
    ]
    at_most = check.markdown(only(*["drift"] * 3, tests=tests[:5]), limit=5)
    assert "more" not in at_most.replace("by more than", "") and "other bands" not in at_most
    assert check.markdown(only(*["drift"] * 51)).splitlines()[-1] == "and 1 more"
