"""A real Ray cluster runs each job once, on the GPUs it was given, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from refers_bench.errors import UserError
from refers_bench.execution import coordinator
from refers_bench.execution.engine import PRELOAD, Attempt, Outcome, Settings
from refers_bench.execution.ray.engine import engine
from refers_bench.execution.ray.link import Link
from refers_bench.plan.lock import Job
from refers_bench.store.results import ResultStore
from tiny_jobs import job

HERE = Path(__file__).parent / "on_ray"
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'refers-bench[ray]'"
    ),
    # One cluster for all of them.
    pytest.mark.xdist_group("ray"),
]


class Gone(Exception):
    """The cluster has ended, with the end of its log."""


class Cluster:
    """A head without CPUs and GPUs, and the nodes that are asked for."""

    def __init__(self, folder: Path) -> None:
        self.log = (folder / "cluster.log").open("wb")
        environment = {
            **os.environ, "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }  # fmt: skip
        environment.pop("RAY_ADDRESS", None)
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "cluster.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=self.log, env=environment, start_new_session=True,
        )  # fmt: skip
        self.address = ""

    def open(self) -> None:
        """Wait for its head."""
        self.address = self._heard()["address"]

    def _heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Gone(Path(self.log.name).read_text()[-3000:])
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self, *words: str) -> None:
        """Have it done."""
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        self._heard()

    def stop(self) -> None:
        """Everything that it has started ends."""
        if self.process.poll() is None:
            self.process.communicate("stop\n", timeout=60)
        with contextlib.suppress(ProcessLookupError):  # agents of a node that was killed
            os.killpg(self.process.pid, signal.SIGKILL)
        self.log.close()


#: Attempts at starting a cluster: on a busy machine Ray's processes may not meet in the time it gives them.
STARTS = 3


@pytest.fixture(scope="module")
def new_cluster() -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of nodes by name, each "CPUS GPUS"; their sockets need a short path."""
    folders: list[Path] = []
    clusters: list[Cluster] = []

    def start(nodes: Mapping[str, str]) -> Cluster:
        folders.append(Path(tempfile.mkdtemp(prefix="ray")))
        clusters.append(Cluster(folders[-1]))
        clusters[-1].open()
        for name, size in nodes.items():
            clusters[-1].tell("add", name, *size.split())
        clusters[-1].tell("wait")
        return clusters[-1]

    def make(**nodes: str) -> Cluster:
        for _ in range(STARTS - 1):
            try:
                return start(nodes)
            except Gone:
                clusters[-1].stop()
        return start(nodes)

    yield make
    for cluster in clusters:
        cluster.stop()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(new_cluster: Callable[..., Cluster]) -> Cluster:
    """A head and two nodes, "left" and "right", of 2 CPUs and 2 GPUs each."""
    return new_cluster(left="2 2", right="2 2")


@dataclass
class Heard:
    """A listener that keeps what it was told."""

    names: Mapping[str, str]
    ended_as: list[tuple[str, str]] = field(default_factory=list)
    at_tick: Callable[[], None] = lambda: None

    def started(self, job: Job) -> None:
        pass

    def ended(self, job: Job, category: str, seconds: float, message: str) -> None:
        self.ended_as.append((job.name, category))

    def tick(self, running: Mapping[str, Mapping[str, Any]], left: Mapping[str, int]) -> None:
        self.at_tick()


class Runs:
    """Runs jobs on a cluster with results below a folder."""

    def __init__(self, folder: Path) -> None:
        self.results, self.cache = folder / "results", folder / "cache"
        self.store = ResultStore(self.results)
        self.results.mkdir()

    def run(
        self, jobs: Sequence[Job], cluster: Cluster, *, at_tick: Callable[[], None] = lambda: None,
        options: Mapping[str, Any] | None = None, **how: Any,
    ) -> tuple[Outcome, Heard]:  # fmt: skip
        """To the end; in this process, as the command line does."""
        settings = Settings(
            results=self.results, cache=self.cache, entry="watched:run", preload=PRELOAD, **how
        )  # fmt: skip
        heard = Heard({job.key: job.name for job in jobs}, at_tick=at_tick)
        ray = engine(settings, {"ray": {"address": cluster.address, **(options or {})}})
        return coordinator.execute(jobs, ray, settings, heard), heard

    def watched(self, event: str) -> list[dict[str, Any]]:
        """What the jobs have said so far."""
        path = self.results / "watched.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [said for said in map(json.loads, lines) if said["event"] == event]

    def leftovers(self) -> list[str]:
        """Files of runs and claims that nobody cleaned up."""
        work = self.results / "work"
        return [str(path) for path in [*work.glob("claims/*.json"), *work.glob("ray/*"), *self.cache.glob(".*")]]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Of the test's own folder."""
    return Runs(tmp_path)


