"""Finds the dataset that a data command names on this machine: its reader, its parameters and its folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click

from refers_bench import plugins
from refers_bench.cli.options import FILE
from refers_bench.errors import DataError, Problem, UserError, nearest, unknown
from refers_bench.execution.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    from refers_bench.data.prepare import PreparedImages
    from refers_bench.manifest.declared import Declared
    from refers_bench.manifest.schema import SourcePart, TargetPart


def _params(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    wrong = [value for value in values if "=" not in value]
    if wrong:
        raise click.BadParameter(f"'{wrong[0]}' is not NAME=VALUE", ctx=ctx, param=option)
    return {name: value for name, _, value in (value.partition("=") for value in values)}


#: A repeatable option NAME=VALUE.
given_by = partial(click.option, multiple=True, callback=_params, metavar="NAME=VALUE")
PARAM = given_by("--param", help="Reader parameter (repeatable): missing=skip, views=PA,AP.")
OWN = click.option("--manifest", type=FILE, help="Manifest that declares own images of the name DATASET.")


def _given(model: type[BaseModel], param: Mapping[str, str]) -> dict[str, Any]:
    """Values of NAME=VALUE in YAML; a field that takes several also takes one alone, or a list without brackets.

    Scalars stay text, which the model converts.

    Raises:
        UserError: not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    values: dict[str, Any] = {}
    for name, text in param.items():
        try:
            value = YAML(typ="base", pure=True).load(text) or text
        except MarkedYAMLError as error:
            found = f"--param {name}: '{text}' is not YAML: {error.problem}"
            raise UserError(found, allowed="such as PA, or [PA, AP]") from error
        field = model.model_fields.get(name)
        if isinstance(value, str) and field and get_origin(field.annotation) is tuple:
            value = [part.strip() for part in value.split(",") if part.strip()]
        values[name] = value
    return values


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A dataset on this machine.

    Attributes:
        name: its id, or that of one's own images.
        reader: id of the plug-in that reads it.
        plugin: that one.
        params: of the reader.
        root: its folder.
        lists: what the reader reads beside it.
        given: options that say the same again.
    """

    name: str
    reader: str
    plugin: plugins.Dataset
    params: Any
    root: Path
    lists: dict[str, Path]
    given: tuple[str, ...] = ()

    def index(self, settings: Settings) -> pd.DataFrame:
        """Its index; problems are also written to a file."""
        from refers_bench.data.index import read_index
        from refers_bench.data.problems import written

        try:
            return read_index(self.plugin, self.root, self.params, self.lists)
        except DataError as error:
            raise DataError(written(error.problems, settings.cache / "problems" / f"{self.name}.txt")) from error

    def preparation(self, index: pd.DataFrame, *, size: int, **how: str) -> dict[str, Any]:
        """The specification of the preparation of all these images, equal to the one that planning makes."""
        from refers_bench.data.index import digest
        from refers_bench.manifest.protocol_schema import in_specifications
        from refers_bench.plan.graph import IMPL

        return {
            "kind": "prepare",
            "recipe": IMPL["prepare"],
            "dataset": self.name,
            **({"reader": self.reader} if self.reader != self.name else {}),
            "params": self.params.model_dump(mode="json"),
            "impl": self.plugin.impl,
            "digest": digest(index),
            "phantom": None,
            "prepared_size": size,
            **{name: value for name, value in how.items() if in_specifications(f"image.{name}", value)},
        }


def data_source(settings: Settings, name: str, param: Mapping[str, str], manifest: Path | None = None) -> DataSource:
    """The dataset of that name under these reader parameters, or the own images that a manifest declares.

    Raises:
        UserError: unknown dataset or parameter, or a data root that is not there.
    """
    if manifest is None and name not in plugins.names("dataset"):
        from refers_bench.manifest.declared import datasets

        problem = unknown("dataset", name, datasets())
        raise UserError(replace(problem, allowed=f"{problem.allowed}; or own images, with --manifest FILE"))
    from refers_bench.manifest.declared import further_roots

    own = _own(name, manifest) if manifest else None
    roots = settings.roots()
    if own is not None:
        from refers_bench.manifest.roots import with_paths

        if param:
            allowed = f"none: the parameters of {name} stand in data.{name}.{own.reader}"
            raise UserError(f"--param {next(iter(param))}", allowed=allowed, path=manifest)
        roots = with_paths(roots, own.places, origin="declared in the manifest")
    reader = own.reader if own is not None else name
    dataset: plugins.Dataset = plugins.load("dataset", reader)
    if own is None and dataset.Declared is not None:
        found = f"'{name}' reads one's own images, which have a name in a manifest"
        raise UserError(found, allowed="that name, and --manifest FILE")
    params = dataset.Params(**own.params) if own is not None else _validated(dataset, param)
    lists = further_roots(dataset, params, name)
    wanted = {name: own is not None, **dict.fromkeys(lists.values(), False)}
    reasons = [reason for root, folder in wanted.items() if (reason := roots.why_not(root, folder=folder))]
    if reasons:
        raise UserError([Problem(found=reason) for reason in reasons])
    further = {one: roots.paths[root] for one, root in lists.items()}
    given = (
        [f"--manifest {manifest}"] if own is not None else [f"--param {key}={value}" for key, value in param.items()]
    )
    return DataSource(
        name=name,
        reader=reader,
        plugin=dataset,
        params=params,
        root=roots.paths[name],
        lists=further,
        given=tuple(given),
    )


def _own(name: str, manifest: Path) -> Declared | None:
    """The own images of that name; None for a dataset.

    Raises:
        UserError: something is wrong with the manifest, or it declares nothing of that name.
    """
    from refers_bench.manifest.declared import declared
    from refers_bench.manifest.load import load

    found = declared(load(manifest).content.data, manifest.parent)
    if name not in found and name not in plugins.names("dataset"):
        problem = unknown("name among the own images of this manifest", name, found, path=manifest)
        raise UserError(replace(problem, allowed=problem.allowed or "none: it declares no images under 'data'"))
    return found.get(name)


def _validated(dataset: plugins.Dataset, param: Mapping[str, str]) -> Any:
    """Reader parameters of NAME=VALUE.

    Raises:
        UserError: an unknown name or a wrong value.
    """
    from pydantic import ValidationError

    try:
        return dataset.Params(**_given(dataset.Params, param))
    except ValidationError as error:
        raise UserError([_of_param(detail, list(dataset.Params.model_fields)) for detail in error.errors()]) from error


def _of_param(detail: Any, known: list[str]) -> Problem:
    """What is wrong with one --param, by pydantic's account of it."""
    from refers_bench.manifest import schema_errors

    name = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        found = f"--param {name}: no such parameter"
        return Problem(found=found, allowed=", ".join(known) or "none", nearest=nearest(name, known))
    fitting = schema_errors.allowed(detail)
    if not name:  # of several together
        return Problem(found=f"--param: {fitting}")
    return Problem(found=f"--param {name} is {detail['input']!r}"[:200], allowed=fitting)


