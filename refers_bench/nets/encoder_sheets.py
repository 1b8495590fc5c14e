"""Data sheets of encoders that others released: architecture, input, readout, licence, and where each fact stands.

Free of torch: planning reads them, too. The sheets stand in ``encoder_sheets.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

#: Sizes that the `network` section of a protocol has, too: there they are the encoder's, for checks and forecasts.
SIZES = ("patch_size", "width", "depth", "heads", "mlp_width")
#: Side of a feature map's place in pixels, where a timm name states no patch: that of ResNets and alike.
STRIDE = 32
#: An argument of a timm model, as a manifest writes it.
Argument = bool | int | float | str | list[int]


@dataclass(frozen=True, kw_only=True)
class EncoderSheet:
    """What is known of one released encoder.

    Attributes:
        name: of the layout.
        title: for people.
        licence: in words.
        architecture: timm's name of the network.
        arguments: of ``timm.create_model`` besides; a `mlp_layer` is named as in ``timm.layers``.
        patch_size: pixels of a patch's side, or of a place of the last map; 0 where only timm knows, as the others.
        width: of the last tokens.
        depth: blocks.
        heads: of the last block.
        mlp_width: hidden width of the last block.
        readout: what fine-tuning classifies: "cls", "mean", or "auto" for timm's own pooling.
        positions: rule by which the position grid is resized, of `refers_bench.nets.foreign_layouts.POSITION_RULES`.
        wrappers: entries of a checkpoint that hold the state dict, one inside the other, as far as they are there.
        prefixes: in front of the encoder's names; where one occurs, tensors without it are no part of the encoder.
        ignored: patterns of tensors that are no part of the encoder.
        new: patterns of tensors that start anew, as no file of this layout has them.
        older: one spelling of the file's names -> the other, see `refers_bench.nets.foreign_layouts.Layout`.
        names: timm's name -> the file's.
        image: constant of a protocol's `image` section -> (value, source).
        sources: where architecture, readout and positions are stated.
        remark: what a table must say of it; '' for nothing.
    """

    name: str
    title: str
    licence: str
    architecture: str = ""
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    patch_size: int = 0
    width: int = 0
    depth: int = 0
    heads: int = 0
    mlp_width: int = 0
    readout: str
    positions: str
    wrappers: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    ignored: Sequence[str] = ()
    new: Sequence[str] = ()
    older: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    image: Mapping[str, Sequence[Any]]
    sources: Mapping[str, str]
    remark: str = ""

    def constants(self, image_size: int = 0) -> dict[str, tuple[Any, str]]:
        """Constants of a protocol that belong to this encoder: dotted name -> (value, source).

        Args:
            image_size: in place of the sheet's, in pixels; the side that images are resized to changes with it.
        """
        found = {f"image.{name}": (value, f"{self.title}: {source}") for name, (value, source) in self.image.items()}
        if image_size:
            share = self.image["prepared_size"][0] / self.image["size"][0]
            for name, value in (("size", image_size), ("prepared_size", round(image_size * share))):
                found[f"image.{name}"] = (value, "image_size of the row")
        source = f"{self.title}: {self.sources['architecture']}"
        sizes = {name: getattr(self, name) for name in SIZES}
        return found | {f"network.{name}": (value, source) for name, value in sizes.items() if value}


def _read() -> dict[str, dict[str, EncoderSheet]]:
    """Layout -> variant -> sheet; the first variant is the usual one."""
    sheets: dict[str, dict[str, EncoderSheet]] = {}
    for table in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["sheets"]:
        variants = table.pop("variants", {"": {}})
        sheets[table["name"]] = {
            variant: EncoderSheet(**{**table, **own, "image": {**table["image"], **own.get("image", {})}})
            for variant, own in variants.items()
        }
    return sheets


SHEETS: Mapping[str, Mapping[str, EncoderSheet]] = _read()


class EncoderParams(BaseModel, extra="forbid", frozen=True):
    """Which encoder, and where its weights are."""

    root: str = Field(
        default="encoder",
        pattern=r"^[a-z][a-z0-9_]{0,79}$",
        description="data root that names the weight file, or a Hugging Face folder with config.json",
    )
    layout: Literal[
        "dinov2", "rad_dino", "chexfound", "chexworld", "ark", "eva_x", "medical_mae", "mgca", "mrm", "refers", "timm"
    ] = Field(default="dinov2", description="data sheet of the weights; timm for any architecture of timm")
    variant: str = Field(default="", max_length=20, description="size of the layout's network; '' for its usual one")
    architecture: str = Field(
        default="", pattern=r"^[a-z0-9_]{0,100}$", description="timm's name of the network, for the layout timm"
    )
    arguments: dict[str, Argument] = Field(
        default={}, max_length=20, description="further arguments of timm's network, in place of the sheet's"
    )
    image_size: int = Field(default=0, ge=0, le=2048, description="side of the input, in pixels; 0 for the sheet's")
    positions: Literal["", "aligned", "timm", "meta", "size"] = Field(
        default="", description="how the position grid is resized; '' as the sheet says"
    )
    coverage: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="least share of the encoder's tensors that the file must fill (ours)",
        json_schema_extra={"unstated": True},
    )

    @model_validator(mode="after")
    def _known(self) -> EncoderParams:
        if bool(self.architecture) != (self.layout == "timm"):
            raise ValueError("architecture is for layout timm, which needs one")
        if self.variant and self.variant not in SHEETS[self.layout]:
            known = ", ".join(filter(None, SHEETS[self.layout])) or "none"
            raise ValueError(f"layout {self.layout} has no variant '{self.variant}'; allowed: {known}")
        return self

    @property
    def sheet(self) -> EncoderSheet:
        """The data sheet, with what the row states in its place."""
        variants = SHEETS[self.layout]
        sheet = variants[self.variant or next(iter(variants))]
        own: dict[str, Any] = {"arguments": {**sheet.arguments, **self.arguments}}
        own |= {"positions": self.positions} if self.positions else {}
        if self.architecture:
            stated = re.search(r"patch(\d+)", self.architecture)
            patch = self.arguments.get("patch_size", int(stated[1]) if stated else STRIDE)
            own |= {"architecture": self.architecture, "patch_size": patch}
        return replace(sheet, **own)

    def constants(self) -> dict[str, tuple[Any, str]]:
        """Constants of a protocol that belong to the encoder; see `refers_bench.plugins.Method.sheet`."""
        return self.sheet.constants(self.image_size)

    def footnotes(self) -> tuple[str, ...]:
        """What a table must say of a row with this encoder."""
        sheet = self.sheet
        stated = f"{sheet.title} ({self.architecture or sheet.architecture}), licence of the weights: {sheet.licence}"
        memory = [name for name, (_, source) in self.sheet.image.items() if "from memory" in source]
        notes = (sheet.remark, f"not read in its source: {', '.join(memory)}" if memory else "")
        return (stated, *(f"{sheet.title}: {note}" for note in notes if note))
