"""Which figures did the paper publish?

Source: Zhou et al., Nature Machine Intelligence 2022, Tables 1-3; notes on the transcription in
``results/published/README.md``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One published figure.

    Attributes:
        table: 1, 2 or 3.
        method: row title as in the paper.
        target: "nih", "vinbigdata", "shenzhen", "covid-t1" or "covid-t2".
        label_ratio: in (0, 1].
        n_train: nominal number of training images ("800"), or "all".
        statistic: "mean_auc_percent" or "p_value".
        value: the figure.
        text: the figure as printed ("8.35e-4").
    """

    table: int
    method: str
    target: str
    label_ratio: float
    n_train: str
    statistic: str
    value: float
    text: str


@cache
def published_values() -> tuple[PublishedValue, ...]:
    """All published figures, in the paper's order."""
    text = resources.files("refers_bench.analysis").joinpath("refers2022.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedValue(
            table=int(row["table"]),
            method=row["method"],
            target=row["target"],
            label_ratio=float(row["label_ratio"]),
            n_train=row["n_train_nominal"],
            statistic=row["statistic"],
            value=float(row["value"]),
            text=row["value"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def published(
    *, table: int, method: str, target: str, label_ratio: float, statistic: str = "mean_auc_percent"
) -> PublishedValue | None:
    """One published figure, or None where the paper has none."""
    for row in published_values():
        where = (row.table, row.method, row.target, row.label_ratio, row.statistic)
        if where == (table, method, target, label_ratio, statistic):
            return row
    return None
