"""What an interval of mean AUCs is refused for, and what it counts."""

from __future__ import annotations

import numpy as np
import pytest

from refers_bench.analysis.statistics.auc_intervals import mean_aucs

#: Unknown labels are -1; class 2 has no negative image.
LABELS = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [0, 1, 1]])
SCORES = np.array(
    [[0.9, 0.2, 0], [0.3, 0.8, 0], [0.6, 0.1, 0], [0.5, 0.7, 0], [0.8, 0.4, 0], [0.1, 0.5, 0], [0.2, 0.05, 0]]
)


def test_a_score_that_is_no_number_is_refused_where_its_image_is_labelled() -> None:
    plain = mean_aucs(LABELS, SCORES[None])
    # By hand: of 3 x 3 pairs of class 0 the images 0.9 and 0.8 win three each, 0.5 wins two: 8 of 9; of class 1
    # (0.8, 0.7, 0.05 against 0.2, 0.1) four of six.
    assert plain.estimate_M.tolist() == [pytest.approx((8 / 9 + 4 / 6) / 2, abs=1e-12)]
    assert (plain.classes, plain.n_units) == ((0, 1), 6)
    for place, refused in {(0, 0): True, (1, 0): True, (2, 1): True, (5, 0): False, (4, 1): False}.items():
        scores = SCORES.copy()
        scores[place] = np.nan
        if refused:
            with pytest.raises(ValueError, match="the score of a labelled image is NaN"):
                mean_aucs(LABELS, scores[None])
        else:
            assert mean_aucs(LABELS, scores[None]).estimate_M.tolist() == plain.estimate_M.tolist()


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (LABELS[:, 2:], "no class has an AUC on these images"),
        (np.array([[1], [0], [0], [0], [0], [0], [0]]), "no class has positive images in more than one image"),
        (np.array([[0], [1], [1], [1], [1], [1], [1]]), "no class has negative images in more than one image"),
        (LABELS[:3], r"labels \(N, K\) and scores \(M, N, K\) do not fit"),
    ],
)
def test_what_has_no_spread_or_does_not_fit(labels: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mean_aucs(labels, SCORES[None, :, : labels.shape[1]])
