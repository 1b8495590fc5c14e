"""Checks AUCs of subgroups against scikit-learn, and gaps between them against the bootstrap and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from refers_bench.analysis.predictions import Predictions
from refers_bench.analysis.subgroups import compared

CLASSES, DISTANCE = ("a", "b"), 1.4


def drawn(rng: np.random.Generator, patients: int, images: int, *, share: float = 0.5) -> Predictions:
    """Two findings in 30 % of images; images of a patient have a share in common of what decides labels and scores."""
    patient = np.repeat(np.arange(patients), images)

    def noise() -> np.ndarray:
        common = rng.standard_normal((patients, 2))[patient]
        return np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal((len(patient), 2))

    labels = (noise() > 0.5244).astype(np.int8)
    return Predictions(
        classes=CLASSES,
        image_ids=tuple(f"{n:05}" for n in range(len(patient))),
        patient_ids=tuple(f"p{n:05}" for n in patient),
        labels_NK=labels,
        scores_NK=(labels * DISTANCE + noise()).astype(np.float32),
    )


def test_aucs_are_scikit_learns_and_variances_of_separate_patients_add() -> None:
    one = drawn(np.random.default_rng(0), 300, 2)
    odd = np.repeat(np.arange(300) % 2 == 1, 2)
    found = compared([one], {"odd": odd, "even": ~odd, "few": np.arange(600) < 20})
    assert found is not None and list(found.groups) == ["odd", "even"] and found.n_classes == 2
    aucs = {}
    for name, inside in (("odd", odd), ("even", ~odd)):
        some = [roc_auc_score(one.labels_NK[inside, k], one.scores_NK[inside, k]) for k in (0, 1)]
        aucs[name] = np.mean(some)
        assert found.groups[name].auc.estimate == pytest.approx(aucs[name], abs=1e-12)
        assert (found.groups[name].n_units, found.unit) == (150, "patient")
    assert (found.highest, found.lowest) == tuple(sorted(aucs, key=aucs.__getitem__, reverse=True))
    assert found.gap.estimate == pytest.approx(abs(aucs["odd"] - aucs["even"]), abs=1e-12)
    variances = [group.auc.se**2 for group in found.groups.values()]
    assert found.gap.se == pytest.approx(np.sqrt(sum(variances)), rel=1e-9)
    half = t.ppf(0.975, found.gap.df) * found.gap.se
    assert [found.gap.low, found.gap.high] == pytest.approx([found.gap.estimate - half, found.gap.estimate + half])


def _above(one: Predictions, k: int, rows: range) -> tuple[np.ndarray, np.ndarray]:
    """Which images are positive, and 1 for each pair of which the positive is scored higher, 1/2 for equal scores."""
    yes, scores = one.labels_NK[rows, k] == 1, one.scores_NK[rows, k]
    return yes, (scores[yes, None] > scores[~yes]) + 0.5 * (scores[yes, None] == scores[~yes])


def test_a_gap_within_patients_has_the_standard_error_of_the_bootstrap_over_patients() -> None:
    """One image of each patient in either group, as of two views: their errors are correlated."""
    one = drawn(np.random.default_rng(1), 400, 2, share=0.9)
    first = np.arange(800) % 2 == 0
    found = compared([one], {"first": first, "second": ~first})
    assert found is not None
    rng, gaps, sign = np.random.default_rng(2), [], 1 if found.highest == "first" else -1
    # Of each group and class, which patients are positive, and which of these are scored above which others.
    groups = [[_above(one, k, range(start, 800, 2)) for k in (0, 1)] for start in (0, 1)]
    for draw in range(1500):
        patients = rng.integers(400, size=400)
        times = np.bincount(patients, minlength=400)
        aucs = [
            np.mean([times[yes] @ above @ times[~yes] / (times[yes].sum() * times[~yes].sum()) for yes, above in group])
            for group in groups
        ]
        if draw < 20:
            assert aucs == pytest.approx(
                [
                    np.mean([roc_auc_score(one.labels_NK[rows, k], one.scores_NK[rows, k]) for k in (0, 1)])
                    for rows in (2 * patients, 2 * patients + 1)
                ]
            )
        gaps.append(sign * (aucs[0] - aucs[1]))
    assert found.gap.se == pytest.approx(np.std(gaps, ddof=1), rel=0.07)
    apart = np.sqrt(sum(group.auc.se**2 for group in found.groups.values()))
    assert found.gap.se < 0.9 * apart


def test_three_groups_have_an_interval_for_all_pairs() -> None:
    one = drawn(np.random.default_rng(3), 600, 1)
    third = np.arange(600) % 3
    found = compared([one], {name: third == n for n, name in enumerate("abc")})
    assert found is not None
    half = t.ppf(1 - 0.025 / 3, found.gap.df) * found.gap.se
    assert found.gap.high - found.gap.estimate == pytest.approx(half)


def test_groups_without_enough_of_a_common_class_are_not_compared() -> None:
    one = drawn(np.random.default_rng(4), 100, 1)
    assert compared([one], {"all": np.ones(100, bool)}) is None
    assert compared([one], {"some": np.arange(100) < 12, "more": np.arange(100) > 90}) is None


@pytest.mark.slow
@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("within", [False, True])
def test_intervals_of_gaps_hold_the_truth(groups: int, within: bool) -> None:
    """Where all groups have one AUC the gap is 0: 1,000 test sets hold it in 95 %, or a little more (Bonferroni)."""
    rng, held = np.random.default_rng([groups, within]), 0
    for _ in range(1000):
        one = drawn(rng, 400 if within else 800, 2 if within else 1)
        place = (
            np.arange(800) % groups if not within else np.arange(800) % 2 + 2 * (np.arange(800) // 2 % (groups // 2))
        )
        found = compared([one], {str(n): place == n for n in range(groups)})
        assert found is not None
        held += found.gap.low <= 0 <= found.gap.high
    print(
        f"\n{groups} groups, {'within' if within else 'between'} patients: {held / 1000:.1%}; AUC {ndtr(DISTANCE / 2**0.5):.3f}"
    )
    assert 0.93 <= held / 1000 <= 0.98
