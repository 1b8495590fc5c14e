"""Lists datasets; prepares, verifies, describes or audits one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli import completing
from refers_bench.cli.data_overlap import overlap
from refers_bench.cli.data_source import OWN, PARAM, DataSource, data_source, given_by, prepared, prepared_folder
from refers_bench.cli.datasets import list_datasets
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FILE, FOLDER
from refers_bench.cli.progress import counted
from refers_bench.errors import DataError, UserError
from refers_bench.execution.settings import Settings
from refers_bench.files import publish_bytes, publish_json, work_of
from refers_bench.render.quantity import quantity

if TYPE_CHECKING:
    from refers_bench.data.audit.verification import Verification
    from refers_bench.data.index import Absent


@click.group("data")
def command() -> None:
    """List datasets; prepare, verify, describe or audit one."""


command.add_command(list_datasets)
command.add_command(overlap)


SIZE, NOT_NEGATIVE = click.IntRange(16, 2048), click.IntRange(min=0)
REPORT_HELP = "Folder of the two report files; <results>/data/<dataset> by default."
REPORT = click.option("--report", "report_folder", type=FOLDER, help=REPORT_HELP)
STRICT = click.option("--strict", is_flag=True, help="Exit code 2 for any deviation, not only for errors.")


@command.command("prepare")
@click.argument("dataset", shell_complete=completing.datasets)
@PARAM
@OWN
@click.option("--size", type=SIZE, default=256, help="Side of the stored images, in pixels.")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]), default="bilinear", help="Of resizing.")
@click.option("--fit", type=click.Choice(["stretch", "crop"]), default="stretch", help="To a square, or its centre.")
@click.option("--workers", type=NOT_NEGATIVE, default=2, help="Decoding processes.")
@click.option("--allow-missing", type=NOT_NEGATIVE, default=0, help="Unreadable files tolerated.")
@click.pass_obj
def prepare(
    settings: Settings,
    /,
    dataset: str,
    param: dict[str, str],
    manifest: Path | None,
    size: int,
    workers: int,
    allow_missing: int,
    **how: str,
) -> None:
    """Decode DATASET once into a memory-mapped store that 'run' finds; resumes after a kill."""
    from refers_bench.data.prepare import prepare as prepare_images
    from refers_bench.plan import index_memo, left_out

    source = data_source(settings, dataset, param, manifest)
    index = source.index(settings)
    index_memo.forget(settings.cache, dataset)
    spec = source.preparation(index, size=size, **how)
    folder = left_out.prepared(settings.cache, spec)

    def lacking(paths: Sequence[str]) -> Path:
        return left_out.prepared(settings.cache, left_out.without(spec, paths))

    meta = prepare_images(
        index,
        root=source.root,
        folder=folder,
        work=work_of(folder),
        size=size,
        **how,
        workers=workers,
        allow_missing=allow_missing,
        lacking=lacking,
        dicom=source.plugin.dicom(source.params),
        formats=source.plugin.formats(source.params),
        progress=counted("images", conclude=True),
        waiting=lambda who: echo(f"waiting for {who}, which prepares these images", err=True),
    )
    unreadable = [path for path, _ in meta["unreadable"]]
    left_out.note(settings.cache, spec, unreadable)
    for path, reason in meta["unreadable"]:
        echo(f"unreadable: {path}: {reason}", err=True)
    echo(f"{quantity(meta['count'], 'image')} in {lacking(unreadable)}")


def _publish(
    folder: Path, name: str, lines: Iterable[str], record: dict[str, Any], *, shown: Iterable[str] | None = None
) -> None:
    """Write a report beside its machine-readable form, and print its lines, or those of `shown`."""
    lines = list(lines)
    publish_bytes(folder / f"{name}.txt", ("\n".join(lines) + "\n").encode())
    publish_json(folder / f"{name}.json", record)
    for line in lines if shown is None else shown:
        echo(line)
    echo(f"written to {folder / name}.txt and .json")


@command.command("verify")
@click.argument("dataset", shell_complete=completing.datasets)
@PARAM
@OWN
@click.option("--decode/--no-decode", default=True, help="Read every image, not only its name.")
@click.option("--workers", type=NOT_NEGATIVE, default=2, help="Processes.")
@REPORT
@STRICT
@click.pass_obj
def verify(
    settings: Settings,
    /,
    dataset: str,
    param: dict[str, str],
    manifest: Path | None,
    report_folder: Path | None,
    strict: bool,
    **how: Any,
) -> int:
    """Check DATASET: counts against its card, class counts, missing and unreadable files, duplicates, leaks.

    Also finds duplicate ids, patients in two splits and missing files. Writes verify.txt and verify.json, which name
    every file that is missing or unreadable. Exit code 2 when there is an error; with --strict also when a count of
    the card differs.
    """
    from refers_bench.data.index import absent_noted

    source = data_source(settings, dataset, param, manifest)
    with absent_noted() as absent:
        found = _verification(source, absent, **how)
    return _verified(found, report_folder or settings.results / "data" / dataset, absent, strict=strict)


def _verification(source: DataSource, absent: Absent, *, decode: bool, workers: int) -> Verification:
    """What is found in a dataset's folder, while files that are not there are noted in `absent`."""
    from refers_bench.data.audit import verification
    from refers_bench.data.index import read_index

    dataset, params = source.plugin, source.params
    about = verification.Verification(
        dataset=source.name, label=dataset.label, root=source.root, params=params.model_dump(mode="json")
    )
    try:
        index = read_index(dataset, source.root, params, source.lists)
    except DataError as error:
        return replace(about, problems=(*absent.refused, *error.problems))
    unreadable = []
    if decode:
        how: dict[str, Any] = {"workers": workers, "progress": counted("images read")}
        how |= {"dicom": dataset.dicom(params), "formats": dataset.formats(params)}
        unreadable = verification.unreadable(index["path"].tolist(), root=source.root, **how)
    documented = []
    for what, number in dataset.expected_of(params).items():
        found = verification.count(index, what, listed=bool(source.lists))
        documented.append(verification.Documented(what=what, documented=number, found=found))
    return replace(
        about,
        splits=verification.split_counts(index),
        classes=verification.class_counts(index),
        documented=tuple(documented),
        problems=(*absent.refused, *unreadable),
        read=len(index) if decode else None,
    )


