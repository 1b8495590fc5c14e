"""Label subsets are nested, patient-wise, seeded, and the same for every method."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from places import place_of
from refers_bench.data.subsets import Subset, subset


def frame(patients: list[int]) -> pd.DataFrame:
    rows = [{"image_id": f"i{n:04d}", "patient_id": f"p{p}", "t:a": n % 2, "t:b": 0} for n, p in enumerate(patients)]
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame, ratio: float, *, seed: int = 0, by_patient: bool = True) -> Subset:
    return subset(rows, dataset="d", task="t", classes=("a", "b"), label_ratio=ratio, seed=seed, by_patient=by_patient)


@settings(max_examples=60, deadline=None)
@given(
    patients=st.lists(st.integers(0, 30), min_size=1, max_size=200), seed=st.integers(0, 5), by_patient=st.booleans(),
    ratios=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
)  # fmt: skip
def test_smaller_ratios_are_inside_larger_ones(
    patients: list[int], seed: int, by_patient: bool, ratios: tuple[float, float]
) -> None:
    rows = frame(patients)
    small, large = (set(draw(rows, r, seed=seed, by_patient=by_patient).image_ids) for r in sorted(ratios))
    everything = set(draw(rows, 1.0, seed=seed, by_patient=by_patient).image_ids)
    assert small <= large <= everything == set(rows["image_id"])
    assert len(small) >= max(1, round(min(ratios) * len(rows)))


@settings(max_examples=40, deadline=None)
@given(patients=st.lists(st.integers(0, 20), min_size=2, max_size=100), ratio=st.floats(0.01, 1))
def test_no_patient_is_divided(patients: list[int], ratio: float) -> None:
    rows = frame(patients)
    chosen = rows["image_id"].isin(draw(rows, ratio).image_ids)
    assert not set(rows[chosen]["patient_id"]) & set(rows[~chosen]["patient_id"])


def test_by_image_the_size_is_exact() -> None:
    assert len(draw(frame(list(range(1000))), 0.01, by_patient=False).image_ids) == 10


def test_seeds_differ_and_repeat() -> None:
    rows = frame(list(range(200)))
    assert draw(rows, 0.1, seed=0) == draw(rows, 0.1, seed=0)
    assert draw(rows, 0.1, seed=0).digest != draw(rows, 0.1, seed=1).digest


def test_row_order_does_not_matter() -> None:
    rows = frame([n // 3 for n in range(90)])
    assert draw(rows, 0.3) == draw(rows.sample(frac=1, random_state=1), 0.3)


def test_counts_and_empty_classes() -> None:
    found = draw(frame(list(range(40))), 1.0)
    assert found.positives == {"a": 20, "b": 0}
    assert found.negatives == {"a": 20, "b": 40}
    assert found.empty == ("b",)


@pytest.mark.parametrize(
    ("ratio", "count"), [(0.0001, 1), (0.15, 2), (0.25, 2), (0.26, 3), (0.5, 5), (0.94, 9), (1, 10)]
)
def test_images_come_in_the_order_of_the_hashes_of_their_names(ratio: float, count: int) -> None:
    """As many as the nearest whole number, of halves the even one; at least one."""
    rows = frame([n // 2 for n in range(10)]).assign(**{"t:b": pd.array([1, 0, None] + [0] * 7, dtype="Int8")})
    order = sorted(rows["image_id"], key=lambda name: place_of("label subset", "d", "t", 7, name))
    found = draw(rows, ratio, seed=7, by_patient=False)
    assert found.image_ids == tuple(sorted(order[:count]))
    assert found.digest == hashlib.sha256("\n".join(sorted(order[:count])).encode()).hexdigest()
    chosen = rows[rows["image_id"].isin(order[:count])]
    positives = {name: sum(value == 1 for value in chosen[f"t:{name}"].dropna()) for name in "ab"}
    assert found.positives == positives
    assert found.negatives == {name: sum(value == 0 for value in chosen[f"t:{name}"].dropna()) for name in "ab"}
    assert found.empty == tuple(name for name in "ab" if not positives[name])
    patients = sorted(set(rows["patient_id"]), key=lambda name: place_of("label subset", "d", "t", 7, name))
    whole = draw(rows, ratio, seed=7).image_ids
    assert set(whole) == set(rows["image_id"][rows["patient_id"].isin(patients[: -(-count // 2)])])


@pytest.mark.parametrize("ratio", [0, -0.1, 1.01])
def test_impossible_ratios_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="label ratio"):
        draw(frame([1, 2]), ratio)
