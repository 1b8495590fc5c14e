"""Builds the page of a report, and writes its files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from refers_bench import identity, plugins
from refers_bench.analysis.kept import FOLDER
from refers_bench.analysis.results import Results, load
from refers_bench.errors import Problem, UserError, unknown
from refers_bench.files import publish_bytes
from refers_bench.render.drawing import Drawings
from refers_bench.render.figure import Figure
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Table, slug
from refers_bench.store.collection import without_collection
from refers_bench.store.plan import known_names

FORMATS = ("html", "latex", "markdown", "csv", "json")
#: Form of a drawing -> formats that show it.
DRAWN = {"svg": {"html", "markdown"}, "pdf": {"latex"}}
#: Tables about the published figures.
REFERENCES = ("references", "claims", "against-published")
#: Reports printed on a terminal after a run.
PRINTED = ("table1", "table2", "table3", "cells")
#: How LaTeX shows the tables: all of them on landscape pages, or those of a paper as a journal prints them.
STYLES = ("full", "paper")
#: Takes the name of what is counted; returns a function that is called with (done, total).
Progress = Callable[[str], Callable[[int, int], None]]


def silent(what: str) -> Callable[[int, int], None]:
    """Progress that is not shown."""
    return lambda done, total: None


def write(
    results: Path,
    names: Sequence[str] | None = None,
    formats: Sequence[str] = ("html",),
    out: Path | None = None,
    *,
    published: bool = True,
    style: str = "full",
    footnotes: bool = True,
    progress: Progress = silent,
    damaged: Callable[[Problem], None] = lambda problem: None,
) -> list[Path]:
    """Write the report of some manifests, or of all planned ones, and say which files were written.

    Args:
        results: the results folder.
        names: manifests; None for all that have a plan.
        formats: any of `FORMATS`.
        out: folder of the report; by default ``<results>/<name>/report`` for one named manifest, else
            ``<results>/report``.
        published: whether Tables 1 to 3 show the paper's figures beside ours.
        style: of LaTeX, one of `STYLES`.
        footnotes: whether the tables of style "paper" have footnotes.
        progress: shows the progress: of statistics and tables, then of figures.
        damaged: called with each result that cannot be used, and with each plan that cannot where all are asked for.

    Raises:
        UserError: unknown format or style, a choice that nothing heeds, no plan, none that can be read.
        StorageError: the folder cannot be written.
    """
    # Rendering is imported on demand: each format costs something, and most reports want one.
    if problems := [unknown("format", name, FORMATS) for name in formats if name not in FORMATS]:
        raise UserError([replace(problem, allowed=", ".join(FORMATS)) for problem in problems])
    _check_style(formats, style, footnotes=footnotes)
    chosen = known_names(results) if names is None else list(dict.fromkeys(names))
    if not chosen:
        raise UserError(
            "no manifest has been planned here",
            allowed="a results folder with <name>/plan.lock.json: 'refers-bench run MANIFEST' makes one",
            path=results,
        )
    # Hundreds of thousands of cells of tables are made, and none of them is garbage before the end.
    rest = [name for name in formats if name != "latex" or style == "full"]
    alone = names is not None and len(chosen) == 1
    place = Path(chosen[0], "report") if alone else Path("report")
    with without_collection(), Drawings(results / FOLDER / "drawings" / place, progress("figures drawn")) as drawings:
        forms = [form for form, users in DRAWN.items() if users & set(rest)]
        if forms:
            drawings.prepare()

        def begin(figure: Figure) -> None:
            for form in forms:
                drawings.begin(figure, form)

        loaded = _loaded(results, chosen, damaged, every=names is None)
        folder = out or results / place
        page = Page(
            title=f"refers-bench: {chosen[0]}" if len(chosen) == 1 else "refers-bench: all planned manifests",
            sections=tuple(
                section(one, None if rest else PRINTED, published=published, progress=progress, begin=begin)
                for one in loaded
            ),
        )
        written = _paper_tables(folder, page, footnotes=footnotes) if style == "paper" else []
        return written + (_write_page(folder, page, loaded, rest, drawings.drawn) if rest else [])


def _loaded(results: Path, names: Sequence[str], damaged: Callable[[Problem], None], *, every: bool) -> list[Results]:
    """The results of some manifests; of all planned ones those whose plan can be read."""
    found: list[Results] = []
    problems: list[Problem] = []
    for name in names:
        try:
            found.append(load(results, name))
        except UserError as error:
            if not every:
                raise
            problems += error.problems
    if not found:
        raise UserError(problems)
    for problem in (*problems, *(one for loaded in found for one in loaded.damaged.values())):
        damaged(problem)
    return found


def _check_style(formats: Sequence[str], style: str, *, footnotes: bool) -> None:
    """Refuse a style that is unknown, and choices that no format heeds."""
    if style not in STYLES:
        raise UserError([unknown("style", style, STYLES)])
    if style == "paper" and "latex" not in formats:
        raise UserError("style 'paper' is one of LaTeX, which is not written", allowed="--format latex --style paper")
    if not footnotes and style != "paper":
        raise UserError("only style 'paper' can leave out footnotes", allowed="--format latex --style paper")


def printed(results: Path, name: str) -> str:
    """The manifest's main tables as plain text, for a terminal: the paper's, or else all cells."""
    from refers_bench.render import terminal

    one = load(results, name)
    return "\n".join(map(terminal.table, _main([item for item in items(one, PRINTED) if isinstance(item, Table)])))


def _main(tables: Iterable[Table]) -> list[Table]:
    """The tables of the paper, or else that of all cells: a table of the paper holds all the generic one would say."""
    found = [table for table in tables if table.id in PRINTED]
    return [table for table in found if table.id != "cells"] or found


def section(
    results: Results,
    names: Sequence[str] | None = None,
    *,
    published: bool = True,
    progress: Progress = silent,
    begin: Callable[[Figure], None] = lambda figure: None,
) -> Section:
    """The page's section about one manifest, with what all reports make of it or those that are named; see `items`."""
    from refers_bench.reporting import provenance, summary

    found = items(results, names, progress=progress, begin=begin)
    if not published:
        kept = [item for item in found if item.id not in REFERENCES]
        found = [item.without("published", "released") if isinstance(item, Table) else item for item in kept]
    answers, remarks = summary.sentences(results, found)
    return Section(
        id=f"manifest-{slug(results.name)}",
        title=results.name,
        facts=summary.facts(results),
        answers=tuple(answers),
        remarks=tuple(remarks),
        items=tuple(found),
        details=provenance.details(results) if names is None else (),
        commands=provenance.commands(results),
    )


