"""Runs jobs on a Ray cluster: one call each, on whichever node has the GPUs, none of them twice.

Ray places jobs and reports when a worker or node is lost. It retries nothing by itself: the coordinator counts and
records lost jobs. Leases, time limits, retries in place and failure records are those of `refers_bench.execution.task`,
which every call runs; results are in the store. When a coordinator ends, Ray ends its calls, their leases get stale,
and the same command resumes from what they have saved.
"""

import contextlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refers_bench.errors import Problem, UserError
from refers_bench.execution.engine import Attempt, Ending, Engine, Settings, processes_of
from refers_bench.execution.ray.link import Link
from refers_bench.execution.ray.needs import Need, RayOptions, described, need, options
from refers_bench.execution.ray.node import LOOK_S, RUN
from refers_bench.execution.task import Batch, ending_in_store
from refers_bench.files import storage_errors
from refers_bench.plan.order import NO_GPU
from refers_bench.store.leases import Leases, process_start

#: Seconds to wait for a node that can hold a job, where there was none yet, and where there was one.
START_S, AGAIN_S = 30.0, 600.0
#: Calls beyond what the nodes hold: a place that gets free is taken at once, and a cluster that grows sees why.
WAITING = 2
#: Seconds that processes of a lost worker may still live: it checks every second for its node, they twice for it.
ORPHANS_S = 4.0
#: Seconds that a file of another node may take to be visible here.
SETTLE_S = 90.0
#: Seconds that running jobs get to save their state when the run is interrupted.
LEAVE_S = 15.0


@dataclass(kw_only=True)
class _Call:
    """A job that Ray holds.

    Attributes:
        attempt: at the job.
        need: what it takes of a node.
        batch: file that the call reads.
        begun: whether it was seen to run.
        cancelled: whether it was taken back.
        held: its ending, held back until no process of a lost worker can publish any more, or the store shows it.
        until: when it is reported at the latest.
    """

    attempt: Attempt
    need: Need
    batch: Path
    begun: bool = False
    cancelled: bool = False
    held: Ending | None = None
    until: float = 0.0


