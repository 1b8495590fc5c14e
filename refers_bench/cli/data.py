"""List datasets; prepare, verify or audit one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click

from refers_bench.cli.datasets import show_datasets
from refers_bench.cli.progress import counted
from refers_bench.cli.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

    from refers_bench.data.audit.verification import Verification
    from refers_bench.data.index import Absent
    from refers_bench.data.prepare import PreparedImages
    from refers_bench.plugins import Dataset


@click.group("data")
def command() -> None:
    """List datasets; prepare, verify or audit one."""


@command.command("list")
@click.option("--cards", is_flag=True, help="Whole cards: licence, citation, expected counts, quirks.")
def list_data(cards: bool) -> None:
    """List the datasets with their tasks."""
    show_datasets(cards=cards)


def _params(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    wrong = [value for value in values if "=" not in value]
    if wrong:
        raise click.BadParameter(f"'{wrong[0]}' is not NAME=VALUE", ctx=ctx, param=option)
    return {name: value for name, _, value in (value.partition("=") for value in values)}


PARAM = click.option(
    "--param",
    multiple=True,
    callback=_params,
    metavar="NAME=VALUE",
    help="Reader parameter (repeatable): missing=skip, views=PA,AP.",
)


def _given(model: type[BaseModel], param: Mapping[str, str]) -> dict[str, Any]:
    """Values of NAME=VALUE in YAML; where a field takes several, one alone or a list without brackets will do.

    Scalars stay text, which the model reads as what it needs.

    Raises:
        UserError: not YAML.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    from refers_bench.errors import UserError

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


def _dataset(settings: Settings, name: str, param: dict[str, str]) -> tuple[Dataset, Any, Path, dict[str, Path]]:
    """The dataset, its parameters, its root and that of its lists, or a user error."""
    from pydantic import ValidationError

    from refers_bench import plugins
    from refers_bench.errors import Problem, UserError

    dataset: Dataset = plugins.load("dataset", name)
    try:
        params = dataset.Params(**_given(dataset.Params, param))
    except ValidationError as error:
        allowed = ", ".join(dataset.Params.model_fields) or "none"
        raise UserError(
            [
                Problem(found=f"--param {'.'.join(map(str, d['loc']))}: {d['msg']}", allowed=allowed)
                for d in error.errors()
            ]
        ) from error
    roots, lists = settings.roots(), dataset.lists(params)
    reasons = [reason for root in (name, lists) if root and (reason := roots.why_not(root))]
    if reasons:
        raise UserError([Problem(found=reason) for reason in reasons])
    return dataset, params, roots.paths[name], {lists: roots.paths[lists]} if lists else {}


def _index(settings: Settings, name: str, param: dict[str, str]) -> tuple[Dataset, Any, Path, pd.DataFrame]:
    """The dataset, its parameters, its root and its index, or a user error."""
    from refers_bench.data.problems import written
    from refers_bench.errors import DataError

    dataset, params, root, lists = _dataset(settings, name, param)
    try:
        return dataset, params, root, dataset.index(root, params, lists)
    except DataError as error:
        raise DataError(written(error.problems, settings.cache / "problems" / f"{name}.txt")) from error


@command.command("prepare")
@click.argument("dataset")
@PARAM
@click.option(
    "--size",
    type=click.IntRange(16, 2048),
    default=256,
    show_default=True,
    help="Side of the stored images, in pixels.",
)
@click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Decoding processes.")
@click.option(
    "--allow-missing", type=click.IntRange(min=0), default=0, show_default=True, help="Unreadable files tolerated."
)
@click.pass_obj
def prepare(
    settings: Settings, dataset: str, param: dict[str, str], size: int, workers: int, allow_missing: int
) -> None:
    """Decode DATASET once into a memory-mapped store that 'run' finds; resumes after a kill."""
    from refers_bench.data.prepare import prepare as prepare_images
    from refers_bench.files import work_of
    from refers_bench.plan import index_memo, left_out

    plugin, params, root, index = _index(settings, dataset, param)
    index_memo.forget(settings.cache, dataset)
    spec = _preparation(dataset, plugin, params, index, size=size)
    folder = left_out.prepared(settings.cache, spec)

    def lacking(paths: Sequence[str]) -> Path:
        return left_out.prepared(settings.cache, left_out.without(spec, paths))

    meta = prepare_images(
        index,
        root=root,
        folder=folder,
        work=work_of(folder),
        size=size,
        workers=workers,
        allow_missing=allow_missing,
        lacking=lacking,
        dicom=plugin.dicom(params),
        progress=counted("images", conclude=True),
        waiting=lambda who: click.echo(f"waiting for {who}, which prepares these images", err=True),
    )
    unreadable = [path for path, _ in meta["unreadable"]]
    left_out.note(settings.cache, spec, unreadable)
    for path, reason in meta["unreadable"]:
        click.echo(f"unreadable: {path}: {reason}", err=True)
    click.echo(f"{meta['count']} images in {lacking(unreadable)}")


