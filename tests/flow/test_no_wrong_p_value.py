"""Each case without a P-value says so, with its reason, in every format, and no other number has slipped in.

Missing and failed cells, one seed only, zero variance over seeds or images, test sets of one class, other test lists.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.analysis.results import load
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish
from refers_bench.render import drawing, terminal
from refers_bench.render.figure import Figure
from refers_bench.render.table import Table
from refers_bench.reporting import page
from refers_bench.reporting.page import FORMATS, printed

IMAGES = 60
LABELS = (np.arange(IMAGES)[:, None] % np.array([3, 4]) == 0).astype(np.int8)
EN_DASH = "\N{EN DASH}"


def run(
    method: str, dataset: str, seed: int, *, labels: Any = LABELS, ids: str = "i", noise: int = 0, **more: Any
) -> Any:
    rng = np.random.default_rng([seed, noise, len(method)])
    return ImportedRun(**{
        "method": method, "label": method, "dataset": dataset, "task": "t", "label_ratio": 1.0, "seed": seed,
        "classes": ("a", "b"), "image_ids": tuple(f"{ids}{n:03d}" for n in range(len(labels))),
        "patient_ids": ("",) * len(labels), "labels_NK": labels,
        "scores_NK": (LABELS[: len(labels)] + rng.normal(size=labels.shape)).astype(np.float32), **more,
    })  # fmt: skip


def seeds(method: str, dataset: str, count: int = 3, **more: Any) -> Iterator[ImportedRun]:
    for seed in range(count):
        yield run(method, dataset, seed, **more)


#: Dataset of its own for each case -> (runs of the other method, what is said where a P-value would stand).
CASES: dict[str, tuple[list[ImportedRun], str]] = {
    "sound": (list(seeds("other", "sound")), ""),
    "one_seed": (list(seeds("other", "one_seed", 1)), "needs at least two seeds each, has 3 and 1"),
    "zero_variance": (
        [run("other", "zero_variance", s, scores_NK=np.tile(np.arange(IMAGES, dtype=np.float32)[:, None] % 7, 2))
         for s in range(3)],
        "zero variance over seeds",
    ),
    "one_class": (
        list(seeds("other", "one_class", labels=np.stack([np.ones(IMAGES), LABELS[:, 1]], 1).astype(np.int8))),
        "different classes",
    ),
    "no_class": (list(seeds("other", "no_class", labels=np.zeros((IMAGES, 2), np.int8))), "no baseline is complete"),
    "missing": (list(seeds("other", "missing")), "no baseline is complete"),
    "failed": (list(seeds("other", "failed")), "no baseline is complete"),
    "other_list": (list(seeds("other", "other_list", ids="x")), "tested on other images"),
    "shorter_list": (list(seeds("other", "shorter_list", labels=LABELS[:40])), "tested on other images"),
}  # fmt: skip


def nothing(figure: Figure, *, format: str) -> bytes:  # noqa: A002 - as it is called
    return b'<svg xmlns="http://www.w3.org/2000/svg"/>' if format == "svg" else b"%PDF-1.4"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    runs = [one for dataset, (others, _) in CASES.items() for one in (*seeds("refers", dataset, noise=1), *others)]
    plan = publish(runs, results=folder, name="cases", title="Cases", origin="imported", command="c")
    keys = {cell.name: cell.key for cell in plan.cells}
    shutil.rmtree(folder / "store" / keys["other.missing.t.100%.s1"])
    gone = keys["other.failed.t.100%.s1"]
    shutil.rmtree(folder / "store" / gone)
    record = {"version": 1, "key": gone, "category": "timeout", "message": "over its time limit", "attempts": 1}
    (folder / "store" / f"{gone}.failed.json").write_text(json.dumps(record))
    with pytest.MonkeyPatch.context() as patch:  # no figure is looked at here
        patch.setattr(drawing, "cores", lambda: 1)
        patch.setattr(drawing, "draw", nothing)
        page.write(folder, ["cases"], FORMATS)
    return folder


def tables(results: Path) -> dict[str, Table]:
    return {item.id: item for item in page.items(load(results, "cases")) if isinstance(item, Table)}


@pytest.mark.parametrize("dataset", CASES)
def test_the_test_over_seeds_is_refused_with_its_reason(results: Path, dataset: str) -> None:
    table = tables(results)["cells"]
    place = [column.group for column in table.columns].index(f"{dataset}: t")
    cell = table.rows[-1].cells[place]
    reason = CASES[dataset][1]
    (note,) = table.rows[-1].notes
    (about,) = (text for text in note.more if f"{dataset}: t, 100 % of labels" in text.partition(": against")[0])
    if reason:
        assert cell.text == EN_DASH and "no P-value: " in about and reason in about, about
    else:
        assert note.text.startswith("Independent two-sample t-test") and "n = 3 and 3 seeds, df = 4" in about


def test_what_the_cells_show(results: Path) -> None:
    table = tables(results)["cells"]
    row = next(row for row in table.rows if row.title == "other")
    shown = dict(zip((column.group.split(":")[0] for column in table.columns), row.cells, strict=True))
    assert (shown["missing"].tag, shown["failed"].tag) == ("n=2/3", "n=2/3")
    assert "not run yet" in shown["missing"].notes[0].text and "failed: timeout" in shown["failed"].notes[0].text
    assert shown["one_class"].tag == "1/2 classes" and shown["one_seed"].spread == ""
    assert shown["no_class"].value is None and "no class has an AUC: no positives" in shown["no_class"].notes[0].text
    assert shown["zero_variance"].spread == "0.0"
    assert not any(shown[name].best for name in ("missing", "failed", "one_class", "no_class"))


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        ("other_list", "predictions on another list of test images"),
        ("shorter_list", "predictions on another list of test images"),
        ("one_class", "other labels of the test images"),
    ],
)
def test_methods_on_other_images_are_not_compared_image_by_image(results: Path, dataset: str, reason: str) -> None:
    found = tables(results)
    row = next(
        row
        for row in found["test-images"].rows
        if row.title.startswith(f"{dataset}: t") and row.title.endswith(": other")
    )
    assert row.cells[0].value is None and reason in row.cells[0].notes[0].text
    assert f"delong-{dataset}-t-1" not in found and f"class-tests-{dataset}-t-1" not in found
    assert "class-tests-sound-t-1" in found
    kinds = {row.cells[0].text for row in found["integrity"].rows if row.title.startswith(f"{dataset}: t")}
    assert kinds & {"test lists differ", "labels differ"}


def test_zero_variance_over_images_has_no_p(tmp_path: Path) -> None:
    one = run("refers", "d", 0)
    two = run("other", "d", 0, scores_NK=one.scores_NK * 2)
    publish([one, two], results=tmp_path, name="cases", title="", origin="imported", command="c")
    table = tables(tmp_path)["delong-d-t-1"]
    for row in table.rows:
        assert row.cells[3].text == EN_DASH and "zero variance" in row.cells[3].notes[0].text


def test_holm_counts_the_tests_that_were_made(tmp_path: Path) -> None:
    """Three classes and two other methods; one class has no positive image, so four tests of six are made."""
    labels = np.column_stack([LABELS, np.zeros(IMAGES)]).astype(np.int8)
    runs = [
        ImportedRun(
            method=method, label=method, dataset="d", task="t", label_ratio=1.0, seed=0, classes=("a", "b", "c"),
            image_ids=tuple(f"i{n:03d}" for n in range(IMAGES)), patient_ids=("",) * IMAGES, labels_NK=labels,
            scores_NK=(labels + np.random.default_rng(number).normal(size=labels.shape)).astype(np.float32),
        )
        for number, method in enumerate(("refers", "other", "third"))
    ]  # fmt: skip
    publish(runs, results=tmp_path, name="cases", title="", origin="imported", command="c")
    table = tables(tmp_path)["delong-d-t-1"]
    p_values = [cell for row in table.rows for cell in row.cells if cell.kind == "p" and cell.text != EN_DASH]
    assert len(p_values) == 4
    assert re.findall(r"tests of this table that were made: (\d+)", " ".join(table.notes)) == ["4"]


def test_every_p_value_has_a_test_n_and_df_or_a_reason(results: Path) -> None:
    """In all tables: a cell of P-values holds a figure that a note explains, or a dash and why."""
    number = re.compile(r"(0\.\d{3}|1\.000|\d\.\d\de-\d+|< 1e-300)")
    seen = 0
    for table in tables(results).values():
        about = " ".join(table.notes)
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell.kind != "p":
                    # A column of P-values may leave a cell empty beside a refusal.
                    assert not column.title.startswith("P,") or cell.kind == "missing", (table.id, column.title)
                    continue
                notes = " ".join(note.full for note in (*row.notes, *cell.notes))
                if cell.text == EN_DASH:
                    beside = " ".join(note.text for other in row.cells for note in other.notes)
                    assert "no P-value: " in notes + beside, (table.id, row.title, column.title)
                    continue
                assert number.fullmatch(cell.text), (table.id, cell.text)
                assert "test" in notes + about and ("n = " in notes or "n" in [c.title for c in table.columns]
                                                    or "test images" in about), (table.id, row.title)  # fmt: skip
                seen += 1
    assert seen > 10


class _Cells(HTMLParser):
    """Text of the cells whose class is "p"."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "td":
            self.inside = dict(attrs).get("class", "") in ("p", "p best")
            self.texts += [""] if self.inside else []

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data


