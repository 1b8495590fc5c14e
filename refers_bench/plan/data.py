"""Finds the data of a plan, on disk or procedural, and what identifies them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refers_bench import identity, plugin_files, plugins
from refers_bench.data.problems import written
from refers_bench.errors import DataError, Problem, UserError, nearest
from refers_bench.machine import shared_out
from refers_bench.manifest.declared import Declared, declared, further_roots
from refers_bench.manifest.load import Manifest
from refers_bench.manifest.packs import roots_of
from refers_bench.manifest.roots import Roots
from refers_bench.plan import index_memo

ROOM = "refers_bench.data.index"
INDEX, COLUMNS, DIGEST, METADATA, LEAK = (
    f"{ROOM}:{name}" for name in ("read_index", "label_columns", "digest", "metadata_digest", "leak")
)
VIEWS = "refers_bench.data.audit.naming:view_names"
#: Version of what is remembered of an index.
REMEMBERED = 2
RADIOGRAPHS = "refers_bench.data.phantoms.radiographs"
#: Splits of a dataset whose index was not read.
SPLITS = 3
#: Of an index: its digests and number of images, or what is wrong with it.
Answer = dict[str, Any] | tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedData:
    """One dataset under one set of reader parameters.

    Attributes:
        dataset: id.
        params: resolved reader parameters.
        impl: of the reader.
        digest: identity of its index; '' when it cannot be had.
        phantom: parameters of procedural radiographs, with versions, and the digest of the real reports they are drawn
            for; None for a real folder.
        metadata: identity of its metadata; '' when it has none, or it cannot be had.
        images: rows of the index; what is documented where it cannot be read, 0 when that is unknown.
        unavailable: why it cannot be read here.
        roots: data-root name -> the name jobs know it by.
        splits: images of each split of the index; empty where it was not read.
        reader: id of the plug-in that reads it, where that is not its own: of one's own images.
        classes: of such a plug-in's tasks, task -> classes that its index has.
        leak: test images and patients in its own training split, see `refers_bench.data.index.leak`; {} for none.
        views: in which its images can be compared with another dataset's, see `refers_bench.data.audit.naming`; () for
            procedural radiographs, and where its index was not read.
        subsets: names of the published label subsets that its training images are in.
    """

    dataset: str
    params: Mapping[str, Any]
    impl: int = 0
    digest: str = ""
    metadata: str = ""
    phantom: Mapping[str, Any] | None = None
    images: int = 0
    unavailable: str = ""
    roots: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    reader: str = ""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    leak: Mapping[str, int] = field(default_factory=dict)
    views: Sequence[str] = ()
    subsets: Sequence[str] = ()

    @property
    def named(self) -> dict[str, str]:
        """What specifications say of which data these are."""
        return {"dataset": self.dataset, **({"reader": self.reader} if self.reader else {})}

    def plugin(self) -> tuple[plugins.Dataset, Any]:
        """What reads them, and its parameters."""
        dataset: plugins.Dataset = plugins.load("dataset", self.reader or self.dataset)
        return dataset, dataset.Params(**self.params)

    def limited(self, limit: int) -> int:
        """Images that are left of so many of each split, at most where the splits are not known."""
        if self.splits:
            return sum(min(limit, count) for count in self.splits.values())
        return min(self.images, limit * SPLITS)


@dataclass(frozen=True, kw_only=True)
class _Unread:
    """A dataset on disk whose index, or whose real reports, are still to be read; picklable.

    Attributes:
        planned: all that is known without; of procedural radiographs for real reports the parameters that are set.
        root: its folder, or where the reports are.
        lists: data-root name -> folder of lists.
        memo: where what is read is to be remembered; None for nowhere.
    """

    planned: PlannedData
    root: Path
    lists: Mapping[str, Path]
    memo: Path | None


def named_as(dataset: str, params: Mapping[str, Any]) -> str:
    """One name for each dataset under each set of reader parameters."""
    return identity.canonical_json([dataset, params])


def unfit(manifest: Manifest, data: Mapping[str, PlannedData]) -> list[Problem]:
    """Targets that data cannot be: without a label, without an image to train on or to test, or without a subset.

    Args:
        manifest: names the targets.
        data: by `named_as`.
    """
    problems = []
    for i, target in enumerate(manifest.content.targets):
        one = data.get(named_as(target.dataset, target.params))
        for name in target.subsets:
            if one is not None and not one.unavailable and name not in one.subsets:
                found = f"{target.dataset} has no published label subset '{name}' under these params"
                allowed = ", ".join(one.subsets) or "lists that have one, such as 'lists: {pack: nih-mrm}'"
                problems.append(manifest.document.problem(("targets", i, "subsets", name), found, allowed=allowed))
        if one is None or not one.reader:
            continue
        for task in target.tasks:
            if not one.classes.get(task):
                found, allowed = f"{target.dataset} has no labels", f"'labels' in data.{target.dataset}.{one.reader}"
                problems.append(manifest.document.problem(("targets", i, "tasks"), found, allowed=allowed))
        lacking = [name for name in ("train", "test") if not one.splits.get(name)]
        if lacking and not target.folds:
            found = f"{target.dataset} has no image in its {' and its '.join(lacking)} split"
            allowed = "images of train and test, or 'folds: 5' for this target"
            problems.append(manifest.document.problem(("targets", i), found, allowed=allowed))
    return problems


def own_data(manifest: Manifest, roots: Roots, *, cache: Path | None = None) -> list[PlannedData]:
    """One's own images of a manifest, read or recalled as for a plan.

    Args:
        manifest: declares them.
        roots: of this machine.
        cache: see `planned_data`.

    Raises:
        UserError: what is wrong with them, or with what a target asks of them.
    """
    names = list(declared(manifest.content.data, manifest.path.parent))
    found = planned_data(manifest, roots, [(name, {}) for name in names], cache=cache)
    if problems := unfit(manifest, {named_as(one.dataset, {}): one for one in found}):
        raise UserError(problems)
    return found


def planned_data(
    manifest: Manifest, roots: Roots, wanted: Iterable[tuple[str, Mapping[str, Any]]], *, cache: Path | None = None
) -> list[PlannedData]:
    """Read what identifies datasets here, or recall it where nothing changed since it was read.

    Args:
        manifest: names data roots and phantoms.
        roots: of this machine.
        wanted: id of each dataset, and the parameters of its reader.
        cache: where what was read is remembered; None reads again.

    Returns:
        A dataset for each that is wanted, in their order.

    Raises:
        UserError: a folder is there, and something in it is wrong, or one's own images are not there; all together.
    """
    own, problems = declared(manifest.content.data, manifest.path.parent), list[Problem]()
    found: list[PlannedData | _Unread] = []
    for dataset, params in wanted:
        if dataset in own and (lacking := list(_lacking(manifest, roots, own[dataset]))):
            problems += lacking
        else:
            found.append(_known(manifest, roots, dataset, params, cache, own.get(dataset)))
    unread = {place: one for place, one in enumerate(found) if isinstance(one, _Unread)}
    # The longest first, which is read here; the rest by another process.
    places = sorted(unread, key=lambda place: -unread[place].planned.images)
    parts = [[unread[place] for place in part] for part in (places[:1], places[1:]) if part]
    answers = [answer for part in shared_out(_read_parts, parts, worth=1) for answer in part]
    for place, answer in zip(places, answers, strict=True):
        one = unread[place]
        if isinstance(answer, dict):
            index_memo.keep(one.memo, answer)
            found[place] = replace(one.planned, **answer)
        else:
            listed = written(answer, cache / "problems" / f"{one.planned.dataset}.txt") if cache else answer
            problems += [problem for problem in listed if problem not in problems]
    if problems:
        raise UserError(problems)
    return [one for one in found if isinstance(one, PlannedData)]


def _lacking(manifest: Manifest, roots: Roots, own: Declared) -> Iterator[Problem]:
    """The files of one's own images that are not there, at their place in the manifest."""
    for root, field_name in own.fields.items():
        if not roots.why_not(root, folder=root == own.name):
            continue
        path, here = roots.paths[root], ("data", own.name, own.reader, field_name)
        # Path's own ones raise for a name that no file can have.
        beside = os.listdir(path.parent) if os.path.isdir(path.parent) else []  # noqa: PTH112, PTH208
        why, close = ("no folder", "") if os.path.exists(path) else ("not there", nearest(path.name, beside))  # noqa: PTH110
        found = f"{field_name} is {path}, which is {why}"
        yield manifest.document.problem(here, found, allowed="a path relative to the manifest", nearest=close)


