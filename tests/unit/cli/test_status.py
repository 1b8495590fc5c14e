"""What `status`, `plan` and `logs` print of jobs that are done, run, wait, have failed or cannot run."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from refers_bench.data.phantoms import radiographs
from refers_bench.plan import lock
from refers_bench.store.leases import Leases
from refers_bench.store.results import ResultStore

HEAD = "jobs                 done      running        to do       failed  unavailable"
PRETRAIN, FIRST = "pretrain.refers.phantom", "refers.phantom.findings.50%.s0"
FAILED, QUEUED = "scratch.phantom.findings.50%.s0", "scratch.phantom.findings.100%.s0"


@pytest.fixture
def keys(cli: Any, tmp_path: Path) -> dict[str, str]:
    """Name -> key of the jobs of a plan: two are done, one runs, one is queued, one has failed, one cannot run yet."""
    cli.script(**{FAILED: ["nan"]})
    cli("run", "small.yaml", "--no-report", "--only", FAILED, code=4)
    found = {job.name: job.key for job in lock.read(tmp_path / "results" / "small" / lock.LOCK).jobs}
    store, claims = ResultStore(tmp_path / "results"), Leases(tmp_path / "results")
    for name, queued in ((PRETRAIN, False), (QUEUED, True)):
        claim = {**claims.me, "host": "node3", "pid": 12, "engine": "slurm", "queued": queued}
        (claims.folder / f"{found[name]}.json").write_text(json.dumps(claim))
    store.progress(found[PRETRAIN]).parent.mkdir(parents=True)
    view = {"step": 3, "steps": 30, "losses": {"total": 1.25}, "time": time.time(), "device": "cpu", "host": "node3"}
    store.progress(found[PRETRAIN]).write_text(json.dumps(view))
    return found


def test_status_says_what_is_done_runs_waits_and_failed(cli: Any, keys: dict[str, str], tmp_path: Path) -> None:
    lines = [
        "small: A small run",
        HEAD,
        "prepare                 1            0            0            0            0",
        "pretrain                0            1            0            0            0",
        "finetune                0            0            3            1            0",
        "  1 queued by process 12 on node3 (slurm)",
        f"  running {PRETRAIN}: 3/30, total 1.250, node3, cpu, slurm, process 12",
    ]
    assert cli("status") == ("\n".join(lines) + "\n", "")
    failed = [f"  failed (nan) {FAILED}: nan as written"]
    assert cli("status", "small", "--failed")[0].splitlines() == [*lines, *failed]
    _, err = cli("status", "smal", code=2)
    assert err == f"error: {tmp_path / 'results'}: unknown plan 'smal'; allowed: small; did you mean 'small'?\n"


def test_a_plan_lists_its_jobs_by_state_and_says_what_others_share(
    cli: Any, keys: dict[str, str], tmp_path: Path
) -> None:
    cli.manifest(("seeds: [0]", "seeds: [0, 1]"), ("[refers, scratch]", "[refers, scratch, checkpoint]"), name="more")
    out, err = cli("plan", "more.yaml", "--jobs")
    assert err == ""
    lines = [re.sub(r" [0-9a-f]{20}  ", " KEY  ", line) for line in out.splitlines()]
    states = {line.split("KEY  ")[1]: line.split("KEY")[0].split() for line in lines if "KEY" in line}
    assert len(states) == 14
    assert {name: states[name] for name in ("prepare.phantom.36px", PRETRAIN, FIRST, FAILED, QUEUED)} == {
        "prepare.phantom.36px": ["done", "prepare"],
        PRETRAIN: ["running", "pretrain"],
        FIRST: ["to", "do", "finetune"],
        FAILED: ["failed", "finetune"],
        QUEUED: ["to", "do", "finetune"],
    }
    assert states["checkpoint.phantom.findings.50%.s1"] == ["unavailable", "finetune"]
    assert lines[14:18] == [
        HEAD,
        "prepare                 1            0            0            0            0",
        "pretrain                0            1            0            0            0",
        "finetune                0            0            7            1            4",
    ]
    config = tmp_path / "config" / "refers-bench" / "config.yaml"
    said = f"data root 'checkpoint' is not set: set REFERS_BENCH_ROOT_CHECKPOINT, or data_roots.checkpoint in {config}"
    assert lines[18].startswith(f"unavailable (4 jobs): {said}"), lines[18]
    # 60 images of 36 x 36 bytes; 2 layers of 4 x 32^2 + 2 x 32 x 64 float32; 30 % of the images in 12 bytes a class.
    classes = len(radiographs.FINDINGS)
    predictions = 12 * int(0.3 * 60 * classes * 12)
    assert lines[19:] == [
        "shared with small: 6 jobs",
        f"disk: prepared images {60 * 36 * 36 / 2**20:.1f} MiB, checkpoints {4 * 2 * (4 * 32**2 + 2 * 32 * 64) / 2**20:.1f} "
        f"MiB, predictions {predictions / 2**20:.1f} MiB",
        f"plan: {tmp_path / 'results' / 'more' / 'plan.lock.json'}",
    ]
    assert (tmp_path / "results" / "more" / "plan.lock.json").is_file()


def test_a_plan_that_is_not_written(cli: Any, tmp_path: Path) -> None:
    out, _ = cli("plan", "small.yaml", "--no-write")
    assert out.splitlines()[0] == HEAD
    assert "plan: " not in out
    assert not (tmp_path / "results").exists()
    _, err = cli("plan", "small.yaml", "--slots", "2", "--json", "--on", "A100", "--only", "x", code=2)
    assert err.splitlines()[-1] == "Error: --slots, --json, --on, --only: only with --forecast"


def test_explaining_says_what_changed_and_what_a_job_waits_for(cli: Any, keys: dict[str, str]) -> None:
    cli.manifest(("preset: smoke", "preset: smoke, overrides: {finetune.momentum: 0.5, pretrain.steps: 29}"))
    out, _ = cli("plan", "small.yaml", "--explain", FAILED)
    lines = out.splitlines()
    assert re.fullmatch(rf"{re.escape(FAILED)}: to do \([0-9a-f]{{20}}\)", lines[0])
    assert lines[1:] == [
        f"  was {keys[FAILED]}; changed:",
        "    finetune.momentum: 0.9 -> 0.5 (manifest small.yaml:3:39)",
    ]
    out, _ = cli("plan", "small.yaml", "--explain", "refers*50%*")
    assert [re.sub(r"[0-9a-f]{20}", "KEY", line) for line in out.splitlines()] == [
        f"{FIRST}: to do (KEY)",
        f"  waits for {PRETRAIN} (to do)",
        "  was KEY; changed:",
        "    finetune.momentum: 0.9 -> 0.5 (manifest small.yaml:3:39)",
        f"    pretrain: {PRETRAIN} changed",
        "      pretrain.steps: 30 -> 29 (manifest small.yaml:3:63)",
    ]
    cli.manifest()
    out, _ = cli("plan", "small.yaml", "--explain", FAILED)
    assert out.splitlines() == [
        f"{FAILED}: failed ({keys[FAILED]})",
        "  failed (nan): nan as written",
        f"  unchanged since the last plan (key {keys[FAILED]})",
    ]
    out, _ = cli("plan", "small.yaml", "--explain", "prepare*")
    assert out.splitlines() == [
        f"prepare.phantom.36px: done ({keys['prepare.phantom.36px']})",
        f"  unchanged since the last plan (key {keys['prepare.phantom.36px']})",
    ]
    _, err = cli("plan", "small.yaml", "--explain", "scrtch.phantom.findings.50%.s0", code=2)
    assert err == f"error: no job is called 'scrtch.phantom.findings.50%.s0'; did you mean '{FAILED}'?\n"


def test_logs_show_the_last_lines_or_say_why_there_is_none(cli: Any, keys: dict[str, str], tmp_path: Path) -> None:
    log = ResultStore(tmp_path / "results").log(keys[FAILED])
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"line {number}\n" for number in range(300)))
    assert cli("logs", FAILED)[0].splitlines() == [f"line {number}" for number in range(100, 300)]
    assert cli("logs", keys[FAILED], "--lines", "2")[0] == "line 298\nline 299\n"
    assert len(cli("logs", FAILED, "--lines", "0")[0].splitlines()) == 300
    log.unlink()
    said = {
        FAILED: f"{FAILED} failed (nan): nan as written",
        PRETRAIN: f"{PRETRAIN} is run by process 12 on node3 (slurm)",
        QUEUED: f"{QUEUED} is queued by process 12 on node3 (slurm)",
        FIRST: f"{FIRST} is to do",
        "prepare*": "prepare.phantom.36px is done",
    }
    for name, text in said.items():
        assert cli("logs", name) == ("", f"no log: {text}\n")


def test_following_ends_with_the_job(cli: Any, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes as the command sleeps: nobody is waited for."""
    clock = [0.0]
    monkeypatch.setattr("refers_bench.cli.logs.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("refers_bench.cli.logs.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    assert cli("logs", "-f", "prepare*") == ("", "prepare.phantom.36px is done\n")
    assert clock[0] == 0.0
    assert cli("logs", "-f", FAILED, code=4) == ("", f"{FAILED} failed (nan): nan as written\n")
    assert clock[0] == 3.5, "another attempt may follow a failure"
    claim = Path("results") / "work" / "claims" / f"{keys[PRETRAIN]}.json"

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] > 10:
            claim.unlink(missing_ok=True)

    monkeypatch.setattr("refers_bench.cli.logs.time.sleep", sleep)
    _, err = cli("logs", "-f", PRETRAIN, code=3)
    assert err.splitlines() == [f"{PRETRAIN} is run by process 12 on node3 (slurm)", f"{PRETRAIN} is to do"]
    assert 13 < clock[0] < 14.5