def at_once(runs: Runs) -> Counter[tuple[str, str]]:
    """Most jobs at a time on each GPU of each node."""
    began = {said["name"]: said for said in runs.watched("start")}
    events = [(said["at"], 1, said) for said in began.values()]
    events += [(said["at"], -1, said) for said in runs.watched("published")]
    now: Counter[tuple[str, str]] = Counter()
    most: Counter[tuple[str, str]] = Counter()
    for _, change, said in sorted(events, key=lambda event: event[:2]):
        place = (said["node"], said["gpu"])
        now[place] += change
        most[place] = max(most[place], now[place])
    return most


def test_half_a_gpu_each_is_two_on_a_gpu(cluster: Cluster, runs: Runs) -> None:
    # Four long ones, which find each other however slowly they start, and short ones after them.
    jobs = [job(f"half{i}", sleep=10.0 if i < 4 else 0.5) for i in range(10)]
    outcome, heard = runs.run(
        jobs, cluster, options={"gpus_per_job": 0.5, "cpus_per_job": 0.1, "resources": {"left": 1.0}}
    )
    assert sorted(heard.ended_as) == sorted((one.name, "ok") for one in jobs)
    assert len(outcome.done) == 10
    assert {said["device"] for said in runs.watched("start")} == {"cuda"}
    assert at_once(runs) == {("left", "0"): 2, ("left", "1"): 2}
    assert runs.leftovers() == []


def test_each_failure_is_recorded_and_the_rest_goes_on(cluster: Cluster, runs: Runs) -> None:
    good = [job(f"good{i}", sleep=0.1) for i in range(4)]
    hang, bad = job("hang", fail="hang"), job("bad", fail="kill")
    jobs = [
        *good, hang, bad, job("needs good", good[0]), job("needs bad", bad),
        job("killed once", fail="kill", fail_attempts=1), job("worker killed", fail="ray worker"),
    ]  # fmt: skip
    outcome, heard = runs.run(jobs, cluster, time_limit=3.0, device="cpu")
    names = {one.key: one.name for one in jobs}
    assert {names[key]: category for key, category in outcome.failed.items()} == {"hang": "timeout", "bad": "crash"}
    assert [names[key] for key in outcome.blocked] == ["needs bad"]
    done = {*(one.name for one in good), "needs good", "killed once", "worker killed"}
    assert {names[key] for key in outcome.done} == done
    # Ray's own process was killed: nobody but the coordinator can tell, and it tries again.
    assert [category for name, category in heard.ended_as if name == "worker killed"] == ["lost", "ok"]
    # A job's process was killed: whoever runs it has tried again.
    assert [category for name, category in heard.ended_as if name == "killed once"] == ["ok"]
    failures = {one.name: runs.store.failure(one.key) or {} for one in (hang, bad)}
    assert {name: (said["category"], said["attempts"]) for name, said in failures.items()} == {
        "hang": ("timeout", 1), "bad": ("crash", 2)
    }  # fmt: skip
    assert failures["hang"]["message"] == "over its time limit of 3 s"
    assert Counter(said["name"] for said in runs.watched("published")) == Counter(done)
    assert {said["device"] for said in runs.watched("start")} == {"cpu"}
    assert runs.leftovers() == []


