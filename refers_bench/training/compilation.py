"""Lets torch translate networks for the device (`torch.compile`): fewer and larger kernels, after a first slow step."""

from __future__ import annotations

import contextlib
import threading

from torch import nn


def compile_networks(model: nn.Module) -> None:
    """Compile the networks that a model consists of, in place: each is translated when it is first called.

    The model's own forward pass stays as it is: objectives draw random numbers on the CPU there. Names of weights stay.
    Random draws on the device are those of the uncompiled network, so that only rounding differs.

    Args:
        model: a classifier or an objective; its children are the networks.
    """
    from torch._inductor import config

    config.fallback_random = True
    config.compile_threads = 1  # in this process: others of torch's own would outlive a worker that is killed
    with contextlib.suppress(ImportError):
        from tqdm import tqdm  # type: ignore[import-untyped]

        # Torch asks it for a bar that is never shown; its own lock would be reported as left behind when workers end.
        tqdm.set_lock(threading.RLock())
    for network in model.children():
        network.compile()