def items(
    results: Results,
    names: Sequence[str] | None = None,
    *,
    progress: Progress = silent,
    begin: Callable[[Figure], None] = lambda figure: None,
) -> list[Table | Figure]:
    """What the report plug-ins make of the results, in their order.

    Args:
        results: the results.
        names: plug-ins; None for all.
        progress: shows how many are done.
        begin: begins to draw a figure, while the rest is made.

    Raises:
        UserError: a plug-in returns something else than tables and figures, or an id twice.
    """
    from refers_bench.reporting import grid

    known = plugins.names("report")
    reports = {name: plugins.load("report", name) for name in known if names is None or name in names}
    found: list[Table | Figure] = []
    done = progress("kinds of tables and figures made")
    parts = list(plugins.REPORT_PARTS)
    if wrong := [
        unknown(f"part of report '{name}'", one.part, parts) for name, one in reports.items() if one.part not in parts
    ]:
        raise UserError(wrong)
    ordered = sorted(reports.items(), key=lambda item: (parts.index(item[1].part), item[1].order, item[0]))
    for place, (name, report) in enumerate(ordered):
        built = report.build(results)
        for item in built if isinstance(built, list | tuple) else [] if built is None else [built]:
            if not isinstance(item, Table | Figure):
                raise UserError(f"report '{name}' must build tables or figures, got {type(item).__name__}")
            if item.id in {other.id for other in found}:
                raise UserError(f"report '{name}' takes the id '{item.id}', which another report has")
            found.append(replace(item, part=report.part, caption=grid.limited(results) + item.caption))
            if isinstance(item, Figure):
                begin(item)
        done(place + 1, len(reports))
    return found


