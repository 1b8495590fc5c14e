"""Runs jobs on a Ray cluster: one call each, on whichever node has the GPUs, none of them twice.

Ray places jobs and says when a worker or node is gone. It tries nothing again by itself: a job that was lost is one for
the coordinator, which counts and records it. Claims, time limits, retries in place and failure records are those of
`refers_bench.execution.task`, which every call runs; what is found stands in the store. A coordinator that is gone
takes its calls with it: Ray ends them, their claims get stale, and running again goes on from what they have saved.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from refers_bench.errors import Problem, UserError
from refers_bench.execution.engine import Attempt, Ending, Settings
from refers_bench.execution.ray.link import Link
from refers_bench.execution.ray.needs import Need, RayOptions, described, need, options, processes_of
from refers_bench.execution.ray.node import LOOK_S, RUN
from refers_bench.execution.task import Batch, ending_in_store
from refers_bench.files import storage_errors
from refers_bench.plan.lock import Job
from refers_bench.store.leases import Leases, process_start

#: Seconds to wait for a node that can hold a job, where there was none yet, and where there was one.
START_S, AGAIN_S = 30.0, 600.0
#: Calls beyond what the nodes hold: a place that gets free is taken at once, and a cluster that grows sees why.
WAITING = 2
#: Seconds that processes of a lost worker may still live: it looks every second after its node, they twice after it.
ORPHANS_S = 4.0
#: Seconds that a file of another node may take to be seen here.
SETTLE_S = 90.0
#: Seconds that running jobs get to save their state when the run is broken off.
LEAVE_S = 15.0


def engine(settings: Settings, execution: Mapping[str, Any]) -> RayEngine:
    """The factory by which the engine is found.

    Args:
        settings: how jobs run.
        execution: of a plan; its section ``ray`` is read.
    """
    return RayEngine(settings, options(execution.get("ray") or {}))


class RayEngine:
    """Jobs as calls on a Ray cluster.

    Args:
        settings: folders, device, threads, time limit and retries are read; there are no slots here.
        how: see `RayOptions`.
    """

    name = "ray"
    queues = False
    apart: Sequence[str] = ()

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
        self.running: dict[str, Attempt] = {}
        #: Those of them that were seen to run, and when that was last looked at.
        self.begun: set[str] = set()
        self.looked = 0.0
        #: Endings held back until no process of a lost worker can publish any more, or the store shows what is told.
        self.held: dict[str, tuple[Ending, float]] = {}
        #: Needs that some node could hold, and since when none can hold others.
        self.housed: set[Need] = set()
        self.homeless: dict[Need, float] = {}
        #: Why nodes cannot be used.
        self.refusals: list[Problem] = []
        self.interrupted = False
        #: Calls that were taken back.
        self.cancelled: set[str] = set()

    # --- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Joined to the cluster.

        Raises:
            UserError: no Ray here, nobody at the address, or it cannot be used.
        """
        self._share()
        self.claims = Leases(self.settings.results)
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
            if not self.running:  # nobody need wait for what is claimed
                self.token = ""

    def _share(self) -> None:
        """Files by which nodes see that they share the folders; those of coordinators that are gone are removed."""
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
        """Broken off: let running jobs save their state; what does not end in time ends with the link."""
        with contextlib.suppress(UserError):
            self.interrupt()
            until = time.monotonic() + LEAVE_S
            while self.running and self.link.alive and time.monotonic() < until:
                self.wait(0.25)

    # --- what the coordinator asks ----------------------------------------------------------------------------------

    def under_way(self, jobs: Mapping[str, Job]) -> Sequence[Attempt]:
        """None: Ray ends the calls of a coordinator that is gone."""
        return ()

    def room(self, kind: str = "") -> int:
        """Places on the nodes that are alive, and a few beyond."""
        one = need(self.options, gpus=self.gpus, threads=self.settings.threads)
        taken = sum(processes_of(attempt.job) for attempt in self.running.values())
        return max(0, sum(one.places(node) for node in self.link.nodes) + WAITING - taken)

    def start(self, attempts: Sequence[Attempt]) -> None:
        """One call each."""
        for attempt in attempts:
            key, wanted = attempt.job.key, self._need(attempt)
            path, cores = self._batch(key), max(1, int(wanted.of("CPU")))
            Batch(
                engine=self.name,
                token=self.token,
                device="cuda" if wanted.of("GPU") else "cpu",
                attempts=[attempt],
                # Ray counts cores and binds nobody to them.
                settings=replace(self.settings, processes=min(cores, self.settings.processes or cores)),
            ).write(path)
            self.running[key] = attempt
            amounts = dict(wanted.amounts)
            self.link.tell(
                "start",
                id=key,
                name=attempt.job.name,
                batch=str(path),
                flag=str(self.flag),
                shared=[str(self.marker)],
                gpus=amounts.pop("GPU", 0.0),
                cpus=amounts.pop("CPU", 0.0),
                memory=amounts.pop("memory", 0.0),
                resources=amounts,
            )

    def wait(self, seconds: float) -> Sequence[Ending]:
        """Calls that have ended.

        Raises:
            UserError: the cluster is gone, or a node cannot be used.
        """
        ended = [self._ending(self.running[said["id"]], said) for said in self.link.endings(seconds)]
        endings = [ending for ending in ended if ending] + self._released()
        for ending in endings:
            self._batch(ending.key).unlink(missing_ok=True)
            self.begun.discard(ending.key)
            self.cancelled.discard(ending.key)
            del self.running[ending.key]
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
        self._cancel_queued()

    def take_back(self) -> None:
        """Calls that wait for a place."""
        self._cancel_queued()

    def _cancel_queued(self) -> None:
        queued = [key for key in self.running if (self.claims.owner(key) or {}).get("queued")]
        fresh = [key for key in queued if key not in self.cancelled]
        if fresh:
            self.cancelled.update(fresh)
            self.link.tell("cancel", ids=fresh)

    # --- how calls end ----------------------------------------------------------------------------------------------

    def _need(self, attempt: Attempt) -> Need:
        job = attempt.job
        gpus = 0.0 if job.kind == "prepare" else self.gpus
        return need(self.options, gpus=gpus, threads=self.settings.threads, processes=processes_of(job))

    def _batch(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _ending(self, attempt: Attempt, said: Mapping[str, Any]) -> Ending | None:
        """How an attempt ended; None when that has to wait."""
        key, how, value = attempt.job.key, said["how"], said.get("value", {})
        if how == "unusable" or "unusable" in value:
            found = value.get("unusable") or said["message"]
            problem = Problem(found=found, allowed=value.get("allowed", "one environment for all nodes"))
            self.refusals += [problem] if problem not in self.refusals else []
            return Ending(key=key, category="waiting")
        if "storage" in value:
            return Ending(key=key, category="storage", message=value["storage"])
        if ending := ending_in_store(attempt, self.settings):
            return ending
        gone = Ending(key=key, category="preempted" if self.interrupted else "waiting")
        if how == "cancelled" or (how == "returned" and key not in value["settled"]):
            return gone
        if how == "returned":
            message = f"node {value['node']} has recorded its end, which the results folder here does not show"
            self._hold(Ending(key=key, category="crash", message=message), SETTLE_S)
        else:
            facts = {"traceback": said["traceback"]} if "traceback" in said else {}
            self._hold(Ending(key=key, category=how, message=said["message"], facts=facts), ORPHANS_S)
        return None

    def _begun(self) -> list[Ending]:
        """Calls that wait for a place no more: whoever runs them has taken their claims over."""
        if time.monotonic() - self.looked < LOOK_S:
            return []
        self.looked = time.monotonic()
        waiting = [key for key in self.running if key not in self.begun and key not in self.held]
        owners = {key: self.claims.owner(key) for key in waiting}
        seen = [key for key, owner in owners.items() if owner is not None and not owner["queued"]]
        self.begun.update(seen)
        return [Ending(key=key, category="running") for key in seen]

    def _hold(self, ending: Ending, seconds: float) -> None:
        self.held[ending.key] = (ending, time.monotonic() + seconds)

    def _released(self) -> list[Ending]:
        """Endings that were held back and now show in the store, or have waited long enough."""
        released = []
        for key, (ending, until) in list(self.held.items()):
            shown = ending_in_store(self.running[key], self.settings)
            if shown or time.monotonic() >= until:
                del self.held[key]
                released.append(shown or ending)
        return released

    def _check_homes(self) -> None:
        """Whether some node can hold each call.

        Raises:
            UserError: none can for too long.
        """
        now = time.monotonic()
        wanted = {self._need(attempt) for key, attempt in self.running.items() if key not in self.held}
        for one in wanted:
            if any(one.places(node) for node in self.link.nodes):
                self.housed.add(one)
                self.homeless.pop(one, None)
                continue
            patience = AGAIN_S if one in self.housed else START_S
            if self.options.wait_for_nodes is not None:
                patience = self.options.wait_for_nodes
            if now - self.homeless.setdefault(one, now) > patience:
                raise UserError(
                    f"no node of the Ray cluster at {self.link.address} has had {one} for {patience:g} s",
                    allowed="; ".join(sorted({described(node) for node in self.link.nodes})) or "a node that is up",
                )
        self.homeless = {one: since for one, since in self.homeless.items() if one in wanted}


def _marker(settings: Settings, run: str) -> Path:
    """A file in the cache by which a node sees that it is the same folder there."""
    return settings.cache.absolute() / f".{run}.ray"
