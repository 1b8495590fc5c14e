"""Votes of nearest neighbours are those of scikit-learn's classifier with the same weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from refers_bench.training import neighbours
from refers_bench.training.heads import Group

sklearn_neighbors = pytest.importorskip("sklearn.neighbors")
preprocessing = pytest.importorskip("sklearn.preprocessing")


def expected(
    x: npt.NDArray[np.floating], group: Group, rows: npt.NDArray[np.int64], k: int, label: int, temperature: float
) -> npt.NDArray[np.float64]:
    """Probability of the positive class; half the squared distance of unit vectors is 1 - cosine."""
    known = ~np.isnan(group.labels_nK[:, label])
    unit = preprocessing.normalize(x.astype(np.float64))
    model = sklearn_neighbors.KNeighborsClassifier(
        n_neighbors=min(k, int(known.sum())),
        weights=lambda distance: np.exp((1 - distance**2 / 2) / temperature),
        algorithm="brute",
    )
    model.fit(unit[group.rows_n[known]], group.labels_nK[known, label])
    return model.predict_proba(unit[rows])[:, 1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("blocks", [(4096, 1024), (7, 5)], ids=["one block", "many blocks"])
def test_votes_are_those_of_scikit_learn(seed: int, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TRAINING_ROWS", blocks[0])
    monkeypatch.setattr(neighbours, "QUERY_ROWS", blocks[1])
    rng = np.random.default_rng(seed)
    rows, width, ks = int(rng.integers(40, 150)), int(rng.integers(3, 30)), (1, 5, 20, 200)
    x = (rng.normal(size=(rows, width)) + rng.normal(size=width)).astype(np.float16)
    y = rng.choice([0.0, 1.0, np.nan], size=(rows, 3), p=[0.5, 0.35, 0.15])
    y[:, 1] = np.nan_to_num(y[:, 1])
    order = rng.permutation(rows)
    train, others = order[: rows // 2], order[rows // 2 :]
    group = Group(rows_n=train, labels_nK=y[train])
    temperature = float(rng.choice([0.07, 1.0]))
    shares, reasons = neighbours.vote(x, group=group, rows_n=others, k_C=ks, temperature=temperature)
    assert shares.shape == (4, len(others), 3) and reasons == ("", "", "")
    for c, k in enumerate(ks):
        for label in range(3):
            assert shares[c, :, label] == pytest.approx(expected(x, group, others, k, label, temperature), abs=1e-6)


def test_equal_rows_vote_alike() -> None:
    """Each training row stands twice: one neighbour gives as many votes as two, where copies agree."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(30, 6))
    x, y = np.concatenate([half, half, rng.normal(size=(9, 6))]), np.tile(rng.integers(0, 2, (30, 1)), (2, 1))
    group = Group(rows_n=np.arange(60), labels_nK=y.astype(float))
    shares, _ = neighbours.vote(x, group=group, rows_n=np.arange(60, 69), k_C=(1, 2, 5, 6))
    np.testing.assert_allclose(shares[0], shares[1])
    for c, k in ((1, 2), (3, 6)):
        wanted = expected(x, group, np.arange(60, 69), k, 0, neighbours.TEMPERATURE)
        assert shares[c, :, 0] == pytest.approx(wanted, abs=1e-6)
