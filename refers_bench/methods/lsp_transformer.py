"""Label-supervised pre-training of the radiograph transformer (Table 2; Table 3 row 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from refers_bench.plugins import Method, Section

if TYPE_CHECKING:
    from refers_bench.nets.facts import SourceFacts
    from refers_bench.nets.study_objective import LabelObjective


class Params(BaseModel, extra="forbid", frozen=True):
    """One radiograph at a time: there is no view fusion and no report task."""

    views: int = Field(default=1, ge=1, le=1, description="radiographs per example; single ones by definition")


def build_objective(
    params: Params, facts: SourceFacts, network: Section, image: Section, pretrain: Section, encoder: Any
) -> LabelObjective:
    """BCE over the source's labels, the study's labels standing for each of its radiographs."""
    from refers_bench.nets.study_objective import LabelObjective

    return LabelObjective(encoder=encoder, classes=len(facts.classes))


METHOD = Method(
    label="LSP (Transformer)",
    source="paper, Table 2 and Methods (label-supervised pre-training); no code released",
    impl=1,
    Params=Params,
    build_objective=build_objective,
    parts="examples",
    needs=frozenset({"labels"}),
)
