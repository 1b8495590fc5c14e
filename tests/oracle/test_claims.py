"""Claims on released predictions against a resampling written here, and their error rates against closed forms."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.paper.claims import FAILS, HOLDS, Claim, Evidence, Figure, evaluate, load
from refers_bench.analysis.paper.evidence import Released
from refers_bench.analysis.results import load as load_results
from refers_bench.data.imported.predictions import ImportedRun
from refers_bench.jobs.imports.predictions import publish

IMAGES = 300
CLASSES = ("Mass", "Hernia")
RATIOS = (0.01, 1.0)


def claim_of(tmp_path: Path, expression: str, bound: str = "above: 0") -> Claim:
    path = tmp_path / "claims.yaml"
    path.write_text(f"claims:\n  - {{id: a, place: p, statement: s, expression: '{expression}', {bound}}}\n")
    return load(path)[0]


@pytest.fixture(scope="module")
def scores() -> dict[Any, Any]:
    """Two methods whose scores share most of their error, at two label ratios: (method, ratio) -> (N, K)."""
    rng = np.random.default_rng(0)
    labels = (rng.random((IMAGES, 2)) < (0.3, 0.2)).astype(np.int8)
    shared = labels + rng.normal(size=labels.shape)
    found: dict[Any, Any] = {"labels": labels}
    for (method, ratio), noise in {
        ("refers", 0.01): 0.2, ("c2l", 0.01): 0.9, ("refers", 1.0): 0.1, ("c2l", 1.0): 0.6,
    }.items():  # fmt: skip
        found[method, ratio] = (shared + noise * rng.normal(size=labels.shape)).astype(np.float32)
    return found


@pytest.fixture(scope="module")
def evidence(scores: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Released:
    folder = tmp_path_factory.mktemp("results")
    runs = [
        ImportedRun(
            method=method, label=method, dataset="nih_chestxray14", task="findings", label_ratio=ratio, seed=0,
            classes=CLASSES, image_ids=tuple(f"i{n:03d}" for n in range(IMAGES)), patient_ids=("",) * IMAGES,
            labels_NK=scores["labels"], scores_NK=scores[method, ratio],
        )
        for method in ("refers", "c2l") for ratio in RATIOS
    ]  # fmt: skip
    publish(runs, results=folder, name="release", title="Release", origin="released", command="c")
    return Released(load_results(folder, "release"))


def aucs(labels_DN: Any, scores_DN: Any) -> Any:
    """AUC of every draw by Mann and Whitney's ranks, SciPy's."""
    ranks = stats.rankdata(scores_DN, axis=1)
    positive = labels_DN.sum(axis=1)
    above = (ranks * labels_DN).sum(axis=1) - positive * (positive + 1) / 2
    return above / (positive * (labels_DN.shape[1] - positive))


def resampled(scores: dict[Any, Any], weights: dict[Any, float], classes: tuple[int, ...], draws: int = 1500) -> float:
    """Standard error of a weighted sum of mean AUCs, in per cent, by drawing images."""
    drawn = np.random.default_rng(1).integers(0, IMAGES, (draws, IMAGES))
    sums = sum(
        weight / len(classes) * aucs(scores["labels"][drawn, k].astype(float), scores[key][drawn, k])
        for key, weight in weights.items() for k in classes
    )  # fmt: skip
    return float(np.std(sums, ddof=1)) * 100


@pytest.mark.parametrize("finding", ["", "Mass"])
def test_figures_on_the_same_images_have_paired_errors(
    scores: dict[Any, Any], evidence: Released, tmp_path: Path, finding: str
) -> None:
    place = f', "{finding}"' if finding else ""
    classes = (CLASSES.index(finding),) if finding else (0, 1)
    difference = f'auc("REFERS", "nih", 0.01{place}) - auc("C2L", "nih", 0.01{place})'
    found = evaluate(claim_of(tmp_path, difference), evidence)
    assert found.low is not None and found.high is not None and found.value is not None
    expected = resampled(scores, {("refers", 0.01): 1.0, ("c2l", 0.01): -1.0}, classes)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(expected, rel=0.15)
    assert found.verdict == HOLDS
    ours, other = (
        roc_auc_score(scores["labels"][:, classes], scores[method, 0.01][:, classes]) for method in ("refers", "c2l")
    )
    assert found.value == pytest.approx(100 * (ours - other), abs=1e-9)
    # Across label ratios, too: the test images are the same.
    gain = f'({difference}) - (auc("REFERS", "nih", 1{place}) - auc("C2L", "nih", 1{place}))'
    found = evaluate(claim_of(tmp_path, gain), evidence)
    weights = {("refers", 0.01): 1.0, ("c2l", 0.01): -1.0, ("refers", 1.0): -1.0, ("c2l", 1.0): 1.0}
    assert found.low is not None and found.high is not None
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(resampled(scores, weights, classes), rel=0.15)


class Drawn(Evidence):
    """REFERS minus C2L in nine columns: independent normal values with mean `true` and standard error 1."""

    def __init__(self, rng: np.random.Generator, true: float) -> None:
        self.rng, self.true, self.known = rng, true, {}  # type: dict[Any, float]

    def figure(self, leaf: Any) -> Figure:
        if leaf[1] != "REFERS":
            return Figure(value=80.0)
        if leaf not in self.known:
            self.known[leaf] = 80 + self.true + float(self.rng.normal())
        return Figure(value=self.known[leaf], se=1.0)


def test_a_claim_about_nine_columns_is_not_refuted_by_chance(tmp_path: Path) -> None:
    """Closed form: with no difference anywhere one of nine columns is refuted at 1 - (1 - 0.025 / 9)^9 = 2.5 %.

    Without a correction that would be 1 - 0.975^9 = 20 %. Support at the border: 0.025^9, practically never; with a
    difference of 4 standard errors in each column all nine support it at ndtr(4 - 1.96)^9 = 83 %.
    """
    difference = 'auc("REFERS", target, ratio) - auc("C2L", target, ratio)'
    claim = claim_of(tmp_path, difference, "above: 0, columns: all")
    rng, repeats = np.random.default_rng(0), 600
    verdicts = [evaluate(claim, Drawn(rng, 0.0)).verdict for _ in range(repeats)]
    share = verdicts.count(FAILS) / repeats
    assert abs(share - (1 - (1 - 0.025 / 9) ** 9)) < 3 * math.sqrt(0.025 * 0.975 / repeats)
    assert HOLDS not in verdicts
    expected = stats.norm.cdf(4 - stats.norm.ppf(0.975)) ** 9
    found = [evaluate(claim, Drawn(rng, 4.0)).verdict for _ in range(repeats)].count(HOLDS) / repeats
    assert abs(found - expected) < 3 * math.sqrt(expected * (1 - expected) / repeats)
