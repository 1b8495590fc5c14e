"""What every report plug-in must do. New files are picked up by their name."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from explained_cells import explain
from refers_bench import plugins
from refers_bench.analysis.results import Results, load
from refers_bench.contracts.reports import *  # noqa: F403
from refers_bench.contracts.reports import LABELS, REPORTS, cells_of, imported_runs, rendered
from refers_bench.jobs.imports.predictions import publish
from refers_bench.render import html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.figure import Figure, draw
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Table
from refers_bench.reporting import page as _page
from refers_bench.store import frozen_plan, schemas
from results_folder import Folder


def digests(results: Path, name: str) -> dict[str, dict[str, str]]:
    """Report -> file -> SHA-256 of what it writes about a manifest that is loaded here."""
    loaded = load(results, name)
    return {
        report: {file: hashlib.sha256(content).hexdigest() for file, content in rendered(loaded, report).items()}
        for report in REPORTS
    }


def test_private_modules_are_no_plug_ins() -> None:
    assert {"table1", "table2", "table3", "cells"} <= set(REPORTS)
    assert not any(name.startswith("_") for name in REPORTS)


@pytest.fixture(scope="module")
def rich_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Results folder and manifest that every report has something to say about.

    Three rows with predictions of three seeds at two label ratios (one with crossed seeds), a release beside them, a
    pre-training with losses, explained cells, a cell with folds, one with logits and an index, settings that differ, a
    failed cell, candidates of tuning, a frozen plan, columns that are not primary. A report that shows what is not here needs it added here.
    """
    folder = Folder(tmp_path_factory.mktemp("rich"))
    runs = imported_runs()
    more: dict[str, Any] = {"title": "", "results": folder.results, "command": "c"}
    publish(runs[:9:3], name="refers-release", origin="released", **more)
    publish(runs, name=folder.name, origin="imported", tables=("table1", "table2", "table3"), **more)
    imported = asdict(load(folder.results, folder.name).plan)
    cells = [{**cell, "floor": cell["method"] == "transvw"} for cell in imported["cells"]]
    # One of the crossed seeds varies, so that the runs are independent and are tested, too.
    cells = [{**cell, "crossed": [cell["seed"], 0, 0] if cell["label_ratio"] < 1 else []} for cell in cells]
    folder.lock = {**imported, "jobs": list(imported["jobs"]), "cells": cells, "version": 1}
    folder.lock["values"] = {
        "finetune.steps": {"value": 77, "origin": "manifest", "stated": False, "overridden": True},
        "finetune.optimizer": {"value": "sgd", "origin": "manifest", "stated": True, "overridden": True},
    }
    folder.job("pre", kind="pretrain")
    folder.done("pre", kind="pretrain", peak_mem_bytes=3 * 2**30)
    losses = {name: [1.5 / (n + 1) for n in range(1200)] for name in ("loss/total", "loss/a", "loss/b", "val/loss")}
    folder.history("pre", losses)
    folder.cell("refers", dataset="covid19_idc", task="covid19_vs_other", state="failed")
    explained = folder.cell("refers", dataset="nih_chestxray14", task="findings", aucs={"Mass": 0.7, "Hernia": None})
    folder.history(explained, {"loss/total": [0.9, 0.5, 0.4]})
    _described(folder, explained)
    explain(folder, explained, name="refers.s0", iou={"class": [0.2, 0.4, 0.6, 0.0, 0.1, 0.5]})
    crossed = folder.cell("refers", dataset="shenzhen_tb", task="tuberculosis", state="missing", folds=3)
    auc = {"auc": [0.7, None, 0.8], "mean": 0.75, "sd": 0.07, "undefined": [1], "pooled": 0.74}
    folder.done(crossed, {"Tuberculosis": 0.74}, kind="out_of_fold", facts={"folds": {"Tuberculosis": auc}})
    for steps, aucs in (("5", {"Mass": 0.7, "Hernia": 0.6}), ("9", {"Mass": 0.8, "Hernia": 0.7})):
        where: dict[str, Any] = {"dataset": "openi", "task": "mesh12", "candidate": [f"finetune.steps={steps}"]}
        folder.cell("refers", aucs=aucs, **where)
    folder.lock["manifest"] = {"analysis": {"columns": [{"dataset": "vinbigdata_cxr", "label_ratios": [1.0]}]}}
    frozen = frozen_plan.of(folder.load().plan, at="2026-01-02T03:04:05+00:00", program="refers-bench")
    frozen_plan.write(frozen, frozen_plan.path_of(folder.results, folder.name))
    return folder.save(), folder.name


