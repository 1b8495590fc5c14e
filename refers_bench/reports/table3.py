"""Declares Table 3 of the paper: what each part of REFERS adds.

Source: Zhou et al., Nature Machine Intelligence 2022, Table 3 and Methods; how rows 5 and 6 are read:
``results/published/README.md``.
"""

from refers_bench.analysis.paper.published import row_of
from refers_bench.analysis.results import Results
from refers_bench.plugins import Report
from refers_bench.render.table import Table
from refers_bench.reporting import paper
from refers_bench.reporting.paper import PaperTable

DECLARATION = PaperTable(
    number=3,
    caption="what each part of REFERS adds.",
    columns=(paper.VIRAL_BACTERIAL,),
    rows=(
        "row 0: full model",
        "row 1: ResNet-101 instead of the radiograph transformer",
        "row 2: original ViT, no recurrent concatenation",
        "row 3: no view fusion",
        "row 4: label-supervised: no view fusion, no report task",
        "row 5: no study-report consistency (task 1 only)",
        "row 6: no report generation (task 2 only)",
    ),
    remarks=(
        "The paper prints rows 5 and 6 as one report task dropped each and says that the second task matters more; "
        "row 5 (79.1) is therefore read as the model without it.",
    ),
)


def build(results: Results) -> Table | None:
    """Table 3, when the manifest says so or has rows of it that the other tables do not have."""
    ablations = DECLARATION.rows[1:4] + DECLARATION.rows[5:]
    named = "table3" in results.plan.tables
    if not named and not any(row_of(row, results.methods) for row in ablations):
        return None
    return paper.build(results, DECLARATION)


REPORT = Report(label="Table 3", build=build, order=3)
