"""Without a cluster: what does a job take, how many fit, and what is said when Ray or the cluster is not there?"""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.execution.ray_driver import Refused, _address, _why
from refers_bench.execution.ray_link import Link
from refers_bench.execution.ray_needs import RayOptions, described, need, options


@pytest.mark.parametrize(
    ("how", "gpus", "processes", "amounts"),
    [
        ({}, 0.0, 1, {"CPU": 2}),
        ({}, 1.0, 1, {"CPU": 2, "GPU": 1}),
        ({"cpus_per_job": 0.5}, 0.25, 1, {"CPU": 0.5, "GPU": 0.25}),
        ({}, 1.0, 4, {"CPU": 8, "GPU": 4}),
        # A process of a joint training has GPUs of its own, though others share theirs.
        ({}, 0.5, 2, {"CPU": 4, "GPU": 2}),
        ({}, 0.0, 2, {"CPU": 4}),
        ({"cpus_per_job": 0, "memory": 2**30, "resources": {"a100": 1.0}}, 1.0, 1, {"GPU": 1, "a100": 1, "memory": 2**30}),
    ],
)  # fmt: skip
def test_needs(how: dict[str, float], gpus: float, processes: int, amounts: dict[str, float]) -> None:
    assert dict(need(RayOptions(**how), gpus=gpus, threads=2, processes=processes).amounts) == amounts


@pytest.mark.parametrize(
    ("gpus", "node", "places"),
    [
        (1.0, {"CPU": 8.0, "GPU": 2.0}, 2),
        (0.5, {"CPU": 8.0, "GPU": 2.0}, 4),
        (0.5, {"CPU": 3.0, "GPU": 2.0}, 3),
        # Shares are of one GPU: 0.4 fits twice in each, and the two rests of 0.2 are no third.
        (0.4, {"CPU": 8.0, "GPU": 2.0}, 4),
        (0.1, {"CPU": 100.0, "GPU": 1.0}, 10),
        (2.0, {"CPU": 8.0, "GPU": 3.0}, 1),
        (1.0, {"CPU": 8.0}, 0),
        (1.0, {"GPU": 8.0}, 0),
    ],
)
def test_places(gpus: float, node: dict[str, float], places: int) -> None:
    assert need(RayOptions(), gpus=gpus, threads=1).places(node) == places


def test_options() -> None:
    said = {"address": "10.0.0.5:6379", "gpus_per_job": 0.5, "memory": "16G", "resources": {}, "cpus_per_job": None}
    assert options(said) == RayOptions(address="10.0.0.5:6379", gpus_per_job=0.5, memory=16 * 2**30)
    assert options({}) == RayOptions()


def test_a_node_in_words() -> None:
    node = {"CPU": 4.0, "GPU": 2.0, "memory": 60.0 * 2**30, "object_store_memory": 5.0, "node:10.0.0.5": 1.0}
    assert described(node) == "4 CPU, 2 GPU, 60 GiB memory"
    assert described({}) == "nothing"


# --- nobody there ---------------------------------------------------------------------------------------------------


def test_no_ray_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError(\"No module named 'ray'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError) as refused:
        Link("auto")
    assert str(refused.value) == (
        "Ray cannot be loaded (No module named 'ray'); allowed: pip install 'refers-bench[ray]' on every node"
    )


def test_an_address_where_nobody_answers_is_said_within_seconds() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'refers-bench[ray]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(
            UserError, match=f"no Ray cluster answers at 127.0.0.1:{port} .*Connection refused"
        ) as refused:
            Link(f"127.0.0.1:{port}")
    assert "'ray status' on one of its nodes shows it" in str(refused.value)
    assert time.monotonic() - began < 30, "it is Ray's own wait of more than a minute"


def test_a_stale_address_of_this_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert _address("auto") is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.5:6379\n")
    assert _address("auto") == ("10.0.0.5", 6379)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.6:1")
    assert _address("auto") == ("10.0.0.6", 1)
    assert _address("[fe80::1]:6379") == ("fe80::1", 6379)


@pytest.mark.parametrize("address", ["ray://10.0.0.5:10001", "10.0.0.5", "10.0.0.5:", ":6379", "10.0.0.5:head"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Refused) as refused:
        _address(address)
    assert refused.value.found == f"Ray address '{address}'"
    assert refused.value.allowed.startswith("auto, or host:port of the head")


def test_why_ray_refuses() -> None:
    assert _why("auto", ConnectionError("Could not find any running Ray instance."))[0].startswith(
        "no Ray cluster runs"
    )
    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.7\n")
    assert _why("a:1", mismatch)[0] == (
        "the Ray cluster at a:1 runs other versions: Version mismatch: The cluster was started with: Ray: 2.9.0 "
        "Python: 3.11.7"
    )
    assert _why("a:1", SystemExit(15)) == (
        "the Ray cluster at a:1 cannot be joined: 15",
        "a command on one of its nodes",
    )
