"""The pairs of released files that share scores are those that a fit of every pair by another library finds.

All pairs of methods, class by class, on all, the positive and the negative images, read from the files' text.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import linregress

from refers_bench.analysis.integrity import Finding, findings
from refers_bench.analysis.results import load
from refers_bench.data.imported.refers_release import METHODS, read_release
from refers_bench.datasets.nih_chestxray14 import DATASET
from refers_bench.jobs.imports.predictions import publish

#: (kind, part) -> pair of row names -> number of classes.
Counts = dict[tuple[str, str], dict[tuple[str, str], int]]
#: Rows in the order of the plan: the second is fitted on the first.
ORDER = [name for name, _ in METHODS.values()]
PARTS = {"": (0, 1), "positive": (1,), "negative": (0,)}


def by_brute_force(folder: Path) -> tuple[Counts, dict[tuple[str, str, str], list[float]]]:
    """What linear regression says of every pair, and r of every pair on each part."""
    files: dict[str, dict[str, tuple[np.ndarray, np.ndarray, int]]] = defaultdict(dict)
    for path in folder.glob("*/*.txt"):
        lines = [line.split() for line in path.read_text().splitlines()]
        digits = max(len(score.partition(".")[2]) for _, score in lines)
        labels, scores = np.array([[float(label), float(score)] for label, score in lines]).T
        files[path.stem][METHODS[path.parent.name][0]] = labels, scores, digits
    counts: Counts = defaultdict(lambda: defaultdict(int))
    correlations: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for methods in files.values():
        for one, two in combinations(sorted(methods, key=ORDER.index), 2):
            (labels, first, digits), (_, second, others) = methods[one], methods[two]
            for part, values in PARTS.items():
                x, y = (scores[np.isin(labels, values)] for scores in (first, second))
                if np.array_equal(x, y):
                    counts["identical", part][one, two] += 1
                    continue
                fit = linregress(x, y)
                correlations[part, one, two].append(fit.rvalue)
                residual = np.abs(fit.slope * x + fit.intercept - y).max()
                rounding = 0.5 * (abs(fit.slope) * 10.0**-digits + 10.0**-others)
                counts["affine", part][one, two] += bool(residual <= 1.01 * rounding)
    return counts, correlations


def found(real_data: Path, tmp_path: Path, part: str) -> tuple[Path, tuple[Finding, ...]]:
    """The folder of one label ratio, and our findings about it."""
    source = real_data / "released-predictions" / "Results_of_fine-tuning" / "NIH ChestX-ray" / part
    if not source.is_dir():
        pytest.skip(f"no released predictions in {real_data}")
    folder = tmp_path / "Results_of_fine-tuning" / "NIH ChestX-ray"
    shutil.copytree(source, folder / part)
    runs, _ = read_release(tmp_path, {("nih_chestxray14", "findings"): DATASET.tasks["findings"].classes})
    publish(runs, results=tmp_path / "r", name="x", title="", origin="released", command="c")
    return source, findings(load(tmp_path / "r", "x"))


def counted(ours: tuple[Finding, ...], relation: str, part: str) -> dict[tuple[str, str], int]:
    """Pair -> classes, over our findings of one kind on one part of the images."""
    about = [one.closeness for one in ours if one.closeness is not None]
    chosen = [one for one in about if one.relation.startswith(relation) and one.part == part]
    return {(first, second): count for one in chosen for first, second, count in one.pairs}


def positive(counts: dict[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    return {pair: count for pair, count in counts.items() if count}


@pytest.mark.slow
def test_full_labels_three_rows_share_scores(real_data: Path, tmp_path: Path) -> None:
    source, ours = found(real_data, tmp_path, "data100")
    counts, _ = by_brute_force(source)
    for relation, part in (("identical", "positive"), ("affine", "negative"), ("affine", "")):
        assert counted(ours, relation, part) == positive(counts[relation, part]), (relation, part)
    genesis, restoration, words = "model_genesis", "context_restoration", "transvw"
    assert counted(ours, "affine", "negative") == {
        (genesis, restoration): 13, (genesis, words): 12, (restoration, words): 13,
    }  # fmt: skip
    assert set(counted(ours, "identical", "positive").values()) == {14}
    groups = {one.runs for one in ours if one.closeness is not None and one.closeness.part}
    assert groups == {(genesis, restoration, words)}


@pytest.mark.slow
def test_one_per_cent_two_rows_are_nearly_identical(real_data: Path, tmp_path: Path) -> None:
    source, ours = found(real_data, tmp_path, "data1")
    counts, correlations = by_brute_force(source)
    assert not any(positive(counts["affine", part]) for part in PARTS)
    pair = ("model_genesis", "context_restoration")
    (near,) = [one for one in ours if one.closeness is not None and one.closeness.part == "negative"]
    assert near.runs == pair and len(near.classes) == 14 and near.closeness is not None
    assert near.closeness.median_r == pytest.approx(np.median(correlations["negative", *pair]), abs=1e-6)
    assert near.closeness.median_r == pytest.approx(0.9991, abs=5e-5)
    # Nothing else is close: 0.98 and 10 units separate these pairs from all others.
    others = [r for (_, one, two), values in correlations.items() if (one, two) != pair for r in values]
    assert max(others) < 0.95
