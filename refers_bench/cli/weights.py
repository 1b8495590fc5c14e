"""Looks into weight files, converts them, and exports pre-trained encoders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench import plugins
from refers_bench.cli.echo import echo, echo_lines
from refers_bench.cli.options import FILE, FILE_OR_FOLDER, MANIFEST
from refers_bench.errors import Problem, UserError, unknown
from refers_bench.execution.planning import planned
from refers_bench.execution.settings import Settings
from refers_bench.files import publish_bytes, publish_json
from refers_bench.render.quantity import quantity
from refers_bench.store.plan import Plan, reader_of, source_parts

if TYPE_CHECKING:
    from refers_bench.render.table import Table

LAYOUTS = click.Choice(["timm", "refers-bench"])
LAYOUT = click.option("--layout", type=LAYOUTS, default="timm", help="Names to write.")
#: Names that are printed of tensors.
NAMED = 8
#: What reads and writes weights needs torch, and is reached by its name.
ROOM = "refers_bench.training.weight_files"


@click.group("weights")
def command() -> None:
    """Weights made elsewhere, and encoders for use elsewhere. Files are read as data: nothing in them is run."""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How a file fits a network: its title, training constants that a row with the weights keeps, coverage, layout."""

    network: str
    values: Mapping[str, Any]
    kept: Mapping[str, Any]
    coverage: Any
    layout: Any


def _fit(file: Path, preset: str, depth: str | None) -> _Fit:
    from refers_bench.manifest.protocols import resolve, sections_of
    from refers_bench.nets.weight_headers import origin
    from refers_bench.plan.weights import as_trained

    values = resolve(preset)
    # A row with these weights would keep the network they were trained in.
    kept = {} if depth else as_trained(origin(file), values, root=str(file))
    sections = sections_of(values | kept)
    method = plugins.load("method", "checkpoint")
    params = method.Params(backbone=f"resnet{depth}" if depth else "radiograph_transformer")
    encoder = method.build_encoder(params, sections["network"], sections["image"])
    coverage, layout = plugins.resolve(f"{ROOM}:load")(encoder, file, minimum=0.0)
    network = f"ResNet-{depth}" if depth else f"radiograph transformer of '{preset}'"
    return _Fit(network=network, values=values, kept=kept, coverage=coverage, layout=layout)


