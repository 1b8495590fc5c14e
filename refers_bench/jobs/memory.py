"""In how many parts does a training process its batches, and what does its record say of that?"""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import torch

from refers_bench.errors import UserError
from refers_bench.store.context import JobContext
from refers_bench.training.loop import Outcome
from refers_bench.training.state import begun_in


def parts_of(context: JobContext, state: Path, *, batch: int, how: str) -> tuple[int, str]:
    """Parts, and the failure that made them more ('' where they were asked for).

    A state goes on in the parts that it was begun in, unless more are asked for: whoever continues it need not know
    that memory ran out before.

    Args:
        context: what is asked for.
        state: file of the resumable state.
        batch: examples that one process has of a micro-batch.
        how: see `refers_bench.plugins.Method.parts`.

    Raises:
        UserError: more than one part of a batch that must be seen as a whole.
    """
    wanted, (begun, after) = _even(context.accumulate, batch), begun_in(state)
    if wanted > 1 and not how:
        raise UserError(
            f"batches asked for in {context.accumulate} parts by a method whose losses mix their examples",
            allowed="accumulate: 1; or a method that says how its batches may be cut (its field `parts`)",
        )
    if begun > wanted:
        return begun, after
    return wanted, context.after or (after if begun == wanted else "")


def _even(parts: int, batch: int) -> int:
    """How many parts there are when they hold equally many examples, the last one perhaps fewer."""
    return math.ceil(batch / math.ceil(batch / min(parts, batch))) if batch > 1 else 1


def facts(outcome: Outcome) -> dict[str, Any]:
    """What a record says of a batch in parts; nothing of one that was processed at once."""
    if outcome.parts == 1:
        return {}
    about = {"parts": outcome.parts, "after": outcome.after, "batch_statistics": outcome.batch_statistics}
    return {"accumulation": about}


def free(device: torch.device) -> None:
    """Give back what an earlier job of this worker has left reserved on the device, one that ran out of memory, say."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
