"""GLoRIA: contrasts radiographs with texts, whole with whole and the regions of the one with the words of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import LENGTHS_AT, Method, Section

if TYPE_CHECKING:
    from torch import nn

    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.image_report import WordRegionContrast

#: Repository that the constants were read in.
CODE = "marshuang80/gloria@416466a"


class Params(BaseModel, extra="forbid", frozen=True):
    """Constants of the official configuration (configs/chexpert_pretrain_config.yaml)."""

    backbone: Literal["radiograph_transformer", "resnet50"] = Field(
        default="radiograph_transformer",
        description="resnet50: the official one, whose regions are places of its third stage; otherwise patches",
        json_schema_extra={"official": "resnet50"},
    )
    upsampled: int = Field(
        default=299,
        ge=0,
        le=4 * LENGTHS_AT,
        description="side at 224 x 224 to which a ResNet's images are enlarged, also in fine-tuning; 0 for none",
    )
    text: Literal["sentence", "sentence_official_code", "sentences", "report"] = Field(
        default="sentence",
        description="what of the report is read: one sentence, drawn anew each time; as the code reads its "
        "captions_per_image, only sentences up to which there are exactly 5 words; all; or all of it as it stands",
        json_schema_extra={"official": "sentence_official_code"},
    )
    text_sum: int = Field(default=4, ge=1, le=48, description="last layers of BERT whose outputs are summed")
    temp1: float = Field(default=4.0, gt=0, description="factor of the words' softmax inside that over the regions")
    temp2: float = Field(default=5.0, gt=0, description="factor of a word's cosine inside the sum over words")
    temp3: float = Field(default=10.0, gt=0, description="factor of both contrasts' similarities")
    local_weight: float = Field(default=1.0, ge=0, description="of the contrast of regions and words")
    global_weight: float = Field(default=1.0, ge=0, description="of the contrast of whole radiographs and texts")
    recipe: Literal["protocol", "own"] = Field(
        default="protocol",
        description="training constants: the protocol's, as of all rows, or those of the method's source",
        json_schema_extra={"official": "own"},
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


#: The official training, as far as this loop can do it.
RECIPE: Mapping[str, tuple[Any, str]] = {
    name: (value, f"official code: {source}")
    for name, value, source in (
        ("pretrain.own_batch_size", 48, "batch_size 48"),
        ("pretrain.optimizer", "adam", "Adam, builder.py:71-101"),
        ("pretrain.learning_rate", 0.00005, "lr 5e-5"),
        ("pretrain.text_learning_rate", 0.00005, "one learning rate for all"),
        ("pretrain.momentum", 0.5, "betas (0.5, 0.999)"),
        ("pretrain.weight_decay", 0.000001, "weight_decay 1e-6, as L2"),
        ("pretrain.decay_rule", "all", "one group of all parameters"),
        ("pretrain.schedule", "constant", "plateau: no decay by steps"),
        ("pretrain.warmup_steps", 0, "no warm-up"),
        ("pretrain.clip_norm", 0.25, "gradient_clip_val 0.25"),
        ("pretrain.lookahead_steps", 0, "plain Adam"),
        ("pretrain.text_tokens", 97, "word_num 97"),
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
    "pretrain.schedule": ("plateau", "official code: x 0.5 after 5 epochs without a lower validation loss"),
    "pretrain.patience": ("10 epochs", "official code: early stopping after 10 epochs"),
    "pretrain.steps": ("50 epochs at most", "official code: max_epochs 50"),
    "image.fit": ("pad", "official code: the longer side to 256, zero padding to a square"),
    "image.mean": ([0.5, 0.5, 0.5], "official code: norm half"),
    "image.std": ([0.5, 0.5, 0.5], "official code: norm half"),
}


def build_encoder(params: Params, network: Section, image: Section) -> nn.Module:
    """The protocol's radiograph transformer, or the official ResNet-50 behind its enlargement."""
    from refers_bench.nets import backbones

    return backbones.build(params.backbone, network, image, upsampled=params.upsampled)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> WordRegionContrast:
    """Both contrasts, in the space of the text encoder."""
    from refers_bench.nets.image_report import WordRegionContrast
    from refers_bench.nets.word_encoder import WordEncoder

    return WordRegionContrast(
        encoder=encoder,
        text_encoder=WordEncoder.build(pretrain["text_encoder"], facts),
        layers=params.text_sum,
        temperatures=params.model_dump(include={"temp1", "temp2", "temp3"}),
        **params.model_dump(include={"local_weight", "global_weight"}),
    )


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    where = f"images enlarged to {params.upsampled} at {LENGTHS_AT}" if params.upsampled else "images not enlarged"
    notes = {
        "radiograph_transformer": "regions are the transformer's patches, for which its temperatures were not chosen; "
        "images are not enlarged",
        "resnet50": f"ResNet-50, {where}",
    }
    own = ("trained by its own recipe, at a constant learning rate, which the source halves where validation stalls",)
    return (notes[params.backbone], *(own if params.recipe == "own" else ()))


METHOD = Method(
    label="GLoRIA",
    source=f"Huang et al., ICCV 2021; github.com/{CODE}",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="features",
    upsampled=lambda params: params.upsampled if params.backbone == "resnet50" else 0,
    needs=frozenset({"reports"}),
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    report_tasks=lambda params: ("study_report_consistency", "word_regions"),
    report_text=lambda params: params.text,
    footnotes=footnotes,
    sheet=lambda params: RECIPE if params.recipe == "own" else {},
)
