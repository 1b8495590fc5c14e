"""Expands a manifest into the jobs that it implies, each once, and the cells that they fill."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refers_bench.errors import UserError
from refers_bench.evaluations import DEFAULT
from refers_bench.manifest import protocols, tuning
from refers_bench.manifest.declared import brought_along
from refers_bench.manifest.load import Manifest
from refers_bench.manifest.protocols import Value
from refers_bench.manifest.roots import Roots
from refers_bench.manifest.schema import TargetPart
from refers_bench.plan import contamination, fairness, footnotes, left_out, parameters, weights
from refers_bench.plan.data import PlannedData, named_as, planned_data, unfit
from refers_bench.plan.evaluation import Evaluated, Seeded, published
from refers_bench.plan.graph import Graph, specification
from refers_bench.plan.lock import Cell, Job, Plan
from refers_bench.plan.rows import Row
from refers_bench.store.collection import without_collection
from refers_bench.store.plan import source_parts

#: Version of a crop, where it is not the first: raised instead of a recipe that others use, too, so that these stand.
CROP_IMPL = {"resized": 2, "none": 2}


def expand(manifest: Manifest, roots: Roots, *, cache: Path | None = None) -> Plan:
    """Resolve every value once and build the de-duplicated job graph.

    Args:
        manifest: checked.
        roots: of this machine; they decide what is available, and through the data's digest the keys.
        cache: where digests of indices are remembered; None reads every index again.

    Raises:
        UserError: a data folder is there and something in it is wrong.
    """
    with without_collection():
        return _Expansion(manifest, roots, cache).plan()


def _one_or_several(parts: Sequence[Mapping[str, Any]]) -> Any:
    """What a specification holds of its source datasets (`refers_bench.store.plan.source_parts` reads it)."""
    return parts[0] if len(parts) == 1 else list(parts)


class _Expansion:
    """Collects jobs while walking methods x targets."""

    def __init__(self, manifest: Manifest, roots: Roots, cache: Path | None) -> None:
        self.manifest, self.content, self.cache = manifest, manifest.content, cache
        self.roots = brought_along(roots, manifest.content.model_dump(mode="json"), manifest.path.parent)
        self.rows = [Row.of(part, preset=manifest.content.protocol.preset) for part in manifest.content.methods]
        self.graph = Graph()
        self.cells: list[Cell] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.data: dict[str, PlannedData] = {}
        self.images: dict[str, int] = {}
        self.whole: dict[str, int] = {}
        self.weights: dict[str, str] = {}
        self.pretrained: dict[tuple[str, int], Job] = {}
        self.contaminated: dict[int, tuple[str, ...]] = {}

    def plan(self) -> Plan:
        self.read_data()
        self.note_values()
        for row in self.rows:
            for i, target in enumerate(self.content.targets):
                if row.part.targets is None or target.dataset in row.part.targets:
                    self.target(row, target, leaks=self.contaminated.get(i, ()) if row.pretrains else ())
        names = {name: known for data in self.data.values() for name, known in data.roots.items()}
        return Plan(
            name=self.manifest.name,
            title=self.content.title,
            manifest_path=str(self.manifest.path),
            manifest=self.content.model_dump(mode="json", exclude_defaults=True),
            jobs=tuple(self.graph.jobs.values()),
            cells=tuple(self.cells),
            values=self.values,
            roots=names | {name: name for name in self.weights},
            execution=self.content.execution.model_dump(mode="json"),
            tables=tuple(self.content.tables),
            images=self.images,
            changes=self.manifest.changes,
            plugins=tuple(map(str, self.manifest.plugins)),
        )

    def read_data(self) -> None:
        """Every dataset that is needed, once; what is wrong with any of them is reported together."""
        wanted = [(target.dataset, target.params) for target in self.content.targets]
        if any(row.pretrains for row in self.rows):
            wanted[:0] = [(part.dataset, part.params) for part in self.content.sources]
        named = {named_as(*one): one for one in wanted}
        found = planned_data(self.manifest, self.roots, named.values(), cache=self.cache)
        self.data = dict(zip(named, found, strict=True))
        if problems := unfit(self.manifest, self.data):
            raise UserError(problems)
        self.contaminated = contamination.of_sources(self.manifest, self.data, self.roots, cache=self.cache)

    # --- values and where they come from ----------------------------------------------------------------------------

    def note_values(self) -> None:
        """The common value of each constant with its origin; beside it what one target or row has of its own."""
        preset, overrides = self.content.protocol.preset, self.manifest.overrides
        common = protocols.resolve(preset, overrides)
        ways = {row.evaluation or DEFAULT for row in self.rows}
        ways |= {way for target in self.content.targets for way in target.evaluation}
        used = [name for name in common if ways != {DEFAULT} or not name.startswith("frozen.")]
        self.values = {name: common[name].recorded() for name in used}
        for dataset in dict.fromkeys(target.dataset for target in self.content.targets):
            for name, value in protocols.resolve(preset, overrides, dataset=dataset).items():
                if value != common[name]:
                    self.note(name, dataset, value)
        for number, row in enumerate(self.rows):
            resolved, kept = self.resolved(row)
            for name in (*row.constants, *(item.name for item in self.manifest.method_overrides[row.name]), *kept):
                self.note(name, row.name, resolved[name])
            self.note_updates(row, resolved)
            for name, said in parameters.statements(row.plugin, pretrains=row.pretrains).items():
                key = f"{name} [{row.name}]"
                self.values[key] = {**self.values.get(key, resolved[name].recorded()), "source": said}
            self.note_parameters(row, number)
        self.values |= tuning.values(self.manifest.candidates)

    def note(self, name: str, where: str, value: Value, /, **more: Any) -> None:
        """The value that one target or row has of its own."""
        self.values[f"{name} [{where}]"] = {**value.recorded(), **more}

    def note_updates(self, row: Row, resolved: Mapping[str, Value]) -> None:
        """Batch and number of updates of a row that has a batch size, or a source, of its own."""
        own = resolved["pretrain.own_batch_size"].value
        if row.pretrains and (own or row.plugin.source_values):
            by = "pretrain.own_batch_size" if own else "pretrain.budget"
            origin, section = f"by {by}: {resolved[by].origin}", protocols.sections_of(resolved)["pretrain"]
            for name, value in fairness.sized(row.plugin, row.model, section).items():
                if value != section[name]:
                    self.note(f"pretrain.{name}", row.name, Value(value=value, origin=origin))

    def note_parameters(self, row: Row, number: int) -> None:
        """Every parameter of a row's method with its origin, and the value its source states where it states one."""
        for one in parameters.parameters(row.model):
            given = one.name in row.part.params
            place = self.manifest.document.place(("methods", number, "params", one.name))
            default = f"{row.part.id} ({row.plugin.source}): {one.description}"
            value = Value(
                value=one.value,
                origin=place.origin if given else default,
                stated=one.stated,
                overridden=given,
                deviation=one.deviation,
            )
            stated = {"official": one.official, "where": row.plugin.source} if one.stated else {}
            self.note(f"{parameters.PREFIX}{one.name}", row.name, value, **stated)

    def resolved(
        self, row: Row, dataset: str = "", candidate: tuning.Candidate = ()
    ) -> tuple[dict[str, Value], dict[str, Value]]:
        """Constants of one row (and one target), and those of them that it keeps of its weights' network."""
        values = self.of_protocol(row, dataset, candidate)
        kept = weights.kept(row.plugin, row.model, values, self.roots)
        return values | kept, kept

    def of_protocol(self, row: Row, dataset: str = "", candidate: tuning.Candidate = ()) -> dict[str, Value]:
        """Constants of one row (and one target) whatever weights it starts from."""
        overrides = [*self.manifest.overrides, *self.manifest.method_overrides[row.name], *candidate]
        return protocols.resolve(self.content.protocol.preset, overrides, dataset=dataset, method=row.constants)

    def sections(self, row: Row, dataset: str = "", candidate: tuning.Candidate = ()) -> dict[str, Any]:
        """Constants of one row (and one target, and one candidate of tuning), as the specifications hold them."""
        sections = protocols.sections_of(self.resolved(row, dataset, candidate)[0])
        network = sections["network"]
        network["init_path_name"] = weights.initial_root(network, row.plugin.architecture(row.model))
        return sections

    # --- jobs -------------------------------------------------------------------------------------------------------

    def prepare(self, dataset: str, params: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[Job, PlannedData]:
        data = self.data[named_as(dataset, params)]
        spec = specification(
            "prepare",
            **data.named,
            params=data.params,
            impl=data.impl,
            digest=data.digest,
            phantom=data.phantom,
            **{name: image[name] for name in ("prepared_size", "interpolation", "fit") if name in image},
        )
        gone = left_out.recall(self.cache, spec)
        spec = left_out.without(spec, gone)
        how = "".join(f".{image[name]}" for name in ("interpolation", "fit") if name in image)
        if limit := self.content.limit:
            spec, how = {**spec, "limit": limit}, f"{how}.limit{limit}"
        job = self.graph.add(f"prepare.{dataset}.{image['prepared_size']}px{how}", spec, unavailable=data.unavailable)
        self.images[job.key] = data.limited(limit) if limit else data.images - len(gone)
        self.whole[job.key] = data.images
        return job, data

    def training(
        self, kind: str, row: Row, sections: Mapping[str, Any], found: Mapping[str, str], words: str, **own: Any
    ) -> dict[str, Any]:
        """The specification of a pre-training or fine-tuning.

        Args:
            kind: "pretrain" or "finetune".
            row: whose.
            sections: its constants.
            found: data root -> digest of the weights that it starts from; remembered for the plan.
            words: key of the discovery that it reads; '' for none.
            own: what only this kind has.
        """
        self.weights |= found
        loading = weights.loading(row.plugin, row.model, sections["network"], self.roots) if found else 0
        crop = CROP_IMPL.get(sections["image"][f"{kind}_augment"]["crop"], 0)
        some = {"weights": found, "discover": words, "loading": loading, "crop_impl": crop}
        own |= {name: value for name, value in some.items() if value}
        common = {name: sections[name] for name in ("network", "image", kind)}
        return specification(kind, method=row.part.id, params=row.params, impl=row.plugin.impl, **common, **own)

    def pretrain(self, row: Row, seed: int) -> Job:
        sections = self.sections(row)
        sections["pretrain"] = fairness.sized(row.plugin, row.model, sections["pretrain"])
        prepared = sections["image"]["prepared_size"] * row.plugin.magnification(row.model)
        images, drawn_from = self.drawn_from({**sections["image"], "prepared_size": prepared})
        found, missing = weights.identified(weights.wanted(row.plugin, sections), self.roots, self.cache)
        place = f"{row.name}.{'+'.join(part['dataset'] for part in drawn_from)}" + (f".p{seed}" if seed else "")
        words = self.discovery(row, f"discover.{place}", drawn_from, images, seed)
        key = words[0].key if words else ""
        spec = self.training("pretrain", row, sections, found, key, seed=seed, source=_one_or_several(drawn_from))
        gone = next((one.unavailable for one in images if one.unavailable), "")
        unavailable = row.unavailable or self.source_lacks(row) or gone or missing
        return self.graph.add(f"pretrain.{place}", spec, needs=(*images, *words), unavailable=unavailable)

    def drawn_from(self, image: Mapping[str, Any]) -> tuple[list[Job], list[dict[str, Any]]]:
        """The preparation of each source dataset, and what a specification holds of each; in the order of their ids."""
        images, parts = [], []
        for source in self.content.sources:
            job, data = self.prepare(source.dataset, source.params, image)
            dataset, params = data.plugin()
            images.append(job)
            task = dataset.source_task_of(params)
            parts.append(
                {
                    **data.named,
                    "params": data.params,
                    "prepare": job.key,
                    "task": task,
                    "has_reports": dataset.has_reports_of(params),
                    **({"classes": list(data.classes[task])} if task in data.classes else {}),
                }
            )
        return images, parts

    def discovery(
        self, row: Row, name: str, drawn_from: Sequence[Mapping[str, Any]], images: Sequence[Job], seed: int
    ) -> tuple[Job, ...]:
        """The job that finds the visual words of a method that has them; shared by all rows that agree on it."""
        if row.plugin.discovery is None:
            return ()
        source = [{name: part[name] for name in ("dataset", "params", "prepare")} for part in drawn_from]
        spec = specification(
            "discover",
            method=row.part.id,
            impl=row.plugin.impl,
            discovery=dict(row.plugin.discovery(row.model)),
            seed=seed,
            source=_one_or_several(source),
        )
        return (self.graph.add(name, spec, needs=images, unavailable=row.unavailable),)

    def source_lacks(self, row: Row) -> str:
        """What the method needs that one of the source datasets does not have, in words; '' for nothing."""
        for source in self.content.sources:
            dataset, params = self.data[named_as(source.dataset, source.params)].plugin()
            has = {"reports": dataset.has_reports_of(params), "labels": bool(dataset.source_task_of(params))}
            lacking = [what for what in sorted(row.plugin.needs) if not has[what]]
            if lacking:
                return f"method {row.part.id} needs {' and '.join(lacking)}, which {source.dataset} does not have"
        return ""

    def target(self, row: Row, target: TargetPart, *, leaks: tuple[str, ...]) -> None:
        sections = self.sections(row, target.dataset)
        images, data = self.prepare(target.dataset, target.params, sections["image"])
        dataset, _ = data.plugin()
        synthetic = data.phantom is not None or dataset.synthetic
        seeds = tuple(self.seeds(row))
        found, missing = weights.identified(weights.brought(row.plugin, row.model), self.roots, self.cache)
        if missing and (hint := row.plugin.weights_hint(row.model)):
            missing = f"{missing}; {hint}"
        training: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
        for candidate in ((), *self.manifest.candidates):
            tried = self.sections(row, target.dataset, candidate)
            for task in target.tasks:
                classes = list(dataset.tasks[task].classes or data.classes[task])
                own = {**data.named, "prepare": images.key, "task": task, "classes": classes}
                one = self.training("finetune", row, tried, found, "", **own)
                training.setdefault(tuning.texts(candidate), {})[task] = one
        evaluated = Evaluated(
            graph=self.graph,
            row=row.name,
            target=target,
            own=row.evaluation,
            images=images,
            seeds=seeds,
            named=data.named,
            training=training,
            encoder=self.encoder(row, training[()][target.tasks[0]], data),
            frozen=sections["frozen"],
            unavailable=row.unavailable or missing,
        )
        where: dict[str, Any] = {
            "method": row.name,
            "label": row.part.label or row.plugin.label,
            "dataset": target.dataset,
            "synthetic": synthetic,
            "best_of": row.part.best_of or "",
            "floor": row.plugin.floor,
            "folds": target.folds or 0,
            "leaks": (*(() if target.folds else contamination.of_lists(data)), *leaks),
        }
        notes = (
            *self.footnotes(row, data, synthetic=synthetic),
            *published(target),
            *self.lacking(images, (one.encoder for one in seeds)),
        )
        for result in evaluated.results():
            said = footnotes.of_tuning(self.manifest, row.evaluation or result.evaluation)
            self.cells.append(Cell(**where, footnotes=(*notes, *said), **result._asdict()))

    def encoder(self, row: Row, training: Mapping[str, Any], data: PlannedData) -> dict[str, Any]:
        """What a specification of features states of a row's encoder, besides its pre-training."""
        own = {name: training[name] for name in ("method", "params", "impl")}
        if row.plugin.index_features is not None:
            return {**own, "metadata": data.metadata}
        more = {name: training[name] for name in ("weights", "loading") if name in training}
        return {**own, "network": training["network"], "image": training["image"], **more}

    def seeds(self, row: Row) -> Iterator[Seeded]:
        """Each seed with the pre-training it starts from; one serves all seeds, or each has its own."""
        given = row.part.pretrain_seeds
        if row.pretrains and (row.name, given[0]) not in self.pretrained:
            self.pretrained |= {(row.name, one): self.pretrain(row, one) for one in given}
        for i, (number, crossed) in enumerate(self.content.runs):
            encoder = self.pretrained.get((row.name, given[i] if len(given) > 1 else given[0]))
            yield Seeded(number, encoder, crossed)

    def footnotes(self, row: Row, target: PlannedData, *, synthetic: bool) -> Iterator[str]:
        """What a table must say of this row, and of its images in this column."""
        about: dict[str, Any] = {"values": self.values, "data": self.data, "roots": self.roots}
        yield from footnotes.of_row(row, self.manifest, protocol=self.of_protocol(row), **about)
        yield from footnotes.of_data(row, self.manifest, target, synthetic=synthetic, data=self.data)

    def lacking(self, images: Job, encoders: Iterable[Job | None]) -> Iterator[str]:
        """What a table must say of prepared images, the target's and the source's, that lack unreadable files."""
        sources = [part["prepare"] for encoder in encoders if encoder for part in source_parts(encoder.spec)]
        for key in dict.fromkeys([images.key, *sources]):
            if gone := left_out.count(self.graph.jobs[key].spec):
                dataset = self.graph.jobs[key].spec["dataset"]
                yield f"{gone} of {self.whole[key]} images of {dataset} left out as unreadable"
