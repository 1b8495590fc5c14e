"""Declares what a manifest may say."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WrapValidator,
    field_validator,
    model_validator,
)

from refers_bench import plugins
from refers_bench.errors import nearest
from refers_bench.evaluations import DEFAULT, VAL, WHY_NOT_TEST, Evaluation
from refers_bench.manifest.analysis_schema import AnalysisPart
from refers_bench.manifest.cluster_schema import SlurmPart
from refers_bench.manifest.part import Duration, Name, Part, Ratio, empty, listed, optional, unique
from refers_bench.manifest.ray_schema import RayPart


def validation(value: Any) -> Any:
    """The validation images, on which alone a checkpoint may be chosen."""
    if value != VAL:
        raise ValueError(f"{VAL}: {WHY_NOT_TEST}; 'finetune.select: last' chooses none")
    return value


#: The environment holds roots in capitals, so their names have none.
ROOT_NAME = r"^[a-z][a-z0-9_]{0,79}$"
RootName = Annotated[str, Field(pattern=ROOT_NAME)]
SmallFile = Annotated[str, Field(pattern=r"^[^/\\~.][^\\]*$")]
Category = Literal["cuda_oom", "host_oom", "nan", "timeout", "crash", "data_error", "lost"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
#: Levels of one crossed seed.
Levels = Annotated[int, Field(ge=1, le=1000)]
#: Combinations of crossed seeds.
MOST_RUNS = 10_000


class ProtocolPart(Part):
    """Which preset of training constants, and what differs from it."""

    preset: str = Field(description="name of the preset")
    select_on: Annotated[Literal["val"], BeforeValidator(validation)] = optional(
        "images that a checkpoint is chosen on, where 'pretrain.select' and 'finetune.select' choose one", VAL
    )
    overrides: dict[str, Any] = empty(dict, "nested or dotted: finetune.learning_rate: 0.01")


class DataPart(Part):
    """Where a dataset's files are: a data root by name, or procedural radiographs in its layout; or one's own images.

    One's own images stand under a name that they are given here, and under the id of the dataset plug-in that reads
    them: `refers_bench.manifest.checks` refuses every other key.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    root: RootName | None = optional("data root; the dataset's id by default")
    phantom: dict[str, Any] | None = optional("parameters of procedural radiographs")

    @property
    def readers(self) -> dict[str, Any]:
        """Reader of one's own images -> what is declared of them."""
        return dict(self.model_extra or {})


class SourcePart(Part):
    """The source dataset of pre-training."""

    dataset: str = Field(description="id of a dataset, or a name below 'data'")
    params: dict[str, Any] = empty(dict, "of the dataset's reader")


def _source(value: Any, _: Any) -> Any:
    """One source dataset or a list of them: each kind by itself, so that an error is about the kind that was given."""
    return _SOURCES.validate_python(value) if isinstance(value, list) else SourcePart.model_validate(value)


_SOURCES = TypeAdapter(Annotated[list[SourcePart], Field(min_length=1)])
#: For editors: one of a list may also be its bare id.
_WRITTEN = SourcePart | Annotated[list[str | SourcePart], Field(min_length=1)]
Source = Annotated[list[SourcePart] | SourcePart, WrapValidator(_source, json_schema_input_type=_WRITTEN)]


class MethodPart(Part):
    """A table row: a method with its parameters."""

    id: str = Field(description="of a method")
    name: Name | None = optional("row name; the id by default")
    label: str | None = optional("row title; the method's own by default", max_length=200)
    params: dict[str, Any] = empty(dict, "of the method")
    overrides: dict[str, Any] = empty(dict, "training constants for this row only; footnoted")
    best_of: Name | None = optional(
        "rows with the same value compete for one row of that name: the best on validation in each column"
    )
    targets: list[str] | None = optional("datasets of 'targets' that this row is for; all by default", min_length=1)
    evaluation: Evaluation | None = optional("of this row, whatever its columns are for; footnoted")
    pretrain_seeds: list[Seed] = optional(
        "one pre-training for all seeds, or one for each seed, in their order", [0], min_length=1
    )


