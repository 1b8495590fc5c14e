"""A real Slurm of two nodes on this machine, for tests: its own folder, ports, key and socket; no accounting."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BINARIES = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged", "setpriv")
NODES = ("n1", "n2")

CONFIGURATION = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=1
SlurmdTimeout=20
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobRequeue=1
MinJobAge=300
KillWait=3
MaxArraySize=1001
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=5
GresTypes=gpu
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=4 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES DefMemPerCPU=100 MaxTime=INFINITE State=UP
"""


def absent() -> str:
    """Why no Slurm can be started here; '' when it can."""
    missing = [name for name in BINARIES if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed: no {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "slurmd runs jobs of other users only as root"
    with tempfile.TemporaryDirectory() as folder:
        return "" if _devices(Path(folder)) else "no character devices can be made here to stand for GPUs"


def _devices(folder: Path) -> str:
    """Character devices that stand for GPUs: with plain files no CUDA_VISIBLE_DEVICES is set; '' for none."""
    try:
        for number in range(2):
            os.mknod(folder / f"gpu{number}", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # like /dev/null
    except PermissionError:
        there = all(Path(f"/dev/tty{number}").is_char_device() for number in range(2))
        return "/dev/tty[0-1]" if there else ""
    return f"{folder}/gpu[0-1]"


@dataclass(kw_only=True)
class Cluster:
    """A running Slurm.

    Attributes:
        folder: of its configuration, logs and state.
        environment: with which its commands reach it.
        daemons: name -> process.
    """

    folder: Path
    environment: Mapping[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ask(self, *command: str, check: bool = True) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def start(self, name: str, *command: str) -> None:
        """Start a daemon in the foreground of its own session; it ends with this process, however that ends."""
        with (self.folder / f"{name}.out").open("wb") as out:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self.environment},
            )  # fmt: skip

    def wait_until_up(self, seconds: float = 60) -> None:
        """Both nodes idle."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.ask("sinfo", "-h", "-N", "-o", "%T", check=False).split() == ["idle"] * len(NODES):
                return
            time.sleep(0.2)
        logs = [f"--- {path.name}\n{path.read_text()[-1500:]}" for path in sorted(self.folder.glob("*.log"))]
        raise AssertionError("\n".join(["Slurm does not come up", *logs]))

    def reset(self) -> None:
        """Cancel all jobs, and bring nodes that a test has set down back."""
        self.ask("scancel", "--user=root", check=False)
        self.ask("scancel", "--user=root", "--signal=KILL", "--full", check=False)
        for node in NODES:
            self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self.wait_until_up()

    def stop(self) -> None:
        """End every daemon that was started here."""
        self.ask("scancel", "--user=root", check=False)
        for process in reversed(self.daemons.values()):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.daemons.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _free_ports() -> list[int]:
    """One port, and two that follow each other (of the nodes)."""
    while True:
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            port = two.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                three.bind(("127.0.0.1", port + 1))
                return [one.getsockname()[1], port, port + 1]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A Slurm in an empty folder with a short path (a socket's may have 107 characters), until the block ends."""
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(host=socket.gethostname(), folder=folder, ports=_free_ports(), nodes="n[1-2]")
    )
    (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName=n[1-2] Name=gpu File={_devices(folder)}\n")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    cluster = Cluster(folder=folder, environment={"SLURM_CONF": str(configuration)})
    try:
        cluster.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
            "--num-threads=2",
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while not (folder / "munge.socket").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster.start("slurmctld", "slurmctld", "-D", "-f", str(configuration))
        for node in NODES:
            cluster.start(node, "slurmd", "-D", "-N", node, "-f", str(configuration))
        cluster.wait_until_up()
        yield cluster
    finally:
        cluster.stop()
