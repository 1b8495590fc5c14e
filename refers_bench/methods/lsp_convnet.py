"""Label-supervised pre-training of a ResNet (Table 2, ConvNet rows)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.convnet import ConvNet
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.study_objective import LabelObjective


class Params(BaseModel, extra="forbid", frozen=True):
    """Which ResNet."""

    depth: Literal[18, 50, 101] = Field(
        default=50, description="layers; the paper shows the best of the three, which a table chooses on validation"
    )
    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


def build_encoder(params: Params, network: Section, image: Section) -> ConvNet:
    """A ResNet; the protocol's `network` section describes transformers and is not used."""
    from refers_bench.nets.convnet import build

    return build(params.depth, image)


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: ConvNet
) -> LabelObjective:
    """BCE over the source's labels, the study's labels standing for each of its radiographs."""
    from refers_bench.nets.study_objective import LabelObjective

    return LabelObjective(encoder=encoder, classes=len(facts.classes))


#: Of its pre-training neither the paper nor the released code says anything.
SOURCE_VALUES: Mapping[str, tuple[Any, str]] = {
    "finetune.optimizer": ("adam", "paper, Methods: ResNets with Adam"),
    "finetune.learning_rate": (0.0001, "paper, Methods: 1e-4 for ResNets"),
    "finetune.weight_decay": (0.00001, "released code, NIH train.py:310"),
}

METHOD = Method(
    label="LSP (ConvNet)",
    source="paper, Table 2 and Methods (label-supervised pre-training, ResNets with Adam); no code released",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    build_objective=build_objective,
    source_values=SOURCE_VALUES,
    parts="examples",
    needs=frozenset({"labels"}),
    architecture=lambda params: f"resnet{params.depth}",
    footnotes=lambda params: (f"ResNet-{params.depth}",),
    small={"depth": 18},
)