def test_what_has_not_begun_is_waited_for(
    cli: Any, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, store = [0.0], ResultStore(tmp_path / "results")
    log = store.log(keys[FIRST])

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        if clock[0] == 20.0:
            log.parent.mkdir(exist_ok=True)
            log.write_text("from the job\nwithout an end")
            with store.publish(keys[FIRST]) as stage:
                (stage / "run.json").write_text("{}")

    monkeypatch.setattr("refers_bench.cli.logs.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("refers_bench.cli.logs.time.sleep", sleep)
    out, err = cli("logs", "-f", FIRST)
    assert (out, err) == ("from the job\nwithout an end\n", f"{FIRST} is to do\n{FIRST} is done\n")
    assert clock[0] == 20.0


def test_watching_ends_when_nothing_can_come_any_more(
    cli: Any, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        for key in (keys[PRETRAIN], keys[QUEUED]):
            if len(looks) == 1:
                ResultStore(tmp_path / "results").fail(key, category="nan", record={})
                (tmp_path / "results" / "work" / "claims" / f"{key}.json").unlink()

    monkeypatch.setattr("refers_bench.cli.status.time.sleep", sleep)
    out, _ = cli("status", "--watch", "0.5")
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in out.splitlines()]
    assert looks == [0.5]
    assert lines[:3] == [
        "small: 1 of 6 done, 1 failed, 1 running, 3 to do, 1 queued by process 12 on node3 (slurm)",
        f"  {PRETRAIN}: 3/30, total 1.250, node3, cpu, slurm, process 12",
        "small: 1 of 6 done, 3 failed, 2 to do, nobody runs it",
    ]
    assert lines[3] == "small: A small run"


def test_watching_says_how_long_what_can_still_come_will_take(
    cli: Any, keys: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that failed, or that need such a one, are not waited for."""
    store, clock = ResultStore(tmp_path / "results"), [1000.0]
    after = iter([[PRETRAIN, FIRST], ["refers.phantom.findings.100%.s0"], [QUEUED]])

    def sleep(seconds: float) -> None:
        clock[0] += 30.0
        for name in next(after):
            with store.publish(keys[name]) as stage:
                (stage / "run.json").write_text("{}")
            (tmp_path / "results" / "work" / "claims" / f"{keys[name]}.json").unlink(missing_ok=True)

    monkeypatch.setattr("refers_bench.cli.status.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("refers_bench.cli.status.time.sleep", sleep)
    out, _ = cli("status", "--watch", "30")
    queued = "1 queued by process 12 on node3 (slurm)"
    heads = [line.partition(" ")[2] for line in out.splitlines() if re.match(r"\d\d:\d\d:\d\d small", line)]
    assert heads == [
        f"small: 1 of 6 done, 1 failed, 1 running, 3 to do, {queued}",
        f"small: 3 of 6 done, 1 failed, 2 to do, {queued}",
        f"small: 4 of 6 done, 1 failed, 1 to do, {queued}, about 20 s left at this rate",
        "small: 5 of 6 done, 1 failed",
    ]