def of_manifest(settings: Settings, manifest: Path) -> list[DataSource]:
    """The sources and targets of a manifest, each once, as it reads them; procedural radiographs are nobody's images.

    Raises:
        UserError: something is wrong with the manifest, or a data root is not there.
    """
    from refers_bench.manifest.declared import brought_along, declared, further_roots
    from refers_bench.manifest.load import load

    loaded = load(manifest)
    content, own = loaded.content, declared(loaded.content.data, manifest.parent)
    roots = brought_along(settings.roots(), content.model_dump(mode="json"), manifest.parent)
    found: dict[str, DataSource] = {}
    parts: list[SourcePart | TargetPart] = [*content.sources, *content.targets]
    for part in parts:
        about, one = content.data.get(part.dataset), own.get(part.dataset)
        if part.dataset in found or (about and about.phantom is not None):
            continue
        reader = one.reader if one else part.dataset
        dataset: plugins.Dataset = plugins.load("dataset", reader)
        params = dataset.Params(**(one.params if one else part.params))
        root, lists = (about and about.root) or part.dataset, further_roots(dataset, params, part.dataset)
        if reasons := [reason for name in (root, *lists.values()) if (reason := roots.why_not(name))]:
            raise UserError([Problem(found=reason) for reason in reasons])
        found[part.dataset] = DataSource(
            name=part.dataset,
            reader=reader,
            plugin=dataset,
            params=params,
            root=roots.paths[root],
            lists={name: roots.paths[place] for name, place in lists.items()},
            given=(f"--manifest {manifest}",) if one else (),
        )
    return list(found.values())


def prepared(settings: Settings, source: DataSource, index: pd.DataFrame, *, size: int) -> PreparedImages:
    """The prepared images of a dataset; see `prepared_folder`."""
    from refers_bench.data.prepare import PreparedImages

    return PreparedImages.open(prepared_folder(settings, source, index, size=size))


def prepared_folder(settings: Settings, source: DataSource, index: pd.DataFrame, *, size: int) -> Path:
    """The folder in which jobs look for the prepared images of a dataset.

    Raises:
        UserError: they are not prepared; says how to do that.
    """
    from refers_bench.data.cache_meta import META
    from refers_bench.plan import left_out

    spec = source.preparation(index, size=size)
    folder = left_out.prepared(settings.cache, left_out.without(spec, left_out.recall(settings.cache, spec)))
    if not (folder / META).is_file():
        words = " ".join(("refers-bench data prepare", source.name, *source.given, f"--size {size}"))
        todo = f"'{words}' first, or --no-images of 'data audit'"
        raise UserError(f"the images of {source.name} are not prepared at {size} px", allowed=todo)
    return folder
