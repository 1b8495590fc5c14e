"""MRM: restores hidden patches of a radiograph, and hidden words of its report with the help of the visible patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, model_validator

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.radiograph_transformer import RadiographTransformer
    from refers_bench.nets.record_objective import RecordObjective


class Params(BaseModel, extra="forbid", frozen=True):
    """Constants of the official code, and what it is trained on here."""

    backbone: Literal["radiograph_transformer", "vit"] = Field(
        default="radiograph_transformer",
        description="the protocol's, as all methods have it; vit: the official network, a plain ViT with added, fixed "
        "positions, GELU, no dropout, and the mean patch as its feature",
        json_schema_extra={"official": "vit"},
    )
    mask_ratio: float = Field(default=0.75, gt=0, lt=1, description="share of the patches that are removed")
    word_probability: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="of a word being hidden, always by [MASK]",
        json_schema_extra={
            "deviation": "pieces are those of the protocol's tokenizer; officially 30,000 word pieces, digits apart"
        },
    )
    super_resolution: int = Field(
        default=2,
        ge=1,
        le=4,
        description="times as many pixels along a side as the encoder sees are restored; images are prepared as large",
        json_schema_extra={"deviation": "crops are resized bilinearly; officially bicubically"},
    )
    normalised_target: bool = Field(
        default=True,
        description="each patch of the target has mean 0 and variance 1 (run.sh: --norm_pix_loss; argparse: False)",
    )
    antialias: bool = Field(
        default=False, description="of the resizing to the encoder's size; torchvision 0.9.2 had none for tensors"
    )
    positions: Literal["mrm", "mae"] = Field(
        default="mrm",
        description="frequencies of fixed positions; mae: as meant, down to 1/10000 (mrm: down to 10000^(-1/4))",
    )
    report_places: Literal["all", "masked"] = Field(
        default="all",
        description="over which the report's loss is a mean: all, padding and visible pieces included, or hidden ones",
    )
    image_weight: float = Field(default=1.0, gt=0, description="of its loss")
    report_weight: float = Field(default=1.0, gt=0, description="of its loss")
    decoder_width: int = Field(default=768, ge=4, multiple_of=4, description="of the decoder of patches")
    decoder_depth: int = Field(default=4, ge=1, description="of the decoder of patches")
    decoder_heads: int = Field(default=6, ge=1, description="of the decoder of patches")
    report_width: int = Field(default=384, ge=1, description="of the BERT that restores words")
    report_depth: int = Field(default=6, ge=1, description="of the BERT that restores words")
    report_heads: int = Field(default=6, ge=1, description="of the BERT that restores words")
    report_mlp_width: int = Field(default=1536, ge=1, description="of the BERT that restores words")
    report_dropout: float = Field(default=0.1, ge=0, lt=1, description="of the BERT that restores words")
    report_pairing: Literal["study", "shuffled"] = Field(
        default="study", description="shuffled: every study gets another one's report (control arm)"
    )
    beta2: float = Field(
        default=0.999,
        ge=0.999,
        le=0.999,
        description="second beta of AdamW, the same for all methods; main_pretrain.py: betas (0.9, 0.95)",
        json_schema_extra={"official": 0.95},
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; a study's are drawn one at a time")

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> Params:
        for part in ("decoder", "report"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if width % heads:
                raise ValueError(f"{part}_heads ({heads}) must divide {part}_width ({width})")
        return self


def build_encoder(params: Params, network: Section, image: Section) -> RadiographTransformer:
    """The protocol's radiograph transformer, or MRM's own network of the protocol's sizes."""
    from refers_bench.nets import radiograph_transformer
    from refers_bench.nets.masked_image import as_published

    if params.backbone == "radiograph_transformer":
        return radiograph_transformer.build(network, image)
    readout = network["readout"] if network["readout"] != "auto" else "mean"
    own = {"position": "added", "activation": "gelu", "dropout": 0.0, "readout": readout}
    plain = radiograph_transformer.build({**network, **own}, image, aggregation="none")
    return as_published(plain, positions=params.positions)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> RecordObjective:
    """Mean squared error of the removed patches, and cross-entropy of the report."""
    from refers_bench.nets.masked_image import PatchDecoder
    from refers_bench.nets.masked_words import MaskedReportModel
    from refers_bench.nets.record_objective import RecordObjective

    if params.backbone == "vit":
        encoder.position_embedding.requires_grad_(False)
    decoder = PatchDecoder(
        in_width=encoder.patch_width,
        width=params.decoder_width,
        depth=params.decoder_depth,
        heads=params.decoder_heads,
        grid=encoder.grid,
        outputs=pixels_of_a_patch(params, network, image),
        positions=params.positions,
    )
    words = MaskedReportModel(
        vocabulary=facts.vocabulary,
        max_tokens=facts.max_tokens,
        width=params.report_width,
        depth=params.report_depth,
        heads=params.report_heads,
        mlp_width=params.report_mlp_width,
        dropout=params.report_dropout,
    )
    return RecordObjective(
        encoder=encoder,
        image_decoder=decoder,
        report_model=words,
        size=image["size"],
        max_tokens=facts.max_tokens,
        follows=facts.continues,
        standardise=params.normalised_target,
        places=params.report_places,
        **params.model_dump(include={"mask_ratio", "word_probability", "antialias", "image_weight", "report_weight"}),
    )