def _known(
    manifest: Manifest,
    roots: Roots,
    dataset_id: str,
    params: Mapping[str, Any],
    cache: Path | None,
    own: Declared | None,
) -> PlannedData | _Unread:
    """A dataset as far as it is known without reading its index; one's own images are described by `own`."""
    dataset: plugins.Dataset = plugins.load("dataset", own.reader if own else dataset_id)
    part, model = manifest.content.data.get(dataset_id), dataset.Params(**(own.params if own else params))
    resolved, images = model.model_dump(mode="json"), dataset.documented_images(model)
    planned = PlannedData(
        dataset=dataset_id, params=resolved, impl=dataset.impl, images=images, reader=own.reader if own else ""
    )
    if part is not None and part.phantom is not None:
        return _phantom(planned, dataset, model, part.phantom, roots=roots, cache=cache)
    root, lists = (part and part.root) or dataset_id, further_roots(dataset, model, dataset_id)
    names = {root: dataset_id, **{name: name for name in lists.values()}}
    for name in names:
        if reason := roots.why_not(name, folder=own is None or name == root):
            return replace(planned, roots=names, unavailable=reason)
    folders = {name: roots.paths[name] for name in names}
    # An edited reader reads another index.
    source = plugin_files.source(plugins.names("dataset")[own.reader if own else dataset_id])
    what = {"impl": dataset.impl, "params": planned.params, "source": source, "remembered": REMEMBERED}
    memo, found = index_memo.recall(cache, dataset_id, what, folders)
    planned = replace(planned, roots=names)
    if found is not None:
        return replace(planned, **found)
    known = {one: folders[name] for one, name in lists.items()}
    return _Unread(planned=planned, root=folders[root], lists=known, memo=memo)


