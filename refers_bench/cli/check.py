"""Compares results with a stored baseline, for CI."""

from pathlib import Path

import click

from refers_bench.cli.echo import echo
from refers_bench.cli.options import FILE, PLAN
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.files import publish_bytes, publish_json

#: Outcome of `refers_bench.analysis.compare.regression` -> exit code.
CODES = {"same": 0, "incomplete": 3, "failed": 4, "drift": 5}
BANDS = "With --update: the tolerance for every class, or 1.96 standard errors of each class AUC where that is more."
TOLERANCE = "With --update: allowed difference of a class AUC."


@click.command("check")
@PLAN
@click.option("--baseline", required=True, type=FILE, help="JSON made by --update.")
@click.option("--update", is_flag=True, help="Write the baseline from the results instead of comparing.")
@click.option("--tolerance", type=click.FloatRange(0, 1), default=0.02, help=TOLERANCE)
@click.option("--bands", type=click.Choice(["fixed", "test-images"]), default="fixed", help=BANDS)
@click.option("--junit", type=FILE, help="Write a JUnit XML summary.")
@click.option("--markdown", type=FILE, help="Write a Markdown summary.")
@click.pass_obj
def command(
    settings: Settings,
    manifest: str,
    baseline: Path,
    update: bool,
    tolerance: float,
    bands: str,
    junit: Path | None,
    markdown: Path | None,
) -> int:
    """Compare the results of MANIFEST with a stored baseline: per-class AUCs within their bands, coverage, failures.

    The bands decide, cell by cell. In addition, two one-sided tests over the seeds of a row say whether a class is
    equivalent to the baseline within its band; where there are too few seeds or no variance, the reason is given.

    \b
    Exit codes: 0 same, 1 bug, 2 user error, 3 incomplete, 4 failed jobs, 5 drift.
    """
    from refers_bench.analysis.compare import regression
    from refers_bench.analysis.results import load
    from refers_bench.render import check

    results = load(settings.results, name_of(manifest))
    if results.not_ours:
        cells = f"{results.not_ours} of {len(results.planned)} cells"
        echo(f"{cells} rest on results that were imported with a bundle, not computed here")
    if update:
        publish_json(baseline, regression.make_baseline(results, tolerance=tolerance, bands=bands))
        echo(f"baseline: {baseline}")
        return 0
    comparison = regression.compare(results, regression.read_baseline(baseline))
    if junit:
        publish_bytes(junit, check.junit(comparison).encode())
    if markdown:
        publish_bytes(markdown, check.markdown(comparison).encode())
    for finding in comparison.findings:
        if finding.outcome != regression.SAME:
            echo(f"{finding.outcome}: {finding.cell}: {'; '.join(finding.messages)}")
    for line in (comparison.remark, check.tests_line(comparison), check.summary_line(comparison)):
        if line:
            echo(line)
    return CODES[comparison.outcome]
