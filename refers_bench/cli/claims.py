"""Evaluates the paper's statements on published, released and reproduced figures."""

from pathlib import Path

import click

from refers_bench.cli import completing
from refers_bench.cli.echo import echo
from refers_bench.errors import UserError
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings
from refers_bench.render.table import Table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OTHERS = "Also list what others published on MANIFEST's targets: which figures compare, and why the rest do not."
FILE_HELP = "Claims of your own, as YAML.  [default: those of the REFERS paper]"


@click.command("claims")
@click.argument("manifest", required=False, shell_complete=completing.plans)
@click.option("--file", "path", type=FILE, help=FILE_HELP)
@click.option("--others", is_flag=True, help=OTHERS)
@click.option("--fail", is_flag=True, help="Exit with 5 when a claim fails on the figures measured here.")
@click.pass_obj
def command(settings: Settings, manifest: str | None, path: Path | None, others: bool, fail: bool) -> None:
    """Evaluate the paper's statements: holds, fails, undecided or no data, with the numbers and the interval.

    On the published figures; on the released prediction files where they were imported ('refers-bench results import
    refers-release'); and on the results of MANIFEST (a file, or the name of a plan) where one is given. Needs no torch.
    """
    from refers_bench.analysis.paper.claims import FAILS, Published, evaluate, load
    from refers_bench.analysis.paper.evidence import Released
    from refers_bench.analysis.paper.figures import Evidence
    from refers_bench.analysis.paper.references import RELEASE
    from refers_bench.analysis.results import load as load_results
    from refers_bench.reports import against_published
    from refers_bench.reports.claims import SOURCES, counted, evidence, text
    from refers_bench.store.plan import known_names

    if others and manifest is None:
        raise UserError(
            "--others without MANIFEST", allowed="a manifest, or the name of a plan, whose targets they are on"
        )
    claims = load(path)
    columns: dict[str, Evidence] = {SOURCES[0]: Published()}
    if manifest is not None:
        results = load_results(settings.results, name_of(manifest))
        columns = evidence(results)
    elif RELEASE in known_names(settings.results):
        columns[SOURCES[1]] = Released(load_results(settings.results, RELEASE))
    outcomes = {title: [evaluate(claim, source) for claim in claims] for title, source in columns.items()}
    for place, claim in enumerate(claims):
        echo(f"{claim.id} ({claim.place})")
        echo(f"  {claim.statement} [{claim.bound}]")
        for title, found in outcomes.items():
            echo(f"    {title:<15} {text(found[place])}")
    for title, found in outcomes.items():
        echo(f"{title}: {counted(found)}")
    if others:
        _list_others(against_published.build(results))
    if fail and any(found.verdict == FAILS for found in outcomes.get(SOURCES[2], ())):
        raise SystemExit(5)


def _list_others(found: Table | None) -> None:
    """Print each figure that others published, beside ours, and whether it compares."""
    echo("")
    if found is None:
        echo("others published no figure on the targets of this plan")
        return
    for row in found.rows:
        figure = row.cells[0].figure + (f" ± {row.cells[0].spread}" if row.cells[0].spread else "")
        source, verdict, because = (cell.words for cell in row.cells[1:])
        echo(f"{row.title}: {figure} ({source})" + (f", {verdict}" * bool(verdict)) + (f": {because}" * bool(because)))
        for note in row.notes:
            echo(f"  {note.text}")
    for text in found.notes:
        echo(text)
