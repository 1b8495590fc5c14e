"""Finds test images and patients of a plan's targets that are in their own training list, or in a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from refers_bench import plugins
from refers_bench.data.audit import naming
from refers_bench.errors import Problem, UserError
from refers_bench.manifest import packs
from refers_bench.manifest.declared import further_roots
from refers_bench.manifest.load import Manifest
from refers_bench.manifest.packs import Leak
from refers_bench.manifest.roots import Roots
from refers_bench.plan import index_memo
from refers_bench.plan.data import PlannedData, named_as

if TYPE_CHECKING:
    from pathlib import Path

#: Version of the comparison.
IMPL = 1
READ_INDEX = "refers_bench.data.index:read_index"
NO_MAP = (
    f"RSNA images are NIH images under other names: without {packs.RSNA_TO_NIH} in the data root {packs.ROOT} it is "
    "not known which, so source and test images were not compared"
)
ALLOWED = (
    "another source, rows without pre-training (by their 'targets'), or 'accept: [test_in_source]' for this target"
)


def of_lists(data: PlannedData) -> tuple[str, ...]:
    """What every table must say of a target whose own lists put test images or patients into training."""
    dataset: plugins.Dataset = plugins.load("dataset", data.reader or data.dataset)
    said = packs.leaks(dataset.lists(dataset.Params(**data.params)))
    if data.leak:
        words = (
            f"test patients, with {data.leak['images']:,} of {data.leak['of_images']:,} test images, are in training"
        )
        said += (str(Leak(shared=data.leak["patients"], of=data.leak["of_patients"], words=words)),)
    return tuple(f"{data.dataset}: {text}" for text in said)


def of_sources(
    manifest: Manifest, data: Mapping[str, PlannedData], roots: Roots, *, cache: Path | None
) -> dict[int, tuple[str, ...]]:
    """What tables must say of rows that are pre-trained on a source with test images, or patients, of a target.

    Images are compared by all their names (`refers_bench.data.audit.naming`), of different datasets alone: the splits
    of one dataset keep its test patients out of pre-training.

    Args:
        manifest: names sources and targets.
        data: by `named_as`; sources only where a row pre-trains.
        roots: of this machine.
        cache: where a comparison is remembered; None compares again.

    Returns:
        Number of a target -> sentences; only of targets that have any.

    Raises:
        UserError: test images or patients are in a source, and the target does not accept it; all together.
    """
    found: dict[int, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for i, target in enumerate(manifest.content.targets):
        for source in manifest.content.sources:
            one, other = (
                data.get(named_as(source.dataset, source.params)),
                data[named_as(target.dataset, target.params)],
            )
            if one is None or one.dataset == other.dataset or not related(one, other):
                continue
            leak = _compared(one, other, folds=bool(target.folds), roots=roots, cache=cache)
            if isinstance(leak, str) or (leak and target.accept):
                found[i] = (*found.get(i, ()), f"{other.dataset}: {leak}")
            elif leak:
                problems.append(manifest.document.problem(("targets", i), f"{other.dataset}: {leak}", allowed=ALLOWED))
    if problems:
        raise UserError(problems)
    return found


def related(one: PlannedData, other: PlannedData) -> bool:
    """Whether two datasets that could be read may hold the same images under names that can be compared."""
    views = [set(data.views) for data in (one, other)]
    if one.reader or other.reader:  # two people's img001.png are two images
        views = [seen - {naming.FILES} for seen in views]
    renamed = {naming.RSNA, naming.NIH}
    return bool(views[0] & views[1]) or all(seen & renamed for seen in views)


def _compared(
    one: PlannedData, other: PlannedData, *, folds: bool, roots: Roots, cache: Path | None
) -> Leak | str | None:
    """Test images of a target that are in a source, or of its patients; '' where that cannot be told."""
    root = roots.folder(packs.ROOT)
    what = {"impl": IMPL, "source": one.digest, "target": other.digest, "folds": folds, "map": root is not None}
    memo, known = index_memo.recall(cache, "overlap", what, {packs.ROOT: root} if root else {})
    if known is None:
        known = _counts(one, other, folds=folds, roots=roots, root=root)
        index_memo.keep(memo, known)
    if known.get("shared"):
        words = f"{'images' if folds else 'test images'} are images, or of patients, of the source {one.dataset}"
        return Leak(shared=known["shared"], of=known["of"], words=f"{words} (by {known['view']})")
    return NO_MAP if known.get("no_map") else None


def _counts(one: PlannedData, other: PlannedData, *, folds: bool, roots: Roots, root: Path | None) -> dict[str, Any]:
    from refers_bench.data.audit.contamination import matrix, worst
    from refers_bench.data.audit.id_lists import of_index
    from refers_bench.data.split_packs import rsna_to_nih

    source, target = (_index(data, roots) for data in (one, other))
    source = source[source["split"].isin(["train", "val"])].assign(split="train")
    target = (target if folds else target[target["split"] == "test"]).assign(split="test")
    lists = [*of_index(source, name=one.dataset), *of_index(target, name=other.dataset)]
    mapped = rsna_to_nih(root) if root else {}
    most = worst(matrix(lists, rsna_to_nih=mapped)) if len(lists) == 2 else None
    if most is not None:
        return {"shared": most.names_second, "of": len(target), "view": most.view}
    renamed = naming.RSNA in (*one.views, *other.views) and naming.NIH in (*one.views, *other.views)
    return {"no_map": renamed and not mapped}


def _index(data: PlannedData, roots: Roots) -> Any:
    """The index of a dataset that planning could read before."""
    dataset: plugins.Dataset = plugins.load("dataset", data.reader or data.dataset)
    params = dataset.Params(**data.params)
    places = {known: roots.paths[name] for name, known in data.roots.items()}
    lists = {name: roots.paths[place] for name, place in further_roots(dataset, params, data.dataset).items()}
    return plugins.resolve(READ_INDEX)(dataset, places[data.dataset], params, lists)
