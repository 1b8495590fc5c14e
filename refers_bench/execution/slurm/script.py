"""Writes the batch script of an array."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from refers_bench.execution.slurm.options import Resources, SlurmOptions

#: Exit statuses of a task that has saved its state and is to be requeued; and of one that cannot write.
AGAIN, CANNOT_WRITE = 75, 74
#: Begins the part of a task's log that belongs to one run of it.
MARK = "== task "

#: The shell passes signals on, and requeues the task: that works from outside of a container, too. The time at which
#: Slurm will end the task distinguishes a warning of its time limit from a signal for another reason.
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
    folder: Path, *, name: str, tasks: int, resources: Resources, options: SlurmOptions, after: Sequence[str] = ()
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
    throttle, warning = f"%{options.throttle}" if options.throttle else "", round(options.signal)
    lines = [
        f"--job-name={name}",
        f"--array=0-{tasks - 1}{throttle}",
        f"--output={f'{folder}'.replace('%', '%%')}/task-%a.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR2@{warning}",
        *resources.lines(),
        *([f"--dependency=afterany:{':'.join(after)}"] if after else []),
        *options.common(),
    ]
    command = [*options.container, options.python or sys.executable, "-P", "-m", "refers_bench.execution.slurm.task"]
    quoted = shlex.quote(str(folder))
    body = _BODY.format(
        mark=MARK,
        again=AGAIN,
        folder=quoted,
        setup="\n".join(options.setup),
        command=f'{shlex.join(command)} {quoted} "$SLURM_ARRAY_TASK_ID" {warning}',
    )
    return "\n".join(["#!/bin/bash", *(f"#SBATCH {_quoted(line)}" for line in lines)]) + "\n" + body


def _quoted(option: str) -> str:
    """As sbatch reads it: a value with blanks in quotes."""
    name, equals, value = option.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.startswith("--") and " " in value else option
