"""Classifies with an encoder: one linear head on its readout."""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """Encoder, then ``Linear(readout width, classes)``.

    Args:
        encoder: gives tokens and their readout (see `refers_bench.nets.radiograph_transformer`).
        classes: K, independent binary outputs.
        layers: read the aggregation embedding after these blocks instead (1-based); empty for the plain readout.

    Source: Fine-tune/*/models/modeling.py (``head``), modeling_2.py for `layers`.
    """

    def __init__(self, encoder: nn.Module, classes: int, *, layers: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, layers
        width = len(layers) * encoder.width if layers else encoder.readout_width  # type: ignore[operator]
        self.head = nn.Linear(width, classes)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images -> logits (B, K)."""
        if self.layers:
            features = self.encoder.readout_layers(x_BCHW, self.layers)  # type: ignore[operator]
        else:
            features = self.encoder.readout(self.encoder(x_BCHW))  # type: ignore[operator]
        logits: Tensor = self.head(features)
        return logits
