"""Reads features out of an encoder: one function for the radiograph transformer, ResNets and foreign encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

#: What may be read: what fine-tuning classifies, the first token, the mean over patches, both side by side, the first
#: tokens of the last four blocks, or all tokens.
READOUTS = ("auto", "cls", "mean", "cls_mean", "last4_cls", "tokens")
#: Blocks of "last4_cls".
LAST = 4


class Readable(Protocol):
    """An encoder that features can be read out of."""

    @property
    def readouts(self) -> tuple[str, ...]:
        """Those of `READOUTS` that it has."""

    @property
    def depth(self) -> int:
        """Blocks."""

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images -> tokens (B, N, D)."""

    def parts(self, tokens: Tensor) -> Mapping[str, Tensor]:
        """Of its tokens: "auto", "tokens", and as far as it has them "cls" and "mean"."""


def available(*, cls: bool, depth: int) -> tuple[str, ...]:
    """The readouts of an encoder with or without a first token of its own and so many blocks."""
    without = ("last4_cls",) if cls and depth < LAST else () if cls else ("cls", "cls_mean", "last4_cls")
    return tuple(name for name in READOUTS if name not in without)


def features(encoder: Readable, x_BCHW: Tensor, readout: str) -> Tensor:
    """Features of normalised images.

    Args:
        encoder: in eval mode where nothing is to be trained.
        x_BCHW: normalised images.
        readout: one of `READOUTS`; all of them after the final norm.

    Returns:
        (B, D); (B, T, D) for "tokens".

    Raises:
        ValueError: the encoder has no such readout.

    Source: "last4_cls" and "cls_mean" as the linear evaluation of DINOv2 reads them.
    """
    if readout not in encoder.readouts:
        found = f"readout '{readout}' of {type(encoder).__name__}"
        raise ValueError(f"{found}; it has {', '.join(encoder.readouts)}")
    if readout == "last4_cls":
        layers = tuple(range(encoder.depth - LAST + 1, encoder.depth + 1))
        return encoder.readout_layers(x_BCHW, layers)  # type: ignore[attr-defined, no-any-return]
    parts = encoder.parts(encoder(x_BCHW))
    return torch.cat([parts[name] for name in readout.split("_")], dim=-1)
