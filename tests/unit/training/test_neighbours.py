"""Votes of nearest neighbours equal those of scikit-learn, and unknown labels have none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from refers_bench.training import neighbours
from refers_bench.training.neighbours import votes

CPU = torch.device("cpu")


def drawn(train: int = 300, queries: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (train + queries, 3)).astype(np.float32)
    features = rng.normal(size=(train + queries, 8)).astype(np.float32)
    features[:, :3] += labels
    return features[:train], labels[:train], features[train:], labels[train:]


@pytest.mark.parametrize("held", [1 << 24, 1000])
def test_votes_are_those_of_scikit_learn(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "HELD", held)
    train, labels, queries, truth = drawn()
    found = votes(train, labels, queries, neighbours=(1, 10, 300), temperature=0.07, device=CPU)
    for k, logits in found.items():
        for column in range(3):
            theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
            expected = theirs.fit(train, labels[:, column]).predict_proba(queries)[:, 1]
            np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, column].astype(float))), expected, atol=1e-5)
            auc, wanted = (roc_auc_score(truth[:, column], one) for one in (logits[:, column], expected))
            assert auc == pytest.approx(wanted, abs=1e-4)
            assert auc > 0.5


def test_unknown_labels_have_no_vote() -> None:
    train = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    labels = np.array([[np.nan, np.nan], [0, np.nan], [1, 1], [1, 0]], np.float32)
    found = votes(train, labels, train[:1], neighbours=(1, 2), temperature=0.5, device=CPU)
    share = 1 / (1 + np.exp(-np.concatenate([found[1], found[2]]).astype(float)))
    # The nearest one has no label: of the first class two of three training labels are positive, of the second half.
    np.testing.assert_allclose(share, [[2 / 3, 0.5], [0, 0.5]], atol=1e-6)
    assert votes(train, labels, train[:0], neighbours=(1,), temperature=0.5, device=CPU)[1].shape == (0, 2)
