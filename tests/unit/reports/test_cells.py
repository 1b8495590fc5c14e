"""The table of all cells, whole and in every format: means, deviations, ranks, tests and footnotes, by hand."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest

from refers_bench.render import html, latex, markdown, spreadsheet, structured, terminal
from refers_bench.render.page import Page, Section
from refers_bench.render.table import Table
from refers_bench.reports import cells, classes

CLASSES = ("normal", "opacity")
NO_VALUE = "\N{EN DASH}"


@pytest.fixture
def full(folder: Any) -> Any:
    """Two rows with two seeds and one with one of two; with a tenth of the labels one seed each, a class without AUC.

    REFERS: 80 and 84, so 82 and an SD of sqrt(2 * 2**2) = 2.83; C2L: 75 and 76, so 75.5 and sqrt(2 * 0.5**2) = 0.71.
    t = 6.5 / sqrt((8 + 0.5) / 2) = 3.153 with 2 degrees of freedom: P = 1 - t / sqrt(t**2 + 2) = 0.0876.
    """
    for seed, (ours, other) in enumerate(((0.80, 0.75), (0.84, 0.76))):
        notes = ["pre-trained on 5 % of the reports"]
        folder.cell("refers", seed=seed, aucs=dict.fromkeys(CLASSES, ours), label="REFERS", footnotes=notes)
        folder.cell("c2l", seed=seed, aucs=dict.fromkeys(CLASSES, other), label="C2L")
    folder.cell("imagenet", seed=0, aucs=dict.fromkeys(CLASSES, 0.9))
    folder.cell("imagenet", seed=1, state="missing")
    for method, label, auc in (("refers", "REFERS", 0.7), ("c2l", "C2L", 0.71)):
        folder.cell(method, ratio=0.1, aucs={"normal": auc, "opacity": None}, label=label, synthetic=True)
    folder.cell("imagenet", ratio=0.1, state="failed", synthetic=True)
    return folder.load()


NOTES = {
    "a": "pre-trained on 5 % of the reports.",
    "b": "n=1: one seed, no standard deviation.",
    "c": "1/2 classes: the others have no AUC on the test images (no positive or no negative image).",
    "d": "n=1/2: incomplete (not run yet); not ranked, not tested.",
    "e": "failed: nan.",
    "f": (
        "Independent two-sample t-test, pooled variance, two-sided, on mean class AUCs, column by column. covid19_idc: "
        "viral_vs_bacterial, 100 % of labels: against C2L, n = 2 and 2 seeds, df = 2. Best of the complete rows; without "
        "imagenet. covid19_idc: viral_vs_bacterial (synthetic), 10 % of labels: no P-value: needs at least two seeds "
        "each, has 1 and 1."
    ),
}
NOTES_IN_LATEX = {mark: re.sub("([%_])", r"\\\1", text) for mark, text in NOTES.items()}
CAPTION = "Partly synthetic data. Manifest tiny: mean class AUC in per cent, mean ± SD over seeds; best in bold."


def test_on_a_terminal(full: Any) -> None:
    table = cells.build(full)
    assert isinstance(table, Table)
    assert terminal.table(table, width=1000).splitlines() == [
        CAPTION,
        "-------------------------------------------------------------------------------------",
        "                                          covid19_idc:        covid19_idc:",
        "                                          viral_vs_bacterial  viral_vs_bacterial",
        "                                                              (synthetic)",
        "Method                                    100 % of labels     10 % of labels",
        "-------------------------------------------------------------------------------------",
        "REFERS [a]                                *82.0 ± 2.8         70.0 1/2 classes [b,c]",
        "C2L                                       75.5 ± 0.7          *71.0 1/2 classes [b,c]",
        "imagenet                                  90.0 n=1/2 [d]      failed [e]",
        "-------------------------------------------------------------------------------------",
        f"P, REFERS against the best other row [f]  0.088               {NO_VALUE}",
        "-------------------------------------------------------------------------------------",
        *(f"{mark} {text}" for mark, text in NOTES.items()),
    ]


def test_in_markdown(full: Any) -> None:
    table = cells.build(full)
    assert isinstance(table, Table)
    lines = markdown.table(table).splitlines()
    assert lines[:9] == [
        f"**{CAPTION}**",
        "",
        r"| Method | covid19\_idc: viral\_vs\_bacterial<br>100 % of labels "
        r"| covid19\_idc: viral\_vs\_bacterial \(synthetic\)<br>10 % of labels |",
        "| --- | :-: | :-: |",
        "| REFERS<sup>a</sup> | **82.0** ± 2.8 | 70.0 1/2 classes<sup>b,c</sup> |",
        "| C2L | 75.5 ± 0.7 | **71.0** 1/2 classes<sup>b,c</sup> |",
        r"| imagenet | 90.0 n\=1/2<sup>d</sup> | failed<sup>e</sup> |",
        f"| P, REFERS against the best other row<sup>f</sup> | 0.088 | {NO_VALUE} |",
        "",
    ]
    plain = [re.sub(r"\\(.)", r"\1", line) for line in lines[9:]]
    assert plain == [line for mark, text in NOTES.items() for line in (f"<sup>{mark}</sup> {text}", "")][:-1]


def test_in_latex(full: Any) -> None:
    table = cells.build(full)
    assert isinstance(table, Table)
    lines = latex.table(table).splitlines()
    start = lines.index(r"\toprule")
    assert lines[:start] == [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\caption{" + CAPTION.replace("±", r"\textpm{}") + "}",
        r"\label{tab:cells}\smallskip",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        r"\begin{tabular}{lcc}",
    ]
    group = r"\multicolumn{1}{c}{\begin{tabular}[b]{@{}c@{}}covid19\_idc:\\viral\_vs\_bacterial"
    assert lines[start : start + 12] == [
        r"\toprule",
        rf" & {group}\end{{tabular}}}} & {group}\\(synthetic)\end{{tabular}}}} \\",
        r"\cmidrule(lr){2-2} \cmidrule(lr){3-3}",
        r"Method & 100 \% of labels & 10 \% of labels \\",
        r"\midrule",
        r"REFERS\textsuperscript{a} & \textbf{82.0} {\scriptsize$\pm$2.8} "
        r"& 70.0 {\scriptsize 1/2 classes}\textsuperscript{b,c} \tabularnewline",
        r"C2L & 75.5 {\scriptsize$\pm$0.7} & \textbf{71.0} {\scriptsize 1/2 classes}\textsuperscript{b,c} "
        r"\tabularnewline",
        r"imagenet & 90.0 {\scriptsize n=1/2}\textsuperscript{d} & failed\textsuperscript{e} \tabularnewline",
        r"\midrule",
        r"P, REFERS against the best other row\textsuperscript{f} & 0.088 & -- \tabularnewline",
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    assert lines[start + 12 :] == [
        "",
        r"\smallskip",
        *(rf"{{\footnotesize\raggedright \textsuperscript{{{mark}}} {NOTES_IN_LATEX[mark]}\par}}" for mark in NOTES),
        r"\end{table}",
    ]


def test_in_html(full: Any) -> None:
    table = cells.build(full)
    assert isinstance(table, Table)
    page = html.page(Page(title="t", sections=(Section(id="s", title="s", items=(table,)),)))
    body = page[page.index("<tbody") : page.index("</table>")]
    shown = [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]
    assert shown == [
        ["REFERSa", "82.0 ± 2.8", "70.0 1/2 classesb,c"],
        ["C2L", "75.5 ± 0.7", "71.0 1/2 classesb,c"],
        ["imagenet", "90.0 n=1/2d", "failede"],
        ["P, REFERS against the best other rowf", "0.088", NO_VALUE],
    ]
    assert re.findall(r"<b>(.*?)</b>", body) == ["82.0", "71.0"]
    assert re.findall(r'<td class="(.*?)"', body) == [
        "value best",
        "value",
        "value",
        "value best",
        "value",
        "failed",
        "p",
        "p",
    ]
    assert re.findall(r'<tbody class="(.*?)"', body) == ["ours", "test"]
    assert re.findall(r'title="(.*?)"', body) == [
        "2 of 2 seeds, 2 of 2 classes",
        "1 of 1 seeds, 1 of 2 classes",
        "2 of 2 seeds, 2 of 2 classes",
        "1 of 1 seeds, 1 of 2 classes",
        "1 of 2 seeds, 2 of 2 classes",
        "failed: nan",
        "no P-value: needs at least two seeds each, has 1 and 1",
    ]
    notes = re.findall(r'<div id="cells-note-(\d)"><sup>(.)</sup> (.*?)\n', page)
    assert [one[:2] for one in notes] == [(str(place), mark) for place, mark in enumerate(NOTES)]
    more = re.findall(r"<li>(.*?)</li>", page)
    assert [text for _, _, text in notes[:-1]] == list(NOTES.values())[:-1]
    assert " ".join((notes[-1][2], *more[-2:])) == NOTES["f"]
    links = re.findall(r'href="#(cells-note-\d)">(.)<', body)
    assert links == [(f"cells-note-{'abcdefg'.index(mark)}", mark) for mark in "abcbcdef"]


def test_in_csv_and_json(full: Any) -> None:
    table = cells.build(full)
    assert isinstance(table, Table)
    lines = list(csv.DictReader(spreadsheet.table(table).splitlines(keepends=True)))
    columns = ("row", "column", "value", "sd", "n", "n_2", "df", "test", "text", "tag", "best")
    nothing = ("", "", "", "", "", "", "")
    expected = [
        ("REFERS", "100 % of labels", 82.0, 8**0.5, "2", "", "", "", "", "", "1"),
        ("REFERS", "10 % of labels", 70.0, "", "1", "", "", "", "", "1/2 classes", "0"),
        ("C2L", "100 % of labels", 75.5, 0.5**0.5, "2", "", "", "", "", "", "0"),
        ("C2L", "10 % of labels", 71.0, "", "1", "", "", "", "", "1/2 classes", "1"),
        ("imagenet", "100 % of labels", 90.0, "", "1", "", "", "", "", "n=1/2", "0"),
        ("imagenet", "10 % of labels", *nothing[:6], "failed", "", "0"),
        (
            "P, REFERS against the best other row",
            "100 % of labels",
            1 - 3.15296 / (3.15296**2 + 2) ** 0.5,
            "",
            "2",
            "2",
            "2",
            "independent two-sample t-test, pooled variance",
            "",
            "",
            "0",
        ),
        ("P, REFERS against the best other row", "10 % of labels", *nothing[:6], "", "", "0"),
    ]
    found = [
        tuple(float(line[name]) if name in ("value", "sd") and line[name] else line[name] for name in columns)
        for line in lines
    ]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == tuple(pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for value in other)
    assert [line["block"] for line in lines] == ["ours"] * 6 + ["test"] * 2
    # Of the row first, then of the cell.
    assert lines[1]["notes"] == f"{NOTES['a']}; {NOTES['b']}; {NOTES['c']}" and lines[5]["notes"] == NOTES["e"]

    page = Page(title="t", sections=(Section(id="s", title="s", items=(table,)),))
    written = json.loads(structured.page(page, cells=(), classes=()))["sections"][0]["tables"][0]
    assert written["footnotes"] == NOTES and written["caption"] == CAPTION and written["stub"] == "Method"
    assert [(row["title"], row["block"], row["footnotes"]) for row in written["rows"]] == [
        ("REFERS", "ours", ["a"]),
        ("C2L", "ours", []),
        ("imagenet", "ours", []),
        ("P, REFERS against the best other row", "test", ["f"]),
    ]
    flat = [cell for row in written["rows"] for cell in row["cells"]]
    assert [cell["footnotes"] for cell in flat] == [[], ["b", "c"], [], ["b", "c"], ["d"], ["e"], [], []]
    assert [cell["best"] for cell in flat] == [True, False, False, True, False, False, False, False]
    assert [cell["kind"] for cell in flat] == ["value"] * 5 + ["failed", "p", "p"]
    assert [cell["sd"] is None for cell in flat] == [False, True, False, True, True, True, True, True]


def test_class_by_class(full: Any) -> None:
    first, second = (terminal.table(table, width=1000).splitlines() for table in classes.build(full))
    assert first == [
        "AUC of each class in per cent, covid19_idc: viral_vs_bacterial, 100 % of labels; "
        "mean ± SD over seeds, best in bold.",
        "--------------------------------------------------------------------",
        "         test images         AUC",
        "Class    positive  negative  REFERS       C2L         imagenet",
        "--------------------------------------------------------------------",
        "normal   5         7         *82.0 ± 2.8  75.5 ± 0.7  90.0 n=1/2 [a]",
        "opacity  5         7         *82.0 ± 2.8  75.5 ± 0.7  90.0 n=1/2 [a]",
        "--------------------------------------------------------------------",
        "a n=1/2: incomplete; not ranked.",
    ]
    assert second == [
        "Synthetic data. AUC of each class in per cent, covid19_idc: viral_vs_bacterial, 10 % of labels; "
        "mean ± SD over seeds, best in bold.",
        "----------------------------------------------------",
        "         test images         AUC",
        "Class    positive  negative  REFERS  C2L    imagenet",
        "----------------------------------------------------",
        f"normal   5         7         70.0    *71.0  {NO_VALUE} [a]",
        f"opacity  0         7         {NO_VALUE} [b]   {NO_VALUE} [b]  {NO_VALUE} [a]",
        "----------------------------------------------------",
        "a no finished seed.",
        "b no AUC: no positives on the test images.",
    ]
