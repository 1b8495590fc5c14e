"""Evaluates the paper's statements on published, released and reproduced figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refers_bench.cli import completing
from refers_bench.cli.echo import echo, echo_lines, echo_wrapped
from refers_bench.errors import UserError
from refers_bench.execution.planning import name_of
from refers_bench.execution.settings import Settings

if TYPE_CHECKING:
    from refers_bench.analysis.paper.claims import Claim, Outcome
    from refers_bench.analysis.paper.figures import Evidence
    from refers_bench.analysis.results import Results
    from refers_bench.render.table import Table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OTHERS = "Also list what others published on MANIFEST's targets: which figures compare, and why the rest do not."
FILE_HELP = "Claims of your own, as YAML.  [default: those of the REFERS paper]"


@click.command("claims")
@click.argument("manifest", required=False, shell_complete=completing.plans)
@click.option("--file", "path", type=FILE, help=FILE_HELP)
@click.option("--others", is_flag=True, help=OTHERS)
@click.option("--fail", is_flag=True, help="Exit with 5 when a claim fails on the figures measured here.")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@click.pass_obj
def command(
    settings: Settings, manifest: str | None, path: Path | None, others: bool, fail: bool, as_json: bool
) -> None:
    """Evaluate the paper's statements: holds, fails, undecided or no data, with the numbers and the interval.

    On the published figures; on the released prediction files where they were imported ('refers-bench results import
    refers-release'); and on the results of MANIFEST (a file, or the name of a plan) where one is given. Needs no torch.
    """
    from refers_bench.analysis.paper.claims import FAILS, evaluate, load
    from refers_bench.analysis.results import load as load_results
    from refers_bench.render import claims as written
    from refers_bench.reports import against_published
    from refers_bench.reports.claims import SOURCES

    if others and manifest is None:
        raise UserError(
            "--others without MANIFEST", allowed="a manifest, or the name of a plan, whose targets they are on"
        )
    claims = load(path)
    results = None if manifest is None else load_results(settings.results, name_of(manifest))
    columns = _columns(settings, results)
    outcomes = {title: [evaluate(claim, source) for claim in claims] for title, source in columns.items()}
    asked = results if others else None
    if as_json:
        echo_lines(written.as_json(claims, outcomes, others=asked).removesuffix("\n"))
    else:
        _list_claims(claims, outcomes)
    if asked is not None and not as_json:
        _list_others(against_published.build(asked))
    if fail and any(found.verdict == FAILS for found in outcomes.get(SOURCES[2], ())):
        raise SystemExit(5)


def _columns(settings: Settings, results: Results | None) -> dict[str, Evidence]:
    """Title of each column of evidence that there is."""
    from refers_bench.analysis.paper.claims import Published
    from refers_bench.analysis.paper.evidence import Released
    from refers_bench.analysis.paper.references import RELEASE
    from refers_bench.analysis.results import load
    from refers_bench.reports.claims import SOURCES, evidence
    from refers_bench.store.plan import known_names

    if results is not None:
        return evidence(results)
    columns: dict[str, Evidence] = {SOURCES[0]: Published()}
    if RELEASE in known_names(settings.results):
        columns[SOURCES[1]] = Released(load(settings.results, RELEASE))
    return columns


def _list_claims(claims: Sequence[Claim], outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Print each claim with what came of it, then how many there are of each verdict."""
    from refers_bench.reports.claims import counted, text

    for place, claim in enumerate(claims):
        echo_wrapped(f"{claim.id} ({claim.place})")
        echo_wrapped(f"{claim.statement} [{claim.bound}]", indent=2)
        for title, found in outcomes.items():
            echo_wrapped(f"{title:<15} {text(found[place])}", indent=4)
    for title, found in outcomes.items():
        echo_wrapped(f"{title}: {counted(found)}")


def _list_others(found: Table | None) -> None:
    """Print each figure that others published, beside ours, and whether it compares."""
    echo("")
    if found is None:
        echo("others published no figure on the targets of this plan")
        return
    for row in found.rows:
        figure = row.cells[0].figure + (f" ± {row.cells[0].spread}" if row.cells[0].spread else "")
        source, verdict, because = (cell.words for cell in row.cells[1:])
        said = (f", {verdict}" * bool(verdict)) + (f": {because}" * bool(because))
        echo_wrapped(f"{row.title}: {figure} ({source}){said}")
        for note in row.notes:
            echo_wrapped(note.text, indent=2)
    for text in found.notes:
        echo_wrapped(text)
