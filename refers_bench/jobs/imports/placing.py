"""Finds cells of a plan that name the result of another row, column or seed than their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from refers_bench import identity, plugins
from refers_bench.analysis.results import Results
from refers_bench.manifest import tuning
from refers_bench.manifest.protocol_schema import CONSTANTS
from refers_bench.plan.evaluation import IN_SPECIFICATIONS, UNDRAWN
from refers_bench.store.plan import CROSSED, Cell


def misplaced(results: Results) -> Iterator[str]:
    """What each cell says that the specification of its job does not."""
    rows = _rows(results.plan.manifest)
    seeds: dict[tuple[str, str], set[int]] = {}
    for cell in results.plan.cells:
        seeds.setdefault((cell.method, cell.key), set()).add(cell.seed)
    for cell in results.plan.cells:
        spec = results.spec(cell.key)
        for name in ("dataset", "task", "label_ratio"):
            if spec.get(name) != getattr(cell, name):
                yield f"cell {cell.name}: its job is for the {name} {spec.get(name)!r:.80}"
        if spec.get("kind") == "import":
            if (spec.get("method"), spec.get("seed")) != (cell.method, cell.seed):
                yield f"cell {cell.name}: its job is {spec.get('method')!r:.80}, seed {spec.get('seed')!r:.80}"
            continue
        folds = _folds(spec, results)
        if [("fold" in one, one.get("kind") in ("finetune", "frozen")) for one in folds] != _form(cell):
            yield f"cell {cell.name}: its job is a {spec.get('kind')}, {len(folds)} folds, or one fold of several"
            continue
        encoder = _encoder(folds[0], results)
        yield from _of_row(cell, encoder, rows.get(cell.method))
        yield from _of_evaluation(cell, folds, rows.get(cell.method) or {}, by_index="metadata" in encoder)
        yield from _of_candidate(cell, folds[0])
        if not _drawn(cell, spec, seeds[cell.method, cell.key]):
            yield f"cell {cell.name}: its job has other seeds"


def _rows(manifest: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Row name -> what the manifest says of the row."""
    found = [one for one in manifest.get("methods") or () if isinstance(one, dict)]
    return {str(one.get("name") or one.get("id")): one for one in found}


def _form(cell: Cell) -> list[tuple[bool, bool]]:
    """Whether each of the jobs behind a cell is a fold, and evaluates: all folds, or the one that is none."""
    return [(True, True)] * cell.folds or [(False, True)]


def _encoder(spec: Mapping[str, Any], results: Results) -> Mapping[str, Any]:
    """The specification that states the method: a fine-tuning's own, or that of features."""
    return results.spec(str(spec["features"])) if "features" in spec else spec


def _of_row(cell: Cell, encoder: Mapping[str, Any], row: Mapping[str, Any] | None) -> Iterator[str]:
    """Whether a job is of the method, with the parameters, that the manifest states of the cell's row."""
    if row is None:
        yield f"cell {cell.name}: its manifest has no row '{cell.method}'"
    elif encoder.get("method") != row.get("id"):
        yield f"cell {cell.name}: its job is of the method {encoder.get('method')!r:.80}"
    elif row.get("params") and not _agree(str(row["id"]), row["params"], encoder.get("params")):
        yield f"cell {cell.name}: its job has other parameters than its row"


def _agree(method: str, given: Any, resolved: Any) -> bool:
    """Whether resolved parameters are those that a row states; True where the method is not known here."""
    if method not in plugins.names("method"):
        return True
    try:
        values = plugins.load("method", method).Params.model_validate(given).model_dump(mode="json")
    except (ValidationError, TypeError):
        return False
    return isinstance(resolved, dict) and all(resolved.get(name) == values.get(name) for name in given)


def _of_candidate(cell: Cell, spec: Mapping[str, Any]) -> Iterator[str]:
    """Whether a job has the constants that its cell states as its candidate of tuning."""
    values = identity.dotted(spec) if cell.candidate else {}
    for text in cell.candidate:
        name = text.partition("=")[0]
        # Specifications leave out later constants at their defaults.
        later = name in CONSTANTS and not CONSTANTS[name].is_required()
        if tuning.said(name, values.get(name, CONSTANTS[name].get_default() if later else None)) != text:
            yield f"cell {cell.name}: its job is not of the candidate {text:.80}"


def _of_evaluation(
    cell: Cell, folds: Sequence[Mapping[str, Any]], row: Mapping[str, Any], *, by_index: bool
) -> Iterator[str]:
    """Whether a job, or each of its folds, evaluates as the cell's column, or its row, asks for."""
    for spec in folds:
        how = _evaluation(spec)
        if how not in (cell.evaluation, row.get("evaluation"), "linear_probe" if by_index else cell.evaluation):
            yield f"cell {cell.name}: its job is evaluated by {how!r:.80}"
            return


def _folds(spec: Mapping[str, Any], results: Results) -> list[Mapping[str, Any]]:
    """The specifications of a job's folds; its own where it joins none."""
    if spec.get("kind") != "out_of_fold":
        return [spec]
    return [results.spec(str(key)) for key in spec.get("folds") or ()]


def _evaluation(spec: Mapping[str, Any]) -> Any:
    if spec.get("kind") == "frozen":
        return spec.get("evaluation")
    return "probe_then_finetune" if "heads" in spec else "finetune"


def _drawn(cell: Cell, spec: Mapping[str, Any], shared: set[int]) -> bool:
    """Whether a job draws with the seeds of a cell; see `refers_bench.plan.evaluation.Evaluated.drawn`.

    Args:
        cell: of a plan.
        spec: of its job.
        shared: seeds of the row's cells that have this job.
    """
    if not cell.crossed:
        alike = cell.label_ratio == 1 and (_evaluation(spec) in UNDRAWN or spec.get("kind") == "out_of_fold")
        return spec.get("seed") in (shared if alike else {cell.seed})
    levels = dict(zip(CROSSED, cell.crossed, strict=True))
    if cell.label_ratio == 1:
        levels["subset"] = 0
    return all(spec[name] == levels[seed] for seed, name in IN_SPECIFICATIONS.items() if name in spec)
