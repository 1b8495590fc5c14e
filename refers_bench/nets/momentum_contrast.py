"""Contrasts radiographs, and mixtures of them, with a queue of keys of earlier ones: the objective of C2L."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets import distributed
from refers_bench.nets.parts import batch_norms, in_parts
from refers_bench.nets.restoration import generator_of

#: Added where noise-contrastive estimation divides (the lab's later code; the released one leaves it undefined).
NCE_EPSILON = 1e-5


class MomentumContrast(nn.Module):
    """C2L: the mean of three contrasts of two views of each radiograph.

    1. query of view 1 against key of view 2;
    2. query of mixed views 1 against key of mixed views 2 (homogeneous pairs);
    3. query of mixed views 1 against mixed keys of views 2 (heterogeneous pairs).

    One mixing share and one permutation a batch serve images and features. Each term has the queue as negatives and
    then enqueues its keys. The key encoder stays in evaluation mode (no dropout); its batch norms alone train.

    Args:
        encoder: trained; its readout is the feature.
        dim: of the linear embedding.
        queue: keys that are kept.
        momentum: of the key encoder, moved after each update.
        temperature: of the similarities.
        loss: "infonce" or "nce".
        examples: radiographs of the training split; "nce" scales its scores and its noise with them.
        alpha: both parameters of the Beta distribution of the mixing share.
        perturb: normalised images and a generator -> images with holes, say.

    Attributes:
        parts: in which features are computed where memory is short (`refers_bench.nets.parts.in_parts`); mixing,
            contrasts and queue see the whole batch.

    Raises:
        ValueError: "nce" without the number of examples.

    Source: github.com/funnyzhou/C2L_MICCAI2020 (train_C2L_res18.py, NCE/); methods-and-datasets.md 1 D.
    """

    queue: Tensor
    place: Tensor
    constant: Tensor

    def __init__(
        self,
        *,
        encoder: nn.Module,
        dim: int,
        queue: int,
        momentum: float,
        temperature: float,
        loss: str,
        alpha: float,
        examples: int = 0,
        perturb: Callable[[Tensor, torch.Generator], Tensor] = lambda x, generator: x,
    ) -> None:
        super().__init__()
        if loss == "nce" and examples < 1:
            raise ValueError("noise-contrastive estimation needs the number of training radiographs")
        self.encoder = encoder
        self.head = nn.Linear(encoder.readout_width, dim)  # type: ignore[arg-type]
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self.momentum, self.temperature, self.loss, self.alpha = momentum, temperature, loss, alpha
        self.examples = examples
        self.perturb = perturb
        self.parts = 1
        bound = math.sqrt(3 / dim)  # length 1 on average
        self.register_buffer("queue", torch.empty(queue, dim).uniform_(-bound, bound))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        # Negative until the first batch has set it; a whole number, as in the source.
        self.register_buffer("constant", torch.full((), -1, dtype=torch.long))
        self.train()

    def train(self, mode: bool = True) -> MomentumContrast:
        """Training or evaluation mode of all but the key encoder: of that, batch norms alone ever train.

        Source: train_C2L_res18.py:438-445.
        """
        super().train(mode)
        for keys in (self.key_encoder, self.key_head):
            keys.eval()
            for norm in batch_norms(keys):
                norm.train(mode)
        return self

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the key encoder towards the query encoder: once an optimiser step, after it."""
        slow: list[Tensor] = [*self.key_encoder.parameters(), *self.key_head.parameters()]
        fast: list[Tensor] = [*self.encoder.parameters(), *self.head.parameters()]
        torch._foreach_mul_(slow, self.momentum)
        torch._foreach_add_(slow, fast, alpha=1 - self.momentum)

    def query(self, x_BCHW: Tensor) -> Tensor:
        """Unit-length embedding of the trained encoder."""
        return F.normalize(self.features(self.encoder, self.head, x_BCHW), dim=1)

    @torch.no_grad()
    def key(self, x_BCHW: Tensor) -> Tensor:
        """Embedding of the momentum encoder, of any length."""
        return self.features(self.key_encoder, self.key_head, x_BCHW)

    def features(self, encoder: Any, head: nn.Module, x_BCHW: Tensor) -> Tensor:
        """Float32 embedding of one of the two encoders."""

        def embedded(x: Tensor) -> tuple[Tensor]:
            return (head(encoder.readout(encoder(x))),)

        return in_parts(embedded, self.parts, x_BCHW, model=self)[0].float()

    def mixing(self, count: int, generator: torch.Generator) -> tuple[float, Tensor]:
        """Share of the first image, in [1/2, 1], and the permutation that gives the second."""
        # torch's Beta takes no generator.
        seed = int(torch.randint(0, 2**31, (), generator=generator))
        share = float(np.random.default_rng(seed).beta(self.alpha, self.alpha))
        return folded(share), torch.randperm(count, generator=generator)

    def contrast(self, query_BD: Tensor, key_BD: Tensor) -> Tensor:
        """Loss of unit-length float32 queries against their keys and the queue, in float32; scalar."""
        # Autocast would multiply in 16 bit, whatever the inputs are.
        with torch.autocast(query_BD.device.type, enabled=False):
            positive = (query_BD * key_BD).sum(1, keepdim=True)
            logits = torch.cat([positive, query_BD @ self.queue.clone().T], 1) / self.temperature
        if self.loss == "infonce":
            return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        return self.noise_contrast(logits.exp())

    def noise_contrast(self, scores_BK: Tensor) -> Tensor:
        """Each key's chance of being the right one and not noise; scalar.

        Args:
            scores_BK: exponentials of the similarities, the right key's in column 0. Those of the first batch set the
                constant that all are divided by, once for the whole training.

        Source: NCE/NCEAverage.py (MemoryC2L), NCE/NCECriterion.py.
        """
        with torch.no_grad():
            first = (distributed.averaged(scores_BK.mean()) * self.examples).long()
            # No branch: reading the buffer would wait for the device.
            constant = torch.where(self.constant < 0, first, self.constant)
            if self.training:
                self.constant.copy_(constant)
        scores_BK, noise = scores_BK / constant, len(self.queue) / self.examples
        divisors_BK = scores_BK + (noise + NCE_EPSILON)
        right_B, wrong_BK = scores_BK[:, 0] / divisors_BK[:, 0], noise / divisors_BK[:, 1:]
        return -(right_B.log().sum() + wrong_BK.log().sum()) / len(scores_BK)

    @torch.no_grad()
    def enqueue(self, key_BD: Tensor) -> None:
        """Overwrite the oldest keys, with those of all processes."""
        key_BD = distributed.gathered(key_BD)
        size = len(self.queue)
        places = (self.place + torch.arange(len(key_BD), device=key_BD.device)) % size
        self.queue[places[-size:]] = key_BD[-size:]
        self.place.copy_((self.place + len(key_BD)) % size)

    def forward(self, batch: Any) -> dict[str, Tensor]:
        """A batch of two views of each radiograph (B, 2, C, H, W) -> the three terms, each a third of its loss."""
        generator = generator_of(self)
        first, second = (self.perturb(batch.images_BVCHW[:, view], generator) for view in range(2))
        share, order = self.mixing(len(first), generator)
        order = order.to(first.device, non_blocking=True)
        keys = self.key(second)
        queries = self.query(mixed(first, share, order))
        pairs: Mapping[str, tuple[Tensor, Tensor]] = {
            "contrast": (self.query(first), keys),
            "homogeneous": (queries, self.key(mixed(second, share, order))),
            "heterogeneous": (queries, mixed(keys, share, order)),
        }
        losses = {}
        for name, (query, key) in pairs.items():
            key = F.normalize(key, dim=1)
            losses[name] = self.contrast(query, key) / len(pairs)
            if self.training:
                self.enqueue(key)
        return losses


def folded(share: float) -> float:
    """A mixing share of the larger part, in [1/2, 1]."""
    return max(share, 1 - share)


def mixed(x_BF: Tensor, share: float, order_B: Tensor) -> Tensor:
    """Each row, weighted by `share`, with the row that `order_B` names, weighted by the rest.

    Source: train_C2L_res18.py:159-175 (mixup_data), for images and features alike.
    """
    return share * x_BF + (1 - share) * x_BF[order_B]
