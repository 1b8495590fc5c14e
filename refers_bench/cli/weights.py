"""Looks into weight files, converts them, and exports pre-trained encoders."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from refers_bench import plugins
from refers_bench.cli.options import FILE, MANIFEST
from refers_bench.cli.planning import planned
from refers_bench.cli.settings import Settings
from refers_bench.errors import UserError, unknown
from refers_bench.files import publish_json, read_json

LAYOUTS = click.Choice(["timm", "refers-bench"])
LAYOUT = click.option("--layout", type=LAYOUTS, default="timm", help="Names to write.")
#: Names that are printed of tensors.
NAMED = 8
#: What reads and writes weights needs torch, and is reached by its name.
ROOM = "refers_bench.training.weight_files"


@click.group("weights")
def command() -> None:
    """Weights made elsewhere, and encoders for use elsewhere. Files are read as data: nothing in them is run."""


@command.command("inspect")
@click.argument("file", type=FILE)
@click.option("--preset", default="official_code", help="Protocol whose network is to be filled.")
@click.option("--depth", type=click.Choice(["18", "50", "101"]), help="Compare with a ResNet of this depth instead.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def inspect(file: Path, preset: str, depth: str | None, as_json: bool) -> None:
    """Say which layout FILE has and how much of a network it fills; what is missing and what has no place."""
    from refers_bench.manifest.protocols import resolve, sections_of
    from refers_bench.nets.weight_headers import origin
    from refers_bench.plan.weights import as_trained, sentence

    values = resolve(preset)
    # A row with these weights would keep the network they were trained in.
    kept = {} if depth else as_trained(origin(file), values, root=str(file))
    sections = sections_of(values | kept)
    method = plugins.load("method", "checkpoint")
    params = method.Params(backbone=f"resnet{depth}" if depth else "radiograph_transformer")
    encoder = method.build_encoder(params, sections["network"], sections["image"])
    coverage, layout = plugins.resolve(f"{ROOM}:load")(encoder, file, minimum=0.0)
    network = f"ResNet-{depth}" if depth else f"radiograph transformer of '{preset}'"
    if as_json:
        found = {
            "file": str(file),
            "layout": layout.name,
            "remark": layout.remark,
            "network": network,
            "kept": {name: one.value for name, one in kept.items()},
            "coverage": round(coverage.share, 4),
            "loaded": len(coverage.loaded),
            "derived": list(coverage.derived),
            "missing": list(coverage.missing),
            "unexpected": list(coverage.unexpected),
            "other_blocks": list(coverage.other_blocks),
            "differ_from_random": coverage.changed,
        }
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"layout: {layout.name}" + (f" ({layout.remark})" if layout.remark else ""))
    if kept and layout.backbone == "radiograph_transformer":
        click.echo(sentence(kept, values))
    share = f"{len(coverage.loaded)} of {len(coverage.loaded) + len(coverage.missing)} tensors"
    click.echo(f"fills {share} ({coverage.share:.1%}) of the {network}; {coverage.changed} differ from random weights")
    for what, names in (
        ("derived from the others", coverage.derived),
        ("missing", coverage.missing),
        ("no place for", coverage.unexpected),
        ("refused in a row, blocks of another network", coverage.other_blocks),
    ):
        if names:
            click.echo(f"{what} ({len(names)}): {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}")


@command.command("convert")
@click.argument("file", type=FILE)
@click.argument("out", type=FILE)
@LAYOUT
def convert(file: Path, out: Path, layout: str) -> None:
    """Write the encoder in FILE, of any known layout, to OUT (safetensors)."""
    everything, found = _converted(file)
    weights = plugins.resolve(f"{ROOM}:encoder_only")(everything)
    written = _write(out, weights, layout, {"converted_from": found.name})
    rest = len(everything) - len(weights)
    click.echo(f"{out}: {written} tensors, {found.name} -> {layout}" + (f"; {rest} more left out" if rest else ""))


@command.command("export")
@MANIFEST
@click.argument("row")
@click.argument("out", type=FILE)
@LAYOUT
@click.pass_obj
def export(settings: Settings, manifest: Path, row: str, out: Path, layout: str) -> None:
    """Write the pre-trained encoder of ROW (a row name of MANIFEST) to OUT, with a data sheet beside it.

    OUT.json holds what a user of the weights must know: input size, mean and SD, method, source, licence.
    """
    plan = planned(settings, manifest)
    jobs = {job.name.split(".")[1]: job for job in plan.jobs if job.kind == "pretrain"}
    if row not in jobs:
        raise UserError(unknown("pre-trained row", row, jobs))
    job, folder = jobs[row], settings.store.folder(jobs[row].key)
    path = folder / "checkpoint.safetensors"
    if not path.is_file():
        raise UserError(f"'{row}' is not pre-trained yet", allowed=f"'refers-bench run {manifest}' first")
    weights, _ = _converted(path)
    sheet = plugins.resolve("refers_bench.training.data_sheets:data_sheet")(
        read_json(folder / "run.json"),
        method=plugins.load("method", job.spec["method"]),
        layout=layout,
        source=plugins.load("dataset", job.spec["source"]["dataset"]),
        architecture="ResNet" if any(name.startswith("net.") for name in weights) else "vision transformer",
    )
    written = _write(out, weights, layout, {"data_sheet": json.dumps(sheet)})
    sheet_path = out.with_name(f"{out.name}.json")
    publish_json(sheet_path, sheet)
    click.echo(f"{out}: {written} tensors\n{sheet_path}: data sheet")


def _converted(path: Path) -> tuple[Mapping[str, Any], Any]:
    """Tensors of a file of any known layout under our names, and the layout that was found."""
    found: tuple[Mapping[str, Any], Any] = plugins.resolve(f"{ROOM}:converted")(
        plugins.resolve(f"{ROOM}:read")(path), path=path
    )
    return found


def _write(out: Path, weights: Mapping[str, Any], layout: str, metadata: Mapping[str, str]) -> int:
    """Publish the weights under the names of a layout; how many tensors these are."""
    if out.suffix != ".safetensors":
        raise UserError(f"'{out.suffix}'", allowed="a file that ends in .safetensors", path=out)
    if layout == "timm":
        try:
            weights = plugins.resolve("refers_bench.nets.foreign_layouts:to_timm")(weights)
        except ValueError as error:
            raise UserError(str(error), allowed="--layout refers-bench", path=out) from error
    plugins.resolve("refers_bench.training.checkpoints:publish_tensors")(out, weights, metadata=metadata)
    return len(weights)
