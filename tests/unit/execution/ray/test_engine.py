"""Without a cluster: what a job takes, how many fit, and the errors when Ray or the cluster is missing."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.ray.driver import _address, _why
from refers_bench.execution.ray.engine import engine
from refers_bench.execution.ray.link import Link
from refers_bench.execution.ray.needs import RayOptions, described, need, options
from refers_bench.execution.task import Batch
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore


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
    with pytest.raises(UserError) as refused:
        _address(address)
    (problem,) = refused.value.problems
    assert problem.found == f"Ray address '{address}'"
    assert problem.allowed.startswith("auto, or host:port of the head")


def test_why_ray_refuses() -> None:
    assert str(_why("auto", ConnectionError("Could not find any running Ray instance."))).startswith(
        "no Ray cluster runs on this machine; allowed: an address host:port"
    )
    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.7\n")
    assert _why("a:1", mismatch).problems[0].found == (
        "the Ray cluster at a:1 runs other versions: Version mismatch: The cluster was started with: Ray: 2.9.0 "
        "Python: 3.11.7"
    )
    assert str(_why("a:1", SystemExit(15))) == (
        "the Ray cluster at a:1 cannot be joined: 15; allowed: a command on one of its nodes"
    )


# --- a cluster that does as it is told ------------------------------------------------------------------------------


class Cluster:
    """In place of the process that is joined to a cluster: keeps what it is told, says what a test has it say."""

    def __init__(self, address: str) -> None:
        self.address, self.alive = address, True
        self.nodes = [{"CPU": 4.0, "GPU": 2.0, "a100": 8.0}]
        self.told: list[dict[str, Any]] = []
        self.said: list[dict[str, Any]] = []

    def send(self, do: str, **facts: Any) -> None:
        self.told.append({"do": do, **facts})

    def endings(self, seconds: float) -> list[dict[str, Any]]:
        said, self.said = self.said, []
        return said

    def close(self) -> None:
        self.alive = False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as a test sets it; the engine joins a `Cluster`, and waits for nothing when it leaves."""
    now = [1000.0]
    monkeypatch.setattr("refers_bench.execution.ray.engine.time.monotonic", lambda: now[0])
    monkeypatch.setattr("refers_bench.execution.ray.engine.Link", Cluster)
    monkeypatch.setattr("refers_bench.execution.ray.engine.LEAVE_S", -1.0)
    return now


def test_calls_are_told_seen_to_run_taken_back_and_ended(tmp_path: Path, clock: list[float]) -> None:
    settings = Settings(results=tmp_path / "results", cache=tmp_path / "cache", threads=2)
    ray = engine(
        settings, {"ray": {"address": "head:1", "gpus_per_job": 0.5, "memory": "1M", "resources": {"a100": 1}}}
    )
    spec = {"kind": "pretrain", "pretrain": {"processes": 2}}
    jobs = [
        Job(key="a", kind="pretrain", name="joint", needs=(), spec=spec),
        *(Job(key=key, kind="finetune", name=f"cell {key}", needs=(), spec={"kind": "finetune"}) for key in "bcd"),
        Job(key="e", kind="prepare", name="images", needs=(), spec={"kind": "prepare"}),
    ]
    with ray.opened():
        cluster = ray.link
        cluster.nodes[0]["memory"] = 2.0**30
        (folder,) = (tmp_path / "results" / "work" / "ray").iterdir()
        (marker,) = (tmp_path / "cache").iterdir()
        # Two cores each: two places, and two calls that wait for one; joint training takes two of them.
        assert (cluster.address, ray.room()) == ("head:1", 4)
        ray.start([Attempt(job=jobs[0], token="t")])
        assert ray.room() == 2
        ray.start([Attempt(job=one, token="t") for one in jobs[1:]])
        assert ray.room() == 0
        asked = {"memory": 2.0**20, "resources": {"a100": 1}, "flag": str(folder / "flag"), "shared": [str(marker)]}
        assert cluster.told == [
            {
                "do": "start", "id": one.key, "name": one.name, "batch": str(folder / f"{one.key}.json"), "gpus": gpus,
                "cpus": cpus, **asked,
            }
            for one, gpus, cpus in zip(jobs, (2.0, 0.5, 0.5, 0.5, 0.0), (4.0, 2.0, 2.0, 2.0, 2.0), strict=True)
        ]  # fmt: skip
        batches = [Batch.read(folder / f"{one.key}.json") for one in jobs]
        assert [(one.device, one.settings.processes, one.attempts[0].job) for one in batches] == [
            ("cuda", 4, jobs[0]), *(("cuda", 2, one) for one in jobs[1:4]), ("cpu", 2, jobs[4]),
        ]  # fmt: skip

        # Claims of nodes: one waits for a place, another runs, the third has not been made.
        for key, queued in (("a", False), ("b", True)):
            claim = {"host": "node3", "pid": 1, "start": "1", "token": "t", "queued": queued, "engine": "ray"}
            (tmp_path / "results" / "work" / "claims" / f"{key}.json").write_text(json.dumps(claim))
        assert ray.wait(0.0) == [Ending(key="a", category="running")]
        cluster.told.clear()
        ray.take_back()
        ray.take_back()
        assert cluster.told == [{"do": "cancel", "ids": ["b"]}]
        cluster.said = [
            {"id": "b", "how": "cancelled"},
            {"id": "c", "how": "lost", "message": "node 4 is gone", "traceback": "of Ray"},
            {"id": "d", "how": "returned", "value": {"settled": ["d"], "node": "node5"}},
            {"id": "e", "how": "returned", "value": {"settled": [], "node": "node5"}},
        ]
        assert ray.wait(0.0) == [Ending(key="b", category="waiting"), Ending(key="e", category="waiting")]
        assert sorted(path.name for path in folder.iterdir()) == ["a.json", "c.json", "d.json", "flag"]
        # Processes of a lost worker may live a little longer; a record may take its time to be seen.
        clock[0] += 3.9
        assert ray.wait(0.0) == []
        clock[0] += 0.2
        assert ray.wait(0.0) == [
            Ending(key="c", category="lost", message="node 4 is gone", facts={"traceback": "of Ray"})
        ]
        ResultStore(tmp_path / "results").fail("d", category="nan", record={"token": "t", "message": "no number"})
        (ending,) = ray.wait(0.0)
        assert (ending.key, ending.category, ending.message, ending.recorded) == ("d", "nan", "no number", True)
        ray.interrupt()
        assert (folder / "flag").read_text() == "stop"
        cluster.said = [{"id": "a", "how": "cancelled"}]
        assert ray.wait(0.0) == [Ending(key="a", category="preempted")]
    assert (folder.exists(), marker.exists(), cluster.alive, ray.token) == (False, False, False, "")


