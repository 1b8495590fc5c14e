from __future__ import annotations

from pathlib import Path

import pytest

import refers_bench.analysis
from refers_bench.analysis.paper.published import published, published_values, row_of

ROOT = Path(__file__).resolve().parents[4]


def test_the_readers_copy_is_the_packaged_file() -> None:
    packaged = Path(refers_bench.analysis.__file__).parent / "paper" / "refers2022.csv"
    assert (ROOT / "results" / "published" / "refers2022.csv").read_bytes() == packaged.read_bytes()


@pytest.mark.parametrize(
    ("table", "method", "target", "ratio", "statistic", "text"),
    [
        (1, "REFERS", "nih", 0.01, "mean_auc_percent", "76.7"),
        (1, "REFERS vs best baseline", "vinbigdata", 0.01, "p_value", "8.72e-5"),
        (2, "LSP (ConvNet)", "shenzhen", 1.0, "mean_auc_percent", "96.7"),
        (3, "row 5: no study-report consistency (task 1 only)", "covid-t2", 1.0, "mean_auc_percent", "79.1"),
    ],
)
def test_figures(table: int, method: str, target: str, ratio: float, statistic: str, text: str) -> None:
    found = published(table=table, method=method, target=target, label_ratio=ratio, statistic=statistic)
    assert found is not None and found.text == text and found.value == float(text)


def test_what_the_paper_does_not_have() -> None:
    assert published(table=1, method="REFERS", target="nih", label_ratio=0.5) is None


def test_every_column_of_tables_1_and_2_is_there() -> None:
    assert {table: sum(v.table == table for v in published_values()) for table in (1, 2, 3)} == {1: 63, 2: 36, 3: 7}


def test_a_row_means_a_published_one_by_its_whole_name_or_by_a_beginning_that_says_so() -> None:
    assert (
        row_of("REFERS", ["c2l", "refers_small", "refers"]) == "refers" and row_of("REFERS", ["refers_small"]) is None
    )
    title = "row 2: original ViT, no recurrent concatenation"
    assert [row_of(title, [name]) for name in ("row2", "row2_vit", "row2x", "row20")] == [
        "row2",
        "row2_vit",
        None,
        None,
    ]
    # The first name that is allowed, not the first row of the manifest.
    assert row_of("row 0: full model", ["refers", "row0_x", "row0"]) == "row0" and row_of("none", ["refers"]) is None
