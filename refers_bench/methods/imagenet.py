"""ImageNet pre-training: weights the user has, or, for tiny runs, a stand-in that is always said to be one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.stand_in import ShapeObjective


class Params(BaseModel, extra="forbid", frozen=True):
    """Which weights; nothing is ever fetched."""

    root: str = Field(
        default="imagenet", pattern=r"^[a-z][a-z0-9_]{0,79}$", description="data root that names the weight file"
    )
    tag: str = Field(
        default="vit_base_patch16_224.augreg_in21k",
        pattern=r"^[a-z0-9_.]{1,100}$",
        description="timm's name of the weights: said in the footnote and in the command that saves them",
    )
    coverage: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="least share of the encoder's tensors that the file must fill (ours)",
        json_schema_extra={"unstated": True},
    )
    stand_in: bool = Field(
        default=False, description="no weights: pre-train on the shapes of procedural photographs (tiny runs only)"
    )
    views: int = Field(default=1, ge=1, le=1, description="images per example of the stand-in")


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> ShapeObjective:
    """Of the stand-in: cross-entropy over the shapes of procedural photographs."""
    from refers_bench.data.phantoms.natural import SHAPES, scenes
    from refers_bench.nets.stand_in import ShapeObjective

    return ShapeObjective(encoder=encoder, image=image, classes=len(SHAPES), scenes=scenes)


def hint(params: Params) -> str:
    """The command that saves the weights where there is a network."""
    return (
        f'save them where there is a network with: python -c "import timm, safetensors.torch as s; '
        f"s.save_file(timm.create_model('{params.tag}', pretrained=True).state_dict(), '{params.root}.safetensors')\""
        f" and set data root '{params.root}' to that file, or to a .npz in the JAX layout"
    )


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    if params.stand_in:
        return ("stand-in for ImageNet: supervised pre-training on procedural photographs, not ImageNet weights",)
    return (f"weights given by the user, named as {params.tag}",)


#: How the weights were trained, as timm's data sheets and the JAX release have it.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    "image.mean": ([0.5, 0.5, 0.5], "timm, vit_base_patch16_224: mean 0.5"),
    "image.std": ([0.5, 0.5, 0.5], "timm, vit_base_patch16_224: standard deviation 0.5"),
    "network.activation": ("gelu", "ViT-B/16"),
    "network.position": ("added", "ViT-B/16"),
}

METHOD = Method(
    label="ImageNet pre-training",
    source="Dosovitskiy et al., ICLR 2021; weights as timm or the JAX release distribute them",
    impl=1,
    Params=Params,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="examples",
    weights=lambda params: "" if params.stand_in else params.root,
    weights_hint=hint,
    coverage=lambda params: params.coverage,
    footnotes=footnotes,
    small={"stand_in": True},
)
