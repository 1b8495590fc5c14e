"""Any network of timm as an encoder: tokens, what fine-tuning classifies, and other readouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from refers_bench import identity
from refers_bench.errors import UserError, nearest
from refers_bench.nets import readouts
from refers_bench.nets.encoder_sheets import EncoderParams, EncoderSheet


class TimmEncoder(nn.Module):
    """A network of timm without its classifier.

    Args:
        sheet: which network, its readout, and how its weight files are read.
        image_size: side of the square input, in pixels.
        channels: input channels.
        readout: what fine-tuning classifies: "cls", "mean", or "auto" as the sheet says.
        shuffled: name of the draw by which loaded weights are shuffled, '' to keep them.

    Raises:
        UserError: timm has no such network, arguments that it does not take, or another pooling than the first token
            and the mean.

    Source: timm; the mean is pooled before the final norm where the network has its norm there (``fc_norm``).
    """

    def __init__(
        self, sheet: EncoderSheet, *, image_size: int, channels: int, readout: str = "auto", shuffled: str = ""
    ) -> None:
        super().__init__()
        self.sheet, self.shuffled = sheet, shuffled
        self.net = created(sheet, image_size=image_size, channels=channels)
        self.width = int(self.net.num_features)
        self.prefix = int(getattr(self.net, "num_prefix_tokens", 0))
        self.has_cls = getattr(self.net, "cls_token", None) is not None
        chosen = next(name for name in (readout, sheet.readout, self._pooled()) if name != "auto")
        if chosen not in self.readouts:
            found = f"readout '{chosen}' of {sheet.architecture}"
            raise UserError(found, allowed=", ".join(name for name in ("cls", "mean") if name in self.readouts))
        self.chosen = chosen

    def _pooled(self) -> str:
        """Timm's own pooling, by our name."""
        pooling, norm = getattr(self.net, "global_pool", "avg"), getattr(getattr(self.net, "head", None), "norm", None)
        if pooling == "token":
            return "cls"
        if (isinstance(pooling, str) and pooling != "avg") or not isinstance(norm, nn.Identity | None):
            found = f"{self.sheet.architecture} pools by '{pooling}'" + (" and norms in its head" if norm else "")
            raise UserError(found, allowed="networks that pool by the first token or the mean, without a norm behind")
        return "mean"

    @property
    def patch_width(self) -> int:
        """Width of `patches`."""
        return self.width

    @property
    def readout_width(self) -> int:
        """Width of `readout`."""
        return self.width

    @property
    def depth(self) -> int:
        """Blocks, or stages of a network that has no plain list of them."""
        return len(self.net.blocks) if hasattr(self.net, "blocks") else 4

    @property
    def readouts(self) -> tuple[str, ...]:
        """What `features` can read."""
        return readouts.available(cls=self.has_cls, depth=self.depth)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> tokens (B, N, D), class and register tokens first, maps row by row."""
        tokens: Tensor = self.net.forward_features(x_BCHW)
        if tokens.ndim == 3:
            return tokens
        channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
        return tokens.flatten(1, 2) if channels_last else tokens.flatten(2).transpose(1, 2)

    def patches(self, tokens: Tensor) -> Tensor:
        """(B, N, D) without class and register tokens."""
        return tokens[:, self.prefix :]

    def _normed(self, pooled: Tensor) -> Tensor:
        """Through the final norm of a network that has it behind its pooling."""
        norm = getattr(self.net, "fc_norm", None)
        out: Tensor = pooled if norm is None else norm(pooled)
        return out

    def readout(self, tokens: Tensor) -> Tensor:
        """Features that fine-tuning classifies, (B, D)."""
        return self._normed(tokens[:, 0] if self.chosen == "cls" else self.patches(tokens).mean(1))

    def parts(self, tokens: Tensor) -> dict[str, Tensor]:
        """See `refers_bench.nets.readouts`."""
        mean, normed = self._normed(self.patches(tokens).mean(1)), self._normed(tokens)
        return {"auto": self.readout(tokens), "cls": normed[:, 0], "mean": mean, "tokens": normed}

    def readout_layers(self, x_BCHW: Tensor, layers: tuple[int, ...]) -> Tensor:
        """First tokens after the given blocks (1-based), each through the final norm, side by side."""
        found = self.net.forward_intermediates(
            x_BCHW,
            indices=[layer - 1 for layer in layers],
            return_prefix_tokens=True,
            norm=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat([self._normed(first[:, 0]) for _, first in found], dim=-1)

    def features(self, x_BCHW: Tensor, readout: str = "auto") -> Tensor:
        """See `refers_bench.nets.readouts.features`."""
        return readouts.features(self, x_BCHW, readout)

    @torch.no_grad()
    def shuffle(self) -> None:
        """Permute the entries of every tensor of two or more dimensions, vectors kept, where `shuffled` names a draw.

        Architecture and distribution of values stay; what the weights have learnt goes.
        """
        for name, value in self.net.state_dict().items() if self.shuffled else ():
            if value.ndim >= 2:
                generator = torch.Generator().manual_seed(identity.seed("shuffled_weights", self.shuffled, name))
                order = torch.randperm(value.numel(), generator=generator).to(value.device)
                value.copy_(value.flatten()[order].view_as(value))


def created(sheet: EncoderSheet, *, image_size: int, channels: int) -> Any:
    """Timm's network of a sheet with random weights, without a classifier; nothing is fetched.

    Raises:
        UserError: timm has no such network, or it does not take these arguments.
    """
    import timm

    if not timm.is_model(sheet.architecture):
        found, close = f"timm has no network '{sheet.architecture}'", nearest(sheet.architecture, timm.list_models())
        raise UserError(found, allowed="a name of timm.list_models()", nearest=close)
    given: dict[str, Any] = {"in_chans": channels, **sheet.arguments}
    if "mlp_layer" in given:
        given["mlp_layer"] = getattr(timm.layers, str(given["mlp_layer"]), None)
    try:
        try:
            return timm.create_model(sheet.architecture, pretrained=False, num_classes=0, img_size=image_size, **given)
        except TypeError:  # convolutional networks take images of any size, and no such argument
            return timm.create_model(sheet.architecture, pretrained=False, num_classes=0, **given)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        found = f"timm cannot build {sheet.architecture} at {image_size} px: {str(error)[:200]}"
        raise UserError(found, allowed="arguments that timm's network takes") from error


def build(
    params: EncoderParams, network: Mapping[str, Any], image: Mapping[str, Any], *, shuffled: str = ""
) -> TimmEncoder:
    """The encoder of a row, to be filled from its file."""
    return TimmEncoder(
        params.sheet,
        image_size=image["size"],
        channels=image["channels"],
        readout=network["readout"],
        shuffled=shuffled,
    )