def test_a_record_that_never_shows_is_a_crash(tmp_path: Path, clock: list[float]) -> None:
    ray = engine(Settings(results=tmp_path / "results", cache=tmp_path / "cache", device="cpu"), {})
    with ray.opened():
        ray.start([Attempt(job=Job(key="a", kind="finetune", name="a", needs=(), spec={"kind": "finetune"}))])
        ray.link.said = [{"id": "a", "how": "returned", "value": {"settled": ["a"], "node": "node5"}}]
        assert ray.wait(0.0) == []
        clock[0] += 89.0
        assert ray.wait(0.0) == []
        clock[0] += 1.0
        message = "node node5 has recorded its end, which the results folder here does not show"
        assert ray.wait(0.0) == [Ending(key="a", category="crash", message=message)]


@pytest.mark.parametrize(("section", "patience"), [({}, 30.0), ({"wait_for_nodes": 5.0}, 5.0)])
def test_a_call_that_no_node_can_hold_is_waited_for_so_long(
    tmp_path: Path, clock: list[float], section: dict[str, Any], patience: float
) -> None:
    settings = Settings(results=tmp_path / "results", cache=tmp_path / "cache", device="cpu", threads=5)
    ray = engine(settings, {"ray": section})

    def waited(seconds: float) -> str:
        with pytest.raises(UserError) as refused:
            ray.wait(0.0)
            clock[0] += seconds
            ray.wait(0.0)
            clock[0] += 0.5
            ray.wait(0.0)
        return str(refused.value)

    job = Job(key="a", kind="finetune", name="a", needs=(), spec={"kind": "finetune"})
    with pytest.raises(KeyboardInterrupt), ray.opened():
        ray.start([Attempt(job=job)])
        cluster = ray.link
        there = "4 CPU, 2 GPU, 8 a100"
        text = "no node of the Ray cluster at auto has had 5 CPU for {:g} s; allowed: {}"
        assert waited(patience) == text.format(patience, there)
        cluster.nodes.append({"CPU": 5.0})
        assert ray.wait(0.0) == []
        cluster.nodes.clear()
        patience = section.get("wait_for_nodes", 600.0)
        assert waited(patience) == text.format(patience, "a node that is up")
        raise KeyboardInterrupt
    assert not cluster.alive and ray.token != ""


def test_jobs_wait_here_for_what_they_need(tmp_path: Path) -> None:
    """Ray is given a job when those it needs are done: it orders nothing by itself."""
    made = engine(Settings(results=tmp_path, cache=tmp_path, slots=[]), {})
    assert (made.name, made.queues, made.apart) == ("ray", False, ())
