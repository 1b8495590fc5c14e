"""Hides patches of a radiograph and restores them: masks, fixed positions, the decoder of patches, and its loss."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from refers_bench.errors import UserError
from refers_bench.nets.radiograph_transformer import Block, RadiographTransformer

#: Rules of fixed positions: MAE's, and MRM's, whose slowest frequency is 10000^(-1/4) and not 1/10000.
POSITIONS = ("mrm", "mae")
#: Added to a patch's variance before its root is taken.
EPSILON = 1e-6


def kept_patches(patches: int, mask_ratio: float) -> int:
    """How many of so many patches stay.

    Raises:
        UserError: none of them, or all.

    Source: MRM, model_mrm.py:130-155.
    """
    kept = int(patches * (1 - mask_ratio))
    if not 0 < kept < patches:
        found = f"mask ratio {mask_ratio} leaves {kept} of {patches} patches"
        raise UserError(found, allowed=f"a ratio that leaves 1 to {patches - 1}")
    return kept


def draw_noise(count: int, patches: int, generator: Generator) -> Tensor:
    """Noise (count, patches) in [0, 1) that orders the patches of each image, as `masked` takes it."""
    return torch.rand(count, patches, generator=generator)


def complementary_noise(count: int, patches: int, kept: int, generator: Generator) -> Tensor:
    """The same for validation: consecutive images show other patches, until all of them have been shown.

    Args:
        count: images.
        patches: of an image.
        kept: of those.
        generator: on the CPU.
    """
    order = torch.randperm(patches, generator=generator)
    orders = torch.stack([order.roll(-kept * image) for image in range(count)])
    return orders.argsort(1) / patches


def masked(noise_BN: Tensor, *, kept: int) -> tuple[Tensor, Tensor, Tensor]:
    """Which patches stay, in ascending order of their noise.

    Args:
        noise_BN: one number a patch.
        kept: patches that stay.

    Returns:
        Numbers of those (B, kept) in the order in which they stay; of each patch its place in the order of all (B, N);
        1.0 where a patch was removed (B, N).

    Source: MRM, model_mrm.py:130-155.
    """
    order_BN = noise_BN.argsort(1)
    restore_BN = order_BN.argsort(1)
    return order_BN[:, :kept], restore_BN, (restore_BN >= kept).float()


def gathered(tokens_BND: Tensor, places_BK: Tensor) -> Tensor:
    """Tokens at these places of each example, (B, K, D)."""
    return tokens_BND.gather(1, places_BK[:, :, None].expand(-1, -1, tokens_BND.shape[2]))


def visible_tokens(encoder: RadiographTransformer, x_BCHW: Tensor, places_BK: Tensor) -> Tensor:
    """Tokens (B, 1 + K, D) of a transformer that is shown the patches at these places alone, after its final norm.

    Args:
        encoder: positions are added to (or concatenated with) all patches before some of them are taken.
        x_BCHW: normalised images.
        places_BK: of the patches that are shown, in their order.

    Source: MRM, model_mrm.py:157-181.
    """
    tokens = encoder.embed(x_BCHW)
    tokens = torch.cat([tokens[:, :1], gathered(tokens[:, 1:], places_BK)], dim=1)
    for block in encoder.blocks:
        tokens = block(tokens)
    normed: Tensor = encoder.norm(tokens)
    return normed


def fixed_positions(width: int, grid: int, *, rule: str = "mrm") -> Tensor:
    """Sine-cosine positions (1 + grid * grid, width) in float64: zeros for the first token, then row by row.

    A row is [sin(c w), cos(c w), sin(r w), cos(r w)] of its column c and row r, with width / 4 frequencies w.

    Args:
        width: a multiple of 4.
        grid: patches along a side.
        rule: "mae", w_k = 10000^(-k / (width / 4)); "mrm", w_k = 10000^(-k / width): a matter of brackets in its code.

    Raises:
        ValueError: a width that is no multiple of 4, or another rule.

    Source: MRM, util/pos_embed.py:57; MAE, util/pos_embed.py.
    """
    if width % 4 or rule not in POSITIONS:
        raise ValueError(f"width {width}, rule {rule!r}; allowed: multiples of 4, and {', '.join(POSITIONS)}")
    quarter = width // 4
    frequencies = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float64) / (width if rule == "mrm" else quarter))
    angles_GQ = torch.arange(grid, dtype=torch.float64)[:, None] * frequencies
    waves_GH = torch.cat([angles_GQ.sin(), angles_GQ.cos()], dim=1)
    by_column, by_row = waves_GH[None].expand(grid, -1, -1), waves_GH[:, None].expand(-1, grid, -1)
    rows = torch.cat([by_column, by_row], dim=2).reshape(grid * grid, width)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), rows])


def as_patches(x_BCHW: Tensor, side: int) -> Tensor:
    """Images -> patches (B, N, side * side * C) row by row: in a patch pixels row by row, channels last.

    Source: MRM, model_mrm.py:99-111.
    """
    B, C, H, W = x_BCHW.shape
    patches = x_BCHW.view(B, C, H // side, side, W // side, side).permute(0, 2, 4, 3, 5, 1)
    return patches.reshape(B, (H // side) * (W // side), side * side * C)


def standardised(patches_BNP: Tensor) -> Tensor:
    """Each patch with mean 0 and unbiased variance 1 over all its values.

    Source: MRM, model_mrm.py:206-223 (`norm_pix_loss`).
    """
    variance, mean = torch.var_mean(patches_BNP, dim=2, keepdim=True)
    return (patches_BNP - mean) / (variance + EPSILON).sqrt()


def image_loss(predicted_BNP: Tensor, target_BNP: Tensor, removed_BN: Tensor) -> Tensor:
    """Mean over the removed patches of the mean squared error, in float32.

    Source: MRM, model_mrm.py:206-223.
    """
    errors_BN = (predicted_BNP.float() - target_BNP).square().mean(2)
    return (errors_BN * removed_BN).sum() / removed_BN.sum()


def smaller(x_BCHW: Tensor, size: int, *, antialias: bool) -> Tensor:
    """Images at the size that the encoder sees, bicubic.

    Args:
        x_BCHW: normalised.
        size: side, in pixels.
        antialias: False: as torchvision 0.9.2 resized tensors.

    Source: MRM, model_mrm.py:225-241.
    """
    if x_BCHW.shape[-1] == size:
        return x_BCHW
    return F.interpolate(x_BCHW, size=(size, size), mode="bicubic", align_corners=False, antialias=antialias)


class PatchDecoder(nn.Module):
    """Tokens of the visible patches -> pixels of all patches: mask tokens, fixed positions, pre-norm blocks.

    Args:
        in_width: of the tokens.
        width: of the decoder, a multiple of 4.
        depth: blocks; their MLP is four times as wide.
        heads: attention heads.
        grid: patches along a side.
        outputs: values of a patch.
        positions: one of `POSITIONS`.

    Source: MRM, model_mrm.py:41-77, 183-204; initial weights as MAE's, from memory of its code.
    """

    positions: Tensor

    def __init__(
        self, *, in_width: int, width: int, depth: int, heads: int, grid: int, outputs: int, positions: str
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(in_width, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        table = fixed_positions(width, grid, rule=positions).float()
        self.register_buffer("positions", table[None], persistent=False)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, mlp_width=4 * width, dropout=0.0, activation="gelu") for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.predict = nn.Linear(width, outputs)
        self.apply(xavier)

    def forward(self, tokens_BKD: Tensor, restore_BN: Tensor) -> Tensor:
        """Values (B, N, outputs) of all patches.

        Args:
            tokens_BKD: the aggregation embedding, then the visible patches in their order.
            restore_BN: of each patch its place in the order of all; places beyond the visible ones are mask tokens.
        """
        x = self.embed(tokens_BKD)
        hidden = self.mask_token.to(x.dtype).expand(len(x), restore_BN.shape[1] + 1 - x.shape[1], -1)
        patches = gathered(torch.cat([x[:, 1:], hidden], dim=1), restore_BN)
        x = torch.cat([x[:, :1], patches], dim=1) + self.positions
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.predict(self.norm(x))[:, 1:]
        return out


def xavier(module: nn.Module) -> None:
    """Uniform weights by fan-in and fan-out and no bias, for linear maps."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


@torch.no_grad()
def as_published(encoder: RadiographTransformer, *, positions: str) -> RadiographTransformer:
    """A plain ViT with fixed positions and MRM's initial weights.

    Source: MRM, model_mrm.py:79-97 (positions); initial weights as MAE's, from memory of its code.
    """
    encoder.apply(xavier)
    nn.init.xavier_uniform_(encoder.patch_embedding.weight.flatten(1))
    nn.init.normal_(encoder.aggregation_embedding, std=0.02)
    encoder.position_embedding.copy_(fixed_positions(encoder.width, encoder.grid, rule=positions)[None])
    return encoder