def test_the_same_in_every_format(results: Path) -> None:
    """A dash where there is none in HTML, LaTeX, Markdown and on a terminal, nothing in CSV and JSON; "nan" nowhere."""
    out = results / "cases" / "report"
    expected = [
        cell for table in tables(results).values() for row in table.rows for cell in row.cells if cell.kind == "p"
    ]
    dashes = sum(cell.text == EN_DASH for cell in expected)
    parser = _Cells()
    parser.feed((out / "index.html").read_text())
    assert len(parser.texts) == len(expected)
    assert sum(text.startswith(EN_DASH) for text in parser.texts) == dashes > 8
    rows = json.loads((out / "report.json").read_text())["sections"][0]["tables"]
    cells = [cell for table in rows for row in table["rows"] for cell in row["cells"] if cell["kind"] == "p"]
    assert sum(cell["text"] == "" and cell["value"] is None for cell in cells) == dashes
    last = "P, refers against the best other row"
    with (out / "cells.csv").open() as stream:
        found = {row["group"]: row for row in csv.DictReader(stream) if row["row"] == last}
    for dataset, (_, reason) in CASES.items():
        row = found[f"{dataset}: t"]
        assert (row["value"] == "") == bool(reason) and row["text"] == "" and reason in row["notes"]
    for text in ((out / "report.md").read_text(), (out / "report.tex").read_text(), printed(results, "cases")):
        for _, reason in CASES.values():
            assert reason in " ".join(text.split()), reason
    for path in out.iterdir():
        if path.suffix in (".csv", ".json", ".md", ".tex"):
            assert not re.search(r"(?<![\w.])[-+]?(nan|inf)(?![\w.:])", path.read_text()), path.name


def test_terminal_shows_tags_and_reasons(results: Path) -> None:
    text = " ".join(terminal.table(tables(results)["cells"]).split())
    assert "n=2/3" in text and "1/2 classes" in text and "no P-value: zero variance over seeds." in text