def _paper_tables(folder: Path, page: Page, *, footnotes: bool) -> list[Path]:
    """The main tables of every manifest, a file each, and ``report.tex`` with all of them."""
    from refers_bench.render import latex_paper

    page = _distinct(
        replace(page, sections=tuple(replace(one, items=tuple(_main(one.tables))) for one in page.sections))
    )
    tables = [table for one in page.sections for table in one.tables]
    texts = {f"{one.id}.tex": latex_paper.table(one, footnotes=footnotes) for one in tables}
    texts["report.tex"] = latex_paper.document(tables, footnotes=footnotes)
    for name, text in texts.items():
        publish_bytes(folder / name, text.encode("utf-8"))
    return [folder / name for name in texts]


def _write_page(
    folder: Path, page: Page, loaded: Sequence[Results], formats: Sequence[str], drawn: Callable[[Figure, str], bytes]
) -> list[Path]:
    written: dict[Path, None] = {}

    def publish(name: str, content: str | bytes) -> None:
        path = folder / name
        publish_bytes(path, content if isinstance(content, bytes) else content.encode("utf-8"))
        written[path] = None

    page = _distinct(page)
    tables = [table for one in page.sections for table in one.tables]
    figures = [figure for one in page.sections for figure in one.figures]
    tidy = {"csv", "json"} & set(formats)
    cells = [row for one in loaded for row in one.cell_rows()] if tidy else []
    classes = [row for one in loaded for row in one.metric_rows()] if tidy else []

    if "html" in formats:
        from refers_bench.render import html

        publish("index.html", html.page(page, drawing=lambda figure: drawn(figure, "svg")))
    if "markdown" in formats:
        from refers_bench.render import markdown

        for figure in figures:
            publish(f"{figure.id}.svg", drawn(figure, "svg"))
        publish("report.md", markdown.page(page))
    if "latex" in formats:
        from refers_bench.render import latex

        for table in tables:
            publish(f"{table.id}.tex", latex.table(table))
        for figure in figures:
            publish(f"{figure.id}.pdf", drawn(figure, "pdf"))
        publish("report.tex", latex.document(page))
    if "csv" in formats:
        from refers_bench.render import spreadsheet
        from refers_bench.reporting import grid

        for part, one in zip(page.sections, loaded, strict=True):
            for table in part.tables:
                publish(f"{table.id}.csv", spreadsheet.table(table, remark=grid.limited(one).strip()))
        publish("tidy-cells.csv", spreadsheet.tidy(cells))
        publish("tidy-classes.csv", spreadsheet.tidy(classes))
    if "json" in formats:
        from refers_bench.render import structured

        publish("report.json", structured.page(page, cells=cells, classes=classes))
    return list(written)


def progress(results: Path, names: Sequence[str] | None = None) -> tuple[int, int, int]:
    """(jobs done, jobs that can run, jobs failed) of some manifests, or of all planned ones."""
    done = total = failed = 0
    for name in known_names(results) if names is None else names:
        one = load(results, name)
        runnable = [key for key, job in one.jobs.items() if not job.unavailable]
        total += len(runnable)
        done += sum(key in one.records for key in runnable)
        failed += sum(key in one.failures for key in runnable)
    return done, total, failed


def _distinct(page: Page) -> Page:
    """With several manifests on a page, ids of tables and figures get the manifest's name in front."""
    if len(page.sections) == 1:
        return page
    sections, taken = [], set[str]()
    for one in page.sections:
        items = []
        for item in one.items:
            own = f"{slug(one.title)}-{item.id}"
            if own.casefold() in taken:
                own = f"{own}-{identity.key([one.title, item.id])[:8]}"
            taken.add(own.casefold())
            items.append(replace(item, id=own))
        sections.append(replace(one, items=tuple(items)))
    return replace(page, sections=tuple(sections))
