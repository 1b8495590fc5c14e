"""A schedule respects needs and slots, and is close to the bound that no schedule can beat."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refers_bench.plan.forecast.schedule import Schedule, chains, schedule

Graph = tuple[dict[str, float], dict[str, tuple[str, ...]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to 40 jobs; each may need earlier ones."""
    count = draw(st.integers(1, 40))
    seconds = {f"j{i}": draw(st.floats(0, 100)) for i in range(count)}
    needs = {
        f"j{i}": tuple(f"j{j}" for j in draw(st.lists(st.integers(0, i - 1), max_size=3))) for i in range(1, count)
    }
    return seconds, needs


def mixed(count: int, seed: int, *, dependent: bool) -> Graph:
    """Jobs of mixed length like a benchmark's: preparations, pre-trainings of hours, fine-tunings of minutes."""
    dice = random.Random(seed)
    seconds: dict[str, float] = {}
    needs: dict[str, tuple[str, ...]] = {}
    for i in range(count):
        kind = dice.random()
        seconds[f"j{i}"] = (
            dice.uniform(5_000, 20_000)
            if kind < 0.03
            else dice.lognormvariate(6, 1)
            if kind < 0.8
            else dice.expovariate(0.05)
        )
        if dependent and i > 20 and dice.random() < 0.9:
            needs[f"j{i}"] = tuple({f"j{dice.randrange(max(1, i // 3))}" for _ in range(dice.randint(1, 2))})
    return seconds, needs


def check(found: Schedule, seconds: dict[str, float], needs: dict[str, tuple[str, ...]], slots: int) -> None:
    ends = {job: start + seconds[job] for job, start in found.starts.items()}
    assert set(found.starts) == set(seconds)
    assert found.wall_s == pytest.approx(max(ends.values()))
    for job, before in needs.items():
        assert all(found.starts[job] >= ends[need] - 1e-9 for need in before)
    events = sorted(
        [(ends[j], -1) for j in seconds if seconds[j]] + [(found.starts[j], 1) for j in seconds if seconds[j]]
    )
    running = 0
    for _, change in events:
        running += change
        assert running <= slots


@settings(max_examples=150, deadline=None)
@given(graph=graphs(), slots=st.integers(1, 9))
def test_needs_and_slots_are_respected_and_the_time_is_within_grahams_bound(graph: Graph, slots: int) -> None:
    seconds, needs = graph
    found = schedule(seconds, needs, slots=slots)
    check(found, seconds, needs, slots)
    assert found.bound_s <= found.wall_s + 1e-6
    # Graham 1969: any list schedule, whatever the order.
    assert found.wall_s <= found.total_s / slots + (1 - 1 / slots) * found.critical_s + 1e-6


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dependent", [False, True])
def test_a_thousand_mixed_jobs_on_eight_slots_are_within_ten_percent_of_the_bound(seed: int, dependent: bool) -> None:
    seconds, needs = mixed(1000, seed, dependent=dependent)
    found = schedule(seconds, needs, slots=8)
    check(found, seconds, needs, 8)
    assert found.wall_s <= 1.10 * found.bound_s


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("back", [10, 30, 100])
def test_long_chains_are_within_ten_percent_of_the_bound(seed: int, back: int) -> None:
    """Most of 1,000 jobs wait for up to three of those just before: work for eight slots at times, at times for one."""
    dice = random.Random(seed)
    seconds, needs = {}, {}
    for i in range(1000):
        seconds[f"j{i}"] = dice.lognormvariate(6, 1)
        if i and dice.random() < 0.9:
            needs[f"j{i}"] = tuple({f"j{dice.randrange(max(0, i - back), i)}" for _ in range(dice.randint(1, 3))})
    found = schedule(seconds, needs, slots=8)
    check(found, seconds, needs, 8)
    assert found.wall_s <= 1.10 * found.bound_s


@pytest.mark.parametrize("seed", range(5))
def test_a_manifest_of_methods_that_pretrain_is_within_ten_percent_of_the_bound(seed: int) -> None:
    """The benchmark's own shape: 20 pre-trainings, each before its 49 fine-tunings of mixed length."""
    dice = random.Random(seed)
    seconds, needs = {}, {}
    for method in range(20):
        seconds[f"p{method}"] = dice.uniform(2_000, 20_000)
        for cell in range(49):
            seconds[f"f{method}.{cell}"] = dice.lognormvariate(6, 1)
            needs[f"f{method}.{cell}"] = (f"p{method}",)
    found = schedule(seconds, needs, slots=8)
    check(found, seconds, needs, 8)
    assert len(seconds) == 1000
    assert found.wall_s <= 1.10 * found.bound_s


def test_the_longest_chain_goes_first_and_is_named() -> None:
    seconds = {"short": 1.0, "a": 2.0, "b": 3.0, "c": 4.0, "long": 5.0}
    needs = {"b": ("a",), "c": ("b",)}
    found = schedule(seconds, needs, slots=2)
    assert found.critical == ("a", "b", "c")
    assert found.critical_s == 9.0
    assert found.starts["a"] == 0.0 and found.starts["long"] == 0.0
    assert found.wall_s == 9.0
    assert found.bound_s == 9.0


def test_ranks_decide_among_those_that_can_start() -> None:
    seconds = dict.fromkeys("abc", 1.0)
    found = schedule(seconds, {"a": ("b",)}, slots=1, ranks={"a": 0, "b": 2, "c": 1})
    assert found.starts == {"c": 0.0, "b": 1.0, "a": 2.0}


def test_needs_outside_are_done() -> None:
    assert schedule({"a": 1.0}, {"a": ("gone",)}, slots=3).wall_s == 1.0
    assert schedule({}, {}, slots=3).wall_s == 0.0


def test_chains_are_sums_along_the_longest_way() -> None:
    seconds = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}
    needs = {"b": ("a",), "c": ("a",), "d": ("b", "c")}
    assert chains(seconds, needs) == {"a": 13.0, "b": 10.0, "c": 12.0, "d": 8.0}
    assert chains(dict(reversed(seconds.items())), needs) == chains(seconds, needs)


def test_jobs_that_need_each_other_and_no_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="need each other"):
        schedule({"a": 1.0, "b": 1.0}, {"a": ("b",), "b": ("a",)}, slots=1)
    with pytest.raises(ValueError, match="no slot"):
        schedule({"a": 1.0}, {}, slots=0)


def test_a_hundred_thousand_jobs_take_seconds() -> None:
    seconds, needs = mixed(100_000, 0, dependent=True)
    found = schedule(seconds, needs, slots=64)
    assert found.wall_s <= 1.10 * found.bound_s
