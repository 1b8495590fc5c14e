"""A frozen plan comes back as it was written; whatever was changed in it is told, and it is never trusted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from refers_bench import identity
from refers_bench.errors import UserError
from refers_bench.store import frozen_plan
from refers_bench.store.frozen_plan import FrozenPlan
from refers_bench.store.plan import Cell, Job, Plan

CELLS = tuple(
    Cell(method=row, label=f"The {row}", dataset="d", task="t", label_ratio=ratio, seed=seed, key=f"{row}{ratio}{seed}")
    for row in ("a", "b") for ratio in (0.01, 1.0) for seed in (0, 3)
)  # fmt: skip
JOBS = (
    Job(key="p", kind="prepare", name="prepare.d"),
    Job(key="q", kind="prepare", name="prepare.d"),
    *(Job(key=cell.key, kind="finetune", name=cell.name, needs=("p",)) for cell in CELLS),
)
PLAN = Plan(
    name="m",
    title="A title",
    manifest_path="/home/me/m.yaml",
    manifest={"analysis": {"reference": "a", "columns": [{"dataset": "d", "label_ratios": [1.0]}]}, "limit": 100},
    jobs=JOBS,
    cells=CELLS,
    values={"finetune.steps": {"value": 3, "origin": "/home/me/m.yaml:3"}, "image.mean": {"value": (0.5, 0.25)}},
    roots={"d": "d"},
)
AT = "2026-01-02T03:04:05+00:00"


def frozen(**changes: Any) -> FrozenPlan:
    return frozen_plan.of(dataclasses.replace(PLAN, **changes), at=AT, program="refers-bench 9")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = frozen_plan.path_of(tmp_path, "m")
    frozen_plan.write(frozen(), path)
    return path


def test_it_holds_what_is_compared_and_no_path(path: Path) -> None:
    content = json.loads(path.read_text())
    assert "/home" not in path.read_text()
    assert {name: content[name] for name in ("version", "frozen", "program", "name", "title")} == {
        "version": 1, "frozen": AT, "program": "refers-bench 9", "name": "m", "title": "A title",
    }  # fmt: skip
    assert content["rows"] == {"a": "The a", "b": "The b"}
    assert (content["columns"], content["seeds"]) == (["d.t.1%", "d.t.100%"], [0, 3])
    assert content["cells"]["b"] == {
        "d.t.1%": {"s0": "b0.010", "s3": "b0.013"}, "d.t.100%": {"s0": "b1.00", "s3": "b1.03"},
    }  # fmt: skip
    assert content["rules"] == {
        "reference": "a", "against": "best other row", "columns": [{"dataset": "d", "label_ratios": [1.0]}],
        "test": "student", "correction": "holm", "alpha": 0.05, "images of each split": 100,
    }  # fmt: skip
    assert content["values"] == {"finetune.steps": 3, "image.mean": [0.5, 0.25]}
    assert content["needs"] == {"prepare.d": ["p", "q"]}


def test_the_digest_is_that_of_everything_else_as_anybody_can_compute_it(path: Path) -> None:
    """SHA-256 over JSON with sorted keys, no spaces, ASCII, whole floats as integers."""
    content = json.loads(path.read_text())
    digest = content.pop("digest")
    content = json.loads(
        json.dumps(content), parse_float=lambda text: int(float(text)) if float(text) % 1 == 0 else float(text)
    )
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert digest == hashlib.sha256(text.encode()).hexdigest() == frozen().digest


def test_it_comes_back_and_is_the_same(path: Path, tmp_path: Path) -> None:
    found = frozen_plan.find(tmp_path, "m")
    assert found is not None and found.digest == frozen().digest and found.n_cells == 8
    assert found.same(frozen()) and frozen().same(found)
    later = frozen_plan.of(PLAN, at="2027-01-01T00:00:00+00:00", program="refers-bench 10")
    assert found.same(later) and later.digest != found.digest
    assert frozen_plan.find(tmp_path, "other") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another"}, {"cells": CELLS[1:]}, {"manifest": {}}, {"jobs": JOBS[1:]},
        {"values": {"finetune.steps": {"value": 4}}}, {"cells": (dataclasses.replace(CELLS[0], key="x"), *CELLS[1:])},
    ],
)  # fmt: skip
def test_another_plan_is_not_the_same(changes: dict[str, Any]) -> None:
    assert not frozen().same(frozen(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"manifest_path": "/elsewhere"}, {"roots": {}}, {"execution": {"cpu_slots": 3}}, {"tables": ("table1",)}],
)
def test_where_and_how_it_runs_makes_no_other_plan(changes: dict[str, Any]) -> None:
    assert frozen().same(frozen(**changes))


def leaves(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value that is no list and no mapping, and to each list and mapping."""
    yield way
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from leaves(value, (*way, key))


