r"""Tables of style "paper" in articles of one and two columns: they compile, fit, and have no type below 7 pt.

The size of the type is read from the page itself: the PDF is not compressed, and each size that is set (`Tf`) is
multiplied by the scales (`cm`) in force there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command_line import command_in
from latex_compile import compiled
from results_folder import Folder

BARE = r"""\documentclass[%s]{article}
\pdfcompresslevel=0 \pdfobjcompresslevel=0
\usepackage{booktabs,graphicx}
\begin{document}
%s
\end{document}
"""
OWN = r"{\newcommand{\benchcaption}{My own words.}\newcommand{\benchlabel}{tab:own}\input{table1}} See \ref{tab:own}."
COLUMNS = (
    *(("nih_chestxray14", "findings", ratio) for ratio in (0.01, 0.1, 1.0)),
    *(("vinbigdata_cxr", "findings", ratio) for ratio in (0.01, 0.1, 1.0)),
    ("shenzhen_tb", "tuberculosis", 1.0), ("covid19_idc", "covid19_vs_other", 1.0),
    ("covid19_idc", "viral_vs_bacterial", 1.0),
)  # fmt: skip
NUMBER = rb"(-?[\d.]+)"
OPERATOR = re.compile(
    rb"(?<![^\s])(?:" + rb" ".join([NUMBER] * 4) + rb" -?[\d.]+ -?[\d.]+ cm|/F\d+ " + NUMBER + rb" Tf|([qQ]))(?=\s)"
)


def smallest_type(pdf: Path) -> float:
    """TeX points of the smallest type on any page."""
    sizes = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf.read_bytes(), re.DOTALL):
        if b" Tf" not in stream:
            continue
        scales = [1.0]
        for x, xy, yx, y, size, stack in OPERATOR.findall(stream):
            if stack == b"q":
                scales.append(scales[-1])
            elif stack == b"Q":
                scales.pop()
            elif size:
                sizes.append(float(size) * scales[-1])
            else:
                scales[-1] *= abs(float(x) * float(y) - float(xy) * float(yx)) ** 0.5
    return min(sizes) * 72.27 / 72


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All nine columns of Table 1: seeds, a seed that failed, one row with a long name."""
    folder = Folder(tmp_path_factory.mktemp("latex") / "results")
    for place, (name, label) in enumerate(
        {"refers": "REFERS", "c2l": "C2L", "model_genesis": "Model Genesis", "own": "a method of ours with a long name"}
        .items()
    ):  # fmt: skip
        for dataset, task, ratio in COLUMNS:
            for seed in range(3):
                folder.cell(
                    name, seed=seed, label=label, dataset=dataset, task=task, ratio=ratio,
                    aucs={"x": 0.9 - 0.1 * place + 0.003 * seed**2 + 0.01 * ratio * place},
                    state="failed" if (place, seed, ratio) == (2, 1, 0.1) else "done",
                )  # fmt: skip
    folder.lock["tables"] = ["table1"]
    return folder.save()


@pytest.mark.parametrize("choice", [[], ["--no-footnotes", "--no-published"]], ids=["whole", "bare"])
@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn", "twocolumn,11pt"])
def test_no_type_is_smaller_than_7_pt(results: Path, tmp_path: Path, columns: str, choice: list[str]) -> None:
    done = command_in(
        results, "report", "tiny", "--format", "latex", "--style", "paper", "--out", str(tmp_path), *choice
    )
    assert done.code == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {"table1.tex", "report.tex"}
    text = (tmp_path / "table1.tex").read_text()
    assert r"\textbf{" in text and r"\benchsd{" in text and r" \times 10^{-" in text
    assert (r"\textsuperscript" in text, "(published)" in text) == ((False, False) if choice else (True, True))
    (tmp_path / "bare.tex").write_text(BARE % (columns, OWN + "\n\n" + r"\input{table1} See \ref{tab:table1}."))
    log = compiled(tmp_path, "bare.tex", times=2)
    assert not re.findall(r"Overfull \\hbox.*|.*Float too large.*|.*undefined.*|.*multiply.*", log)
    assert smallest_type(tmp_path / "bare.pdf") >= 7 - 0.01
    assert "My own words." in (tmp_path / "bare.aux").read_text()
    compiled(tmp_path, "report.tex", times=2)


def test_the_measure_sees_scaled_type(results: Path, tmp_path: Path) -> None:
    done = command_in(results, "report", "tiny", "--format", "latex", "--out", str(tmp_path))
    assert done.code == 0, done.err
    (tmp_path / "bare.tex").write_text(BARE % ("onecolumn", r"\input{table1}"))
    compiled(tmp_path, "bare.tex", times=2)
    assert smallest_type(tmp_path / "bare.pdf") < 5
