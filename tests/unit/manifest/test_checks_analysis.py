"""What a manifest says of its primary tests names rows and columns that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.manifest.load import Manifest, load

MANIFEST = """\
version: 1
protocol: {preset: smoke}
methods: [imagenet, {id: scratch, name: small, best_of: scratch}, {id: scratch, name: large, best_of: scratch}]
targets:
  - {dataset: covid19_idc, tasks: [viral_vs_bacterial], label_ratios: [1%, 100%]}
  - {dataset: covid19_idc, tasks: [covid19_vs_other], label_ratios: [10%], evaluation: knn}
seeds: [0, 1]
"""


def loaded(folder: Path, analysis: str) -> Manifest:
    path = folder / "m.yaml"
    path.write_text(MANIFEST + f"analysis:\n{analysis}")
    return load(path)


def test_rows_as_tables_show_them_and_any_of_the_columns(tmp_path: Path) -> None:
    text = "  reference: scratch\n  against: [imagenet]\n  columns:\n"
    parts = ("tasks: [covid19_vs_other], label_ratios: [10%]", "label_ratios: [0.01]", "evaluation: [knn, finetune]")
    found = loaded(
        tmp_path, text + "".join(f"  - {{dataset: covid19_idc, {part}}}\n" for part in parts)
    ).content.analysis
    assert found is not None and (found.reference, found.against) == ("scratch", ["imagenet"])
    assert [one.label_ratios for one in found.columns] == [[0.1], [0.01], []]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "  reference: imagenett\n",
            "9:3: unknown row 'imagenett'; allowed: imagenet, scratch; did you mean 'imagenet'?",
        ),
        ("  reference: small\n", "9:3: unknown row 'small'; allowed: imagenet, scratch"),
        (
            "  reference: imagenet\n  against: [scratch, large]\n",
            "10:22: unknown row 'large'; allowed: imagenet, scratch",
        ),
        (
            "  reference: imagenet\n  against: [imagenet]\n",
            "10:13: 'imagenet' is the reference itself; allowed: other rows",
        ),
        (
            "  against: [imagenet]\n",
            "8:1: 'against' without a 'reference'; allowed: reference: the row that is tested against them",
        ),
        (
            "  columns: [{dataset: covid19_idx}]\n",
            "9:14: unknown dataset among the targets 'covid19_idx'; allowed: covid19_idc; did you mean 'covid19_idc'?",
        ),
        (
            "  columns: [{dataset: covid19_idc, tasks: [viral_vs_bacteria]}]\n",
            "9:44: unknown task among the targets of covid19_idc 'viral_vs_bacteria'; allowed: viral_vs_bacterial, covid19_vs_other; did you mean 'viral_vs_bacterial'?",
        ),
        (
            "  columns: [{dataset: covid19_idc, label_ratios: [50%]}]\n",
            "9:51: unknown label ratio among the targets of covid19_idc '50%'; allowed: 1%, 100%, 10%; did you mean '10%'?",
        ),
        (
            "  columns: [{dataset: covid19_idc, evaluation: linear_probe}]\n",
            "9:36: unknown evaluation among the targets of covid19_idc 'linear_probe'; allowed: finetune, knn",
        ),
        ("  alpha: 5\n", "9:3: analysis.alpha is 5; allowed: less than 1.0"),
        (
            "  margin: 0.01\n",
            "9:3: unknown key 'margin'; allowed: against, alpha, columns, correction, reference, test; did you mean 'against'?",
        ),
        (
            "  columns: [{dataset: covid19_idc, task: a}]\n",
            "9:36: unknown key 'task'; allowed: dataset, evaluation, label_ratios, tasks; did you mean 'tasks'?",
        ),
        ("  test: z\n", "9:3: analysis.test is 'z'; allowed: 'student' or 'welch'"),
    ],
)
def test_what_it_does_not_have_is_told_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, text)
    (problem,) = error.value.problems
    assert str(problem) == f"{tmp_path / 'm.yaml'}:{said}"
