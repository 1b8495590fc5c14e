"""List datasets; prepare or verify one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.datasets import show_datasets
from refers_bench.cli.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from refers_bench.plugins import Dataset


@click.group("data")
def command() -> None:
    """List datasets; prepare or verify one."""


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
    "--param", multiple=True, callback=_params, metavar="NAME=VALUE", help="Reader parameter (repeatable)."
)


def _index(settings: Settings, name: str, param: dict[str, str]) -> tuple[Dataset, Any, Path, pd.DataFrame]:
    """The dataset, its parameters, its root and its index, or a user error."""
    from pydantic import ValidationError

    from refers_bench import plugins
    from refers_bench.errors import Problem, UserError

    dataset: Dataset = plugins.load("dataset", name)
    try:
        params = dataset.Params(**param)
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
    index = dataset.index(roots.paths[name], params, {lists: roots.paths[lists]} if lists else {})
    return dataset, params, roots.paths[name], index


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
    from refers_bench import identity
    from refers_bench.data.index import digest
    from refers_bench.data.prepare import prepare as prepare_images
    from refers_bench.plan.expand import IMPL

    plugin, params, root, index = _index(settings, dataset, param)
    spec = {
        "kind": "prepare", "recipe": IMPL["prepare"], "dataset": dataset, "params": params.model_dump(mode="json"),
        "impl": plugin.impl, "digest": digest(index), "phantom": None, "prepared_size": size,
    }  # fmt: skip
    key = identity.key(spec)
    begun, shown = time.monotonic(), [0.0]

    def progress(done: int, total: int) -> None:
        spent = time.monotonic() - begun
        if done == total or spent - shown[0] > 1:
            shown[0] = spent
            rate = done / spent if spent else 0
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            click.echo(f"{done}/{total} images, {rate:.0f} a second{left}", err=True)

    folder = settings.cache / "prepared" / key
    meta = prepare_images(
        index, root=root, folder=folder, work=settings.cache / "prepared" / f".{key}.work", size=size, workers=workers,
        allow_missing=allow_missing, progress=progress,
    )  # fmt: skip
    for path, reason in meta["unreadable"]:
        click.echo(f"unreadable: {path}: {reason}", err=True)
    click.echo(f"{meta['count']} images in {folder}")


@command.command("verify")
@click.argument("dataset")
@PARAM
@click.option("--decode/--no-decode", default=True, show_default=True, help="Read every image, not only its name.")
@click.pass_obj
def verify(settings: Settings, dataset: str, param: dict[str, str], decode: bool) -> int:
    """Check DATASET: counts by split, class counts, unreadable files, duplicate ids, patients in two splits.

    Exit code 2 when something is wrong with it.
    """
    from refers_bench.data.decode import decode as decode_image
    from refers_bench.errors import DataError, Problem

    plugin, _, root, index = _index(settings, dataset, param)
    click.echo(f"{plugin.label}: {len(index)} images of {index['patient_id'].nunique()} patients")
    for name, rows in index.groupby("split"):
        click.echo(
            f"  {str(name) or 'unused'}: {len(rows)} images, {rows['patient_id'].nunique()} patients, {rows['report'].notna().sum()} with text"
        )
        for column in [column for column in index.columns if ":" in column]:
            positive, negative = int((rows[column] == 1).sum()), int((rows[column] == 0).sum())
            note = "  NO POSITIVE" if name and not positive else ""
            click.echo(
                f"    {column}: {positive} positive, {negative} negative, {len(rows) - positive - negative} unknown{note}"
            )
    for what, count in plugin.expected.items():
        click.echo(f"  documented {what}: {count}")
    problems: list[Problem] = []
    for number, path in enumerate(index["path"] if decode else (), start=1):
        try:
            decode_image(root / path)
        except DataError as error:
            problems += error.problems
        if number % 200 == 0:
            click.echo(f"  read {number}/{len(index)}", err=True)
    if problems:
        raise DataError(problems)
    click.echo("every image could be read" if decode else "images were not read")
    return 0
