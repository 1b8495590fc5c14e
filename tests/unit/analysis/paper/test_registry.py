"""The figures of others: what the packaged file holds, and what is said of a broken one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

import refers_bench.analysis
from refers_bench.analysis.paper.registry import COLUMNS, entries, read
from refers_bench.errors import DataError

PACKAGED = Path(refers_bench.analysis.__file__).parent / "paper" / "others.csv"
HEAD = ",".join(COLUMNS)
GOOD = {
    "method": "MRM",
    "target": "nih",
    "label_ratio": "1%",
    "metric": "mean AUROC",
    "value_percent": "79.4",
    "spread": "0.3",
    "spread_kind": "sd of seeds",
    "n_seeds": "3",
    "protocol": "fine-tune",
    "split_id": "nih-mrm",
    "selection_set": "val",
    "backbone": "ViT-B/16",
    "pretraining_data": "MIMIC-CXR",
    "source": "a paper",
    "table": "Table 1",
    "address": "arXiv",
    "first_hand": "yes",
    "note": "",
}


def line(**changes: str) -> str:
    return ",".join({**GOOD, **changes}.values())


def test_every_row_is_read_as_pandas_reads_it() -> None:
    frame = pd.read_csv(PACKAGED, dtype=str, keep_default_na=False)
    found = entries()
    assert len(found) == len(frame) == 391
    assert [(one.method, one.target, one.labels, one.how, one.selected, one.note) for one in found] == list(
        frame[["method", "target", "label_ratio", "protocol", "selection_set", "note"]].itertuples(
            index=False, name=None
        )
    )
    assert [one.value for one in found] == frame["value_percent"].astype(float).tolist()
    assert sum(not one.first_hand for one in found) == 48


def test_words_of_the_file_are_sorted_into_a_few_kinds() -> None:
    found = entries()
    assert Counter(one.protocol for one in found) == {"fine-tune": 319, "linear probe": 62, "unknown": 10}
    assert Counter(one.selection for one in found) == {"val": 236, "unknown": 88, "none": 42, "test": 25}
    assert {one.ratio for one in found} == {0.01, 0.1, 0.25, 0.5, 1.0, None}
    assert {len(one.spread) for one in found if one.spread_kind == "95% CI over test images"} == {2}


def test_a_good_line_is_read() -> None:
    (one,) = read(f"{HEAD}\n{line(spread='78.0-80.5', spread_kind='95% CI over test images', n_seeds='')}\n")
    assert (one.method, one.ratio, one.value, one.spread, one.n_seeds) == ("MRM", 0.01, 79.4, (78.0, 80.5), None)
    (quoted,) = read(f"{HEAD}\n{line(note=chr(34) + 'read, not run' + chr(34))}\n")
    assert quoted.note == "read, not run"


@pytest.mark.parametrize(
    ("changes", "column", "words"),
    [
        ({"method": ""}, 1, "method ''; allowed: a text"),
        ({"target": "nihh"}, 5, "target 'nihh'; allowed: nih, vindr"),
        ({"label_ratio": "0%"}, 9, "label_ratio '0%'"),
        ({"label_ratio": "0.01"}, 9, "label_ratio '0.01'"),
        ({"metric": "AUC"}, 12, "metric 'AUC'; allowed: mean AUROC, mAUC"),
        ({"value_percent": "101"}, 23, "value_percent '101'; allowed: a number from 0 to 100"),
        ({"value_percent": "nan"}, 23, "value_percent 'nan'"),
        ({"spread": "0.3-"}, 28, "spread '0.3-'"),
        ({"spread": ""}, 28, "as many numbers as 'sd of seeds' has (1)"),
        ({"spread": "80.1-81.2", "spread_kind": "95% CI over test images"}, 28, "an interval around the value"),
        ({"spread_kind": "sd"}, 32, "spread_kind 'sd'"),
        ({"n_seeds": "three"}, 44, "n_seeds 'three'"),
        ({"protocol": "fine-tuned"}, 46, "protocol 'fine-tuned'; allowed: fine-tune, linear probe"),
        ({"split_id": "nih"}, 56, "split_id 'nih'"),
        ({"selection_set": "val/test"}, 64, "selection_set 'val/test'"),
        ({"first_hand": "no"}, 109, "first_hand 'no'; allowed: yes, second-hand"),
        ({"method": '"a, b"', "target": "x"}, 8, "target 'x'"),
        ({"note": "one, two"}, 117, "19 fields; allowed: 18; a text with a comma stands in quotes"),
    ],
)
def test_a_broken_value_is_named_with_its_line_and_column(changes: dict[str, str], column: int, words: str) -> None:
    with pytest.raises(DataError) as error:
        read(f"{HEAD}\n{line()}\n{line(**changes)}\n", path="others.csv")
    assert str(error.value).startswith(f"others.csv:3:{column}: ") and words in str(error.value)
    assert len(error.value.problems) == 1


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(DataError) as error:
        read(f"{HEAD}\n{line(target='x', metric='y')}\na,b\n\n{line()}\n")
    found = [(one.line, one.column) for one in error.value.problems]
    assert found == [(2, 5), (2, 10), (3, 4), (4, 1)]


def test_another_head_is_refused() -> None:
    with pytest.raises(DataError, match=r"others.csv:1:1: other columns"):
        read("method,target\n")
    with pytest.raises(DataError, match="other columns"):
        read("")