def _read_parts(parts: Sequence[Sequence[_Unread]]) -> list[list[Answer]]:
    return [[_read(one) for one in part] for part in parts]


def _read(unread: _Unread) -> Answer:
    """What planning needs of an index or of real reports, or what is wrong with them."""
    dataset, params = unread.planned.plugin()
    try:
        if unread.planned.phantom is not None and dataset.real_reports is not None:
            return _read_reports(unread, dataset.real_reports)
        index = plugins.resolve(INDEX)(dataset, unread.root, params, unread.lists)
    except DataError as error:
        return error.problems
    except Exception as error:
        if (found := plugin_files.not_ours(error)) is None:
            raise
        return found.problems
    digests = {"digest": plugins.resolve(DIGEST)(index), "metadata": plugins.resolve(METADATA)(index)}
    splits = {str(split): int(count) for split, count in index["split"].value_counts(sort=False).items()}
    train = index[index["split"] == "train"]
    more = {
        "leak": plugins.resolve(LEAK)(index),
        "views": plugins.resolve(VIEWS)(index["image_id"]),
        "subsets": sorted({name for text in train.get(plugins.SUBSETS, ()) for name in text.split()}),
    }
    return {**digests, "images": len(index), "splits": splits, **more, **_classes(dataset, index)}


def _classes(dataset: plugins.Dataset, index: Any) -> dict[str, Any]:
    """Classes of the tasks whose card does not name any."""
    columns = plugins.resolve(COLUMNS)
    classes = {
        task: [name.removeprefix(f"{task}:") for name in columns(index, task)]
        for task, card in dataset.tasks.items()
        if not card.classes
    }
    return {"classes": classes} if classes else {}


def _phantom(
    planned: PlannedData,
    dataset: plugins.Dataset,
    model: Any,
    given: Mapping[str, Any],
    *,
    roots: Roots,
    cache: Path | None,
) -> PlannedData | _Unread:
    """Procedural radiographs: their parameters are their identity, nothing needs to be on disk but real reports."""
    params = plugins.resolve(f"{RADIOGRAPHS}:PhantomParams")(**given)
    unavailable = ""
    if dataset.write_layout is None:
        unavailable = f"dataset {planned.dataset} cannot be written as phantoms"
    elif roots_of(dataset.lists(model)):
        unavailable = f"dataset {planned.dataset}: phantoms have no released lists; leave 'lists' out"
    elif params.reports and (dataset.real_reports is None or params.reports != planned.dataset):
        unavailable = f"dataset {planned.dataset} cannot be written with the real reports of {params.reports}"
    elif params.reports:
        return _reported(planned, dataset, params, roots=roots, cache=cache)
    return replace(planned, **_identified(planned, params), unavailable=unavailable)


def _identified(planned: PlannedData, params: Any, **more: Any) -> dict[str, Any]:
    """Parameters of procedural radiographs, with their identity and their greatest possible number."""
    impl = plugins.resolve(f"{RADIOGRAPHS}:IMPL")
    settings = {**params.model_dump(mode="json"), "impl": impl, **more}
    return {
        "phantom": settings,
        "digest": identity.key({"dataset": planned.dataset, "impl": planned.impl, "phantom": settings}),
        "images": settings["studies"] * settings["views"],
    }


def _reported(
    planned: PlannedData, dataset: plugins.Dataset, params: Any, *, roots: Roots, cache: Path | None
) -> PlannedData | _Unread:
    """Procedural radiographs for real reports, which must be on disk and are part of the identity."""
    real = dataset.real_reports
    assert real is not None
    # What is not set is left open: how many reports there are is known when they are read.
    given = params.model_dump(mode="json", exclude_unset=True)
    planned = replace(planned, phantom=given, roots={real.root: real.root})
    if reason := roots.why_not(real.root):
        return replace(planned, unavailable=reason)
    what = {"impl": [dataset.impl, plugins.resolve(f"{RADIOGRAPHS}:IMPL"), real.impl], "phantom": given}
    place = roots.paths[real.root]
    memo, found = index_memo.recall(cache, planned.dataset, what, {real.root: place})
    if found is not None:
        return replace(planned, **found)
    return _Unread(planned=planned, root=place, lists={}, memo=memo)


def _read_reports(unread: _Unread, real: plugins.RealReports) -> Answer:
    """What planning needs of real reports."""
    params = plugins.resolve(f"{RADIOGRAPHS}:PhantomParams")(**unread.planned.phantom or {})
    facts = real.read(unread.root, params)
    own = {"studies": facts["studies"], "reports_impl": real.impl, "reports_digest": facts["digest"]}
    return {**_identified(unread.planned, params, **own), "images": facts["images"]}
