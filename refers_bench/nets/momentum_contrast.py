"""How are mixed radiographs contrasted with a queue of earlier ones: momentum encoder, mixing, three terms?"""

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
from refers_bench.nets.parts import in_parts
from refers_bench.nets.restoration import generator_of

#: Added where noise-contrastive estimation divides (the lab's later code; the released one leaves it undefined).
NCE_EPSILON = 1e-5


class MomentumContrast(nn.Module):
    """C2L: the mean of three contrasts of two views of each radiograph.

    1. query of view 1 against key of view 2;
    2. query of mixed views 1 against key of mixed views 2 (homogeneous pairs);
    3. query of mixed views 1 against mixed keys of views 2 (heterogeneous pairs).

    One mixing share and one permutation a batch serve images and features. Each term has the queue as negatives and
    then enqueues its keys.

    Args:
        encoder: trained; its readout is the feature.
        dim: of the linear embedding.
        queue: keys that are kept.
        momentum: of the key encoder, moved after each update.
        temperature: of the similarities.
        loss: "infonce" or "nce".
        alpha: both parameters of the Beta distribution of the mixing share.
        perturb: normalised images and a generator -> images with holes, say.

    Attributes:
        parts: in which features are computed where memory is short (`refers_bench.nets.parts.in_parts`); mixing,
            contrasts and queue see the whole batch.

    Source: github.com/funnyzhou/C2L_MICCAI2020; methods-and-datasets.md 1 D.
    """

    queue: Tensor
    place: Tensor
    constant: Tensor

    def __init__(
        self, *, encoder: nn.Module, dim: int, queue: int, momentum: float, temperature: float, loss: str,
        alpha: float, perturb: Callable[[Tensor, torch.Generator], Tensor] = lambda x, generator: x,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.readout_width, dim)  # type: ignore[arg-type]
        self.key_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self.momentum, self.temperature, self.loss, self.alpha = momentum, temperature, loss, alpha
        self.perturb = perturb
        self.parts = 1
        bound = math.sqrt(3 / dim)  # length 1 on average
        self.register_buffer("queue", torch.empty(queue, dim).uniform_(-bound, bound))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self.register_buffer("constant", torch.full((), -1.0))

    @torch.no_grad()
    def after_update(self) -> None:
        """Move the key encoder towards the query encoder: once an optimiser step, after it."""
        pairs = ((self.key_encoder, self.encoder), (self.key_head, self.head))
        for key, query in pairs:
            for slow, fast in zip(key.parameters(), query.parameters(), strict=True):
                slow.mul_(self.momentum).add_(fast, alpha=1 - self.momentum)

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
        return max(share, 1 - share), torch.randperm(count, generator=generator)

    def contrast(self, query_BD: Tensor, key_BD: Tensor) -> Tensor:
        """Loss of unit-length float32 queries against their keys and the queue, in float32; scalar."""
        # Autocast would multiply in 16 bit, whatever the inputs are.
        with torch.autocast(query_BD.device.type, enabled=False):
            positive = (query_BD * key_BD).sum(1, keepdim=True)
            logits = torch.cat([positive, query_BD @ self.queue.clone().T], 1) / self.temperature
        if self.loss == "infonce":
            return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        scores, noise = logits.exp(), 1 / len(self.queue)
        if self.constant < 0:
            with torch.no_grad():
                self.constant.copy_(scores.mean() * len(self.queue))
        scores = scores / self.constant
        expected = len(self.queue) * noise
        right = scores[:, 0] / (scores[:, 0] + expected + NCE_EPSILON)
        wrong = expected / (scores[:, 1:] + expected + NCE_EPSILON)
        return -(right.log() + wrong.log().sum(1)).mean()

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
        order = order.to(first.device)
        keys = self.key(second)
        pairs: Mapping[str, tuple[Tensor, Tensor]] = {}
        mixed = self.query(share * first + (1 - share) * first[order])
        pairs = {
            "contrast": (self.query(first), keys),
            "homogeneous": (mixed, self.key(share * second + (1 - share) * second[order])),
            "heterogeneous": (mixed, share * keys + (1 - share) * keys[order]),
        }
        losses = {}
        for name, (query, key) in pairs.items():
            key = F.normalize(key, dim=1)
            losses[name] = self.contrast(query, key) / len(pairs)
            if self.training:
                self.enqueue(key)
        return losses
