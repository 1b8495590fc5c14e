"""Maps features of images and texts to the space in which they are compared."""

from __future__ import annotations

from torch import Tensor, nn

#: Hidden and last width of MGCA's heads, and of its ConVIRT. Source: mgca/models/backbones/encoder.py:18-53.
MGCA_HIDDEN, MGCA_OUT = 2048, 128


class BatchNormHead(nn.Module):
    """Linear, batch norm, ReLU, linear, batch norm without weights: of features, or of each token by all statistics.

    Padding tokens, which are zero, are part of the statistics.

    Args:
        width: of the input.
        hidden: width between.
        out: width of the output.

    Source: mgca/models/backbones/encoder.py:18-53; case 02 of the recorded functions.
    """

    def __init__(self, width: int, hidden: int, out: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.Linear(width, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, out),
            nn.BatchNorm1d(out, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, out), or (B, N, D) -> (B, N, out)."""
        projected: Tensor = self.head(x.flatten(0, -2))
        return projected.view(*x.shape[:-1], -1)


def mlp(width: int, hidden: int, out: int) -> nn.Sequential:
    """Linear, ReLU, linear.

    Source: ConVIRT (Zhang et al., MLHC 2022), projection functions g_v and g_u.
    """
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))