def test_a_node_lost_in_mid_run_costs_no_cell(cluster: Cluster, runs: Runs) -> None:
    jobs = [job(f"cell{i}", sleep=1.5) for i in range(8)]
    cluster.tell("add", "doomed", "2", "2")
    cluster.tell("wait")
    lost: list[str] = []

    def remove() -> None:
        there = {said["name"] for said in runs.watched("start") if said["node"] == "doomed"}
        running = there - {said["name"] for said in runs.watched("published")}
        if running and not lost:
            lost.extend(running)
            cluster.tell("remove", "doomed")

    outcome, heard = runs.run(jobs, cluster, at_tick=remove, options={"gpus_per_job": 1})
    assert lost, "no job ran on the node that was to be lost"
    assert (len(outcome.done), outcome.failed) == (8, {})
    ended: dict[str, list[str]] = {one.name: [] for one in jobs}
    for name, category in heard.ended_as:
        ended[name].append(category)
    recorded = {name for name, categories in ended.items() if categories == ["lost", "ok"]}
    assert set(lost) <= recorded
    assert all(categories == ["ok"] for name, categories in ended.items() if name not in recorded)
    published = runs.watched("published")
    assert Counter(said["name"] for said in published) == Counter(one.name for one in jobs), "a job ran twice"
    assert {said["attempt"] for said in published if said["name"] in recorded} == {2}
    assert runs.leftovers() == []


def test_a_need_that_no_node_can_meet_is_said(cluster: Cluster, runs: Runs) -> None:
    with pytest.raises(UserError, match=r"no node of the Ray cluster at .* has had 1 CPU, 3 GPU for 1 s") as refused:
        runs.run([job("large")], cluster, options={"gpus_per_job": 3, "wait_for_nodes": 1.0})
    assert "2 CPU, 2 GPU, " in str(refused.value)
    assert runs.leftovers() == []


def test_another_installation_on_a_node_is_refused(
    cluster: Cluster, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import refers_bench\nrefers_bench.__version__ = '0.0.1'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"node \S+ has refers-bench \S+, and this run is one of 0\.0\.1"):
        runs.run([job("one")], cluster)
    assert runs.leftovers() == []