def _described(folder: Folder, key: str) -> None:
    """Logits of a cell's classes on 200 images of as many patients, of whom an index knows sex, age and view."""
    ids, rng = [f"d{n:03}" for n in range(200)], np.random.default_rng(2)
    labels = np.stack([np.arange(200) % 3 == 0, np.zeros(200)], axis=1).astype(int)
    frame = pd.DataFrame(
        {
            "image_id": np.repeat(ids, 2),
            "patient_id": np.repeat([f"p{n:03}" for n in range(200)], 2),
            "class": ["Mass", "Hernia"] * 200,
            "label": labels.ravel(),
            "logit": (labels + rng.normal(size=labels.shape)).ravel(),
            "split": "test",
        }
    ).astype({"label": "Int8", "logit": "float32"})
    schemas.write(folder.results / "store" / key / "predictions.parquet", frame, "predictions")
    known = {"about:sex": rng.choice(["M", "F"], 200), "about:age": rng.choice([30.0, 70.0], 200)}
    index = pd.DataFrame({"image_id": ids, "view": rng.choice(["PA", "AP"], 200), **known})
    (folder.results / "store" / ("p" * 20)).mkdir()
    index.to_parquet(folder.results / "store" / ("p" * 20) / "index.parquet", index=False)


def test_labels_and_ids_are_distinct(rich: Results) -> None:
    labels = [plugins.load("report", name).label for name in REPORTS]
    assert len(set(labels)) == len(labels)
    ids = [item.id for name in REPORTS for item in _page.items(rich, (name,))]
    # `items` refuses an id that two reports take.
    assert sorted(ids) == sorted(item.id for item in _page.items(rich)) and len(set(ids)) == len(ids)


#: Runs in another process, where folders are listed in another order.
ELSEWHERE = """
import contextlib, importlib.util, json, os, random, sys
from pathlib import Path

listed, scanned, order = os.listdir, os.scandir, random.Random(5)


class Scanned(list, contextlib.AbstractContextManager):
    def __exit__(self, *error):
        pass


def shuffled(found):
    return order.sample(found, len(found))


os.listdir = lambda *path: shuffled(listed(*path))
os.scandir = lambda *path: Scanned(shuffled(list(scanned(*path))))
spec = importlib.util.spec_from_file_location("contract", sys.argv[1])
contract = importlib.util.module_from_spec(spec)
spec.loader.exec_module(contract)
print(json.dumps(contract.digests(Path(sys.argv[2]), sys.argv[3])))
"""


