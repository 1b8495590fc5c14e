"""Declares what a manifest may say about the tests of its results; no result depends on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from refers_bench.evaluations import ALPHA, Correction, Evaluation, Test
from refers_bench.manifest.part import Name, Part, Ratio, empty, listed, optional, unique


class PrimaryPart(Part):
    """Primary columns: those of one dataset, or some of them."""

    dataset: str = Field(description="id of a dataset among the targets, or a name below 'data'")
    tasks: list[str] = optional("of the dataset; all by default", [], min_length=1)
    label_ratios: list[Ratio] = optional("of the target; all by default", [], min_length=1)
    evaluation: Annotated[
        list[Evaluation], BeforeValidator(listed, json_schema_input_type=str | list[str]), AfterValidator(unique)
    ] = optional("of the target; all by default", [], min_length=1)


class AnalysisPart(Part):
    """Which tests over seeds are primary, and when they count as a finding; all others are exploratory."""

    reference: Name | None = optional("row that others are compared with; refers by default, else the first row")
    against: Annotated[list[Name], AfterValidator(unique)] = optional(
        "rows that the reference is tested against, each of them; by default the best other row of each column", []
    )
    columns: list[PrimaryPart] = empty(list, "primary columns; all by default")
    test: Test = optional(
        "two-sample t-test on mean class AUCs over seeds, two-sided: pooled variance, or not", "student"
    )
    correction: Correction = optional("of the primary P-values, which are one family", "holm")
    alpha: Annotated[float, Field(gt=0, lt=1)] = optional("P-values below it are marked and counted", ALPHA)
