"""Files of the same bytes are found, and groups that share one become one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from refers_bench.data.identical_files import identical_files, joined_groups


def test_only_the_same_bytes_count(tmp_path: Path) -> None:
    contents = {"a": b"12", "b": b"21", "c": b"12", "d": b"123", "e": b"123", "f": b"4"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    sizes = [len(content) for content in contents.values()]
    assert identical_files(list(contents), sizes=sizes, root=tmp_path) == [[0, 2], [3, 4]]


def test_files_whose_size_no_other_has_are_not_read(tmp_path: Path) -> None:
    assert identical_files(["not there", "nor there"], sizes=[1, 2], root=tmp_path) == []


@given(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30).flatmap(
        lambda groups: st.tuples(
            st.just(groups), st.lists(st.lists(st.integers(0, len(groups) - 1), min_size=1, max_size=4), max_size=10)
        )
    )
)
def test_joined_groups_are_the_connected_parts_of_a_graph(case: tuple[list[str], list[list[int]]]) -> None:
    groups, together = case
    names = sorted(set(groups))
    edges = [(names.index(groups[places[0]]), names.index(groups[place])) for places in together for place in places]
    rows, columns = zip(*edges, strict=True) if edges else ((), ())
    graph = coo_array((np.ones(len(edges)), (np.array(rows, int), np.array(columns, int))), shape=(len(names),) * 2)
    _, part = connected_components(graph, directed=False)
    name = {member: names[part.tolist().index(part[place])] for place, member in enumerate(names)}
    assert joined_groups(groups, together) == [name[group] for group in groups]


def test_nothing_to_join() -> None:
    assert joined_groups(["b", "a"], []) == ["b", "a"]
