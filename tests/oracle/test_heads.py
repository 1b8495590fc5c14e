"""Heads on frozen features are those of scikit-learn: logistic regressions, standardised and reduced alike."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from refers_bench.training.heads import GRID, Group, Heads, fit_logistic, scores

linear_model = pytest.importorskip("sklearn.linear_model")
preprocessing = pytest.importorskip("sklearn.preprocessing")
metrics = pytest.importorskip("sklearn.metrics")
decomposition = pytest.importorskip("sklearn.decomposition")

KINDS = ("plain", "integers", "duplicates", "separable", "few rows", "constant", "unknown", "rare", "scales", "half")


@dataclass(frozen=True)
class Fitted:
    """What scikit-learn found: weights on standardised features, and its scaler."""

    weight_D: npt.NDArray[np.float64]
    bias: float
    scaler: object

    def decide(self, x_ND: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return self.scaler.transform(x_ND.astype(np.float64)) @ self.weight_D + self.bias  # type: ignore[attr-defined]


def problem(number: int) -> tuple[npt.NDArray[np.floating], Group, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Features, the training group, the other rows, and the labels of all rows."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    rows, width, classes = int(rng.integers(60, 220)), int(rng.integers(2, 40)), 3
    if kind == "few rows":
        rows, width = int(rng.integers(24, 60)), int(rng.integers(60, 120))
    x = rng.normal(size=(rows, width)) @ (rng.normal(size=(width, width)) / np.sqrt(width)) + rng.normal(size=width)
    if kind == "integers":
        x = np.round(x)
    elif kind == "duplicates":
        x = x[rng.integers(0, rows // 4, size=rows)]
    elif kind == "constant":
        x[:, :: max(1, width // 3)] = 0.1 * number
    elif kind == "scales":
        x = x * 10.0 ** rng.uniform(-3, 3, size=width)
    elif kind == "half":
        x = x.astype(np.float16)
    signal = x.astype(np.float64) @ rng.normal(size=(width, classes)) / np.sqrt(width)
    signal = (signal - signal.mean(0)) / (signal.std(0) + 1e-12)
    noise = 0 if kind == "separable" else rng.logistic(size=signal.shape) * 0.5
    shares = rng.uniform(0.05, 0.5, size=classes)
    bars = [np.quantile(of_class, 1 - share) for of_class, share in zip((signal + noise).T, shares, strict=True)]
    y = (signal + noise > bars).astype(float)
    train = rng.permutation(rows)[: rows * 2 // 3]
    if kind == "unknown":
        y[rng.random(y.shape) < 0.3] = np.nan
    elif kind == "rare":
        y[train, 0], y[train, 1] = 0.0, 1.0
        y[train, 2] = 0.0
        y[train[0], 2] = 1.0
    return x, Group(rows_n=train, labels_nK=y[train]), np.setdiff1d(np.arange(rows), train), y


def scikit_learn(x_nD: npt.NDArray[np.floating], y_n: npt.NDArray[np.float64], c: float) -> Fitted:
    """Fitted on rows with a known label; standardised over all of them."""
    scaler = preprocessing.StandardScaler().fit(x_nD.astype(np.float64))
    known = ~np.isnan(y_n)
    standard = scaler.transform(x_nD.astype(np.float64))[known]
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        model = linear_model.LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=1000)
        model.fit(standard, y_n[known])
    if raised:
        model = linear_model.LogisticRegression(C=c, solver="lbfgs", tol=1e-9, max_iter=1_000_000)
        model.fit(standard, y_n[known])
    return Fitted(model.coef_[0], float(model.intercept_[0]), scaler)


def compare(number: int) -> int:
    """All classes of a problem, at three values of C; returns how many heads were compared."""
    x, group, others, y = problem(number)
    grid = np.random.default_rng(number).choice([*GRID, 1e5], size=3, replace=False)
    (heads,) = fit_logistic(x, groups=[group], c_C=grid)
    compared = 0
    for k in range(y.shape[1]):
        labels = group.labels_nK[:, k]
        if len(set(labels[~np.isnan(labels)])) < 2:
            assert heads.undefined[k] and np.isnan(heads.weight_CKD[:, k]).all() and np.isnan(heads.bias_CK[:, k]).all()
            continue
        assert not heads.undefined[k]
        for c, value in enumerate(grid):
            expected = scikit_learn(x[group.rows_n], labels, value)
            deviation = np.sqrt(expected.scaler.var_)  # type: ignore[attr-defined]
            weight = heads.weight_CKD[c, k] * deviation
            np.testing.assert_allclose(weight, expected.weight_D, atol=1e-3 * abs(expected.weight_D).max(), rtol=0)
            found = logits(x, heads, c, k, rows=others)
            wanted = expected.decide(x[others])
            assert found == pytest.approx(wanted, abs=1e-3 * max(1.0, abs(wanted).max()))
            known = ~np.isnan(y[others, k])
            if len(set(y[others, k][known])) == 2:
                # Rounded, so that equal rows tie for both.
                areas = [
                    metrics.roc_auc_score(y[others, k][known], z[known].astype(np.float32)) for z in (found, wanted)
                ]
                assert areas[0] == pytest.approx(areas[1], abs=1e-4), (number, k, value)
            compared += 1
    return compared


def logits(x: npt.NDArray[np.floating], heads: Heads, c: int, k: int, *, rows: npt.NDArray[np.int64]) -> npt.NDArray:
    return scores(x, weight_KD=heads.weight_CKD[c, [k]], bias_K=heads.bias_CK[c, [k]], rows_n=rows)[:, 0]


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_heads_are_those_of_scikit_learn(kind: int) -> None:
    assert sum(compare(kind + len(KINDS) * again) for again in range(4)) >= 12


@pytest.mark.slow
def test_heads_of_two_hundred_problems_are_those_of_scikit_learn() -> None:
    assert sum(compare(number) for number in range(1000, 1200)) > 1000


@pytest.mark.parametrize("shape", [(150, 20), (30, 60)], ids=["rows", "features"])
@pytest.mark.parametrize("standardise", [True, False])
def test_components_are_those_of_scikit_learn(shape: tuple[int, int], standardise: bool) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=shape) * np.linspace(1, 3, shape[1]) + 5
    y = (x[:, 0] + x[:, 1] + 3 * rng.normal(size=len(x)) > 10).astype(float)
    (heads,) = fit_logistic(
        x,
        groups=[Group(rows_n=np.arange(len(x)), labels_nK=y[:, None])],
        c_C=[0.1, 10],
        standardise=standardise,
        components=5,
    )
    inputs = preprocessing.StandardScaler(with_std=standardise).fit_transform(x)
    parts = decomposition.PCA(5, svd_solver="full").fit_transform(inputs)
    for c, value in enumerate((0.1, 10)):
        model = linear_model.LogisticRegression(C=value, tol=1e-10, max_iter=10_000).fit(parts, y)
        found = logits(x, heads, c, 0, rows=np.arange(len(x)))
        assert found == pytest.approx(model.decision_function(parts), abs=1e-4)


@pytest.mark.slow
def test_a_hundred_thousand_rows_stay_below_a_gibibyte(tmp_path: Path) -> None:
    """100,000 x 768 half-precision features on disk, 21 heads at once: all of the process, libraries and file included."""
    rng = np.random.default_rng(0)
    file = tmp_path / "features.npy"
    features = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(100_000, 768))
    for first in range(0, len(features), 10_000):
        features[first : first + 10_000] = rng.normal(size=(10_000, 768)).astype(np.float16)
    features.flush()
    code = """
        import resource, sys
        import numpy as np
        from refers_bench.training.heads import Group, fit_logistic, scores

        features, rng = np.load(sys.argv[1], mmap_mode="r"), np.random.default_rng(1)
        labels = (features[:, :7].astype(float) + rng.logistic(size=(len(features), 7)) > 2).astype(float)
        group = Group(rows_n=np.arange(len(features)), labels_nK=labels)
        (heads,) = fit_logistic(features, groups=[group], c_C=[1e-4, 1e-2, 1.0])
        scores(features, weight_KD=heads.weight_CKD[2], bias_K=heads.bias_CK[2])
        # The model that the labels were drawn from has weight 1.
        assert abs(np.diag(heads.weight_CKD[2, :, :7]) - 1).max() < 0.1, heads.weight_CKD[2, :, :7]
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(file)], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    assert float(done.stdout) < 1.0
