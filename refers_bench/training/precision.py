"""Sets the number format of a step, scales the loss for fp16, and asks for determinism."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

#: Name in a protocol -> format of matrix products; weights, optimiser state and losses stay float32.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which forward passes run; does nothing for fp32.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; allowed: {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def gradient_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """A loss scaler for fp16; one that does nothing for the others."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def be_deterministic() -> None:
    """Same inputs, same bits: deterministic kernels only, no TF32 (fp32 means fp32), no auto-tuned choice.

    New memory is not filled with NaN, which torch adds for those who read what they never wrote: it costs a pass over
    every result.

    On NVIDIA GPUs this also needs ``CUBLAS_WORKSPACE_CONFIG`` in the environment before the first CUDA call.
    """
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