def test_writes_the_same_bytes_in_another_process(
    rich_folder: tuple[Path, str], written: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """With another seed of hashes, files made and listed in another order, and nothing computed beforehand."""
    results, name = rich_folder
    files = [path.relative_to(results) for path in sorted(results.rglob("*")) if path.is_file()]
    random.Random(3).shuffle(files)
    for path in files:
        if path.parts[0] not in ("statistics", "integrity"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(results / path, tmp_path / path)
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ELSEWHERE, __file__, str(tmp_path), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = {
        report: {file: hashlib.sha256(content).hexdigest() for file, content in files.items()}
        for report, files in written.items()
    }
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_the_results_of_these_tests_fill_the_reports_of_numbers(rich: Results) -> None:
    """What the contract checks is there: else it would pass on empty tables."""
    filled = {name for name in REPORTS if any(cell.numbers for _, _, cell in cells_of(rich, name))}
    assert filled >= {
        "against_published", "attention", "cells", "claims", "class_tests", "classes", "deviations", "failures",
        "aggregates", "floors", "integrity", "operating", "pretraining",
        "references", "runs", "significance", "subgroups", "table1", "test_images", "variance",
    }  # fmt: skip


# Stores that lack something.


def _predictions(folder: Any, key: str, *, shift: int = 0) -> None:
    """Scores of two classes on 40 images: a run with an AUC of 1 for either class, or of less where they are shifted."""
    rows = [
        {
            "image_id": f"i{image:02}",
            "patient_id": f"p{image // 2}",
            "class": name,
            "split": "test",
            "label": int((image + place) % 3 == 0),
            "logit": float((image + place + shift) % 3 == 0) + image / 100,
        }
        for image in range(40)
        for place, name in enumerate(("normal", "opacity"))
    ]
    frame = pd.DataFrame(rows).astype({"label": "Int8", "logit": "float32"})
    schemas.write(folder.results / "store" / key / "predictions.parquet", frame, "predictions")


def _rows(folder: Any, methods: tuple[str, ...] = ("refers", "c2l"), seeds: int = 3, **more: Any) -> list[str]:
    """Cells of some methods and seeds; AUCs differ from one to the next. Keys of those that are done."""
    keys = []
    for place, method in enumerate(methods):
        for seed in range(seeds):
            aucs = {"normal": 0.8 - place / 10 + seed / 50, "opacity": 0.7 - place / 20 - seed / 70}
            keys.append(folder.cell(method, seed=seed, **{"aucs": aucs, **more}))
    return keys


def _empty(folder: Any) -> None:
    folder.lock["cells"] = []


def _planned(folder: Any) -> None:
    _rows(folder, state="missing")


def _failed(folder: Any) -> None:
    for key in _rows(folder, state="missing"):
        folder.failed(key, "oom", message="out of memory", attempts=2)


def _unavailable(folder: Any) -> None:
    _rows(folder, state="unavailable", reason="needs a licence")


def _one_seed(folder: Any) -> None:
    for key in _rows(folder, seeds=1):
        _predictions(folder, key, shift=key.startswith("c2l"))


def _without_predictions(folder: Any) -> None:
    _rows(folder)


def _undefined(folder: Any) -> None:
    _rows(folder, aucs={"normal": None, "opacity": None})


def _one_undefined(folder: Any) -> None:
    for place, method in enumerate(("refers", "c2l")):
        for seed in range(3):
            folder.cell(method, seed=seed, aucs={"normal": 0.6 + seed / 50 + place / 10, "opacity": None})


def _some_seeds(folder: Any) -> None:
    _rows(folder, seeds=2)
    for method in ("refers", "c2l"):
        folder.cell(method, seed=2, state="missing")


def _alone(folder: Any) -> None:
    _rows(folder, ("refers",))


def _floor(folder: Any) -> None:
    """Three rows of one seed, the last of them a floor."""
    for key in _rows(folder, seeds=1):
        _predictions(folder, key)
    _predictions(folder, folder.cell("pixels", floor=True), shift=1)


def _without_spread(folder: Any) -> None:
    folder.seeds("refers", [0.8, 0.8, 0.8])
    folder.seeds("c2l", [0.7, 0.71, 0.72])


def _without_history(folder: Any) -> None:
    folder.job("pre", kind="pretrain")
    folder.done("pre", kind="pretrain")
    _rows(folder, needs=["pre"])


def _needs_failed(folder: Any) -> None:
    folder.job("pre", kind="pretrain")
    folder.failed("pre", "oom", message="out of memory", attempts=3)
    _rows(folder, state="missing", needs=["pre"])


def _synthetic(folder: Any) -> None:
    for key in _rows(folder, dataset="phantom", task="findings", synthetic=True):
        _predictions(folder, key, shift=key.startswith("c2l"))


def _unexplained(folder: Any) -> None:
    """Explanations that were asked for, and none of them done."""
    key = _rows(folder, dataset="nih_chestxray14", task="findings")[0]
    explain(folder, key, name="refers.s0", iou={"class": [0.2, 0.4]})
    shutil.rmtree(folder.results / "store" / f"l-{key}")


#: Reports of today; what others make of these stores is checked, but not whether they have something to say.
TODAY = frozenset(
    [
        "against_published",
        "attention",
        "cells",
        "claims",
        "class_tests",
        "classes",
        "deviations",
        "failures",
        "figure_attention",
        "figure_auc",
        "figure_classes",
        "figure_forest",
        "figure_losses",
        "figure_ranks",
        "figure_ratio",
        "figure_roc",
        "floors",
        "integrity",
        "pretraining",
        "references",
        "runs",
        "significance",
        "table1",
        "table2",
        "table3",
        "test_images",
    ]
)
#: On a target of the paper: which cells are there, and what the paper says.
PAPER = {"cells", "claims", "references"}
DONE = PAPER | {"classes", "integrity", "runs"}
DRAWN = DONE | {"figure_auc", "figure_classes"}
OVER_IMAGES = {"figure_forest", "figure_roc", "test_images"}
OVER_SEEDS = {"class_tests", "significance"}
#: Store -> reports of today that have something to say, words among theirs, whether figures have an SD, and whether
#: there is a t-test (of the published figures, too).
STORES: dict[Callable[[Any], None], tuple[set[str], tuple[str, ...], bool, bool]] = {
    _empty: (set(), (), False, False),
    _planned: (
        PAPER | {"failures"},
        ("not run yet.", "no P-value: no baseline is complete.", "Cells without a figure: 6 of 6.", "seeds 0, 1, 2"),
        False,
        False,
    ),
    _failed: (
        PAPER | {"failures"},
        ("failed: oom.", "out of memory", "Cells without a figure: 6 of 6.", "no P-value: no baseline is complete."),
        False,
        False,
    ),
    _unavailable: (
        PAPER | {"failures"},
        ("n/a", "needs a licence.", "Not available here, reasons in the footnotes: refers, c2l.", "6 of 6."),
        False,
        False,
    ),
    _one_seed: (
        DRAWN | OVER_IMAGES,
        ("n=1: one seed, no standard deviation.", "no P-value: needs at least two seeds each, has 1 and 1."),
        False,
        False,
    ),
    _without_predictions: (
        DRAWN | OVER_SEEDS,
        ("df = 4.", "Integrity of the stored test predictions: 0 findings."),
        True,
        True,
    ),
    _undefined: (
        DONE | {"failures"},
        ("no class has an AUC: no positives.", "no AUC: no positives on the test images.", "undefined", "6 of 6."),
        False,
        False,
    ),
    _one_undefined: (
        DONE | OVER_SEEDS | {"figure_auc"},
        (
            "1/2 classes: the others have no AUC on the test images (no positive or no negative image).",
            "no P-value: the class has an AUC in 0 of 3 seeds.",
        ),
        True,
        True,
    ),
    _some_seeds: (
        DRAWN | {"failures"},
        (
            "n=2/3: incomplete (not run yet); not ranked, not tested.",
            "n=2/3: incomplete; not ranked.",
            "no P-value: no baseline is complete.",
            "no P-value: only 2 of 3 seeds are there.",
            "Cells without a figure: 2 of 6.",
        ),
        True,
        False,
    ),
    _alone: (DRAWN, (), True, True),
    _floor: (
        DRAWN | OVER_IMAGES | {"floors"},
        ("best floor", "better than the best floor", "reached without looking at anatomy"),
        False,
        False,
    ),
    _without_spread: (DRAWN | {"class_tests"}, ("no P-value: zero variance over seeds.",), True, True),
    _without_history: (DRAWN | OVER_SEEDS, (), True, True),
    _needs_failed: (PAPER | {"failures"}, ("pretrain failed: oom.", "out of memory", "6 of 6."), False, False),
    _synthetic: (
        (DRAWN | OVER_IMAGES | OVER_SEEDS) - {"claims", "references"},
        ("Synthetic data. ", "(synthetic)", "synthetic: procedural radiographs, not patients'."),
        True,
        True,
    ),
    _unexplained: (
        DRAWN | OVER_SEEDS | {"against_published"},
        ("chosen on test images: ", "not comparable", "our split is unknown"),
        True,
        True,
    ),
}


@pytest.fixture(scope="module", params=STORES, ids=lambda store: store.__name__.strip("_"))
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Results]:
    folder = Folder(tmp_path_factory.mktemp("store"))
    (folder.results / "store").mkdir(parents=True)
    request.param(folder)
    return request.param, folder.load()


def _texts(item: Table | Figure) -> Iterator[str]:
    """Everything that a reader reads of a table; of a figure its caption and its names."""
    yield item.caption
    if isinstance(item, Figure):
        yield item.note
        for panel in item.panels:
            yield from (panel.title, *panel.sides, *panel.y_names, *(series.label for series in panel.series))
        return
    yield from (*item.notes, *(note.full for note in item.footnotes()))
    for column in item.columns:
        yield from (column.group, column.title, column.subtitle)
    for row in item.rows:
        yield from (row.title, *(f"{cell.figure} {cell.spread} {cell.tag}" for cell in row.cells))


def test_says_what_is_missing_and_shows_no_figure_of_it(store: tuple[Any, Results]) -> None:
    make, results = store
    yields, words, spread, tested = STORES[make]
    built = {name: _page.items(results, (name,)) for name in REPORTS}
    assert {name for name, items in built.items() if items and name in TODAY} == yields
    items = [item for several in built.values() for item in several]
    texts = [text for item in items for text in _texts(item)]
    for word in words:
        assert any(word in text for text in texts), f"nothing says '{word}'"
    assert not [text for text in texts if re.search(r"\b([Nn]a[Nn]|[Ii]nf|None)\b(?! scores)", text)]
    cells = [cell for item in items if isinstance(item, Table) for row in item.rows for cell in row.cells]
    assert any(cell.sd is not None for cell in cells) == spread
    assert any("t-test" in cell.test for cell in cells) == tested
    for item in items:
        page = Page(title="t", sections=(Section(id="s", title="s", items=(item,)),))
        if isinstance(item, Table):
            assert all(item.caption.split()[0] in text for text in (latex.table(item), markdown.table(item)))
            assert terminal.table(item) and html.page(page)
            # One line a cell, and the head; texts may hold line breaks.
            lines = list(csv.reader(spreadsheet.table(item).splitlines(keepends=True)))
            assert len(lines) == 1 + len(item.rows) * len(item.columns)
        else:
            values = [
                value
                for panel in item.panels
                for one in panel.series
                for value in (*one.x, *one.y, *one.low, *one.high)
            ]
            assert values and all(map(math.isfinite, values)), f"'{item.id}' draws what is no number"
            if make in (_one_seed, _some_seeds, _one_undefined):
                assert draw(item).startswith(b"<?xml")
        assert json.loads(structured.page(page, cells=(), classes=()))
    if make is _synthetic:
        said = [item.id for item in items if item.caption.startswith("Synthetic data. ")]
        assert set(said) == {item.id for item in items} - {"cost", "environments"}


# Content: counts and figures of the rich results are those of their files.


def _expected_aucs(results: Results) -> dict[tuple[str, float], list[dict[str, float]]]:
    """(row, label ratio) of the imported runs -> scikit-learn's AUC of each class in per cent, seed by seed."""
    found: dict[tuple[str, float], list[dict[str, float]]] = {}
    from sklearn.metrics import roc_auc_score

    for cell in results.plan.cells:
        if cell.dataset == "vinbigdata_cxr":
            frame = pd.read_parquet(results.store / cell.key / "predictions.parquet")
            aucs = {name: 100 * roc_auc_score(some["label"], some["logit"]) for name, some in frame.groupby("class")}
            found.setdefault((cell.method, cell.label_ratio), []).append(aucs)
    return found


def test_figures_and_counts_are_those_of_the_files(rich: Results) -> None:
    tables = {item.id: item for item in _page.items(rich) if isinstance(item, Table)}
    drawn = {item.id: item for item in _page.items(rich) if isinstance(item, Figure)}
    aucs = _expected_aucs(rich)
    names = ["refers", "model_genesis", "transvw"]
    means = {where: [float(np.mean(list(seed.values()))) for seed in seeds] for where, seeds in aucs.items()}

    def shown(table: Table, column: int) -> list[tuple[str, Any, Any, tuple[int, ...]]]:
        return [(row.title, row.cells[column].value, row.cells[column].sd, row.cells[column].n) for row in table.rows]

    def expected(ratio: float) -> list[tuple[str, Any, Any, tuple[int, ...]]]:
        some = [means[name, ratio] for name in names]
        return [
            (name, pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)), (3,))
            for name, values in zip(names, some, strict=True)
        ]

    cells = tables["cells"]
    assert [(column.group, column.title) for column in cells.columns] == [
        ("vinbigdata_cxr: findings", "100 % of labels"),
        ("vinbigdata_cxr: findings", "10 % of labels"),
        ("covid19_idc: covid19_vs_other", "100 % of labels"),
        ("nih_chestxray14: findings", "100 % of labels"),
        ("shenzhen_tb: tuberculosis, 3 folds", "100 % of labels"),
        ("openi: mesh12", "100 % of labels"),
    ]
    assert shown(cells, 0)[:3] == expected(1.0) and shown(cells, 1)[:3] == expected(0.1) and len(cells.rows) == 4
    assert shown(cells, 3)[0][1:] == (pytest.approx(70.0), None, (1,))
    for column in (0, 1):
        # The third row is a floor, and no competitor.
        best = max(range(2), key=lambda row: expected(1.0 if not column else 0.1)[row][1].expected)
        assert [row.cells[column].best for row in cells.rows[:3]] == [row == best for row in range(3)]

    classes = tables["classes-vinbigdata_cxr-findings-1"]
    counts = [
        (name, int(LABELS[:, k].sum()), int((1 - LABELS[:, k]).sum())) for k, name in enumerate(("Mass", "Nodule"))
    ]
    assert [(row.title, row.cells[0].value, row.cells[1].value) for row in classes.rows] == counts
    for place, method in enumerate(names):
        for row in classes.rows:
            seeds = [seed[row.title] for seed in aucs[method, 1.0]]
            cell = row.cells[2 + place]
            assert (cell.value, cell.sd) == (pytest.approx(np.mean(seeds)), pytest.approx(np.std(seeds, ddof=1)))

    paper = {row.title: row.cells for row in tables["table1"].rows}
    # Columns of NIH come first: 1 %, 10 %, 100 %; then those of VinBigData.
    for title, method in (("REFERS", "refers"), ("Model Genesis", "model_genesis"), ("TransVW", "transvw")):
        assert [cell.value for cell in paper[title][3:6]] == [
            None,
            pytest.approx(np.mean(means[method, 0.1])),
            pytest.approx(np.mean(means[method, 1.0])),
        ]
        released = paper[f"{title} (released files)"]
        assert [cell.value for cell in released] == [*[None] * 5, pytest.approx(means[method, 1.0][0]), *[None] * 3]

    cost = {row.title: [cell.figure for cell in row.cells] for row in tables["cost"].rows}
    assert {kind: cells[0] for kind, cells in cost.items()} == {
        "import": "18 of 18",
        "pretrain": "1 of 1",
        "finetune": "4 of 5",
    }
    assert cost["pretrain"][1:] == ["2.0 s", "2.0 s", "3.00 GiB"]
    assert tables["failures"].caption == "Cells without a figure: 1 of 22."
    assert [row.title for row in tables["pretraining"].rows] == ["pre", "pre: a", "pre: b"]
    # 1.5 / (n + 1) at n = 0 to 11, and at 1140 to 1199: 1 % and 5 % of 1,200.
    start, end = (sum(1.5 / (n + 1) for n in part) / len(part) for part in (range(12), range(1140, 1200)))
    for row, held_out in zip(tables["pretraining"].rows, ([1.5, 1.5 / 1200], [None] * 2, [None] * 2), strict=True):
        values = [1199, *map(pytest.approx, (start, end, 100 * end / start)), *held_out]
        assert [cell.value for cell in row.cells] == values
    assert [row.title for row in tables["deviations"].rows] == ["finetune.steps", "finetune.optimizer"]
    attention = tables["attention"].rows
    assert [row.title for row in attention] == [
        f"refers: class activation: {name}" for name in ("Mass", "Nodule <b>", "all classes")
    ]
    # Images 0, 2 and 4 are of Mass: 0.2, 0.6 and 0.1.
    assert [row.cells[4].value for row in attention] == [pytest.approx(one) for one in (0.3, 0.9 / 3, 1.8 / 6)]
    tested = tables["test-images"].rows
    assert len(tested) == 7 and {row.cells[5].figure for row in tested} == {"150 images", "200 patients"}
    assert [row.cells[0].value for row in tested[:3]] == [pytest.approx(np.mean(means[name, 1.0])) for name in names]
    assert [row.cells[3].value for row in tested[:3]] == [
        None,
        *(pytest.approx(np.mean(means["refers", 1.0]) - np.mean(means[name, 1.0])) for name in names[1:]),
    ]

    panel = drawn["figure-auc"].panels[0]
    assert panel.y_names == tuple(names)
    assert [(series.label, series.x) for series in panel.series] == [
        (name, pytest.approx(means[name, 1.0])) for name in names
    ]
    (ratio,) = drawn["figure-ratio"].panels
    assert [(series.x, series.y) for series in ratio.series] == [
        ((10.0, 100.0), pytest.approx([np.mean(means[name, share]) for share in (0.1, 1.0)])) for name in names
    ]
    losses = [*drawn["figure-losses-pretraining"].panels, *drawn["figure-losses"].panels]
    assert [(p.title, [s.label for s in p.series]) for p in losses] == [
        ("pre", ["loss/total", "val/loss", "loss/a", "loss/b"]),
        ("nih_chestxray14: findings, 100 % of labels", ["refers"]),
    ]