def edited(content: dict[str, Any], way: tuple[Any, ...]) -> dict[str, Any]:
    """The content with one value replaced, or with one more entry."""
    copy = json.loads(json.dumps(content))
    node = copy
    for key in way[:-1]:
        node = node[key]
    old = node[way[-1]]
    if isinstance(old, dict):
        old["more"] = "x"
    elif isinstance(old, list):
        old.append("x")
    else:
        node[way[-1]] = f"{old}0" if isinstance(old, str) else old + 1
    return copy


def test_each_value_that_is_edited_is_found(path: Path) -> None:
    content = json.loads(path.read_text())
    ways = [way for way in leaves(content) if way and way != ("version",)]
    assert len(ways) > 50
    for way in ways:
        path.write_text(json.dumps(edited(content, way)))
        with pytest.raises(UserError, match=f"{path}: changed since it was frozen: SHA-256 [0-9a-f]{{64}}, recorded "):
            frozen_plan.read(path)


def test_each_value_that_is_removed_is_found(path: Path) -> None:
    content = json.loads(path.read_text())
    for name in set(content) - {"version"}:
        path.write_text(json.dumps({key: value for key, value in content.items() if key != name}))
        with pytest.raises(UserError, match="changed since it was frozen"):
            frozen_plan.read(path)


def forged(path: Path, **changes: Any) -> None:
    """The file with other values, and with the digest that belongs to them."""
    content = {**json.loads(path.read_text()), **changes}
    content.pop("digest")
    content = {name: value for name, value in content.items() if value is not None}
    text = identity.canonical_json(content)
    path.write_text(json.dumps({**content, "digest": hashlib.sha256(text.encode()).hexdigest()}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"frozen": "yesterday"}, "'frozen' is of another kind"),
        ({"frozen": "2026-01-02T03:04:05"}, "'frozen' is of another kind"),
        ({"title": 3}, "'title' is of another kind"),
        ({"rows": []}, "'rows' is of another kind"),
        ({"rows": {"a": 1}}, "'rows' is of another kind"),
        ({"columns": "d"}, "'columns' is of another kind"),
        ({"seeds": [0.5]}, "'seeds' is of another kind"),
        ({"seeds": [True]}, "'seeds' is of another kind"),
        ({"cells": {"a": {"d": "k"}}}, "'cells' is of another kind"),
        ({"cells": {"a": {"d": {"0": "k"}}}}, "'cells' is of another kind"),
        ({"cells": {"a": {"d": {"s0": 1}}}}, "'cells' is of another kind"),
        ({"needs": {"a": "k"}}, "'needs' is of another kind"),
        ({"values": None}, "no complete frozen plan ('values')"),
        ({"more": 1}, "no complete frozen plan ('more')"),
        ({"version": 2}, "a frozen plan of version 2"),
        ({"version": None}, "a frozen plan of version None"),
    ],
)
def test_a_file_with_a_right_digest_and_other_parts_is_refused(path: Path, changes: dict[str, Any], said: str) -> None:
    forged(path, **changes)
    with pytest.raises(UserError) as error:
        frozen_plan.read(path)
    assert said in str(error.value) and "is frozen anew only where this file is removed by hand" in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot read: "), (b"{", "cannot read: "), (b"[]", "holds a list"), (b"\xff", "cannot read: "),
        (b"[" * 100_000, "cannot read: "), (b'{"version": 1, "digest": "a", "values": {"x": NaN}}', "no frozen plan ("),
        (b'{"version": 1}', "changed since it was frozen"),
    ],
)  # fmt: skip
def test_what_is_no_frozen_plan_is_refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        frozen_plan.read(path)
    assert str(error.value).startswith(f"{path}: {said}")


def test_a_missing_file_and_a_folder_in_its_place_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        frozen_plan.read(tmp_path / "x.json")
    frozen_plan.path_of(tmp_path, "m").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot read"):
        frozen_plan.find(tmp_path, "m")