@command.command("inspect")
@click.argument("file", type=FILE)
@click.option("--preset", help="Protocol whose network is to be filled.  [default: the one that fits best]")
@click.option("--depth", type=click.Choice(["18", "50", "101"]), help="Compare with a ResNet of this depth instead.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def inspect(file: Path, preset: str | None, depth: str | None, as_json: bool) -> None:
    """Say which layout FILE has and how much of a network it fills; what is missing and what has no place."""
    from refers_bench.manifest.protocols import names
    from refers_bench.plan.weights import sentence

    tried = {name: _fit(file, name, depth) for name in ([preset] if preset else names()[:1] if depth else names())}
    found = max(tried.values(), key=lambda one: (one.coverage.share, "official_code" in one.network))
    coverage, layout = found.coverage, found.layout
    if as_json:
        shown = {
            "file": str(file),
            "layout": layout.name,
            "remark": layout.remark,
            "network": found.network,
            "kept": {name: one.value for name, one in found.kept.items()},
            "coverage": round(coverage.share, 4),
            "coverage_by_preset": {} if depth else {name: round(one.coverage.share, 4) for name, one in tried.items()},
            "loaded": len(coverage.loaded),
            "derived": list(coverage.derived),
            "missing": list(coverage.missing),
            "unexpected": list(coverage.unexpected),
            "other_blocks": list(coverage.other_blocks),
            "differ_from_random": coverage.changed,
        }
        echo_lines(json.dumps(shown, indent=1))
        return
    echo(f"layout: {layout.name}" + (f" ({layout.remark})" if layout.remark else ""))
    if len(tried) > 1:
        shares = ", ".join(f"{name} {one.coverage.share:.1%}" for name, one in tried.items())
        echo(f"share of each preset's network that it fills: {shares}")
    if found.kept and layout.backbone == "radiograph_transformer":
        echo(sentence(found.kept, found.values))
    share = f"{len(coverage.loaded)} of {len(coverage.loaded) + len(coverage.missing)} tensors"
    echo(f"fills {share} ({coverage.share:.1%}) of the {found.network}; {coverage.changed} differ from random weights")
    for what, missing in (
        ("derived from the others", coverage.derived),
        ("missing", coverage.missing),
        ("no place for", coverage.unexpected),
        ("refused in a row, blocks of another network", coverage.other_blocks),
    ):
        if missing:
            more = ", ..." if len(missing) > NAMED else ""
            echo(f"{what} ({len(missing)}): {', '.join(missing[:NAMED])}{more}")


@command.command("fingerprint")
@click.argument("file", type=FILE_OR_FOLDER)
@click.option("--layout", help="Data sheet of FILE, such as dinov2 or rad_dino.")
@click.option("--variant", help="Size of the layout's network.")
@click.option("--architecture", help="timm's name of the network instead of a layout.")
@click.option("--argument", "arguments", multiple=True, metavar="NAME=VALUE", help="Of timm's network (repeatable).")
@click.option("--image-size", type=click.IntRange(min=0), default=0, help="Side of the input; 0 for the sheet's.")
@click.option("--positions", help="Rule by which positions are resized; the sheet's by default.")
@click.option("--expect", help="A fingerprint that these features must have.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def fingerprint(file: Path, expect: str | None, as_json: bool, arguments: Sequence[str], **given: Any) -> int:
    """Print reference features of the encoder in FILE on three procedural images, and their fingerprint.

    The fingerprint is that of what fine-tuning reads. It changes with the weights, the architecture, the image size,
    mean, SD, interpolation, and the way positions are resized; on another machine it is the same up to rounding.

    Exit codes: 0 done, 1 bug, 2 user error, 5 not the expected fingerprint.
    """
    from refers_bench.manifest.protocols import Value, resolve, sections_of

    method = plugins.load("method", "encoder")
    params = _encoder_params(method, arguments, given)
    own = {name: Value(value=value, origin=source) for name, (value, source) in method.sheet(params).items()}
    sections = sections_of(resolve("paper", method=own))
    encoder = method.build_encoder(params, sections["network"], sections["image"])
    coverage, _ = plugins.resolve(f"{ROOM}:load")(encoder, file, minimum=method.coverage(params))
    room = "refers_bench.training.fingerprints"
    features = plugins.resolve(f"{room}:features")(encoder, sections["image"])
    digest = plugins.resolve(f"{room}:digest")(features["auto"])
    apart = plugins.resolve(f"{room}:difference")(digest, expect) if expect else 0.0
    shown = {name: plugins.resolve(f"{room}:shown")(one) for name, one in features.items()}
    if as_json:
        found = {"fingerprint": digest, "tensors": len(coverage.loaded), "features": shown}
        echo_lines(json.dumps({**found, **({"tolerances_apart": apart} if expect else {})}, indent=1))
    else:
        for name, each in shown.items():
            for number, one in enumerate(each, start=1):
                values = " ".join(f"{value:.5f}" for value in one["first"])
                echo(f"{name} of image {number}: {values} ... (norm {one['norm']:.5f})")
        echo(f"fingerprint: {digest}")
    if apart > 1:
        echo(f"not the expected features: {apart:g} times the tolerance apart", err=True)
    return 5 if apart > 1 else 0


def _encoder_params(method: plugins.Method, arguments: Sequence[str], given: Mapping[str, Any]) -> Any:
    """Parameters of the method `encoder` from the options that are set.

    Raises:
        UserError: values that it does not take.
    """
    from pydantic import ValidationError

    from refers_bench.manifest.schema_errors import allowed

    values = {name: value for name, value in given.items() if value}
    if "architecture" in values:
        values.setdefault("layout", "timm")
    for text in arguments:
        name, _, value = text.partition("=")
        with contextlib.suppress(ValueError):  # what is no JSON is text
            value = json.loads(value)
        values.setdefault("arguments", {})[name] = value
    try:
        return method.Params(**values)
    except ValidationError as error:
        refused = ((".".join(map(str, one["loc"])), one) for one in error.errors())
        together = " ".join(f"--{name} {value}" for name, value in values.items())
        raise UserError(
            [
                Problem(found=f"--{name} is {one['input']!r}"[:200], allowed=allowed(one))
                if name
                else Problem(found=f"{together}: {allowed(one)}")
                for name, one in refused
            ]
        ) from error


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
    more = f"; {rest} more left out" if rest else ""
    echo(f"{out}: {quantity(written, 'tensor')}, {found.name} -> {layout}{more}")


@command.command("export")
@MANIFEST
@click.argument("row")
@click.argument("out", type=FILE_OR_FOLDER)
@LAYOUT
@click.option("--hub", is_flag=True, help="OUT is a folder as Hugging Face holds models, from which timm loads.")
@click.pass_obj
def export(settings: Settings, manifest: Path, row: str, out: Path, layout: str, hub: bool) -> None:
    """Write the pre-trained encoder of ROW (a row name of MANIFEST) to OUT, with a data sheet and a model card.

    OUT.json and OUT.md hold what a user of the weights must know: input size, mean and SD, method, source, licence,
    deviations, limits. With --hub these are model.safetensors, data_sheet.json, README.md and config.json in OUT.
    """
    from refers_bench.render import model_card

    if hub and layout != "timm":
        raise UserError(
            f"--hub with --layout {layout}", allowed="--layout timm: Hugging Face's users load it with timm"
        )
    out = _target(out, hub=hub)
    plan = planned(settings, manifest)
    jobs = {job.name.split(".")[1]: job for job in plan.jobs if job.kind == "pretrain"}
    if row not in jobs:
        raise UserError(unknown("pre-trained row", row, jobs))
    job, store = jobs[row], settings.store
    record = store.record(job.key)
    if record is None:
        allowed = f"'refers-bench run {manifest}' first, or --results with where it was"
        raise UserError(f"'{row}' is not pre-trained yet", allowed=allowed, path=settings.results)
    weights, _ = _converted(store.file(job.key, "checkpoint.safetensors"))
    parts, specs = source_parts(job.spec), {one.key: one.spec for one in plan.jobs}
    sheet = plugins.resolve("refers_bench.training.data_sheets:data_sheet")(
        record,
        method=plugins.load("method", job.spec["method"]),
        layout=layout,
        sources={part["dataset"]: plugins.load("dataset", reader_of(part)) for part in parts},
        phantoms={part["dataset"] for part in parts if specs[part["prepare"]].get("phantom")},
        architecture="ResNet" if any(name.startswith("net.") for name in weights) else "vision transformer",
    )
    written = _write(out, weights, layout, {"data_sheet": json.dumps(sheet)})
    sheet_path = out.with_name("data_sheet.json" if hub else f"{out.name}.json")
    publish_json(sheet_path, sheet)
    if hub:
        publish_json(
            out.with_name("config.json"), plugins.resolve("refers_bench.training.data_sheets:hub_config")(sheet)
        )
    card_path = out.with_name("README.md" if hub else f"{out.name}.md")
    preset = str(plan.manifest["protocol"]["preset"])
    how: dict[str, Any] = {"row": row, "preset": preset, "sheet_name": sheet_path.name}
    publish_bytes(card_path, model_card.card(sheet, **how, deviations=_deviations(plan, row)).encode())
    for line in (f"{out}: {quantity(written, 'tensor')}", f"{sheet_path}: data sheet", f"{card_path}: model card"):
        echo(line)


def _target(out: Path, *, hub: bool) -> Path:
    """The file of the weights."""
    if hub and out.is_file():
        raise UserError("a file", allowed="a folder, which is made where it is not there", path=out)
    if not hub and out.is_dir():
        raise UserError("a folder", allowed="a file that ends in .safetensors, or --hub", path=out)
    return out / "model.safetensors" if hub else out


def _deviations(plan: Plan, row: str) -> Table | None:
    """The deviation ledger of a row's pre-training: without what concerns fine-tuning or other rows."""
    from refers_bench.analysis.results import Results
    from refers_bench.reports import deviations

    def about(name: str) -> bool:
        base, _, where = name.partition(" [")
        return not base.startswith(("finetune.", "frozen.", "image.finetune_augment.")) and where in ("", f"{row}]")

    values = {name: value for name, value in plan.values.items() if about(name)}
    # The ledger reads nothing but the plan.
    found = deviations.build(Results(name=plan.name, plan=replace(plan, values=values), store=Path()))
    return found if found and found.rows else None


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