class RayEngine(Engine):
    """Jobs as calls on a Ray cluster.

    Args:
        settings: folders, device, threads, time limit and retries are read; there are no slots here.
        how: see `RayOptions`.
    """

    name = "ray"

    def __init__(self, settings: Settings, how: RayOptions) -> None:
        self.settings, self.options = settings, how
        self.token = uuid.uuid4().hex
        me = (socket.gethostname(), str(os.getpid()), process_start(os.getpid()) or "", self.token)
        #: Batches and the flag of this run.
        self.folder = settings.results.absolute() / "work" / "ray" / "@".join(me)
        self.flag = self.folder / "flag"
        self.marker = _marker(settings, self.folder.name)
        #: Of a job of one process, known once connected.
        self.gpus = 0.0
        #: By key of the job.
        self.calls: dict[str, _Call] = {}
        #: When calls were last checked for having begun.
        self.looked = 0.0
        #: Needs that some node could hold, and since when none can hold others.
        self.housed: set[Need] = set()
        self.homeless: dict[Need, float] = {}
        #: Why nodes cannot be used.
        self.refusals: list[Problem] = []
        self.interrupted = False

    # --- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Joined to the cluster.

        Raises:
            UserError: no Ray here, nobody at the address, or it cannot be used.
        """
        self._share()
        self.leases = Leases(self.settings.results)
        try:
            self.link = Link(self.options.address)
            try:
                self.gpus = self._gpus()
                yield
            except BaseException:
                self._leave()
                raise
            finally:
                self.link.close()
        finally:
            self.marker.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.calls:  # no lease of these jobs is kept
                self.token = ""

    def _share(self) -> None:
        """Files by which nodes see that they share the folders; those of dead coordinators are removed."""
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True)
            for other in self.folder.parent.iterdir():
                host, pid, start, _ = other.name.split("@")
                if host == socket.gethostname() and process_start(int(pid)) != start:
                    _marker(self.settings, other.name).unlink(missing_ok=True)
                    shutil.rmtree(other, ignore_errors=True)
            self.flag.write_text(RUN, encoding="utf-8")
        with storage_errors(self.marker):
            self.marker.parent.mkdir(parents=True, exist_ok=True)
            self.marker.touch()

    def _gpus(self) -> float:
        """GPUs of a job of one process."""
        there = sum(node.get("GPU", 0.0) for node in self.link.nodes)
        wanted = self.options.gpus_per_job
        if self.settings.device == "cuda" and not (there if wanted is None else wanted):
            found = f"device cuda, and no GPU asked for or there at the Ray cluster of {self.link.address}"
            raise UserError(found, allowed="gpus_per_job, nodes with GPUs, or device cpu")
        if self.settings.device == "cpu":
            return 0.0
        return float(there > 0) if wanted is None else wanted

    def _leave(self) -> None:
        """Interrupted: let running jobs save their state; what does not end in time ends with the link."""
        with contextlib.suppress(UserError):
            self.interrupt()
            until = time.monotonic() + LEAVE_S
            while self.calls and self.link.alive and time.monotonic() < until:
                self.wait(0.25)

    # --- what the coordinator asks ----------------------------------------------------------------------------------

    def room(self, kind: str = "") -> int:
        """Places on the nodes that are alive, and a few beyond."""
        one = need(self.options, gpus=self.gpus, threads=self.settings.threads)
        taken = sum(processes_of(call.attempt.job) for call in self.calls.values())
        return max(0, sum(one.places(node) for node in self.link.nodes) + WAITING - taken)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """One call each."""
        for attempt in attempts:
            job = attempt.job
            gpus = 0.0 if job.kind in NO_GPU else self.gpus
            wanted = need(self.options, gpus=gpus, threads=self.settings.threads, processes=processes_of(job))
            call = _Call(attempt=attempt, need=wanted, batch=self.folder / f"{job.key}.json")
            # Ray counts cores and binds no process to them.
            cores = max(1, int(wanted.of("CPU")))
            settings = replace(self.settings, processes=min(cores, self.settings.processes or cores))
            device = "cuda" if wanted.of("GPU") else "cpu"
            batch = Batch(engine=self.name, token=self.token, device=device, settings=settings, attempts=[attempt])
            batch.write(call.batch)
            self.calls[job.key] = call
            amounts = dict(wanted.amounts)
            own = {theirs: amounts.pop(name, 0.0) for theirs, name in _OWN.items()}
            files = {"batch": str(call.batch), "flag": str(self.flag), "shared": [str(self.marker)]}
            self.link.send("start", id=job.key, name=job.name, **files, **own, resources=amounts)

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Calls that have ended.

        Raises:
            UserError: the cluster is gone, or a node cannot be used.
        """
        ended = [self._ending(self.calls[report["id"]], report) for report in self.link.endings(seconds)]
        endings = [ending for ending in ended if ending] + self._released()
        for ending in endings:
            self.calls.pop(ending.key).batch.unlink(missing_ok=True)
        if not self.interrupted:
            self._check_homes()
            if self.refusals:
                raise UserError(self.refusals)
        return [*endings, *self._begun()]

    def interrupt(self) -> None:
        """Workers look every second; calls that wait for a place are taken back."""
        self.interrupted = True
        with storage_errors(self.flag):
            self.flag.write_text("stop", encoding="utf-8")
        self.take_back()

    def take_back(self) -> None:
        """Cancel calls that wait for a place."""
        queued = [key for key in self.calls if (self.leases.owner(key) or {}).get("queued")]
        if fresh := [key for key in queued if not self.calls[key].cancelled]:
            for key in fresh:
                self.calls[key].cancelled = True
            self.link.send("cancel", ids=fresh)

    # --- how calls end ----------------------------------------------------------------------------------------------

    def _ending(self, call: _Call, report: Mapping[str, Any]) -> Ending | None:
        """How an attempt ended; None when that has to wait."""
        key, how, value = call.attempt.job.key, report["how"], report.get("value", {})
        if how == "unusable" or "unusable" in value:
            found = value.get("unusable") or report["message"]
            problem = Problem(found=found, allowed=value.get("allowed", "one environment for all nodes"))
            self.refusals += [problem] if problem not in self.refusals else []
            return Ending(key=key, category="waiting")
        if "storage" in value:
            return Ending(key=key, category="storage", message=value["storage"])
        if ending := ending_in_store(call.attempt, self.settings):
            return ending
        if how == "cancelled" or (how == "returned" and key not in value["settled"]):
            return Ending(key=key, category="preempted" if self.interrupted else "waiting")
        if how == "returned":
            message = f"node {value['node']} has recorded its end, which the results folder here does not show"
            call.held, seconds = Ending(key=key, category="crash", message=message), SETTLE_S
        else:
            facts = {"traceback": report["traceback"]} if "traceback" in report else {}
            call.held, seconds = Ending(key=key, category=how, message=report["message"], facts=facts), ORPHANS_S
        call.until = time.monotonic() + seconds
        return None

    def _begun(self) -> list[Ending]:
        """Calls that no longer wait for a place: the processes that run them have taken their leases over."""
        if time.monotonic() - self.looked < LOOK_S:
            return []
        self.looked = time.monotonic()
        seen = []
        for key, call in self.calls.items():
            if not (call.begun or call.held) and (owner := self.leases.owner(key)) and not owner["queued"]:
                call.begun = True
                seen.append(Ending(key=key, category="running"))
        return seen

    def _released(self) -> list[Ending]:
        """Endings that were held back and now show in the store, or have waited long enough."""
        released = []
        for call in self.calls.values():
            if call.held:
                shown = ending_in_store(call.attempt, self.settings)
                if shown or time.monotonic() >= call.until:
                    released.append(shown or call.held)
        return released

    def _check_homes(self) -> None:
        """Whether some node can hold each call.

        Raises:
            UserError: none can for too long.
        """
        now = time.monotonic()
        wanted = {call.need for call in self.calls.values() if not call.held}
        for one in wanted:
            if any(one.places(node) for node in self.link.nodes):
                self.housed.add(one)
                self.homeless.pop(one, None)
                continue
            patience = AGAIN_S if one in self.housed else START_S
            if self.options.wait_for_nodes is not None:
                patience = self.options.wait_for_nodes
            if now - self.homeless.setdefault(one, now) > patience:
                found = f"no node of the Ray cluster at {self.link.address} has had {one} for {patience:g} s"
                there = "; ".join(sorted({described(node) for node in self.link.nodes}))
                raise UserError(found, allowed=there or "a node that is up")
        self.homeless = {one: since for one, since in self.homeless.items() if one in wanted}


#: What Ray takes by arguments of its own, and its names for it.
_OWN = {"gpus": "GPU", "cpus": "CPU", "memory": "memory"}


def _marker(settings: Settings, run: str) -> Path:
    """A file in the cache by which a node sees that it is the same folder there."""
    return settings.cache.absolute() / f".{run}.ray"


def engine(settings: Settings, execution: Mapping[str, Any]) -> RayEngine:
    """The factory by which the engine is found.

    Args:
        settings: how jobs run.
        execution: of a plan; its section ``ray`` is read.
    """
    return RayEngine(settings, options(execution.get("ray") or {}))