def _preparation(name: str, plugin: Dataset, params: BaseModel, index: pd.DataFrame, *, size: int) -> dict[str, Any]:
    """The specification of the preparation of all these images, as planning makes it, too."""
    from refers_bench.data.index import digest
    from refers_bench.plan.expand import IMPL

    return {
        "kind": "prepare",
        "recipe": IMPL["prepare"],
        "dataset": name,
        "params": params.model_dump(mode="json"),
        "impl": plugin.impl,
        "digest": digest(index),
        "phantom": None,
        "prepared_size": size,
    }


def _store(
    settings: Settings, name: str, plugin: Dataset, params: BaseModel, index: pd.DataFrame, *, size: int
) -> Path:
    """Where the prepared images of this index are: the place that jobs look at, too."""
    from refers_bench.plan import left_out

    spec = _preparation(name, plugin, params, index, size=size)
    return left_out.prepared(settings.cache, left_out.without(spec, left_out.recall(settings.cache, spec)))


def _publish(
    folder: Path, name: str, lines: Iterable[str], record: dict[str, Any], *, shown: Iterable[str] | None = None
) -> None:
    """Write a report beside its machine-readable form, and print it, or what is to be shown of it."""
    from refers_bench.files import publish_bytes, publish_json

    lines = list(lines)
    publish_bytes(folder / f"{name}.txt", ("\n".join(lines) + "\n").encode())
    publish_json(folder / f"{name}.json", record)
    for line in lines if shown is None else shown:
        click.echo(line)
    click.echo(f"written to {folder / name}.txt and .json")


REPORT = click.option(
    "--report",
    "report_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the two report files; <results>/data/<dataset> by default.",
)
STRICT = click.option("--strict", is_flag=True, help="Exit code 2 for whatever deviates, not only for what is wrong.")
WORKERS = click.option("--workers", type=click.IntRange(min=0), default=2, show_default=True, help="Processes.")


@command.command("verify")
@click.argument("dataset")
@PARAM
@click.option("--decode/--no-decode", default=True, show_default=True, help="Read every image, not only its name.")
@WORKERS
@REPORT
@STRICT
@click.pass_obj
def verify(
    settings: Settings,
    dataset: str,
    param: dict[str, str],
    decode: bool,
    workers: int,
    report_folder: Path | None,
    strict: bool,
) -> int:
    """Check DATASET: counts against its card, class counts, missing and unreadable files, duplicates, leaks.

    Duplicate ids, patients in two splits and missing files are looked for, too. Writes verify.txt and verify.json,
    which name every file that is missing or unreadable. Exit code 2 when something is wrong with it; with --strict
    also when a count of the card differs.
    """
    from refers_bench.data.audit import verification
    from refers_bench.data.index import absent_noted
    from refers_bench.errors import DataError

    folder = report_folder or settings.results / "data" / dataset
    plugin, params, root, lists = _dataset(settings, dataset, param)
    about: dict[str, Any] = {
        "dataset": dataset,
        "label": plugin.label,
        "root": root,
        "params": params.model_dump(mode="json"),
    }
    with absent_noted() as absent:
        try:
            index = plugin.index(root, params, lists)
        except DataError as error:
            found = verification.Verification(**about, problems=(*absent.refused, *error.problems))
            return _verified(found, folder, absent, strict=strict)
    unreadable = []
    if decode:
        paths = index["path"].tolist()
        unreadable = verification.unreadable(
            paths, root=root, workers=workers, dicom=plugin.dicom(params), progress=counted("images read")
        )
    found = verification.Verification(
        **about,
        splits=verification.split_counts(index),
        classes=verification.class_counts(index),
        documented=tuple(
            verification.Documented(
                what=what, documented=number, found=verification.count(index, what, listed=bool(lists))
            )
            for what, number in plugin.expected_of(params).items()
        ),
        problems=(*absent.refused, *unreadable),
        read=len(index) if decode else None,
    )
    return _verified(found, folder, absent, strict=strict)


def _verified(found: Verification, folder: Path, absent: Absent, *, strict: bool) -> int:
    """Tell what a verification found, with the files that the reader missed; the exit code.

    Raises:
        DataError: something is wrong.
    """
    from refers_bench.data.audit import verification
    from refers_bench.data.problems import first
    from refers_bench.errors import DataError

    found, whole = replace(found, missing=len(absent.refused), skipped=tuple(absent.skipped)), folder / "verify.txt"
    shown = verification.lines(found, whole=whole)
    _publish(folder, "verify", verification.lines(found), verification.record(found), shown=shown)
    if found.problems:
        raise DataError(first(found.problems, whole))
    return 2 if strict and found.differing else 0


