"""MGCA: aligns radiographs and reports at three levels: whole pairs, words and patches in a pair, and prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import LENGTHS_AT, Method, Section

if TYPE_CHECKING:
    from torch import nn

    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.image_report import MultiGranularity


class Params(BaseModel, extra="forbid", frozen=True):
    """Constants of the official code: its command line, which wins over the signatures."""

    backbone: Literal["radiograph_transformer", "resnet50"] = Field(
        default="radiograph_transformer",
        description="the official code has a ViT and a ResNet-50, whose patches are places of its third stage",
        json_schema_extra={"deviation": "the official transformer is a plain ViT-B/16, here the protocol's"},
    )
    upsampled: int = Field(
        default=299,
        ge=0,
        le=4 * LENGTHS_AT,
        description="side at 224 x 224 to which a ResNet's images are enlarged, also in fine-tuning; 0 for none",
    )
    text: Literal["sentences", "sentence", "report"] = Field(
        default="sentences",
        description="what of the report is read: its sentences, cleaned; one of them; or all of it as it stands",
        json_schema_extra={"deviation": "the source puts the impression first, here sections stand as in the report"},
    )
    text_layers: int = Field(
        default=0,
        ge=0,
        le=48,
        description="first layers of BERT that are used; 0 for all of the protocol's text encoder",
        json_schema_extra={"official": 6},
    )
    word_weights: Literal["own_attention", "official_code"] = Field(
        default="own_attention",
        description="weight of a word: the attention to its own pieces; the official code gives each piece that of the "
        "next one, and loses the last word of the longest reports",
        json_schema_extra={"official": "official_code"},
    )
    hidden: int = Field(default=2048, ge=1, description="width inside the heads")
    dim: int = Field(default=128, ge=2, description="of the common space")
    temperature: float = Field(default=0.07, gt=0, description="of whole pairs")
    local_temperature: float = Field(default=0.1, gt=0, description="of words and patches")
    instance_weight: float = Field(default=1.0, ge=0, description="of the contrast of whole pairs")
    token_weight: float = Field(default=1.0, ge=0, description="of words and patches; 0.7 in the signature")
    prototype_weight: float = Field(default=1.0, ge=0, description="of the prototypes; 0.5 in the signature")
    prototypes: int = Field(default=500, ge=2, description="how many")
    epsilon: float = Field(default=0.05, gt=0, description="smoothness of the assignments to prototypes")
    iterations: int = Field(default=3, ge=1, le=100, description="of the assignments' normalisation (Sinkhorn)")
    prototype_temperature: float = Field(default=0.2, gt=0, description="of the prediction of assignments")
    frozen_epochs: int = Field(
        default=1,
        ge=0,
        description="epochs, of studies, before prototypes are trained",
        json_schema_extra={"deviation": "the source's epoch is one of radiographs"},
    )
    recipe: Literal["protocol", "own"] = Field(
        default="protocol",
        description="training constants: the protocol's, as of all rows, or those of the method's source",
        json_schema_extra={"official": "own"},
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


#: The official training.
RECIPE: Mapping[str, tuple[Any, str]] = {
    name: (value, f"official code: {source}")
    for name, value, source in (
        ("pretrain.own_batch_size", 144, "README: 2 processes of 72"),
        ("pretrain.optimizer", "adamw", "AdamW"),
        ("pretrain.learning_rate", 0.00002, "learning rate 2e-5"),
        ("pretrain.text_learning_rate", 0.00002, "one learning rate for all"),
        ("pretrain.momentum", 0.9, "betas (0.9, 0.999)"),
        ("pretrain.weight_decay", 0.05, "weight decay 0.05"),
        ("pretrain.decay_rule", "all", "one group of all parameters"),
        ("pretrain.schedule", "cosine", "cosine to 1e-8"),
        ("pretrain.clip_norm", 0.0, "no clipping"),
        ("pretrain.lookahead_steps", 0, "plain AdamW"),
        ("pretrain.text_tokens", 112, "max_words 112"),
        ("pretrain.select", "best_validation", "lowest validation loss"),
        ("image.pretrain_augment.crop", "random", "RandomCrop(224) of 256"),
        ("image.pretrain_augment.rotation_degrees", 0, "no rotation"),
        ("image.pretrain_augment.flip_probability", 0.0, "no flip"),
        ("image.pretrain_augment.jitter_probability", 0.0, "no jitter"),
    )
}

#: Where the loop cannot follow the source, its words.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    **RECIPE,
    "pretrain.batch_size": RECIPE["pretrain.own_batch_size"],
    "pretrain.warmup_steps": ("40 % of the steps", "official code: warm-up of 40 % of all steps"),
    "pretrain.patience": ("5 epochs", "official code: early stopping after 5 epochs"),
    "pretrain.steps": ("50 epochs at most", "official code: 50 epochs"),
    "image.fit": ("pad", "official code: the longer side to 256, zero padding to a square"),
    "image.mean": ([0.5, 0.5, 0.5], "official code: mean 0.5"),
    "image.std": ([0.5, 0.5, 0.5], "official code: SD 0.5"),
}


def build_encoder(params: Params, network: Section, image: Section) -> nn.Module:
    """The protocol's radiograph transformer, or the official ResNet-50 behind its enlargement."""
    from refers_bench.nets import backbones

    return backbones.build(params.backbone, network, image, upsampled=params.upsampled)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> MultiGranularity:
    """The three losses."""
    from refers_bench.nets.image_report import MultiGranularity
    from refers_bench.nets.word_encoder import WordEncoder

    epoch = -(-facts.studies // pretrain["batch_size"])
    names = {"prototypes": "count", "epsilon": "epsilon", "iterations": "iterations"}
    return MultiGranularity(
        encoder=encoder,
        # The fused kernels do not give the attention that weighs words.
        text_encoder=WordEncoder.build(
            pretrain["text_encoder"], facts, layers=params.text_layers, attn_implementation="eager"
        ),
        hidden=params.hidden,
        out=params.dim,
        temperature=params.temperature,
        local_temperature=params.local_temperature,
        prototypes={
            **{ours: getattr(params, name) for name, ours in names.items()},
            "temperature": params.prototype_temperature,
            "frozen_updates": params.frozen_epochs * epoch,
        },
        weights={
            "instance": params.instance_weight,
            "tokens": params.token_weight,
            "prototypes": params.prototype_weight,
        },
        shifted=params.word_weights == "official_code",
        max_tokens=facts.max_tokens,
        unit_contexts=params.backbone == "resnet50",
    )


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    notes = []
    if params.backbone == "resnet50":
        where = f"enlarged to {params.upsampled} at {LENGTHS_AT}" if params.upsampled else "not enlarged"
        notes.append(f"ResNet-50, images {where}")
    if params.word_weights == "own_attention":
        notes.append("each word has the attention to its own pieces; the official code gives it that of the next piece")
    if params.recipe == "own":
        notes.append("trained by its own recipe, but for its warm-up and early stopping, which are the protocol's")
    return tuple(notes)


METHOD = Method(
    label="MGCA",
    source="Wang et al., NeurIPS 2022; github.com/HKU-MedAI/MGCA@680fe4a",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="features",
    upsampled=lambda params: params.upsampled if params.backbone == "resnet50" else 0,
    needs=frozenset({"reports"}),
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    report_tasks=lambda params: ("study_report_consistency",),
    report_text=lambda params: params.text,
    footnotes=footnotes,
    sheet=lambda params: RECIPE if params.recipe == "own" else {},
    small={"hidden": 24, "dim": 16, "prototypes": 12},
)
