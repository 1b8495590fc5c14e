"""REFERS: cross-supervision of a radiograph transformer by free-text reports (Table 3 rows 0, 2, 3, 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.convnet import ConvNet
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.radiograph_transformer import RadiographTransformer
    from refers_bench.nets.study_objective import StudyObjective

Task = Literal["report_generation", "study_report_consistency"]

#: What a plain ViT gives fine-tuning -> the readout of its encoder.
PLAIN_READOUTS = {"aggregation_embedding": "cls", "patches": "mean"}


class Params(BaseModel, extra="forbid", frozen=True):
    """What Table 3 switches, and the control arm."""

    tasks: tuple[Task, ...] = Field(
        default=("report_generation", "study_report_consistency"), min_length=1, description="report tasks that train"
    )
    backbone: Literal["radiograph_transformer", "resnet101"] = Field(
        default="radiograph_transformer",
        description="resnet101 is row 1: patch tokens from its last feature map, no recurrent concatenation",
    )
    view_fusion: bool = Field(
        default=True,
        description="False: views are joined unweighted; with one view (row 3) each radiograph alone meets the report",
    )
    recurrent_concatenation: bool = Field(default=True, description="False: a plain ViT (row 2)")
    # It came later: where there is recurrent concatenation it is in no key.
    plain_feature: Literal["auto", "aggregation_embedding", "patches"] = Field(
        default="auto",
        description="what a plain ViT contrasts and gives to fine-tuning: the original's aggregation embedding where "
        "it is contrasted, the mean of its patches where reports alone train it",
        json_schema_extra={"unstated": True},
        validate_default=True,
        exclude_if=lambda value: value == "auto",
    )
    views: int = Field(default=3, ge=1, le=8, description="radiographs drawn per study")
    report_pairing: Literal["study", "shuffled"] = Field(
        default="study", description="shuffled: every study gets another one's report (control arm)"
    )

    @field_validator("tasks")
    @classmethod
    def _sorted_and_unique(cls, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        # The order of a list must not change the key of a job.
        if len(set(tasks)) != len(tasks):
            raise ValueError("a task is named twice")
        return tuple(sorted(tasks))

    @field_validator("plain_feature")
    @classmethod
    def _trained_by_the_tasks(cls, feature: str, info: ValidationInfo) -> str:
        if info.data.get("recurrent_concatenation", True):
            if feature != "auto":
                raise ValueError("it with recurrent_concatenation: false, the plain ViT")
            return feature
        contrasted = "study_report_consistency" in info.data.get("tasks", ())
        if feature == "aggregation_embedding" and not contrasted:
            raise ValueError("'patches': report generation alone trains nothing else of a plain ViT")
        return feature if feature != "auto" else "aggregation_embedding" if contrasted else "patches"


def build_encoder(params: Params, network: Section, image: Section) -> RadiographTransformer | ConvNet:
    """The protocol's radiograph transformer, or a plain ViT that reads out what its pre-training trains."""
    from refers_bench.nets import convnet, radiograph_transformer

    if params.backbone == "resnet101":
        return convnet.build(101, image)
    if params.recurrent_concatenation:
        return radiograph_transformer.build(network, image)
    readout = network["readout"] if network["readout"] != "auto" else PLAIN_READOUTS[params.plain_feature]
    return radiograph_transformer.build({**network, "readout": readout}, image, aggregation="none")


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> StudyObjective:
    """Both report tasks over fused views, as the parameters switch them."""
    from refers_bench.nets import text_encoder
    from refers_bench.nets.report_transformer import ReportTransformer
    from refers_bench.nets.study_objective import StudyObjective
    from refers_bench.nets.view_fusion import ViewFusion

    fusion = ViewFusion(
        reading=network["reading"] if params.view_fusion else "off",
        patch_width=encoder.patch_width,
        width=encoder.width,
        views=params.views,
        pooled=_pooled(params, network, encoder),
    )
    decoder = bert = None
    if "report_generation" in params.tasks:
        decoder = ReportTransformer(
            vocabulary=facts.vocabulary,
            max_tokens=facts.max_tokens,
            visual_width=encoder.patch_width,
            **pretrain["decoder"],
        )
    if "study_report_consistency" in params.tasks:
        bert = text_encoder.build(
            pretrain["text_encoder"],
            vocabulary=facts.text_vocabulary,
            max_tokens=facts.max_tokens,
            out_width=fusion.study_width,
            path=facts.bert_path,
        )
    return StudyObjective(
        encoder=encoder,
        view_fusion=fusion,
        report_transformer=decoder,
        text_encoder=bert,
        gather=network["reading"] == "paper",
        **{name: pretrain[name] for name in ("temperature", "image_to_text_weight", "text_to_image_gradient")},
    )


def _pooled(params: Params, network: Mapping[str, Any], encoder: Any) -> bool:
    """Whether views are contrasted by their patches: as the paper's fused feature, which serves both tasks, is.

    The released code contrasts raw aggregation embeddings; a plain ViT's contrast is of what fine-tuning reads out.
    """
    if params.backbone == "radiograph_transformer" and not params.recurrent_concatenation:
        return bool(encoder.averages)
    return bool(network["reading"] == "paper")


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    notes = []
    if params.report_pairing == "shuffled":
        notes.append("control: reports shuffled among studies before pre-training")
    if params.backbone != "radiograph_transformer":
        notes.append("ResNet-101 in place of the radiograph transformer, without recurrent concatenation")
    elif not params.recurrent_concatenation:
        feature = "mean patch" if params.plain_feature == "patches" else "aggregation embedding"
        notes.append(f"plain ViT without recurrent concatenation, pre-trained and fine-tuned by its {feature}")
    if not params.view_fusion and params.views == 1:
        notes.append("no view fusion: each radiograph alone is paired with its study's report")
    elif not params.view_fusion:
        notes.append(
            "views joined without fusion weights; the paper's row 3 pairs each radiograph alone with the report"
        )
    if len(params.tasks) == 1:
        notes.append(f"pre-trained on {params.tasks[0].replace('_', ' ')} only")
    if params.views != Params.model_fields["views"].default and (params.view_fusion or params.views > 1):
        notes.append(f"{params.views} views per study")
    return tuple(notes)


METHOD = Method(
    label="REFERS",
    source="Zhou et al., Nature Machine Intelligence 2022; repository funnyzhou/REFERS",
    impl=2,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    parts="features",
    needs=frozenset({"reports"}),
    views=lambda params: params.views,
    report_tasks=lambda params: params.tasks,
    report_pairing=lambda params: params.report_pairing,
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    footnotes=footnotes,
)
