"""Declares Table 2 of the paper: REFERS against label-supervised pre-training (LSP).

Source: Zhou et al., Nature Machine Intelligence 2022, Table 2.
"""

from __future__ import annotations

from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Table
from refers_bench.reporting import paper
from refers_bench.reporting.paper import PaperTable

DECLARATION = PaperTable(
    number=2,
    caption="REFERS against label-supervised pre-training.",
    columns=paper.ALL,
    rows=("REFERS", "LSP (Transformer)", "LSP (ConvNet)"),
    baselines=("LSP (Transformer)",),
    p_title="P, REFERS against LSP (Transformer)",
    published_p="REFERS vs LSP (Transformer)",
    remarks=("The paper tests against LSP (Transformer) in every column, also where LSP (ConvNet) is better.",),
)


def build(results: Results) -> Table | None:
    """Table 2, when the manifest asks for it."""
    return paper.build(results, DECLARATION)


REPORT = Report(label="Table 2", build=build, order=2)
