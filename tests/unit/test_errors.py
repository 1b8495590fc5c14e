"""What a user reads of a mistake: where it is, what was found, what is allowed, and the nearest name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from refers_bench.errors import CATEGORIES, DataError, Problem, StorageError, UserError, nearest, unknown


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(found="found"), "found"),
        (Problem(found="found", allowed="a, b"), "found; allowed: a, b"),
        (Problem(found="found", nearest="a"), "found; did you mean 'a'?"),
        (Problem(found="found", path=Path("f/m.yaml")), "f/m.yaml: found"),
        (Problem(found="found", path="m.yaml", line=3), "m.yaml:3: found"),
        (
            Problem(found="found", allowed="a", nearest="b", path="m.yaml", line=3, column=7),
            "m.yaml:3:7: found; allowed: a; did you mean 'b'?",
        ),
        (Problem(found="found", path="m.yaml", line=0, column=0), "m.yaml:0:0: found"),
    ],
)
def test_a_problem_in_one_line(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_an_error_holds_every_problem_a_line_each() -> None:
    one, two = Problem(found="one"), Problem(found="two", path="m.yaml")
    assert (UserError("text").problems, str(UserError("text"))) == ((Problem(found="text"),), "text")
    assert (UserError(one).problems, str(UserError(one))) == ((one,), "one")
    for kind in (UserError, DataError, StorageError):
        error = kind(iter([one, two]))
        assert (error.problems, str(error), error.exit_code) == ((one, two), "one\nm.yaml: two", 2)


@pytest.mark.parametrize(
    ("name", "close"), [("refrs", "refers"), ("c2", "c2l"), ("refers", "refers"), ("xyz", ""), ("", "")]
)
def test_the_nearest_of_the_known_names(name: str, close: str) -> None:
    assert nearest(name, iter(["c2l", "refers", "transvw"])) == close
    problem = replace(unknown("method", name, {"transvw": 1, "refers": 2, "c2l": 3}), path="m.yaml", line=2)
    hint = f"; did you mean '{close}'?" if close else ""
    assert str(problem) == f"m.yaml:2: unknown method '{name}'; allowed: c2l, refers, transvw{hint}"


def test_how_a_job_may_end() -> None:
    """Success stands first, since every other one is a failure or a pause."""
    assert CATEGORIES == (
        "ok", "cuda_oom", "host_oom", "nan", "timeout", "crash", "data_error", "lost", "preempted", "cancelled",
    )  # fmt: skip
