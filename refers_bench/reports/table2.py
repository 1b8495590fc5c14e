"""Declares Table 2 of the paper: REFERS against label-supervised pre-training (LSP).

Source: Zhou et al., Nature Machine Intelligence 2022, Table 2.
"""

from functools import partial

from refers_bench.plugins import Report
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


#: Table 2, when the manifest asks for it.
build = partial(paper.build, declaration=DECLARATION)
REPORT = Report(label="Table 2", build=build, order=2)