def _list(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[tuple[Path, str]]:
    """FILE or FILE:COLUMN; a file whose name holds a colon is itself."""
    found = []
    for value in values:
        path, colon, column = value.rpartition(":")
        found.append((Path(path), column) if colon and not Path(value).is_file() else (Path(value), ""))
    return found


@command.command("audit")
@click.argument("dataset", required=False)
@PARAM
@click.option("--with", "other", metavar="DATASET", help="Compare with this dataset, too.")
@click.option(
    "--with-param", multiple=True, callback=_params, metavar="NAME=VALUE", help="Reader parameter of the other dataset."
)
@click.option(
    "--list",
    "lists",
    multiple=True,
    callback=_list,
    metavar="FILE[:COLUMN]",
    help="A list of images: a CSV with a header, or an image a line (repeatable).",
)
@click.option("--images/--no-images", default=True, show_default=True, help="Compare pixels, not only ids.")
@click.option(
    "--size", type=click.IntRange(16, 2048), default=256, show_default=True, help="Side of the prepared images."
)
@click.option(
    "--distance",
    type=click.IntRange(0, 200),
    default=40,
    show_default=True,
    help="Bits of 480 that the hashes of two images of one radiograph differ by at most.",
)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Threads.")
@REPORT
@STRICT
@click.pass_obj
def audit(
    settings: Settings,
    dataset: str | None,
    param: dict[str, str],
    other: str | None,
    with_param: dict[str, str],
    lists: list[tuple[Path, str]],
    images: bool,
    size: int,
    distance: int,
    workers: int,
    report_folder: Path | None,
    strict: bool,
) -> int:
    """Look for images that come twice: across the splits of DATASET, in another dataset, in any two lists.

    Pixels are compared by perceptual hash, so that re-encoded, mirrored and inverted copies are found; for that the
    datasets must be prepared. Ids are compared without folders and file endings. Writes audit.txt and audit.json.
    With --strict, exit code 2 when anything comes twice.
    """
    from refers_bench.data.audit import repeats as audits
    from refers_bench.data.audit.id_lists import of_index, overlaps, read_ids, record, repeated
    from refers_bench.errors import UserError

    names = [(name, given) for name, given in ((dataset, param), (other, with_param)) if name]
    if not names and len(lists) < 2:
        raise UserError("nothing to compare: name a DATASET, or two lists with --list")
    if other and (not dataset or other == dataset):
        raise UserError("--with takes another dataset than the first; splits of one are compared without it")
    stores, id_lists = [], []
    for name, given in names:
        plugin, params, _, index = _index(settings, name, given)
        id_lists += of_index(index, name=name)
        if images:
            stores.append(_opened(_store(settings, name, plugin, params, index, size=size), name, given, size))
    id_lists += [read_ids(path, column=column) for path, column in lists]
    shared = overlaps(id_lists)
    lines = list(audits.overlap_lines(id_lists, shared, {one.name: repeated(one) for one in id_lists}))
    result: dict[str, Any] = {"version": 1, "datasets": [name for name, _ in names], **record(id_lists, shared)}
    compared = {}
    if stores:
        compared[f"splits of {dataset}"] = audits.across_splits(
            stores[0], distance=distance, threads=workers, progress=counted("pairs")
        )
    if len(stores) == 2:
        compared[f"{dataset} and {other}"] = audits.across_datasets(
            stores[0], stores[1], distance=distance, threads=workers, progress=counted("pairs")
        )
    for title, pairs in compared.items():
        lines += audits.pair_lines(title, pairs)
    result["images"] = {title: audits.pairs_record(pairs) for title, pairs in compared.items()}
    folder = report_folder or settings.results / "data" / ("-".join(name for name, _ in names) or "lists")
    _publish(folder, "audit", lines, result)
    twice = any(one.ids or one.patients for one in shared) or any(
        pairs["confirmed"].any() for pairs in compared.values()
    )
    return 2 if strict and twice else 0


def _opened(folder: Path, name: str, given: dict[str, str], size: int) -> PreparedImages:
    """The prepared images of a dataset, or what to do first."""
    from refers_bench.data.prepare import META, PreparedImages
    from refers_bench.errors import UserError

    if not (folder / META).is_file():
        words = " ".join(f"--param {key}={value}" for key, value in given.items())
        todo = f"'refers-bench data prepare {name} {words + ' ' if words else ''}--size {size}' first, or --no-images"
        raise UserError(f"the images of {name} are not prepared at {size} px", allowed=todo)
    return PreparedImages.open(folder)
