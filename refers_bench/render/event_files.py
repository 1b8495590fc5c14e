"""Writes stored curves as event files that TensorBoard shows."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from refers_bench.analysis.tracked_runs import Scalar
from refers_bench.files import publish_bytes
from refers_bench.render import extras

#: TensorBoard reads files whose name holds this.
NAME = "events.out.tfevents.refers-bench"


def write(folder: Path, scalars: Iterable[Scalar]) -> Path:
    """Publish a run's one event file; equal curves give equal bytes, and writing again replaces it.

    Args:
        folder: of the run; its name is the run's in TensorBoard.
        scalars: in the order of their steps.

    Raises:
        UserError: TensorBoard is not installed.
        StorageError: the folder cannot be written.
    """
    events, summaries, records = _formats()
    content = io.BytesIO()
    writer = records.RecordWriter(content)
    begun = False
    for one in scalars:
        if not begun:  # readers expect it first
            writer.write(events.Event(wall_time=one.time, file_version="brain.Event:2").SerializeToString())
            begun = True
        value = summaries.Summary.Value(tag=one.name, simple_value=one.value)
        event = events.Event(wall_time=one.time, step=one.step, summary=summaries.Summary(value=[value]))
        writer.write(event.SerializeToString())
    writer.flush()
    publish_bytes(folder / NAME, content.getvalue())
    return folder / NAME


def check() -> None:
    """Refuse early.

    Raises:
        UserError: TensorBoard is not installed.
    """
    _formats()


def _formats() -> tuple[Any, ...]:
    """TensorBoard's own definitions of its files; neither torch nor TensorFlow is loaded for them."""
    modules = ("tensorboard.compat.proto.event_pb2", "tensorboard.compat.proto.summary_pb2")
    writer = "tensorboard.summary.writer.record_writer"
    otherwise = "'refers-bench report' for curves without it"
    return extras.imported("TensorBoard", "tensorboard", *modules, writer, otherwise=otherwise)
