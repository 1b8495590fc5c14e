"""Turns a labeller's table into 0/1 labels of the CheXpert findings, under a policy for uncertain mentions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from refers_bench.errors import DataError, Problem

#: Columns of the labellers' tables, in their (alphabetical) order.
FINDINGS_14 = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
#: Without the two that are no disease: the columns of the released MIMIC labels (inferred from their counts).
FINDINGS_12 = tuple(name for name in FINDINGS_14 if name not in ("No Finding", "Support Devices"))
#: Policies for uncertain mentions.
POLICIES = ("u_zeros", "u_ones", "u_ignore")
POSITIVE, NEGATIVE, UNCERTAIN, BLANK = "1.0", "0.0", "-1.0", ""


def labels(table: pd.DataFrame, *, uncertain: str, blank: str, path: object) -> pd.DataFrame:
    """Labels of a labeller's table under a policy.

    Args:
        table: text columns `FINDINGS_14`; line i + 2 of the file is row i.
        uncertain: "u_zeros", "u_ones", or "u_ignore" (null: masked in the loss).
        blank: what a finding that is not mentioned counts as: "negative", or "unknown" (null). With "unknown", some
            findings keep hardly any negative (atelectasis: 0.4 % of the studies).
        path: the file, for messages.

    Returns:
        Int8 columns `FINDINGS_14` of 1, 0 and null, with the table's index.

    Raises:
        DataError: a cell that is none of 1.0, 0.0, -1.0 and empty.
        ValueError: unknown policy.

    Source: CheXpert (Irvin et al., 2019), uncertainty policies; blank counts as negative in all of them.
    """
    if uncertain not in POLICIES:
        raise ValueError(f"unknown policy {uncertain!r}; allowed: {', '.join(POLICIES)}")
    values = {
        POSITIVE: 1.0,
        NEGATIVE: 0.0,
        BLANK: 0.0 if blank == "negative" else np.nan,
        UNCERTAIN: {"u_zeros": 0.0, "u_ones": 1.0, "u_ignore": np.nan}[uncertain],
    }
    # Cells may be written without ".0".
    numbers = values | {meaning.removesuffix(".0"): value for meaning, value in values.items()}
    problems: list[Problem] = []
    columns = {}
    for name in FINDINGS_14:
        codes, spellings = pd.factorize(table[name], use_na_sentinel=False)
        wrong = [code for code, spelling in enumerate(spellings) if spelling not in numbers]
        for row in np.flatnonzero(np.isin(codes, wrong))[:5] if wrong else ():
            found, allowed = f"{name} is '{spellings[codes[row]]}'", "1.0, 0.0, -1.0 or empty"
            problems.append(Problem(found=found, allowed=allowed, path=str(path), line=int(row) + 2))
        known = np.array([numbers.get(spelling, np.nan) for spelling in spellings], dtype=float)
        columns[name] = pd.Series(known[codes], index=table.index).astype("Int8")
    if problems:
        raise DataError(problems[:20])
    return pd.DataFrame(columns)
