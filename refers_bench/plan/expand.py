"""Which jobs does a manifest imply, each once, and which cell does each of them fill?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from refers_bench import identity, plugins
from refers_bench.manifest import protocols
from refers_bench.manifest.load import Manifest, available
from refers_bench.manifest.roots import Roots
from refers_bench.manifest.schema import MethodPart, TargetPart
from refers_bench.plan.data import PlannedData, planned_data
from refers_bench.plan.lock import Cell, Job, Plan

#: Version of the recipes themselves: raised when loop, evaluation or preparation change numbers.
IMPL = {"prepare": 1, "pretrain": 1, "finetune": 1}


def expand(manifest: Manifest, roots: Roots) -> Plan:
    """Resolve every value once and build the de-duplicated job graph.

    Args:
        manifest: checked.
        roots: of this machine; they decide what is available, and through the data's digest the keys.

    Raises:
        UserError: a data folder is there and something in it is wrong.
    """
    return _Expansion(manifest, roots).plan()


class _Expansion:
    """Collects jobs while walking methods x targets."""

    def __init__(self, manifest: Manifest, roots: Roots) -> None:
        self.manifest, self.roots = manifest, roots
        self.jobs: dict[str, Job] = {}
        self.cells: list[Cell] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.data: dict[str, PlannedData] = {}

    def plan(self) -> Plan:
        content = self.manifest.content
        for method in content.methods:
            for target in content.targets:
                self.target(method, target)
        names = {name: known for data in self.data.values() for name, known in data.roots.items()}
        return Plan(
            name=self.manifest.name, title=content.title, manifest_path=str(self.manifest.path),
            manifest=content.model_dump(mode="json", exclude_defaults=True), jobs=tuple(self.jobs.values()),
            cells=tuple(self.cells), values=self.values, roots=names,
            execution=content.execution.model_dump(mode="json"), tables=tuple(content.tables),
        )  # fmt: skip

    def add(
        self, kind: str, name: str, spec: Mapping[str, Any], *, needs: Iterable[str] = (), unavailable: str = ""
    ) -> Job:
        spec = {"kind": kind, "recipe": IMPL[kind], **spec}
        key = identity.key(spec)
        if key not in self.jobs:
            blocked = unavailable or next(
                (self.jobs[need].unavailable for need in needs if self.jobs[need].unavailable), ""
            )
            self.jobs[key] = Job(key=key, kind=kind, name=name, needs=tuple(needs), spec=spec, unavailable=blocked)
        return self.jobs[key]

    def resolved(self, method: MethodPart, dataset: str = "") -> dict[str, Any]:
        """Sections for one row (and one target), their origins noted for the lock."""
        row = method.name or method.id
        overrides = [*self.manifest.overrides, *self.manifest.method_overrides[row]]
        values = protocols.resolve(self.manifest.content.protocol.preset, overrides, dataset=dataset)
        for name, value in values.items():
            self.values.setdefault(name, asdict(value))
            if asdict(value) != self.values[name]:
                # A row's or a target's own value stands beside the common one.
                where = row if self.manifest.method_overrides[row] and value.overridden else dataset
                self.values.setdefault(f"{name} [{where}]", asdict(value))
        return protocols.sections_of(values)

    def prepare(self, dataset: str, params: Mapping[str, Any], size: int) -> tuple[Job, PlannedData]:
        found = identity.canonical_json([dataset, params])
        if found not in self.data:
            self.data[found] = planned_data(self.manifest, self.roots, dataset, params)
        data = self.data[found]
        spec = {
            "dataset": dataset, "params": data.params, "impl": data.impl, "digest": data.digest,
            "phantom": data.phantom, "prepared_size": size,
        }  # fmt: skip
        return self.add("prepare", f"prepare.{dataset}.{size}px", spec, unavailable=data.unavailable), data

    def pretrain(self, method: MethodPart, params: Mapping[str, Any], impl: int, unavailable: str) -> Job:
        sections, source = self.resolved(method), self.manifest.content.source
        images, data = self.prepare(source.dataset, source.params, sections["image"]["prepared_size"])
        if not unavailable:
            unavailable = self._source_lacks(method.id, source.dataset)
        dataset = plugins.load("dataset", source.dataset) if available("dataset", source.dataset) else None
        spec = {
            "method": method.id, "params": params, "impl": impl, "network": sections["network"], "image": sections["image"],
            "pretrain": sections["pretrain"], "seed": method.pretrain_seed,
            "source": {
                "dataset": source.dataset, "params": data.params, "prepare": images.key,
                "task": dataset.source_task if dataset else "", "has_reports": bool(dataset and dataset.has_reports),
            },
        }  # fmt: skip
        name = f"pretrain.{method.name or method.id}.{source.dataset}"
        return self.add("pretrain", name, spec, needs=(images.key,), unavailable=unavailable)

    @staticmethod
    def _source_lacks(method_id: str, source: str) -> str:
        if not available("dataset", source) or not available("method", method_id):
            return ""
        needs, dataset = plugins.load("method", method_id).needs, plugins.load("dataset", source)
        lacking = [
            what
            for what, has in (("reports", dataset.has_reports), ("labels", dataset.source_task))
            if what in needs and not has
        ]
        return f"method {method_id} needs {' and '.join(lacking)}, which {source} does not have" if lacking else ""

    def target(self, method: MethodPart, target: TargetPart) -> None:
        sections = self.resolved(method, target.dataset)
        images, data = self.prepare(target.dataset, target.params, sections["image"]["prepared_size"])
        known = available("method", method.id)
        plugin: plugins.Method | None = plugins.load("method", method.id) if known else None
        model = plugin.Params(**method.params) if plugin else None
        params = model.model_dump(mode="json") if model else dict(method.params)
        impl = plugin.impl if plugin else 0
        unavailable = plugin.unavailable(model) if plugin else f"method {method.id}: not available in this version"
        encoder: Job | None = None
        if plugin is None or plugin.build_objective is not None:
            encoder = self.pretrain(method, params, impl, unavailable)
        dataset = plugins.load("dataset", target.dataset) if available("dataset", target.dataset) else None
        row = method.name or method.id
        for task in target.tasks:
            for ratio in target.label_ratios:
                for seed in self.manifest.content.seeds:
                    spec = {
                        "method": method.id, "params": params, "impl": impl, "network": sections["network"],
                        "image": sections["image"], "finetune": sections["finetune"], "dataset": target.dataset,
                        "prepare": images.key, "task": task, "classes": list(dataset.tasks[task].classes) if dataset else [],
                        "label_ratio": ratio, "seed": seed, "pretrain": encoder.key if encoder else None,
                    }  # fmt: skip
                    job = self.add(
                        "finetune", f"{row}.{target.dataset}.{task}.{ratio * 100:g}%.s{seed}", spec,
                        needs=(images.key, *([encoder.key] if encoder else [])), unavailable=unavailable,
                    )  # fmt: skip
                    self.cells.append(
                        Cell(
                            method=row,
                            label=method.label or (plugin.label if plugin else method.id),
                            dataset=target.dataset,
                            task=task,
                            label_ratio=ratio,
                            seed=seed,
                            key=job.key,
                            footnotes=self.footnotes(method, plugin, model),
                            synthetic=data.phantom is not None or bool(dataset and dataset.synthetic),
                        )  # fmt: skip
                    )

    def footnotes(self, method: MethodPart, plugin: plugins.Method | None, model: Any) -> tuple[str, ...]:
        own = self.manifest.method_overrides[method.name or method.id]
        notes = list(plugin.footnotes(model)) if plugin else []
        return (*notes, *(f"{item.name} = {item.value} for this row only" for item in own))
