"""Declares Table 1 of the paper: REFERS against pre-training without reports.

Source: Zhou et al., Nature Machine Intelligence 2022, Table 1.
"""

from functools import partial

from refers_bench.plugins import Report
from refers_bench.reporting import paper
from refers_bench.reporting.paper import PaperTable

BASELINES = ("Model Genesis", "C2L", "Context Restoration", "TransVW", "ImageNet pre-training")
DECLARATION = PaperTable(
    number=1,
    caption="REFERS against self-supervised and ImageNet pre-training.",
    columns=paper.ALL,
    rows=("REFERS", *BASELINES),
    baselines=BASELINES,
    p_title="P, REFERS against the best baseline",
    published_p="REFERS vs best baseline",
)


#: Table 1, when the manifest asks for it.
build = partial(paper.build, declaration=DECLARATION)
REPORT = Report(label="Table 1", build=build, order=1)
