"""The vision transformer of REFERS, which turns radiographs into tokens, in both of its readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refers_bench.nets import readouts
from refers_bench.nets.dropout import Dropout

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}
POSITIONS = ("added", "concatenated")
AGGREGATIONS = ("added", "concatenated", "none")
READOUTS = ("auto", "cls", "mean")


class Attention(nn.Module):
    """Multi-head self-attention: one fused projection, torch's scaled-dot-product kernels, no attention dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BND: Tensor) -> Tensor:
        """x_BND -> x_BND."""
        B, N, D = x_BND.shape
        q, k, v = self._heads(x_BND)
        mixed_BHND = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed_BHND.transpose(1, 2).reshape(B, N, D))
        return out

    def weights(self, x_BND: Tensor) -> Tensor:
        """Which token looks at which: (B, heads, N, N), rows sum to 1; the kernels of `forward` do not give them."""
        q, k, _ = self._heads(x_BND)
        scores_BHNN: Tensor = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        return scores_BHNN.softmax(dim=-1)

    def mixed(self, x_BND: Tensor, weights_BHNN: Tensor) -> Tensor:
        """What `forward` gives, up to rounding, when tokens look at each other as `weights` says: x_BND -> x_BND."""
        _, _, v = self._heads(x_BND)
        out: Tensor = self.out((weights_BHNN @ v).transpose(1, 2).reshape(x_BND.shape))
        return out

    def _heads(self, x_BND: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each (B, heads, N, D / heads)."""
        B, N, D = x_BND.shape
        parts_3BHND: Tensor = self.qkv(x_BND).view(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        return parts_3BHND.unbind(0)


class Block(nn.Module):
    """Pre-norm block; dropout after the activation and after the second linear map.

    Source: Pre-train/refers/modules/VisionTransformer.py:97-179.
    """

    def __init__(self, *, width: int, heads: int, mlp_width: int, dropout: float, activation: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, mlp_width)
        self.fc2 = nn.Linear(mlp_width, width)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = Dropout(dropout)
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, x_BND: Tensor) -> Tensor:
        """x_BND -> x_BND."""
        x_BND = x_BND + self.attention(self.norm1(x_BND))
        hidden = self.dropout(self.activation(self.fc1(self.norm2(x_BND))))
        out: Tensor = x_BND + self.dropout(self.fc2(hidden))
        return out


class RadiographTransformer(nn.Module):
    """A vision transformer whose first token is the aggregation embedding.

    Args:
        image_size: side of the square input, in pixels; a multiple of `patch_size`.
        patch_size: side of a patch, in pixels.
        channels: input channels.
        width: D, of the tokens.
        depth: blocks.
        heads: attention heads; divides `width`.
        mlp_width: hidden width of a block's MLP.
        dropout: in [0, 1).
        activation: "gelu" (released code) or "relu" (paper).
        position: "added" to the patch feature (released code), or "concatenated" with it and projected (paper).
        aggregation: how patches meet the aggregation embedding at the output, the "recurrent concatenation":
            "added" (released code), "concatenated" (paper) or "none" (plain ViT, Table 3 row 2).
        readout: what fine-tuning classifies: "cls", the aggregation embedding (released code); "mean", over `patches`;
            or "auto", the mean for "concatenated" and the aggregation embedding otherwise.

    Raises:
        ValueError: sizes that do not fit, or an unknown choice.

    Source:
        Paper, Methods (radiograph transformer); Pre-train/refers/modules/VisionTransformer.py, models/captioning.py.
    """

    def __init__(
        self,
        *,
        image_size: int,
        patch_size: int,
        channels: int,
        width: int,
        depth: int,
        heads: int,
        mlp_width: int,
        dropout: float,
        activation: str,
        position: str,
        aggregation: str,
        readout: str = "auto",
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ("activation", activation, tuple(ACTIVATIONS)),
            ("position", position, POSITIONS),
            ("aggregation", aggregation, AGGREGATIONS),
            ("readout", readout, READOUTS),
        ):
            if value not in allowed:
                raise ValueError(f"unknown {name} {value!r}; allowed: {', '.join(allowed)}")
        if image_size % patch_size or width % heads:
            raise ValueError(f"{patch_size} must divide image size {image_size}, and {heads} heads the width {width}")
        self.width, self.aggregation, self.position, self.activation = width, aggregation, position, activation
        self.averages = readout == "mean" or (readout == "auto" and aggregation == "concatenated")
        self.grid = image_size // patch_size
        self.patch_embedding = nn.Conv2d(channels, width, patch_size, patch_size)
        self.aggregation_embedding = nn.Parameter(torch.zeros(1, 1, width))
        # Position features: the released code overwrites zeros from ImageNet weights; without those, and in the
        # paper's text, they start at random.
        self.position_embedding = nn.Parameter(torch.randn(1, self.grid**2 + 1, width) * 0.02)
        self.position_projection = nn.Linear(2 * width, width) if position == "concatenated" else None
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, mlp_width=mlp_width, dropout=dropout, activation=activation)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @property
    def patch_width(self) -> int:
        """Width of `patches`."""
        return 2 * self.width if self.aggregation == "concatenated" else self.width

    @property
    def readout_width(self) -> int:
        """Width of `readout`."""
        return self.patch_width if self.averages else self.width

    def embed(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images -> tokens before the first block, (B, 1+N, D)."""
        patches_BND = self.patch_embedding(x_BCHW).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.aggregation_embedding.expand(len(x_BCHW), -1, -1), patches_BND], dim=1)
        if self.position_projection is None:
            tokens = tokens + self.position_embedding
        else:
            tokens = self.position_projection(torch.cat([tokens, self.position_embedding.expand_as(tokens)], dim=-1))
        embedded: Tensor = self.dropout(tokens)
        return embedded

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> tokens (B, 1+N, D) after the final norm; token 0 aggregates."""
        tokens = self.embed(x_BCHW)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def patches(self, tokens: Tensor) -> Tensor:
        """Recurrent concatenation: each patch token meets the aggregation embedding.

        Args:
            tokens: (B, 1+N, D).

        Returns:
            (B, N, D) for "added" and "none", (B, N, 2D) for "concatenated".

        Source: Pre-train/refers/models/captioning.py:125-139 (a broadcast addition, once, after the last layer).
        """
        aggregate, patches_BND = tokens[:, :1], tokens[:, 1:]
        if self.aggregation == "added":
            return patches_BND + aggregate
        if self.aggregation == "concatenated":
            return torch.cat([patches_BND, aggregate.expand_as(patches_BND)], dim=-1)
        return patches_BND

    def readout(self, tokens: Tensor) -> Tensor:
        """Features that fine-tuning classifies, (B, readout_width).

        The aggregation embedding (released code), or the mean over patches that have met it: the paper keeps the
        recurrent concatenation in fine-tuning and does not say how it is pooled.
        """
        return self.patches(tokens).mean(1) if self.averages else tokens[:, 0]

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def readouts(self) -> tuple[str, ...]:
        """What `features` can read."""
        return readouts.available(cls=True, depth=self.depth)

    def parts(self, tokens: Tensor) -> dict[str, Tensor]:
        """See `refers_bench.nets.readouts`; the mean is over patches that have met the aggregation embedding."""
        mean = self.patches(tokens).mean(1)
        return {"auto": self.readout(tokens), "cls": tokens[:, 0], "mean": mean, "tokens": tokens}

    def features(self, x_BCHW: Tensor, readout: str = "auto") -> Tensor:
        """See `refers_bench.nets.readouts.features`."""
        return readouts.features(self, x_BCHW, readout)

    def readout_layers(self, x_BCHW: Tensor, layers: tuple[int, ...]) -> Tensor:
        """Aggregation embeddings after the given blocks (1-based), each through the final norm, side by side.

        Source: Fine-tune/COVID-19_Image_Data_Collection/models/modeling_2.py:278-296 (layers 6 and 12; unused there).
        """
        tokens, kept = self.embed(x_BCHW), {}
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in layers:
                kept[number] = self.norm(tokens)[:, 0]
        return torch.cat([kept[number] for number in layers], dim=-1)


def build(
    network: Mapping[str, Any], image: Mapping[str, Any], *, aggregation: str | None = None
) -> RadiographTransformer:
    """The radiograph transformer of a protocol's `network` and `image` sections.

    Args:
        network: width, depth, heads, mlp_width, patch_size, dropout, activation, position, aggregation, readout.
        image: size (pixels) and channels.
        aggregation: replaces the protocol's (a method's ablation).
    """
    names = ("width", "depth", "heads", "mlp_width", "patch_size", "dropout", "activation", "position", "readout")
    return RadiographTransformer(
        image_size=image["size"],
        channels=image["channels"],
        aggregation=aggregation or network["aggregation"],
        **{name: network[name] for name in names},
    )
