"""Variance by source against a mixed model, and by simulation: parts without bias, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from refers_bench.analysis.predictions import Predictions
from refers_bench.analysis.statistics.auc import class_aucs
from refers_bench.analysis.statistics.significance import Refusal
from refers_bench.analysis.statistics.variance_components import (
    INTERACTIONS,
    TEST,
    TestVariance,
    VarianceComponents,
    variance_components,
)
from refers_bench.analysis.variance_sources import shared_over_tests

NO_TEST = Refusal(reason="no predictions")
NAMES = ("subset", "init", "order")


def drawn(rng: np.random.Generator, shape: tuple[int, int, int], sds: dict[str, float]) -> np.ndarray:
    """AUCs of a crossed design with a mean of 0.8 and these standard deviations."""
    values = np.full(shape, 0.8) + sds.get(INTERACTIONS, 0.0) * rng.normal(size=shape)
    for axis, name in enumerate(NAMES):
        values = values + sds.get(name, 0.0) * rng.normal(size=[n if a == axis else 1 for a, n in enumerate(shape)])
    return values


def found(values: np.ndarray, test: TestVariance | Refusal = NO_TEST) -> VarianceComponents:
    result = variance_components(values, test)
    assert isinstance(result, VarianceComponents)
    return result


def test_parts_are_those_of_a_mixed_model_by_restricted_maximum_likelihood() -> None:
    """Of a balanced design whose estimates are positive, both are the same."""
    values = drawn(np.random.default_rng(3), (6, 5, 1), {"subset": 0.02, "init": 0.01, INTERACTIONS: 0.005})
    rows = [{"y": 100 * y, "s": s, "i": i, "all": 1} for (s, i, _), y in np.ndenumerate(values)]
    crossed = {"subset": "0 + C(s)", "init": "0 + C(i)"}
    model = smf.mixedlm("y ~ 1", pd.DataFrame(rows), groups="all", vc_formula=crossed, re_formula="0")
    fitted = model.fit(reml=True, method="lbfgs")
    parts = {name: 1e4 * part.variance for name, part in found(values).parts.items()}
    assert dict(zip(model.exog_vc.names, fitted.vcomp, strict=True)) == pytest.approx(
        {name: parts[name] for name in crossed}, rel=1e-3
    )
    assert fitted.scale == pytest.approx(parts[INTERACTIONS], rel=1e-3)


def test_a_simulation_gives_the_parts_that_were_put_in() -> None:
    rng, sds = np.random.default_rng(5), {"subset": 0.03, "init": 0.01, "order": 0.005, INTERACTIONS: 0.01}
    parts = [found(drawn(rng, (5, 4, 3), sds)).parts for _ in range(200)]
    for name, sd in sds.items():
        variances = np.array([one[name].variance for one in parts])
        assert abs(variances.mean() - sd**2) < 4 * variances.std() / np.sqrt(len(parts)), name
        assert variances.mean() == pytest.approx(sd**2, rel=0.35), name


def test_the_part_of_the_test_sample_is_what_two_runs_share() -> None:
    """Over drawn test sets: the mean of the estimates is the covariance of two runs' AUCs, and not the variance of one."""
    rng, estimates, aucs = np.random.default_rng(7), [], []
    labels = (np.arange(120) % 3 == 0).astype(np.int8)[:, None]
    ids = tuple(f"i{n:03}" for n in range(120))
    for _ in range(400):
        shared = labels + rng.normal(size=labels.shape)
        scores = [(shared + rng.normal(size=labels.shape)).astype(np.float32) for _ in range(4)]
        runs = [
            Predictions(classes=("a",), image_ids=ids, patient_ids=ids, labels_NK=labels, scores_NK=one)
            for one in scores
        ]
        test = shared_over_tests(runs, runs_planned=4)
        assert isinstance(test, TestVariance)
        estimates.append(test.variance)
        aucs.append([class_aucs(labels, one).mean for one in scores])
    covariance = np.cov(np.array(aucs).T)
    shared_truth = covariance[~np.eye(4, dtype=bool)].mean()
    assert np.mean(estimates) == pytest.approx(shared_truth, rel=0.15)
    assert np.diag(covariance).mean() > 1.5 * shared_truth, "else the test shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5, 3, 1), (5, 3, 2), (4, 4, 4), (10, 5, 1)])
@pytest.mark.parametrize(
    "sds",
    [
        {"subset": 0.02, "init": 0.01, "order": 0.01, INTERACTIONS: 0.01},
        {"subset": 0.01, "init": 0.0, "order": 0.02, INTERACTIONS: 0.01},
        {"subset": 0.03, "init": 0.003, "order": 0.0, INTERACTIONS: 0.003},
    ],
)
def test_intervals_hold_the_truth(shape: tuple[int, int, int], sds: dict[str, float]) -> None:
    repetitions, rng = 1000, np.random.default_rng(11)
    test_sd, df = 0.015, 60.0
    truth = {name: sds[name] ** 2 for name, count in zip(NAMES, shape, strict=True) if count > 1}
    # An order that does not vary is in every run alike.
    truth |= {INTERACTIONS: sds[INTERACTIONS] ** 2, TEST: test_sd**2}
    held: dict[str, list[bool]] = {}
    for _ in range(repetitions):
        given = {name: sd for name, sd in sds.items() if name in truth}
        test = TestVariance(variance=test_sd**2 * rng.chisquare(df) / df, df=df)
        result = found(drawn(rng, shape, given), test)
        for name, variance in truth.items():
            part, share = result.parts[name], variance / sum(truth.values())
            held.setdefault(name, []).append(part.low <= variance <= part.high)
            held.setdefault(f"share of {name}", []).append(part.share_low <= share <= part.share_high)
        held.setdefault("mean", []).append(result.low <= 0.8 <= result.high)
    shares = {name: float(np.mean(some)) for name, some in held.items()}
    print(shape, sds, shares)
    assert min(share for name, share in shares.items() if "share" not in name) > 0.93, shares
    # A share depends on all parts, of which a seed of two levels is hardly known.
    assert min(shares.values()) > 0.9, shares
