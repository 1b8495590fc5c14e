"""Chooses the instructions a processor computes with, so that another processor gets the same digits.

Each step of a training rounds, and libraries round differently on processors of different makers and sizes: they sum in
another order where vectors are longer, and approximate a root by another instruction. A tiny network trained for a few
dozen steps can end with a class AUC that is 0.2 away. Portable arithmetic keeps to what all x86-64 processors with AVX2
have in common, at some cost in time; GPUs are not concerned.
"""

from __future__ import annotations

import os

NATIVE, PORTABLE = "native", "portable"

#: Read by torch, oneDNN and MKL when they compute for the first time. MKL calls what it then does conditional numerical
#: reproducibility; "COMPATIBLE" is the one of its branches that processors of other makers take, too.
VARIABLES = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}


def choose(arithmetic: str, device: str) -> None:
    """Set the environment of this process before anything is computed in it.

    `refers_bench.training.precision.check_arithmetic` raises where that came too late.

    Args:
        arithmetic: `NATIVE` leaves the environment as it is.
        device: "cpu" or "cuda"; only the CPU has a choice.
    """
    if arithmetic == PORTABLE and device == "cpu":
        os.environ.update(VARIABLES)


def chosen(device: str) -> str:
    """`PORTABLE` where the environment asks for it and the device is the CPU, else `NATIVE`."""
    portable = device == "cpu" and all(os.environ.get(name) == value for name, value in VARIABLES.items())
    return PORTABLE if portable else NATIVE
