"""What a node of a Ray cluster refuses before it begins, and what it runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from refers_bench import __version__
from refers_bench.execution.ray import node as ray_node


@pytest.mark.parametrize("missing", ["", "flag", "shared"])
def test_a_node_of_another_version_or_without_the_folders_is_unusable(tmp_path: Path, missing: str) -> None:
    """Without running anything: the batch is not even there."""
    node = socket.gethostname()
    flag, shared = tmp_path / "results" / "flag", tmp_path / "cache" / "seen"
    for name, path in {"flag": flag, "shared": shared}.items():
        path.parent.mkdir()
        if name != missing:
            path.write_text(ray_node.RUN)
    given = {"batch": str(tmp_path / "none"), "flag": str(flag), "shared": [str(shared)], "gpus": 0.0}
    if missing:
        folder = (flag if missing == "flag" else shared).parent
        allowed = "results and cache on a file system of all nodes"
        expected = {"unusable": f"node {node} does not see {folder}", "allowed": allowed, "node": node}
        assert ray_node.work(version=__version__, **given) == expected
    found = f"node {node} has refers-bench {__version__}, and this run is one of 0.0.1"
    expected = {"unusable": found, "allowed": "the same installation on every node", "node": node}
    assert ray_node.work(version="0.0.1", **given) == expected
