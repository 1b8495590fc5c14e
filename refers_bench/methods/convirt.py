"""ConVIRT: contrasts a radiograph with a sentence of its report, in both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from torch import nn

    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.image_report import GlobalContrast


class Params(BaseModel, extra="forbid", frozen=True):
    """Constants of the paper, which has no code; those of MGCA's re-implementation are choices.

    From memory of the paper. Temperature, weight and width of the common space are the same in a re-implementation that
    followed it, edreisMD/ConVIRT-pytorch@0003c9c (config.yaml), as is the weight decay of its training.
    """

    backbone: Literal["radiograph_transformer", "resnet50"] = Field(
        default="radiograph_transformer",
        description="resnet50: the paper's, whose mean over the last map is the feature",
        json_schema_extra={"official": "resnet50"},
    )
    text: Literal["sentence", "sentences", "report"] = Field(
        default="sentence",
        description="what of the report is read: one sentence, drawn anew each time; all, cleaned; or all of it",
    )
    text_pooling: Literal["max", "cls", "pooler"] = Field(
        default="max",
        description="of BERT's outputs: their maximum, the first one (MGCA's), or BERT's own (ViLMedic's)",
    )
    text_layers: int = Field(
        default=0, ge=0, le=48, description="first layers of BERT that are used (MGCA: 6); 0 for all"
    )
    frozen_text_layers: int = Field(
        default=6, ge=0, le=48, description="first layers of a given BERT, and its embeddings, that are not trained"
    )
    head: Literal["mlp", "batch_norm"] = Field(
        default="mlp", description="map to the common space: linear, ReLU, linear; or batch norm behind each (MGCA)"
    )
    hidden: int = Field(default=512, ge=1, description="width inside the head", json_schema_extra={"unstated": True})
    dim: int = Field(default=512, ge=2, description="of the common space")
    temperature: float = Field(default=0.1, gt=0, description="of the cosines")
    image_to_text_weight: float = Field(
        default=0.75, ge=0, le=1, description="of that direction; the other's is the rest"
    )
    scale: float = Field(
        default=1.0, gt=0, description="factor of the loss; with 2 and equal weights it is the sum of both (MGCA)"
    )
    recipe: Literal["protocol", "own"] = Field(
        default="protocol",
        description="training constants: the protocol's, as of all rows, or those of the method's source",
        json_schema_extra={"official": "own"},
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


#: The paper's training, as far as this loop can do it.
RECIPE: Mapping[str, tuple[Any, str]] = {
    name: (value, f"paper, from memory: {source}")
    for name, value, source in (
        ("pretrain.own_batch_size", 32, "batch size 32"),
        ("pretrain.optimizer", "adam", "Adam"),
        ("pretrain.learning_rate", 0.0001, "learning rate 1e-4"),
        ("pretrain.text_learning_rate", 0.0001, "one learning rate for all"),
        ("pretrain.momentum", 0.9, "Adam's default"),
        ("pretrain.weight_decay", 0.000001, "weight decay 1e-6"),
        ("pretrain.decay_rule", "all", "one group of all parameters"),
        ("pretrain.schedule", "constant", "no decay by steps; it halves the rate where validation stalls"),
        ("pretrain.warmup_steps", 0, "no warm-up"),
        ("pretrain.lookahead_steps", 0, "Adam"),
        ("pretrain.select", "best_validation", "lowest validation loss"),
        ("image.pretrain_augment.crop", "resized", "random crops of 60 to 100 %"),
        ("image.pretrain_augment.scale", [0.6, 1.0], "random crops of 60 to 100 %"),
        ("image.pretrain_augment.flip_probability", 0.5, "horizontal flip with probability 0.5"),
        ("image.pretrain_augment.rotation_degrees", 20, "affine with rotation of +-20 degrees"),
        ("image.pretrain_augment.brightness", [0.6, 1.4], "brightness 0.6 to 1.4"),
        ("image.pretrain_augment.contrast", [0.6, 1.4], "contrast 0.6 to 1.4"),
        ("image.pretrain_augment.jitter_probability", 1.0, "colour jitter"),
    )
}

#: Where the loop cannot follow the source, its words.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    **RECIPE,
    "pretrain.batch_size": RECIPE["pretrain.own_batch_size"],
    "pretrain.schedule": ("plateau", "paper, from memory: x 0.5 after 5 epochs without a lower validation loss"),
    "pretrain.steps": ("until validation stalls", "paper, from memory: no number of epochs for chest radiographs"),
}

#: ConVIRT's own radiographs also move, grow and blur; the shared augmentation does neither.
DEVIATION = "without the translation, scaling and blur of its own augmentation"


def build_encoder(params: Params, network: Section, image: Section) -> nn.Module:
    """The protocol's radiograph transformer, or the paper's ResNet-50."""
    from refers_bench.nets import backbones

    return backbones.build(params.backbone, network, image)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> GlobalContrast:
    """The contrast of what fine-tuning reads with the text's feature, each behind a head."""
    from refers_bench.nets.image_report import GlobalContrast
    from refers_bench.nets.projection_heads import BatchNormHead, mlp
    from refers_bench.nets.word_encoder import WordEncoder

    bert = WordEncoder.build(
        pretrain["text_encoder"],
        facts,
        layers=params.text_layers,
        pooling=params.text_pooling,
        frozen_layers=params.frozen_text_layers,
    )
    head = mlp if params.head == "mlp" else BatchNormHead
    return GlobalContrast(
        encoder=encoder,
        text_encoder=bert,
        image_head=head(encoder.readout_width, params.hidden, params.dim),
        text_head=head(bert.width, params.hidden, params.dim),
        **params.model_dump(include={"temperature", "image_to_text_weight", "scale"}),
    )


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    notes = ["no code of its authors; the paper's constants were written down from memory"]
    if params.backbone == "resnet50":
        notes.append("ResNet-50")
    if params.recipe == "own":
        notes.append(f"trained by its own recipe, {DEVIATION}")
    return tuple(notes)


METHOD = Method(
    label="ConVIRT",
    source="Zhang et al., MLHC 2022 (arXiv 2010.00747); losses as in HKU-MedAI/MGCA@680fe4a, yangzhou12/BenchX@b874fa6",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="features",
    needs=frozenset({"reports"}),
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    report_tasks=lambda params: ("study_report_consistency",),
    report_text=lambda params: params.text,
    footnotes=footnotes,
    sheet=lambda params: RECIPE if params.recipe == "own" else {},
    small={"hidden": 24, "dim": 16},
)
