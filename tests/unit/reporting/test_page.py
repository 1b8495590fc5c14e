from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refers_bench.errors import UserError
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Table
from refers_bench.reporting import page
from refers_bench.reporting.page import FORMATS, printed, write

ROOT = Path(__file__).resolve().parents[3]


def _small(folder: Any) -> Path:
    folder.seeds("refers", [0.80, 0.82, 0.81], label="REFERS", synthetic=True)
    folder.seeds("scratch", [0.60, 0.63, 0.64], label="Random", synthetic=True)
    folder.cell("c2l", state="failed", label="C2L", synthetic=True)
    folder.history("refers+covid19_idc-viral_vs_bacterial-1-0", {"loss/total": [0.7, 0.6]})
    return folder.save()


def test_every_format_is_written_and_the_same_bytes_twice(folder: Any, tmp_path: Path) -> None:
    results = _small(folder)
    first = write(results, ["tiny"], FORMATS)
    assert {path.name for path in first} >= {"index.html", "cells.tex", "report.tex", "report.md", "cells.csv"}
    assert all(path.parent == results / "tiny" / "report" for path in first)
    second = write(results, ["tiny"], FORMATS, tmp_path / "again")
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_every_link_of_the_page_leads_somewhere_and_ids_are_unique(folder: Any, new_folder: Callable[..., Any]) -> None:
    _small(folder)
    other = new_folder("other")
    other.cell("refers", ratio=0.5)
    results = other.save()
    text = write(results)[0].read_text()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)) and set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_without_names_all_planned_manifests_are_on_one_page(folder: Any, new_folder: Callable[..., Any]) -> None:
    _small(folder)
    results = new_folder("other").save()
    written = write(results, None, ("html", "latex"))
    assert written[0] == results / "report" / "index.html" and "tiny-cells.tex" in {path.name for path in written}
    text = written[0].read_text()
    assert 'id="manifest-tiny"' in text and 'id="manifest-other"' in text


def test_the_page_says_what_a_reader_must_know(folder: Any) -> None:
    text = write(_small(folder), ["tiny"])[0].read_text()
    for part in ("Synthetic data", "6 of 7 cells", "Traceback:\n  loss is NaN", "refers-bench run ", "failed: nan"):
        assert part in text


def test_published_figures_can_be_left_out(folder: Any) -> None:
    folder.cell("row0")
    folder.cell("row2")
    results = folder.save()
    assert "(published)" in write(results, ["tiny"])[0].read_text()
    without = write(results, ["tiny"], published=False)[0].read_text()
    assert 'class="published"' not in without


def test_printed_tables(folder: Any) -> None:
    text = printed(_small(folder), "tiny")
    assert "Synthetic data. Manifest tiny" in text and "*81.0 ± 1.0" in text


@pytest.mark.parametrize(
    ("names", "formats", "message"),
    [
        (["tinny"], ("html",), "did you mean 'tiny'"),
        (["tiny"], ("htm",), "unknown format 'htm'; allowed: html, latex, markdown, csv, json; did you mean 'html'"),
    ],
)
def test_mistakes_are_named(folder: Any, names: list[str], formats: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        write(_small(folder), names, formats)


def test_nothing_planned(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no manifest has been planned here"):
        write(tmp_path)


def test_a_small_report_is_quick_and_imports_no_torch(folder: Any) -> None:
    code = (
        "import sys; from pathlib import Path; from refers_bench.reporting.page import write; "
        "write(Path(sys.argv[1]), ['tiny']); "
        "print([m for m in ('torch', 'torchvision', 'timm', 'transformers', 'scipy.stats') if m in sys.modules])"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, str(_small(folder))],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    # Processor time, since the machine may have much else to do; alone it takes 1.5 to 2.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 8


def test_a_second_report_reads_no_predictions_and_draws_nothing(folder: Any) -> None:
    """Of results that did not change."""
    rng = np.random.default_rng(3)
    labels = (rng.random((80, 2)) < 0.4).astype(int)
    for name, strength in {"refers": 1.5, "c2l": 1.0, "lsp": 0.5}.items():
        for ratio in (0.01, 1.0):
            scores = labels * strength + rng.normal(size=labels.shape)
            aucs = dict.fromkeys(("normal", "opacity"), 0.5 + strength / 4)
            folder.predict(folder.cell(name, ratio=ratio, aucs=aucs), labels, scores)
    results = folder.save()
    write(results, ["tiny"])
    page = (results / "tiny" / "report" / "index.html").read_bytes()
    assert b"figure-roc" in page and b"figure-ranks" in page
    code = (
        "import sys; from pathlib import Path; from refers_bench.analysis import predictions; "
        "predictions.read = None; from refers_bench.reporting.page import write; write(Path(sys.argv[1]), ['tiny']); "
        "print([m for m in ('matplotlib', 'scipy.stats', 'scipy.sparse') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(results)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
    assert (results / "tiny" / "report" / "index.html").read_bytes() == page


def test_style_paper_writes_the_main_tables_alone_and_style_full_stays(folder: Any, tmp_path: Path) -> None:
    results = _small(folder)
    full = write(results, ["tiny"], ("latex",), tmp_path / "full")
    paper = write(results, ["tiny"], ("latex",), tmp_path / "paper", style="paper")
    assert [path.name for path in paper] == ["cells.tex", "report.tex"]
    both = write(results, ["tiny"], ("csv", "latex"), tmp_path / "both", style="paper")
    assert {"cells.csv", "cells.tex"} <= {path.name for path in both}
    assert (tmp_path / "both" / "cells.tex").read_bytes() == paper[0].read_bytes()
    text = (tmp_path / "full" / "cells.tex").read_text()
    assert len(full) > 5 and r"\resizebox" in text and "bench" not in text.replace("refers-bench", "")


def test_style_paper_names_the_tables_of_several_manifests_apart(
    folder: Any, new_folder: Callable[..., Any], tmp_path: Path
) -> None:
    _small(folder)
    other = new_folder("other")
    other.cell("refers", ratio=0.5)
    written = write(other.save(), None, ("latex",), tmp_path, style="paper")
    assert [path.name for path in written] == ["other-cells.tex", "tiny-cells.tex", "report.tex"]
    assert r"{tab:tiny-cells}" in (tmp_path / "report.tex").read_text()


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"formats": ("latex",), "style": "papper"}, "unknown style 'papper'"),
        ({"formats": ("html",), "style": "paper"}, "--format latex --style paper"),
        ({"formats": ("latex",), "footnotes": False}, "only style 'paper' can leave out footnotes"),
    ],
)
def test_a_choice_that_no_format_heeds_is_refused(folder: Any, choice: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        write(_small(folder), ["tiny"], **choice)


def test_manifests_whose_names_run_together_have_files_of_their_own() -> None:
    def section(title: str, *ids: str) -> Section:
        items = tuple(Table(id=one, caption="c", stub="s", columns=(), rows=()) for one in ids)
        return Section(id=title, title=title, items=items)

    built = Page(title="t", sections=(section("a", "b-c", "x"), section("a-b", "c"), section("A", "x")))
    ids = [item.id for one in page._distinct(built).sections for item in one.items]
    assert len({one.casefold() for one in ids}) == 4 and ids[:2] == ["a-b-c", "a-x"]
