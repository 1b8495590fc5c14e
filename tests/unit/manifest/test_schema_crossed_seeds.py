"""A manifest lists seeds, or crosses them; editors are told both forms."""

from __future__ import annotations

from typing import Any

import pytest

from refers_bench.manifest.schema import ManifestSchema, json_schema

REST = {
    "version": 1,
    "protocol": {"preset": "smoke"},
    "source": {"dataset": "phantom"},
    "methods": [{"id": "scratch"}],
    "targets": [{"dataset": "phantom", "tasks": ["findings"]}],
}


def read(seeds: Any) -> ManifestSchema:
    return ManifestSchema.model_validate({**REST, "seeds": seeds})


def test_a_list_of_seeds_stands_for_itself() -> None:
    assert read([3, 1]).runs == ((3, ()), (1, ()))


def test_counts_stand_for_all_combinations_numbered_from_0() -> None:
    assert read({"subset": 2, "order": 2}).runs == (
        (0, (0, 0, 0)), (1, (0, 0, 1)), (2, (1, 0, 0)), (3, (1, 0, 1)),
    )  # fmt: skip
    assert read({}).runs == ((0, (0, 0, 0)),)


@pytest.mark.parametrize("seeds", [[0, 1], {"subset": 5, "init": 3, "order": 1}, {"init": 2}, {}])
def test_what_was_read_is_written_so_that_it_is_read_again(seeds: Any) -> None:
    found = read(seeds)
    jsonschema = pytest.importorskip("jsonschema")
    written = found.model_dump(mode="json", exclude_defaults=True)
    assert ManifestSchema.model_validate(written).runs == found.runs
    jsonschema.validate({**REST, "seeds": seeds}, json_schema())


@pytest.mark.parametrize("seeds", [[], [-1], 3, {"subset": 0}, {"subsets": 2}, {"init": "2"}, ["1"]])
def test_an_editor_refuses_what_the_schema_refuses(seeds: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**REST, "seeds": seeds}, json_schema())
    with pytest.raises(ValueError, match="seeds"):
        read(seeds)