def _verified(found: Verification, folder: Path, absent: Absent, *, strict: bool) -> int:
    """Report what a verification found, with the files that the reader missed; the exit code.

    Raises:
        DataError: something is wrong.
    """
    from refers_bench.data.audit import verification
    from refers_bench.data.problems import first

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


LIST_HELP = "A list of images: a CSV with a header, or an image a line (repeatable)."
DISTANCE_HELP = "Largest difference, in bits of 480, between the hashes of two images of one radiograph."


@command.command("audit")
@click.argument("dataset", required=False, shell_complete=completing.datasets)
@PARAM
@OWN
@click.option("--with", "other", metavar="DATASET", help="Compare with this dataset, too.")
@given_by("--with-param", help="Reader parameter of the other dataset.")
@click.option("--list", "lists", multiple=True, callback=_list, metavar="FILE[:COLUMN]", help=LIST_HELP)
@click.option("--images/--no-images", default=True, help="Compare pixels, not only ids.")
@click.option("--size", type=SIZE, default=256, help="Side of the prepared images.")
@click.option("--distance", type=click.IntRange(0, 200), default=40, help=DISTANCE_HELP)
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Threads.")
@REPORT
@STRICT
@click.pass_obj
def audit(
    settings: Settings,
    /,
    dataset: str | None,
    param: dict[str, str],
    manifest: Path | None,
    other: str | None,
    with_param: dict[str, str],
    lists: list[tuple[Path, str]],
    report_folder: Path | None,
    strict: bool,
    **how: Any,
) -> int:
    """Find images that occur twice: across the splits of DATASET, in another dataset, in any two lists.

    Pixels are compared by perceptual hash, so that re-encoded, mirrored and inverted copies are found; for that the
    datasets must be prepared. Ids are compared without folders and file endings. Writes audit.txt and audit.json.
    With --strict, exit code 2 when anything occurs twice.
    """
    from refers_bench.data.audit import repeats
    from refers_bench.data.audit.id_lists import of_index, overlaps, read_ids, record, repeated

    names = [(name, given) for name, given in ((dataset, param), (other, with_param)) if name]
    if not names and len(lists) < 2:
        raise UserError("nothing to compare: name a DATASET, or two lists with --list")
    if other and (not dataset or other == dataset):
        raise UserError("--with takes another dataset than the first; splits of one are compared without it")
    stores, id_lists = [], []
    for name, given in names:
        source = data_source(settings, name, given, manifest)
        index = source.index(settings)
        id_lists += of_index(index, name=name)
        if how["images"]:
            stores.append(prepared(settings, source, index, size=how["size"]))
    id_lists += [read_ids(path, column=column) for path, column in lists]
    shared = overlaps(id_lists)
    lines = list(repeats.overlap_lines(id_lists, shared, {one.name: repeated(one) for one in id_lists}))
    compare: dict[str, Any] = {"distance": how["distance"], "threads": how["workers"], "progress": counted("pairs")}
    compared = {}
    if stores:
        compared[f"splits of {dataset}"] = repeats.across_splits(stores[0], **compare)
    if len(stores) == 2:
        compared[f"{dataset} and {other}"] = repeats.across_datasets(*stores, **compare)
    for title, pairs in compared.items():
        lines += repeats.pair_lines(title, pairs)
    result: dict[str, Any] = {"version": 1, "datasets": [name for name, _ in names], **record(id_lists, shared)}
    result["images"] = {title: repeats.pairs_record(pairs) for title, pairs in compared.items()}
    folder = report_folder or settings.results / "data" / ("-".join(name for name, _ in names) or "lists")
    _publish(folder, "audit", lines, result)
    twice = [one.ids or one.patients for one in shared] + [pairs["confirmed"].any() for pairs in compared.values()]
    return 2 if strict and any(twice) else 0


@command.command("croissant")
@click.argument("dataset", shell_complete=completing.datasets)
@PARAM
@OWN
@click.option("--size", type=SIZE, default=256, help="Side of the prepared images.")
@click.option("--out", type=FILE, help="The description.  [default: <results>/data/<dataset>/croissant.json]")
@click.pass_obj
def describe(
    settings: Settings, dataset: str, param: dict[str, str], manifest: Path | None, size: int, out: Path | None
) -> None:
    """Describe the prepared images of DATASET as Croissant (JSON-LD): files, fields, licence, citation, checksums.

    It holds no image and no report text. Put it beside the files wherever the dataset's licence lets you share them.
    """
    from refers_bench.data.croissant import croissant

    source = data_source(settings, dataset, param, manifest)
    folder = prepared_folder(settings, source, source.index(settings), size=size)
    target = out or settings.results / "data" / dataset / "croissant.json"
    publish_json(target, croissant(dataset, source.plugin, folder=folder))
    echo(f"{target}: Croissant of the images in {folder}")
