from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from refers_bench.analysis.localisation import (
    THRESHOLD,
    Box,
    centred,
    mean_difference,
    overlap,
    pairs_of,
    predicted,
    stretched,
)


def test_a_map_is_enlarged_as_torch_does_and_stretched() -> None:
    rng = np.random.default_rng(0)
    for grid, side in ((6, 48), (14, 224), (3, 96)):
        small = rng.normal(size=(grid, grid))
        fine = stretched(small, side)
        assert fine is not None and fine.shape == (side, side)
        assert fine.min() == 0 and fine.max() == 1
        expected = torch.nn.functional.interpolate(torch.tensor(small)[None, None], (side, side), mode="bilinear")[0, 0]
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        np.testing.assert_allclose(fine, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("nowhere", [np.full((4, 4), 0.3), np.full((4, 4), np.nan), np.array([[1, np.inf], [0, 0]])])
def test_a_map_that_points_nowhere_has_no_box(nowhere: np.ndarray) -> None:
    assert stretched(nowhere, 16) is None
    assert predicted(nowhere, threshold=0.3, side=16) == []


def test_boxes_surround_connected_parts_in_shares_of_the_whole_image() -> None:
    grid = np.zeros((8, 8))
    grid[1:3, 1:3] = 1.0
    grid[5:8, 4:8] = 0.9
    boxes = predicted(grid, threshold=0.99, side=8)
    assert boxes == [(0.125, 0.125, 0.25, 0.25)]
    large, small = predicted(grid, threshold=0.5, side=8)
    assert large == (0.5, 0.625, 0.5, 0.375) and small == (0.125, 0.125, 0.25, 0.25), "the largest part comes first"
    # The network saw the middle half: the same boxes, moved and halved.
    window = (0.25, 0.25, 0.5, 0.5)
    assert predicted(grid, threshold=0.5, side=8, window=window)[0] == (0.5, 0.5625, 0.25, 0.1875)


def test_specks_get_no_box_unless_there_is_nothing_else() -> None:
    grid = np.zeros((16, 16))
    grid[4:12, 4:12] = 1
    grid[0, 0] = 1  # one of 256 cells: less than a hundredth
    assert predicted(grid, threshold=0.5, side=16) == [(0.25, 0.25, 0.5, 0.5)]
    speck = np.zeros((16, 16))
    speck[3, 5] = 1
    assert predicted(speck, threshold=0.5, side=16) == [(5 / 16, 3 / 16, 1 / 16, 1 / 16)]


def raster(boxes: list[Box], side: int = 20) -> np.ndarray:
    """Which cells of a fine grid lie in any of the boxes, cell by cell."""
    found = np.zeros((side, side), bool)
    for row in range(side):
        for column in range(side):
            x, y = (column + 0.5) / side, (row + 0.5) / side
            found[row, column] = any(l <= x < l + w and t <= y < t + h for l, t, w, h in boxes)  # noqa: E741
    return found


def test_overlap_of_many_boxes_against_a_raster() -> None:
    rng = np.random.default_rng(1)

    def drawn() -> list[Box]:
        edges = [np.sort(rng.choice(21, 2, replace=False), axis=0) for _ in range(2 * int(rng.integers(0, 4)))]
        return [
            (x[0] / 20, y[0] / 20, (x[1] - x[0]) / 20, (y[1] - y[0]) / 20)
            for x, y in zip(edges[::2], edges[1::2], strict=True)
        ]

    for _ in range(200):
        one, other = drawn(), drawn()
        first, second = raster(one), raster(other)
        union = (first | second).sum()
        assert overlap(one, other) == pytest.approx((first & second).sum() / union if union else 0.0, abs=1e-9)


def test_neither_many_boxes_nor_many_readers_help() -> None:
    truth: list[Box] = [(0.2, 0.2, 0.2, 0.2)]
    assert overlap(truth, truth) == pytest.approx(1)
    assert overlap(truth, truth * 3) == pytest.approx(1)
    assert overlap([*truth, (0.6, 0.6, 0.2, 0.2)], truth) == pytest.approx(0.5)
    assert overlap([], truth) == 0 and overlap([], []) == 0


def test_centred_box_has_the_mean_size_of_the_annotated_ones() -> None:
    assert centred([(0.0, 0.1, 0.2, 0.4), (0.5, 0.5, 0.4, 0.2)]) == pytest.approx((0.35, 0.35, 0.3, 0.3))


def test_pairs_are_each_once_and_sorted() -> None:
    rows = [("b", "p2", "Mass"), ("a", "p1", "Nodule"), ("b", "p2", "Mass"), ("a", "p1", "Mass")]
    pairs = pairs_of(pd.DataFrame(rows, columns=["image_id", "patient_id", "class"]))
    assert pairs.to_numpy().tolist() == [["a", "p1", "Mass"], ["a", "p1", "Nodule"], ["b", "p2", "Mass"]]


def test_interval_of_one_image_a_patient_is_the_paired_t_interval() -> None:
    values = np.random.default_rng(2).normal(0.1, 0.3, 25)
    found = mean_difference(values.tolist(), [str(i) for i in range(25)])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), expected.low, expected.high))
    assert (found.n, found.units) == (25, 25)


def test_interval_covers_when_patients_have_several_images() -> None:
    """95 % of 2,000 simulated collections: patients of different size whose images resemble each other."""
    rng = np.random.default_rng(3)
    inside = naive = 0
    for _ in range(2000):
        sizes = rng.integers(1, 6, 40)
        units = np.repeat(np.arange(40), sizes)
        values = rng.normal(0, 1, 40)[units] + rng.normal(0, 0.3, len(units))
        found = mean_difference(values.tolist(), [str(unit) for unit in units])
        inside += found.low <= 0 <= found.high
        alone = mean_difference(values.tolist(), [str(i) for i in range(len(units))])
        naive += alone.low <= 0 <= alone.high
    assert 0.93 <= inside / 2000 <= 0.97
    assert naive / 2000 < 0.9, "images of one patient are not independent"


@pytest.mark.parametrize(
    ("values", "units", "reason"),
    [([0.1, 0.2], ["p", "p"], "fewer than two patients"), ([0.1, 0.1], ["p", "q"], "no variance")],
)
def test_no_interval_without_a_spread(values: list[float], units: list[str], reason: str) -> None:
    found = mean_difference(values, units)
    assert found.reason == reason and math.isnan(found.low) and math.isnan(found.high)


def test_the_default_threshold_is_a_share() -> None:
    assert 0 < THRESHOLD < 1
