"""Groups jobs that cost alike, by what decides how long an update takes and how much memory it needs."""

from collections.abc import Iterable, Mapping
from typing import Any

from refers_bench import identity, plugins
from refers_bench.plan.lock import Job
from refers_bench.store.plan import source_name

#: Of a training section: what changes the cost of an update. Rates, schedules and numbers of steps do not.
TRAINING = (
    *("batch_size", "precision", "accumulate", "optimizer", "lookahead_steps", "clip_norm", "processes"),
    *("text_tokens", "vocabulary", "text_encoder", "decoder"),
)
#: Of a network section: what changes weights at the start, and nothing else.
INITIAL = ("init", "init_path_name")
#: Kinds that take about the same time whatever their constants: they train no network on images.
UNSTEPPED = ("heads", "frozen", "out_of_fold")
#: Of a discovery: what its auto-encoder costs.
FEATURES = ("features", "feature_size", "feature_batch_size")


def shape_of(spec: Mapping[str, Any]) -> dict[str, Any] | None:
    """What jobs that cost alike have in common; None for kinds that nothing is forecast of.

    Jobs of one shape differ in seed, label ratio, number of steps, target or rate: each takes
    ``fixed + steps x update + radiographs x evaluation`` with the same three figures.

    Args:
        spec: specification of a job, or of a record.
    """
    kind = spec["kind"]
    common = {"kind": kind, "recipe": spec.get("recipe", 0)}
    if kind == "prepare":
        phantom = {name: value for name, value in (spec["phantom"] or {}).items() if name not in ("studies", "seed")}
        names = ("dataset", "params", "impl", "prepared_size")
        return {**common, **{name: spec[name] for name in names}, "phantom": phantom}
    if kind == "discover":
        features = {name: spec["discovery"][name] for name in FEATURES if name in spec["discovery"]}
        return {**common, "method": spec["method"], **features}
    if unstepped(spec):
        return {**common, "evaluation": spec.get("evaluation", ""), "heads": len(spec.get("groups", ()))}
    if kind not in ("pretrain", "finetune", "features"):
        return None
    section = spec.get(kind, {})
    image = {name: value for name, value in spec["image"].items() if not name.endswith("_augment")}
    shape = {
        **common,
        "method": spec["method"],
        "params": spec["params"],
        "impl": spec["impl"],
        "network": {name: value for name, value in spec["network"].items() if name not in INITIAL},
        "image": {**image, "augment": spec["image"].get(f"{kind}_augment")},
        "training": {name: section[name] for name in TRAINING if name in section},
    }
    return {**shape, "source": source_name(spec)} if kind == "pretrain" else shape


def unstepped(spec: Mapping[str, Any]) -> bool:
    """Whether a job trains no network on images and runs none over them, as features of an index alone do not."""
    return spec["kind"] in UNSTEPPED or "metadata" in spec


def method_of(spec: Mapping[str, Any]) -> tuple[plugins.Method, Any]:
    """The method of a specification and its parameters."""
    method: plugins.Method = plugins.load("method", spec["method"])
    return method, method.Params(**spec["params"])


def measured_key(shape: Mapping[str, Any], device: str) -> str:
    """Name of the measurement of a shape on a device."""
    return identity.key({"shape": shape, "device": device})


class Shapes:
    """Shapes of a plan's jobs, each computed once: a hundred thousand cells have a handful.

    Args:
        jobs: of one plan; they must stay alive, since parts of specifications that jobs share tell them apart.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs = tuple(jobs)
        self.of: dict[str, str] = {}
        self.shapes: dict[str, dict[str, Any]] = {}
        known: dict[tuple[Any, ...], str] = {}
        for job in self.jobs:
            parts = (id(part) for _, part in sorted(job.spec.items()) if isinstance(part, Mapping))
            marks = (job.kind, job.spec.get("method"), *parts)
            if job.kind not in ("pretrain", "finetune", "features") or marks not in known:
                shape = shape_of(job.spec)
                known[marks] = "" if shape is None else identity.key(shape)
                if shape is not None:
                    self.shapes[known[marks]] = shape
            self.of[job.key] = known[marks]

    def groups(self) -> dict[str, list[Job]]:
        """Shape -> its jobs; kinds that nothing is forecast of are left out."""
        found: dict[str, list[Job]] = {}
        for job in self.jobs:
            if name := self.of[job.key]:
                found.setdefault(name, []).append(job)
        return found
