"""Gathers rows and averages figures over the processes of one training.

Without a process group everything here is the identity, so that losses are written once.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def world() -> int:
    """Processes of this training; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def gathered(x_BF: Tensor) -> Tensor:
    """Rows of all processes in their order, (W * B, F); gradients flow back to where the rows came from.

    All processes must hold equally many rows.
    """
    return x_BF if world() == 1 else torch.cat(tuple(all_gather(x_BF)))  # type: ignore[no-untyped-call]


def first_row(count: int) -> int:
    """Place of this process's first row among those that `gathered` gives, with `count` rows each."""
    return rank() * count


def mean_share(total: Tensor, count: Tensor) -> Tensor:
    """This process's part of a mean over everything that any process counts.

    Averaged over the processes, as DistributedDataParallel averages gradients, the parts are the mean.

    Args:
        total: sum over this process's items, differentiable.
        count: how many they are; at least 1 over all processes is taken.
    """
    return world() * total / summed(count).clamp(min=1)


def summed(x: Tensor) -> Tensor:
    """Float32 sum over the processes, without gradient."""
    x = x.detach().clone().float()
    if world() > 1:
        dist.all_reduce(x)
    return x


def averaged(x: Tensor) -> Tensor:
    """Mean over the processes, without gradient."""
    if world() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x)
    return x / world()


def any_of(here: bool, device: torch.device) -> bool:
    """Whether it is so in any process; all of them must ask."""
    if world() == 1:
        return here
    flag = torch.tensor(float(here), device=device)
    dist.all_reduce(flag)
    return bool(flag.item())
