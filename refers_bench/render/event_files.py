"""Writes stored curves as event files that TensorBoard shows."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refers_bench.errors import UserError
from refers_bench.files import publish_bytes

#: TensorBoard reads files whose name holds this.
NAME = "events.out.tfevents.refers-bench"


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """One point of a curve.

    Attributes:
        name: of the curve, such as "loss/total".
        step: update.
        value: float32 in the file.
        time: seconds since 1970.
    """

    name: str
    step: int
    value: float
    time: float


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


def _formats() -> tuple[Any, Any, Any]:
    """TensorBoard's own definitions of its files; neither torch nor TensorFlow is loaded for them."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer import record_writer
    except ImportError as error:
        raise UserError(
            f"TensorBoard is not installed ({error})",
            allowed="pip install 'refers-bench[tensorboard]', or 'refers-bench report' for curves without it",
        ) from error
    return event_pb2, summary_pb2, record_writer
