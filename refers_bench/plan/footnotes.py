"""Writes what tables say of the rows of a plan: parameters, weights, definition, overrides, tuning, unlike sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from refers_bench.evaluations import TITLES, TRAINED
from refers_bench.manifest import tuning
from refers_bench.manifest.load import Manifest
from refers_bench.manifest.protocols import Value
from refers_bench.manifest.roots import Roots
from refers_bench.plan import parameters, weights
from refers_bench.plan.data import PlannedData, named_as
from refers_bench.plan.evaluation import UNDRAWN
from refers_bench.plan.rows import Row
from refers_bench.store.plan import CROSSED


def of_row(
    row: Row,
    manifest: Manifest,
    *,
    protocol: Mapping[str, Value],
    values: Mapping[str, Mapping[str, Any]],
    data: Mapping[str, PlannedData],
    roots: Roots,
) -> Iterator[str]:
    """What holds of a row in all its columns.

    Args:
        row: of the manifest.
        manifest: that it stands in.
        protocol: constants of the row, whatever weights it starts from.
        values: of the plan, see `refers_bench.store.plan.Plan`.
        data: by `named_as`.
        roots: of this machine.
    """
    yield from parameters.footnotes(row.plugin, row.model)
    yield from weights.footnotes(row.plugin, row.model, protocol, roots)
    yield from _evaluation(row, manifest)
    yield from _constants(row, manifest, values)
    if len(row.part.pretrain_seeds) > 1 and row.pretrains:
        yield "each seed has a pre-training of its own"
    if len(found := _sources(row, manifest, data)) > 1:
        yield f"pre-trained on {' and '.join(found)} together"


def of_data(
    row: Row, manifest: Manifest, target: PlannedData, *, synthetic: bool, data: Mapping[str, PlannedData]
) -> Iterator[str]:
    """What is to be said of the images of a row in one column, its source's and the target's; see `of_row`."""
    found = _sources(row, manifest, data)
    drawn = [name for name, one in found.items() if one.phantom is not None]
    if drawn and not synthetic:
        yield f"pre-trained on procedural radiographs ({', '.join(drawn)})"
    for one in {one.dataset: one for one in (target, *found.values())}.values():
        if (one.phantom or {}).get("reports"):
            yield f"real reports, procedural radiographs ({one.dataset})"
        dataset, params = one.plugin()
        yield from (f"{one.dataset}: {note}" for note in dataset.notes(params))


def _sources(row: Row, manifest: Manifest, data: Mapping[str, PlannedData]) -> dict[str, PlannedData]:
    """The source datasets of a row, by their ids; none where it does not pre-train."""
    sources = manifest.content.sources if row.pretrains else ()
    return {part.dataset: data[named_as(part.dataset, part.params)] for part in sources}


def _evaluation(row: Row, manifest: Manifest) -> Iterator[str]:
    """How a row is evaluated, and what its seeds draw."""
    content = manifest.content
    if row.evaluation:
        yield f"evaluated by {TITLES[row.evaluation]} in all columns"
    ways = {row.evaluation or way for one in content.targets for way in one.evaluation if 1 in one.label_ratios}
    fixed = [TITLES[way] for way in UNDRAWN if way in ways]
    if len(content.runs) > 1 and fixed:
        yield f"on all labels {' and '.join(fixed)}: one result for all seeds"
    if not isinstance(content.seeds, list):
        counts = (f"{getattr(content.seeds, name)} of {words}" for name, words in CROSSED.items())
        yield f"seeds are crossed ({', '.join(counts)}); runs that draw the same are one run"


def _constants(row: Row, manifest: Manifest, values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Constants that this row alone has, by its method's definition or by the manifest."""
    own = manifest.method_overrides[row.name]
    replaced = {item.name for item in (*manifest.overrides, *own, *(manifest.candidates or ((),))[0])}
    defined = [
        f"{name} = {one.value}"
        for name, one in row.constants.items()
        if name in values and name not in replaced and one.value != values[name]["value"]
    ]
    if defined:
        yield f"by the method's definition: {', '.join(defined)}"
    for item in own:
        yield f"{item.name} = {item.value} for this row only"


def of_tuning(manifest: Manifest, evaluation: str) -> tuple[str, ...]:
    """What is to be said of a result where the manifest tunes: the search that it is the best of, or that it is none.

    Args:
        manifest: with its candidates.
        evaluation: of the result.
    """
    if not manifest.candidates:
        return ()
    if evaluation not in TRAINED:
        return (f"{TITLES[evaluation]} is no part of the tuning",)
    tried = tuning.values(manifest.candidates).items()
    said = "; ".join(f"{name} {', '.join(map(str, one['value']))}" for name, one in tried)
    return (f"best of {len(manifest.candidates)} on validation, for each seed: {said}",)
