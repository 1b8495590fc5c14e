"""REFERS: cross-supervision of a radiograph transformer by free-text reports (Table 3 rows 0, 2, 3, 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from refers_bench.plugins import Method

if TYPE_CHECKING:
    from refers_bench.nets.convnet import ConvNet
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.radiograph_transformer import RadiographTransformer
    from refers_bench.nets.study_objective import StudyObjective

Task = Literal["report_generation", "study_report_consistency"]


class Params(BaseModel):
    """What Table 3 switches, and the control arm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[Task, ...] = Field(
        default=("report_generation", "study_report_consistency"), min_length=1, description="report tasks that train"
    )
    backbone: Literal["radiograph_transformer", "resnet101"] = Field(
        default="radiograph_transformer",
        description="resnet101 is row 1: patch tokens from its last feature map, no recurrent concatenation",
    )
    view_fusion: bool = Field(default=True, description="False: views are joined unweighted (row 3)")
    recurrent_concatenation: bool = Field(default=True, description="False: a plain ViT (row 2)")
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


def build_encoder(
    params: Params, network: Mapping[str, Any], image: Mapping[str, Any]
) -> RadiographTransformer | ConvNet:
    """The protocol's radiograph transformer; without recurrent concatenation its readout is the plain ViT's."""
    from refers_bench.nets import convnet, radiograph_transformer

    if params.backbone == "resnet101":
        return convnet.build(101, image)
    return radiograph_transformer.build(network, image, aggregation=None if params.recurrent_concatenation else "none")


def build_objective(
    params: Params, facts: SourceFacts, network: Mapping[str, Any], image: Mapping[str, Any],
    pretrain: Mapping[str, Any], encoder: RadiographTransformer | ConvNet,
) -> StudyObjective:  # fmt: skip
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
        # The paper's fused feature serves both tasks; the released code contrasts raw aggregation embeddings.
        pooled=network["reading"] == "paper",
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
        sizes = {name: value for name, value in pretrain["text_encoder"].items() if name != "path_name"}
        bert = text_encoder.build(
            sizes, vocabulary=facts.text_vocabulary, max_tokens=facts.max_tokens, out_width=fusion.study_width,
            path=facts.bert_path,
        )  # fmt: skip
    return StudyObjective(
        encoder=encoder, view_fusion=fusion, report_transformer=decoder, text_encoder=bert,
        temperature=pretrain["temperature"], image_to_text_weight=pretrain["image_to_text_weight"],
        text_to_image_gradient=pretrain["text_to_image_gradient"], gather=network["reading"] == "paper",
    )  # fmt: skip


def footnotes(params: Params) -> tuple[str, ...]:
    """What a table must say of this row."""
    notes = []
    if params.report_pairing == "shuffled":
        notes.append("control: reports shuffled among studies before pre-training")
    if params.backbone != "radiograph_transformer":
        notes.append("ResNet-101 in place of the radiograph transformer, without recurrent concatenation")
    elif not params.recurrent_concatenation:
        notes.append("plain ViT without recurrent concatenation")
    if not params.view_fusion:
        notes.append("views joined without fusion weights")
    if len(params.tasks) == 1:
        notes.append(f"pre-trained on {params.tasks[0].replace('_', ' ')} only")
    if params.views != Params.model_fields["views"].default:
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
    architecture=lambda params: "transformer" if params.backbone == "radiograph_transformer" else params.backbone,
    footnotes=footnotes,
)
