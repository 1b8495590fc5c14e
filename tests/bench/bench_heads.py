"""Times the heads of a frozen evaluation beside a loop of scikit-learn's logistic regressions: ratios in one run.

14 classes x 3 ratios (1 %, 10 %, 100 %) x 3 seeds x 9 values of C, on 1,628 images (the training images of the NIH
sample) with 384 features (a ViT-S). The features have a spectrum that falls off as that of an encoder's, the classes are
between 1 and 20 % of the images. The loop fits each head anew. Its tolerance leaves weights that differ from exact
ones by up to 3 % of the largest where C is large: a tighter one, with which it would be as exact as ours, is slower.
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from refers_bench.training.heads import GRID, Group, Heads, fit_logistic

IMAGES, WIDTH, CLASSES, RATIOS, SEEDS = 1628, 384, 14, (0.01, 0.1, 1.0), 3
LOOPS = {"lbfgs": 1e-8, "newton-cholesky": 1e-8}

Groups = list[Group]


def problem() -> tuple[npt.NDArray[np.float16], Groups]:
    """Features and the training groups of every ratio and seed."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0]
    x = (rng.normal(size=(IMAGES, WIDTH)) * np.arange(1, WIDTH + 1) ** -0.7) @ axes
    standard = (x - x.mean(0)) / x.std(0)
    signal = standard @ rng.normal(size=(WIDTH, CLASSES))
    score = signal / signal.std(0) + rng.logistic(size=signal.shape)
    shares = np.linspace(0.01, 0.2, CLASSES)
    y = np.stack([score[:, k] > np.quantile(score[:, k], 1 - shares[k]) for k in range(CLASSES)], 1).astype(float)
    groups = []
    for ratio in RATIOS:
        for _ in range(SEEDS):
            rows = np.sort(rng.permutation(IMAGES)[: round(ratio * IMAGES)])
            groups.append(Group(rows_n=rows, labels_nK=y[rows]))
    return x.astype(np.float16), groups


def loop(x_ND: npt.NDArray[np.float16], groups: Groups, solver: str, tol: float) -> list[npt.NDArray[np.float64]]:
    """Weights (C, K, D) on standardised features of each group, one fit after the other."""
    found = []
    for group in groups:
        x = x_ND[group.rows_n].astype(np.float64)
        x = (x - x.mean(0)) / x.std(0)
        weights = np.full((len(GRID), CLASSES, WIDTH), np.nan)
        for k in range(CLASSES):
            if len(np.unique(group.labels_nK[:, k])) < 2:
                continue
            for c, value in enumerate(GRID):
                model = LogisticRegression(C=value, solver=solver, tol=tol, max_iter=1_000_000)
                weights[c, k] = model.fit(x, group.labels_nK[:, k]).coef_[0]
        found.append(weights)
    return found


def distance(
    x_ND: npt.NDArray[np.float16], groups: Groups, ours: list[Heads], theirs: list[npt.NDArray]
) -> list[float]:
    """Largest difference of each head's weights, as a share of its largest weight."""
    found = []
    for group, heads, weights in zip(groups, ours, theirs, strict=True):
        deviation = x_ND[group.rows_n].astype(np.float64).std(0)
        difference = abs(heads.weight_CKD * deviation - weights).max(2) / abs(weights).max(2)
        found += difference[~np.isnan(difference)].tolist()
    return found


def seconds_ours(x_ND: npt.NDArray[np.float16], groups: Groups) -> tuple[float, list[Heads]]:
    """Processor time of one thread, the shorter of two: other work on this machine does not count."""
    times = []
    for _ in range(2):
        start = time.process_time()
        heads = fit_logistic(x_ND, groups=groups)
        times.append(time.process_time() - start)
    return min(times), heads


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    threadpool_limits(1)  # the loop, too
    warnings.simplefilter("ignore")
    x, groups = problem()
    shared, heads = seconds_ours(x, groups)
    # Groups of one row order each: nothing is shared between the three seeds of all labels.
    apart = [Group(rows_n=np.roll(g.rows_n, n), labels_nK=np.roll(g.labels_nK, n, 0)) for n, g in enumerate(groups)]
    alone, _ = seconds_ours(x, apart)
    fits = sum(int((~np.isnan(one.bias_CK)).sum()) for one in heads)
    print(
        f"{fits:,} heads of {len(groups)} groups: {shared:.2f} s; {alone:.2f} s where seeds of all labels share nothing"
    )
    for solver, tol in LOOPS.items():
        start = time.process_time()
        theirs = loop(x, groups, solver, tol)
        spent = time.process_time() - start
        apart_by = np.sort(distance(x, groups, heads, theirs))
        print(
            f"scikit-learn {solver}, tol {tol:g}: {spent:.1f} s, x{spent / shared:.0f}; x{spent / alone:.0f} where nothing is "
            f"shared; weights differ by at most {apart_by[-1]:.0e}, 99 % of heads {apart_by[int(0.99 * len(apart_by))]:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