def test_another_version_of_ray_is_refused(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.2.3'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r"runs other versions: Version mismatch.*1\.2\.3") as refused:
        Link(cluster.address)
    assert "allowed: the same Ray and Python on every node" in str(refused.value)


# --- a day on a cluster ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_interrupted_run_takes_back_what_waits_and_goes_on_later(cluster: Cluster, runs: Runs) -> None:
    # Two places and three jobs: two run and save how far they are, one waits for a place.
    jobs = [job(f"cell{i}", sleep=4.0, saves=True) for i in range(3)]
    options = {"gpus_per_job": 0.5, "cpus_per_job": 0.5}
    outcome, heard = runs.run(
        jobs, cluster, options={**options, "resources": {"left": 50.0}}, stopping=lambda: len(runs.watched("start")) > 1
    )
    assert (outcome.done, outcome.failed, len(outcome.left)) == ([], {}, 3)
    assert sorted(heard.ended_as) == [(one.name, "preempted") for one in jobs]
    assert len(runs.watched("start")) == 2
    assert runs.leftovers() == []
    outcome, _ = runs.run(jobs, cluster, options=options)
    assert (len(outcome.done), outcome.failed) == (3, {})
    assert Counter(said["name"] for said in runs.watched("published")) == Counter(one.name for one in jobs)
    # Being interrupted is no failed attempt.
    assert [said["attempt"] for said in runs.watched("start")] == [1] * 5


@pytest.mark.slow
def test_nodes_may_join_in_mid_run(cluster: Cluster, runs: Runs) -> None:
    jobs = [job(f"cell{i}", sleep=0.5) for i in range(4)]
    asked: list[float] = []

    def add() -> None:
        if not asked:
            asked.append(time.monotonic())
            cluster.tell("add", "late", "2", "0")

    try:
        outcome, _ = runs.run(jobs, cluster, at_tick=add, device="cpu", options={"resources": {"late": 50}})
    finally:
        cluster.tell("remove", "late")
    assert (len(outcome.done), outcome.failed) == (4, {})
    assert {said["node"] for said in runs.watched("start")} == {"late"}


@pytest.mark.slow
def test_folders_that_a_node_does_not_see_are_named(cluster: Cluster, runs: Runs) -> None:
    def hide() -> None:
        for flag in runs.results.glob("work/ray/*/flag"):
            flag.rename(flag.with_name("elsewhere"))

    ray = engine(Settings(results=runs.results, cache=runs.cache), {"ray": {"address": cluster.address}})
    with pytest.raises(UserError, match=r"node \S+ does not see \S+/work/ray/"), ray.opened():
        hide()
        ray.start([Attempt(job=job("one"), token=ray.token)])
        for _ in range(600):
            ray.wait(0.1)


COORDINATE = """
import json, signal, sys
from pathlib import Path
from refers_bench.execution import coordinator
from refers_bench.execution.engine import PRELOAD, Settings
from refers_bench.execution.progress import PlainView
from refers_bench.execution.ray.engine import engine
from refers_bench.plan.lock import Job
jobs = [Job.of(one) for one in json.loads(sys.argv[2])]
results, cache = Path(sys.argv[1]) / "results", Path(sys.argv[1]) / "cache"
settings = Settings(results=results, cache=cache, preload=PRELOAD, entry="watched:run")
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
coordinator.execute(jobs, engine(settings, {"ray": {"address": sys.argv[3]}}), settings, PlainView(len(jobs)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_coordinator_ended_and_started_again(
    cluster: Cluster, runs: Runs, tmp_path: Path, how: signal.Signals
) -> None:
    """Its jobs end with it; their claims count no more, and running again completes from what they have saved."""
    jobs = [job(f"cell{i}", sleep=6.0, saves=True) for i in range(6)]
    listed = json.dumps([asdict(one) for one in jobs])
    paths = {one.name: runs.store.work_folder(one.key) / "progress.json" for one in jobs}

    def steps() -> dict[str, int]:
        return {name: json.loads(path.read_text())["step"] for name, path in paths.items() if path.is_file()}

    ended = subprocess.Popen([sys.executable, "-c", COORDINATE, str(tmp_path), listed, cluster.address])
    deadline = time.monotonic() + 120
    while len(steps()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert runs.watched("published") == []
    saved = steps()  # others may be about to begin: they have nothing to save
    assert len(saved) >= 2
    ended.send_signal(how)
    assert ended.wait(60) != 0
    if how == signal.SIGINT:  # it has left nothing for another host to wait for
        assert runs.leftovers() == []
    assert all(steps()[name] >= step > 0 for name, step in saved.items())
    outcome, _ = runs.run(jobs, cluster)
    assert (len(outcome.done), outcome.failed) == (6, {})
    assert Counter(said["name"] for said in runs.watched("published")) == Counter(one.name for one in jobs)
    assert runs.leftovers() == []


@pytest.mark.slow
def test_a_head_that_is_lost_is_said_and_a_new_cluster_goes_on(new_cluster: Callable[..., Cluster], runs: Runs) -> None:
    jobs = [job("short"), job("long", sleep=600.0)]
    first = new_cluster(left="2 0")
    gone: list[float] = []

    def remove() -> None:
        if len(runs.watched("start")) == 2 and runs.watched("published") and not gone:
            gone.append(time.monotonic())
            first.tell("remove", "head")

    with pytest.raises(UserError, match=r"the Ray cluster at .* is gone") as refused:
        runs.run(jobs, first, at_tick=remove)
    assert "allowed: the same command again, once its head runs" in str(refused.value)
    assert time.monotonic() - gone[0] < 120
    first.stop()
    second = new_cluster(left="2 0")
    outcome, _ = runs.run([*jobs[:1], job("other")], second)
    assert (len(outcome.done), outcome.failed) == (1, {})
    assert Counter(said["name"] for said in runs.watched("published")) == {"short": 1, "other": 1}


@pytest.mark.slow
def test_the_smoke_manifest_on_ray_is_that_of_this_machine(cluster: Cluster, tmp_path: Path) -> None:
    """Predictions, metrics, checkpoints and prepared images are byte-identical."""

    def run(name: str, *how: str, **variables: str) -> dict[str, bytes]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / name), "XDG_CONFIG_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "refers_bench", "--results", str(tmp_path / name / "results"), "run"]
        done = subprocess.run(
            [*command, "manifests/smoke.yaml", "--no-report", "--device", "cpu", *how], cwd=ROOT, timeout=3600,
            env={**environment, **variables}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        kept = ("predictions.parquet", "metrics.parquet", "subset.json", "checkpoint.safetensors", "index.parquet")
        store = tmp_path / name / "results" / "store"
        return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.name in kept}

    here = run("here")
    there = run("there", "--executor", "ray", RAY_ADDRESS=cluster.address)
    assert len(here) > 10
    assert there == here