class SeedsPart(Part):
    """Crossed seeds: every label subset with every initialisation and every data order."""

    subset: Levels = optional("label subsets that are drawn; on all labels there is one", 1)
    init: Levels = optional("initialisations of the head, and of an encoder without pre-training", 1)
    order: Levels = optional("orders of the batches, each with its own augmentation and dropout", 1)

    @model_validator(mode="after")
    def _not_too_many(self) -> SeedsPart:
        if self.subset * self.init * self.order > MOST_RUNS:
            raise ValueError(f"at most {MOST_RUNS:,} combinations")
        return self


def _seeds(value: Any, _: Any) -> Any:
    """A list of seeds, or counts to be crossed: each kind by itself, so that an error is about what was given."""
    if isinstance(value, dict | SeedsPart):
        return SeedsPart.model_validate(value)
    return _SEEDS.validate_python(value, strict=True)


_Listed = Annotated[list[Seed], Field(min_length=1), AfterValidator(unique)]
_SEEDS = TypeAdapter(_Listed)
Seeds = Annotated[_Listed | SeedsPart, WrapValidator(_seeds)]


class TargetPart(Part):
    """Table columns: tasks of a dataset at label ratios."""

    dataset: str = Field(description="id of a dataset, or a name below 'data'")
    params: dict[str, Any] = empty(dict, "of the dataset's reader")
    tasks: list[str] = optional("of the dataset; all of them by default", [], min_length=1)
    label_ratios: list[Ratio] = optional("shares of the training images: 1%, 10%, 0.5, 100%", [1.0], min_length=1)
    subsets: dict[Name, Ratio] = empty(
        dict, "published label subsets by name, each in place of the one drawn at a label ratio: {train_1: 1%}"
    )
    accept: list[Literal["test_in_source"]] = optional(
        "test_in_source: evaluate rows whose source holds test patients of this target, and say so in tables", []
    )
    evaluation: Annotated[
        list[Evaluation], BeforeValidator(listed, json_schema_input_type=str | list[str]), AfterValidator(unique)
    ] = optional(
        "one or several, a column each: the whole network is fine-tuned, or its frozen features are read out",
        [DEFAULT],
        min_length=1,
    )
    folds: Annotated[int, Field(ge=3, le=100)] | None = optional(
        "of a patient-wise cross-validation in place of the dataset's own split; every image is scored once"
    )


#: Further attempts by failure category; a manifest changes those that it names. A job that ran out of memory is retried
#: with twice as many micro-batches each time, so it needs one attempt for each power of two of a batch.
RETRIES = {"crash": 1, "lost": 2, "cuda_oom": 9, "host_oom": 9}


class ExecutionPart(Part):
    """How jobs run; none of it changes a result."""

    executor: str = optional("where: local, slurm, ray, debug, or another package's engine", "local")
    cpu_slots: Annotated[int, Field(ge=1, le=256)] | None = optional("workers without a GPU")
    jobs_per_gpu: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = optional(
        "jobs that share a GPU; auto: as many as its memory holds by the forecast, eight at most", 1
    )
    threads: Annotated[int, Field(ge=1, le=256)] = optional("of the CPU, for each worker", 1)
    prepare_processes: Annotated[int, Field(ge=1, le=1024)] | None = optional(
        "that prepare images, at most; as many as the machine or the allocation offers"
    )
    arithmetic: Literal["native", "portable"] = optional(
        "of the CPU: as fast as this processor can, or with what all x86-64 processors with AVX2 share, so that each "
        "gives the same digits",
        "native",
    )
    compile: bool = optional(
        "networks are translated for the device before they train (torch.compile); digits may differ in the last place",
        False,
    )
    time_limit: Duration = optional("of one job: 90s, 15m, 2h, 1d", 7 * 86400.0)
    retries: dict[Category, Annotated[int, Field(ge=0, le=9)]] = optional(
        "further attempts by failure category; a preempted job is always resumed, and not counted",
        RETRIES,
        validate_default=True,
    )
    accumulate: Annotated[int, Field(ge=1, le=4096)] = optional(
        "micro-batches that each batch is split into to save memory; the result is the same, and a job that runs out "
        "of memory is retried with more",
        1,
    )
    slurm: SlurmPart = empty(SlurmPart, "of the executor slurm; beside the user config file")
    ray: RayPart = empty(RayPart, "of the executor ray; beside the user config file")
    options: dict[str, Any] = empty(dict, "of the executor of another package, as it documents them")

    @field_validator("executor")
    @classmethod
    def _known(cls, value: str) -> str:
        known = plugins.engines()
        if value not in known:
            close = nearest(value, known)
            raise ValueError(", ".join(known) + (f"; did you mean '{close}'?" if close else ""))
        return value

    @field_validator("retries")
    @classmethod
    def _complete(cls, values: dict[str, int]) -> dict[str, int]:
        return {**RETRIES, **values}