def pixels_of_a_patch(params: Params, network: Section, image: Section) -> int:
    """Values of a patch of the target."""
    return int((params.super_resolution * network["patch_size"]) ** 2 * image["channels"])


def transformers(params: Params, network: Section, image: Section, pretrain: Section) -> tuple[Mapping[str, int], ...]:
    """The decoder of patches and the BERT that restores words."""
    width = params.decoder_width
    decoder = {
        "tokens": (image["size"] // network["patch_size"]) ** 2 + 1,
        "width": width,
        "depth": params.decoder_depth,
        "mlp_width": 4 * width,
        "inputs": network["width"],
        "outputs": pixels_of_a_patch(params, network, image),
    }
    words = {
        "tokens": pretrain["text_tokens"],
        "width": params.report_width,
        "depth": params.report_depth,
        "mlp_width": params.report_mlp_width,
        "inputs": pretrain["vocabulary"],
        "outputs": pretrain["vocabulary"],
    }
    return decoder, words


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    notes = []
    if params.backbone == "vit":
        notes.append("plain ViT with fixed positions, fine-tuned by its mean patch after the pre-trained norm")
    if params.super_resolution == 1:
        notes.append("patches are restored at the resolution that the encoder sees")
    if params.report_pairing == "shuffled":
        notes.append("control: reports shuffled among studies before pre-training")
    return tuple(notes)


#: The official view: a crop, flipped, neither turned nor jittered.
VIEWS: Mapping[str, tuple[Any, str]] = {
    f"image.pretrain_augment.{name}": (value, f"official code, main_pretrain.py:127-132: {source}")
    for name, value, source in (
        ("crop", "resized", "RandomResizedCrop"),
        ("scale", [0.2, 1.0], "RandomResizedCrop(448, scale=(0.2, 1.0))"),
        ("ratio", [0.75, 1.3333], "RandomResizedCrop, torchvision's default"),
        ("rotation_degrees", 0, "no rotation"),
        ("flip_probability", 0.5, "RandomHorizontalFlip"),
        ("jitter_probability", 0.0, "no jitter"),
    )
}

#: The official training. Its length, 200 epochs of MIMIC-CXR, is the protocol's budget here; a fifth of it is warm-up.
RECIPE: Mapping[str, tuple[Any, str]] = {
    f"pretrain.{name}": (value, f"official code: {source}")
    for name, value, source in (
        ("own_batch_size", 256, "run.sh: 4 GPUs x 32 x 2 accumulations"),
        ("optimizer", "adamw", "AdamW"),
        ("learning_rate", 0.00015, "run.sh: blr 1.5e-4 x 256 / 256"),
        ("momentum", 0.9, "betas (0.9, 0.95)"),
        ("weight_decay", 0.05, "run.sh: weight decay 0.05"),
        ("decay_rule", "no_norm_bias", "timm 0.3.2, add_weight_decay: neither vectors nor biases"),
        ("schedule", "cosine", "util/lr_sched.py: half a cosine to 0, in every iteration"),
        ("schedule_order", "after_step", "engine_pretrain.py: the first iteration has rate 0"),
        ("warmup_steps", 60_000, "40 of 200 epochs: a fifth of the 300,000 iterations"),
        ("clip_norm", 0.0, "no clipping"),
        ("lookahead_steps", 0, "plain AdamW"),
        ("select", "last", "no validation"),
    )
}

METHOD = Method(
    label="MRM",
    source="Zhou et al., ICLR 2023; github.com/RL4M/MRM-pytorch",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    constants=VIEWS,
    recipe=RECIPE,
    source_values={
        **VIEWS,
        **RECIPE,
        "pretrain.batch_size": RECIPE["pretrain.own_batch_size"],
        "pretrain.steps": ("200 epochs", "official code, run.sh: 200 epochs"),
        "pretrain.report_flip": ("none", "official code: flipped images keep their report's left and right"),
        "pretrain.text_tokens": (100, "official code: 100 word pieces"),
        "pretrain.vocabulary": (30_000, "official code: mimic_wordpiece.json"),
        "image.mean": ([0.4978, 0.4978, 0.4978], "official code, main_pretrain.py:127-132"),
        "image.std": ([0.2449, 0.2449, 0.2449], "official code, main_pretrain.py:127-132"),
    },
    parts="examples",
    needs=frozenset({"reports"}),
    # The encoder sees a quarter of the patches and the decoder's blocks all of them: together about one pass.
    report_tasks=lambda params: (),
    report_pairing=lambda params: params.report_pairing,
    magnification=lambda params: params.super_resolution,
    seen=lambda params: 1 - params.mask_ratio,
    transformers=transformers,
    footnotes=footnotes,
    small={
        "decoder_width": 16,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "report_width": 16,
        "report_depth": 1,
        "report_heads": 2,
        "report_mlp_width": 32,
    },
)
