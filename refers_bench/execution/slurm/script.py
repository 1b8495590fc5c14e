"""What does the batch script of an array say?"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from refers_bench.execution.slurm.options import Options, Resources

#: What a task exits with that has saved its state and wants to go on in a new run; and one that cannot write.
AGAIN, CANNOT_WRITE = 75, 74
#: Begins the part of a task's log that belongs to one run of it.
MARK = "== task "

#: The shell passes signals on, and sends the task back to the queue: that works from outside of a container, too. When
#: Slurm will end it tells the task a warning before its limit from one for another reason.
_BODY = """
task="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
echo "{mark}$task on $SLURMD_NODENAME, restart ${{SLURM_RESTART_COUNT:-0}}"
child=
warn() {{
  timeout 10 squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e >{folder}/task-"$SLURM_ARRAY_TASK_ID".end 2>/dev/null
  test -n "$child" && kill -USR2 "$child" 2>/dev/null
}}
trap warn USR2
trap 'test -n "$child" && kill -TERM "$child" 2>/dev/null' TERM
{setup}
{command} &
child=$!
wait "$child"
status=$?
while test "$status" -gt 128 && kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
if test "$status" -eq {again} && scontrol requeue "$task"; then
  sleep 60
fi
exit "$status"
"""


def script(
    folder: Path, *, name: str, tasks: int, resources: Resources, options: Options, after: Sequence[str] = ()
) -> str:
    """The text for sbatch.

    Args:
        folder: of the array, absolute, with ``task-<number>.json`` for each task; logs go there.
        name: of the Slurm job.
        tasks: how many.
        resources: of each.
        options: of manifest and site.
        after: Slurm ids after whose end it may run, however they end.
    """
    throttle = f"%{options.throttle}" if options.throttle else ""
    log = f"{folder}".replace("%", "%%") + "/task-%a.log"
    lines = [
        f"--job-name={name}",
        f"--array=0-{tasks - 1}{throttle}",
        f"--output={log}",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR2@{round(options.signal_s)}",
        *resources.lines(),
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
        *options.common(),
    ]
    command = [*options.prefix, options.python or sys.executable, "-m", "refers_bench.execution.slurm.task"]
    body = _BODY.format(
        mark=MARK,
        again=AGAIN,
        folder=shlex.quote(str(folder)),
        setup="\n".join(options.setup),
        command=f'{shlex.join(command)} {shlex.quote(str(folder))} "$SLURM_ARRAY_TASK_ID" {round(options.signal_s)}',
    )
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {_quoted(line)}" for line in lines)]) + "\n" + body


def _quoted(option: str) -> str:
    """As sbatch reads it: a value with blanks in quotes."""
    name, equals, value = option.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("--") and " " in value else option