class ManifestSchema(Part):
    """Methods x targets x label ratios x seeds."""

    version: Literal[1] = Field(description="of this format")
    name: Name | None = optional("the file's name by default")
    title: str = optional("of reports; the name by default", "", max_length=300)
    include: list[str] = empty(
        list,
        "files (relative to this one) read first, in order; mappings are completed key by key, lists and "
        "single values replaced; 'name' is not taken over",
    )
    protocol: ProtocolPart
    data: dict[str, DataPart] = Field(default_factory=dict)
    source: Source = optional("of the rows that pre-train", [])
    methods: list[MethodPart] = Field(min_length=1, description="table rows: ids, or mappings with parameters")
    targets: list[TargetPart] = Field(min_length=1, description="table columns: tasks of datasets at label ratios")
    seeds: Seeds = Field(description="of fine-tuning: a list, or how many of each kind are crossed")
    tuning: dict[str, Any] = empty(
        dict,
        "constants of fine-tuning, nested or dotted, each with the values that every row tries in all combinations; of "
        "these candidates the best on validation is chosen for each row, column and seed",
    )
    limit: Annotated[int, Field(ge=1)] | None = optional(
        "images of each split that are used, to try a manifest out; every table says so"
    )
    plugins: list[str] = empty(list, "folders or Python files, relative to this one, with one's own plug-ins")
    files: dict[RootName, SmallFile] = empty(
        dict, "data roots that travel with the manifest: name -> small file beside it; one of the machine wins"
    )
    tables: list[str] = empty(list, "reports this manifest is for")
    analysis: AnalysisPart | None = optional("which tests are primary; reports and 'plan --freeze' follow it")
    execution: ExecutionPart = Field(default_factory=ExecutionPart)

    @property
    def sources(self) -> tuple[SourcePart, ...]:
        """The source datasets in the order of their ids: that in which a manifest names them changes nothing."""
        given = self.source if isinstance(self.source, list) else [self.source]
        return tuple(sorted(given, key=lambda part: part.dataset))

    @property
    def runs(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Each seed with the (label subset, initialisation, data order) that it stands for, () where none are crossed.

        Crossed seeds are numbered from 0; the data order changes fastest, the label subset slowest.
        """
        given = self.seeds
        if isinstance(given, list):
            return tuple((seed, ()) for seed in given)
        levels = (range(given.subset), range(given.init), range(given.order))
        return tuple(enumerate(product(*levels)))

    @field_validator("tables", "include", "plugins")
    @classmethod
    def _unique(cls, values: list[Any]) -> list[Any]:
        return unique(values)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a manifest, for editors; a method may also be its bare id."""
    schema = ManifestSchema.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "refers-bench manifest"
    items = schema["properties"]["methods"]["items"]
    schema["properties"]["methods"]["items"] = {"anyOf": [{"type": "string"}, items]}
    part = schema["$defs"]["DataPart"]
    part["additionalProperties"] = False
    for reader, dataset in plugins.loaded("dataset")[0].items():
        if dataset.Declared is not None:
            own = dataset.Declared.model_json_schema(ref_template="#/$defs/{model}")
            schema["$defs"] |= own.pop("$defs", {})
            part["properties"][reader] = own
    return schema
