"""Every table compiles by pdflatex in a bare article, whatever the names, and fits the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from latex_compile import compiled
from refers_bench.reporting import page
from results_folder import Folder

BARE = r"""\documentclass{article}
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""
#: What a table defines is gone before the next one.
ALONE = r"{\input{%s}}\clearpage"
NAMES = (
    "REFERS", "<script>alert(1)</script>", "50%_$x& #~^\\{}", r"\input{/etc/passwd}", "\u05e9\u05dc\u05d5\u05dd",
    "\u80f8\u90e8 \U0001f480 \u0301", "n" * 200, "=1+1", "\x1b[31mred\x07",
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of Table 1 with hostile rows, failures, missing seeds and undefined classes; every LaTeX file of it."""
    folder = Folder(tmp_path_factory.mktemp("latex") / "results")
    for place, name in enumerate(("refers", "c2l", "model_genesis", *(f"row-{n}" for n in range(6)))):
        for dataset, task, ratio in (
            ("nih_chestxray14", "findings", 0.01), ("vinbigdata_cxr", "findings", 1.0),
            ("shenzhen_tb", "tuberculosis", 1.0), ("covid19_idc", "viral_vs_bacterial", 1.0),
        ):  # fmt: skip
            for seed in range(3):
                state = ("failed", "missing", "unavailable")[place % 3] if (place + seed) % 4 == 3 else "done"
                aucs = {
                    "Nodule/Mass_50%": 0.7 + 0.01 * seed - 0.02 * place,
                    r"\b{": None if (place, ratio) == (4, 0.01) else 0.6,
                }
                folder.cell(
                    name, seed=seed, label=NAMES[place], dataset=dataset, task=task, ratio=ratio, aucs=aucs,
                    state=state, footnotes=(f"a {NAMES[place]} note",),
                )  # fmt: skip
    folder.lock["tables"] = ["table1", "table2", "table3"]
    folder.lock["title"] = " ".join(NAMES)
    page.write(folder.save(), ["tiny"], ("latex",))
    return Path(folder.results) / "tiny" / "report"


def test_the_whole_report_compiles(report: Path) -> None:
    log = compiled(report, "report.tex")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(wide, default=0) < 20
    assert (report / "report.pdf").stat().st_size > 20_000


def test_the_tables_of_style_paper_compile(report: Path, tmp_path: Path) -> None:
    page.write(report.parents[1], ["tiny"], ("latex",), tmp_path, style="paper")
    log = compiled(tmp_path, "report.tex")
    assert {path.stem for path in tmp_path.glob("*.tex")} == {"table1", "table2", "table3", "report"}
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)]
    assert max(wide, default=0) < 20 and "Float too large" not in log


def test_each_table_compiles_in_a_bare_article(report: Path) -> None:
    tables = sorted(path for path in report.glob("*.tex") if path.name != "report.tex")
    assert {"table1", "table2", "cells", "significance", "failures", "claims"} <= {path.stem for path in tables}
    (report / "bare.tex").write_text(BARE % "\n".join(ALONE % path.stem for path in tables))
    log = compiled(report, "bare.tex")
    for path in tables:
        assert f"(./{path.stem}.tex" in log.replace("\n", ""), "a table was not read"  # lines are wrapped
        assert "root:" not in path.read_text()
    wide = re.findall(r"Overfull \\hbox \(([\d.]+)pt.*", log)
    assert max(map(float, wide), default=0) < 20, re.findall(r"Overfull.*", log)
