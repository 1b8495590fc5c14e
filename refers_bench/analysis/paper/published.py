"""Holds the figures that the paper published.

Source: Zhou et al., Nature Machine Intelligence 2022, Tables 1-3; notes on the transcription in
``results/published/README.md``.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product
from operator import attrgetter

from refers_bench.analysis.cells import Target

#: Target name in the published figures -> (dataset, task).
TARGETS: Mapping[str, tuple[str, str]] = {
    "nih": ("nih_chestxray14", "findings"),
    "vinbigdata": ("vinbigdata_cxr", "findings"),
    "shenzhen": ("shenzhen_tb", "tuberculosis"),
    "covid-t1": ("covid19_idc", "covid19_vs_other"),
    "covid-t2": ("covid19_idc", "viral_vs_bacterial"),
}
#: Row title in the published figures -> row names that mean it here; "row2_" stands for any name that begins so.
METHODS: Mapping[str, tuple[str, ...]] = {
    "REFERS": ("refers",),
    "Model Genesis": ("model_genesis",),
    "C2L": ("c2l",),
    "Context Restoration": ("context_restoration",),
    "TransVW": ("transvw",),
    "ImageNet pre-training": ("imagenet",),
    "LSP (Transformer)": ("lsp_transformer",),
    "LSP (ConvNet)": ("lsp_convnet",),
    "row 0: full model": ("row0", "row0_", "refers"),
    "row 1: ResNet-101 instead of the radiograph transformer": ("row1", "row1_"),
    "row 2: original ViT, no recurrent concatenation": ("row2", "row2_"),
    "row 3: no view fusion": ("row3", "row3_"),
    "row 4: label-supervised: no view fusion, no report task": ("row4", "row4_", "lsp_transformer"),
    "row 5: no study-report consistency (task 1 only)": ("row5", "row5_"),
    "row 6: no report generation (task 2 only)": ("row6", "row6_"),
}
#: Baselines that the P-values of Table 1 are about.
BASELINES = ("Model Genesis", "C2L", "Context Restoration", "TransVW", "ImageNet pre-training")


def column(name: str, label_ratio: float) -> Target:
    """The table column that a target name and a label ratio of the published figures mean."""
    dataset, task = TARGETS[name]
    return Target(dataset=dataset, task=task, label_ratio=label_ratio)


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One published figure.

    Attributes:
        table: 1, 2 or 3.
        method: row title as in the paper.
        target: "nih", "vinbigdata", "shenzhen", "covid-t1" or "covid-t2".
        label_ratio: in (0, 1].
        statistic: "mean_auc_percent" or "p_value".
        value: the figure.
        text: the figure as printed ("8.35e-4").
    """

    table: int
    method: str
    target: str
    label_ratio: float
    statistic: str
    value: float
    text: str


@cache
def published_values() -> tuple[PublishedValue, ...]:
    """All published figures, in the paper's order."""
    text = resources.files("refers_bench.analysis.paper").joinpath("refers2022.csv").read_text(encoding="utf-8")
    return tuple(
        PublishedValue(
            table=int(row["table"]),
            method=row["method"],
            target=row["target"],
            label_ratio=float(row["label_ratio"]),
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
    wanted = (table, method, target, label_ratio, statistic)
    place = attrgetter("table", "method", "target", "label_ratio", "statistic")
    return next((row for row in published_values() if place(row) == wanted), None)


def row_of(title: str, names: Iterable[str]) -> str | None:
    """The row of a manifest that a published row title means, or None."""
    pairs = product(METHODS.get(title, ()), names)
    meant = (name for wanted, name in pairs if name == wanted or (wanted[-1] == "_" and name.startswith(wanted)))
    return next(meant, None)
