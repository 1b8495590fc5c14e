"""Makes a step precise and repeatable: its number format, fp16's loss scale, deterministic kernels, seeds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from refers_bench.errors import UserError
from refers_bench.training import arithmetic

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


def seed_global_generators(seed: int) -> None:
    """As `torch.manual_seed`, for generators in use.

    `torch.manual_seed` also leaves word for a GPU that is not in use yet, with the formatted stack of the caller: about
    two milliseconds a call, in every step of a training.

    Args:
        seed: of the CPU's generator and of those of all GPUs, 0 to 2**63 - 1.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def check_arithmetic(device: str) -> None:
    """Look whether torch computes as the environment asks.

    Raises:
        UserError: it does not: the processor lacks AVX2, or torch has computed in this process before.
    """
    if arithmetic.chosen(device) == arithmetic.NATIVE:
        return
    if (found := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        allowed = "an x86-64 processor with AVX2, and a process of its own; or 'arithmetic: native'"
        raise UserError(f"portable arithmetic, but torch computes with {found} instructions", allowed=allowed)
