"""Shows what the finished jobs cost, and on which machines and versions they ran."""

from collections import Counter

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.duration import duration
from refers_bench.render.table import NO_VALUE, Cell, Row, Table, columns, words
from refers_bench.reporting.provenance import ENVIRONMENT, environment


def build(results: Results) -> list[Table]:
    """Cost by kind of job, and the distinct environments."""
    if not results.records:
        return []
    return [_cost(results), _environments(results)]


def _cost(results: Results) -> Table:
    kinds = dict.fromkeys(job.kind for job in results.jobs.values())
    rows = []
    for kind in kinds:
        planned = [key for key, job in results.jobs.items() if job.kind == kind]
        done = [results.records[key] for key in planned if key in results.records]
        seconds = [float(record.get("wall_s") or 0) for record in done]
        memory = [float(record.get("peak_mem_bytes") or 0) for record in done]
        some = f"{len(done)} of {len(planned)}"
        largest = max(memory, default=0.0) / 2**30
        cells = (
            Cell(text=some, value=len(done), n=(len(planned),), word="of the planned n", kind="text"),
            _time(sum(seconds)) if done else Cell(kind="text"),
            _time(max(seconds)) if done else Cell(kind="text"),
            Cell(text=f"{largest:.2f} GiB", value=largest, word="GiB", kind="text") if largest else Cell(kind="text"),
        )
        rows.append(Row(title=kind, cells=cells))
    return Table(
        id="cost",
        caption="Cost of the finished jobs, shared ones included.",
        stub="Kind of job",
        columns=columns("done", "time, all jobs", "longest job", "largest peak memory"),
        rows=tuple(rows),
    )


def _time(seconds: float) -> Cell:
    """A time in words, for programs in seconds."""
    return Cell(text=duration(seconds, decimals=1), value=seconds, word="seconds", kind="text")


def _environments(results: Results) -> Table:
    groups = Counter(environment(record) for record in results.records.values())
    rows = [
        Row(title=f"{count} jobs" if count > 1 else "1 job", cells=words(*(text or NO_VALUE for text in where)))
        for where, count in groups.most_common()
    ]
    return Table(
        id="environments",
        caption="Where they ran.",
        stub="Jobs",
        columns=columns(*ENVIRONMENT),
        rows=tuple(rows),
        numeric=False,
    )


REPORT = Report(label="Runs", build=build, order=80, part="runs")
