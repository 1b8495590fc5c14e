"""Writes the pages below docs/reference from the code: manifest, presets, plug-ins, commands, tables, Python.

``python tests/support/reference_pages.py`` writes them; a test compares what is committed with what the code gives.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from command_surface import commands, exit_codes, spellings, type_of
from reference_words import Node, code, default, items, keys, kind, prose, references, sections, table
from refers_bench import api, plugins
from refers_bench.cli import COMMANDS, group
from refers_bench.manifest import protocols, schema, yaml_text
from refers_bench.manifest.packs import roots_of
from refers_bench.manifest.protocol_schema import CONSTANTS, ProtocolSchema
from refers_bench.reporting.frames import DrawnFigure, StoredResults
from refers_bench.store import schemas

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
WRITTEN = "Written from the code by `nox -s reference`; not to be edited.\n"
#: Stored table -> where it lies and what a row is.
TABLES = {
    "predictions": "`predictions.parquet` of a finished cell: one row for each image and class",
    "metrics": "`metrics.parquet` of a finished cell: one row for each class and split",
    "history": "`history.parquet` of a training: one row for each recorded step and quantity",
    "words": "`words.parquet` of a discovery of visual words: one row for each place of a word",
    "annotated": "`annotated.parquet` of an explained cell: boxes that annotators drew, as shares of the image's sides",
    "predicted": "`predicted.parquet` of an explained cell: boxes drawn around what a map marks",
    "overlaps": "`overlaps.parquet` of an explained cell: how far boxes and maps meet, beside a centred box",
}


def page(title: str, *parts: str) -> str:
    """A page of the reference."""
    return "\n".join((f"# {title}", "", WRITTEN, *(f"{part.strip()}\n" for part in parts if part.strip())))


def built_in(which: str) -> dict[str, Any]:
    """The plug-ins of this package by name, whatever others are installed."""
    own = (name for name, module in plugins.names(which).items() if module.startswith("refers_bench."))
    return {name: plugins.load(which, name) for name in own}


def manifest_parts() -> list[tuple[str, Node]]:
    """Every mapping of a manifest with the way that leads to it, '' for the whole."""
    whole = schema.json_schema()
    found: list[tuple[str, Node]] = []

    def visit(path: str, node: Node) -> None:
        found.append((path, node))
        for name, one in node.get("properties", {}).items():
            below = f"{path}.{name}".lstrip(".")
            for suffix, definition in references(one):
                way = f"{below}{suffix}".replace("source[]", "source")
                if way not in [known for known, _ in found]:
                    visit(way, whole["$defs"][definition])
            if "properties" in one:
                visit(below, one)

    visit("", whole)
    return found


def examples() -> dict[str, list[str]]:
    """Way to a mapping of a manifest -> YAML of one or several examples."""
    listed = yaml_text.read(Path(__file__).with_name("reference_examples.yaml")).content
    return {path: text.split("---\n") for path, text in listed.items()}


def manifest() -> str:
    """The keys of a manifest."""
    definitions = schema.json_schema()["$defs"]
    parts = [
        "A manifest is a YAML file. `[]` stands for an item of a list, `NAME` for a name of your own. Keys that are not "
        "listed are refused. `refers-bench validate --json-schema` prints the same for editors."
    ]
    for path, node in manifest_parts():
        about = prose(re.split(r"\n\n", node.get("description", ""))[0])
        parts += [f"## `{path}`" if path else "## The whole file", about, keys(node, definitions)]
        parts.append("\n\nor\n\n".join(f"```yaml\n{text}```" for text in examples()[path]))
    parts.append(
        "Parameters below `methods[].params` are those of the [method](methods.md), below `source.params` and "
        "`targets[].params` those of the [dataset](datasets.md); `overrides` take the [constants](constants.md)."
    )
    return page("Keys of a manifest", *parts)


def constants() -> str:
    """All training constants, with types, ranges and the value of each preset."""
    whole = ProtocolSchema.model_json_schema()
    presets = {name: protocols.resolve(name) for name in protocols.names()}
    parts = [
        "Every value that moves a result has a dotted name: `--set finetune.steps=300`, or `protocol.overrides` in a "
        "manifest. Sources stand on the page of each preset: "
        + ", ".join(f"[{name}](preset_{name}.md)" for name in presets)
        + ". An empty cell under *default* means that each preset states the value."
    ]

    def visit(path: str, node: Node) -> None:
        rows = []
        for name, one in node["properties"].items():
            dotted = f"{path}.{name}".lstrip(".")
            if "$ref" not in one:
                given = default(one, required=False) if "default" in one else ""
                values = [
                    code(presets[preset][dotted].value) if dotted in presets[preset] else "" for preset in presets
                ]
                rows.append((f"`{dotted}`", kind(one), given, *values))
        if path:
            parts.append(f"## `{path}`")
            parts.append(prose(node.get("description", "")))
        parts.append(table(("constant", "value", "default", *presets), rows))
        for name, one in node["properties"].items():
            if "$ref" in one:
                visit(f"{path}.{name}".lstrip("."), whole["$defs"][one["$ref"].rpartition("/")[2]])

    visit("", whole)
    return page("Training constants", *parts)


def preset(name: str) -> str:
    """Every value of a preset with its source."""
    values = protocols.resolve(name)
    head = ("constant", "value", "source", "")

    def rows(chosen: Mapping[str, protocols.Value]) -> Iterator[tuple[str, ...]]:
        for dotted, value in chosen.items():
            said = "" if value.stated else "not stated by the source"
            notes = "; ".join(filter(None, (said, prose(value.deviation))))
            yield f"`{dotted}`", code(value.value), prose(value.origin), notes

    parts = [
        "*Source* begins with the preset that states the value: a preset takes what it does not state from the one it is "
        "based on."
    ]
    ordered = {dotted: values[dotted] for dotted in CONSTANTS if dotted in values}
    for section in protocols.SECTIONS:
        own = {dotted: value for dotted, value in ordered.items() if dotted.startswith(f"{section}.")}
        parts += [f"## `{section}`", table(head, rows(own))]
    for dataset in built_in("dataset"):
        special = protocols.resolve(name, dataset=dataset)
        changed = {dotted: value for dotted, value in special.items() if value != values.get(dotted)}
        if changed:
            parts += [f"## On `{dataset}`", table(head, rows(changed))]
    return page(f"Preset `{name}`", *parts)


def parameters(model: Any) -> str:
    """The table of a plug-in's parameters, or that it has none."""
    node = model.model_json_schema()
    return keys(node, node.get("$defs", {})) or "No parameters."


def methods() -> str:
    """The methods with their parameters."""
    parts = ["`methods: [ID, {id: ID, params: {...}}]` of a manifest; `refers-bench methods list` shows them, too."]
    for name, method in built_in("method").items():
        facts = [
            f"**{prose(method.label)}.** Source: {prose(method.source)}.",
            "A floor: what can be reached without looking at anatomy." if method.floor else "",
            f"Needs {' and '.join(sorted(method.needs))} of the source dataset." if method.needs else "",
            "" if method.build_objective else "Is not pre-trained here.",
        ]
        stated = [
            (f"`{key}`", code(value), prose(source), size)
            for size, own in (("all", method.constants), ("full size", method.recipe))
            for key, (value, source) in own.items()
        ]
        parts += [f"## `{name}`", " ".join(filter(None, facts)), parameters(method.Params)]
        if stated:
            parts += ["Constants that belong to the method:", table(("constant", "value", "source", "presets"), stated)]
    return page("Methods", *parts)


def datasets() -> str:
    """The datasets with their tasks and parameters."""
    parts = [
        "`targets: [{dataset: ID, tasks: [...]}]` and `source: {dataset: ID}` of a manifest. The files are found by data "
        "roots: `REFERS_BENCH_ROOT_<NAME>`, or `data_roots` of the user config file."
    ]
    for name, dataset in built_in("dataset").items():
        lists = ", ".join(roots_of(dataset.lists(dataset.Params())))
        facts = [
            f"**{prose(dataset.label)}.** From: {prose(dataset.source)}. Licence: {prose(dataset.licence)}.",
            f"Data root of the split lists: `{lists}`." if lists else "",
            "Procedural images." if dataset.synthetic else "",
        ]
        tasks = [
            (f"`{task}`", prose(card.label), ", ".join(card.classes) or "those of the data")
            for task, card in dataset.tasks.items()
        ]
        declared = f"Declared below `data.NAME.{name}`: [keys](manifest.md)." if dataset.Declared else ""
        quirks = "\n".join(f"- {prose(quirk)}" for quirk in dataset.quirks)
        parts += [f"## `{name}`", " ".join(filter(None, facts)), declared, table(("task", "title", "classes"), tasks)]
        parts += [parameters(dataset.Params), quirks]
    return page("Datasets", *parts)


def reports() -> str:
    """The tables and figures that a report is made of."""
    rows = [
        (f"`{name}`", prose(report.label), plugins.REPORT_PARTS[report.part])
        for name, report in built_in("report").items()
    ]
    engines = [f"`{name}`" for name in plugins.ENGINES]
    return page(
        "Tables, figures and executors",
        "`tables: [ID]` of a manifest names those that it is for; a report shows each that its results can fill.",
        table(("id", "title", "part of the page"), rows),
        f"Executors (`execution.executor`): {', '.join(engines)}; see [executors](../executors.md).",
    )


def command_line() -> str:
    """Every command with its arguments and options."""
    parts = ["Options of `refers-bench` itself stand before the command: `refers-bench --results DIR run smoke`."]
    for name, command in commands(group, "refers-bench"):
        rows = [
            (f"`{spellings(one)}`", *option(one), prose(getattr(one, "help", None) or "")) for one in command.params
        ]
        text = inspect.cleandoc(command.help or "").replace("\b", "")
        parts += [f"{'##' if name.count(' ') < 2 else '###'} `{name}`", prose(re.sub(r"\n{3,}", "\n\n", text))]
        parts.append(table(("parameter", "value", "default", "meaning"), rows))
    return page("Commands", *parts)


def option(parameter: click.Parameter) -> tuple[str, str]:
    """What a parameter may be, and its default, both in words."""
    words = ["flag"] if isinstance(parameter, click.Option) and parameter.is_flag else [type_of(parameter.type)]
    if isinstance(parameter, click.Option) and not parameter.is_flag and parameter._flag_needs_value:
        words.append(f"alone means {parameter.flag_value}")
    words += ["repeatable"] if parameter.multiple or parameter.nargs == -1 else []
    given = parameter.to_info_dict()["default"]
    said = "**required**" if parameter.required else ""
    if given is not None and given is not False and given != ():
        said = f"`{', '.join(map(str, given)) if isinstance(given, tuple | list) else given}`"
    if parameter.envvar:
        said = f"{said} environment variable `{parameter.envvar}`".strip()
    return prose("; ".join(words)), said


def codes() -> str:
    """What exit codes mean, for all commands and for those with codes of their own."""
    found = [(f"`{name}`", exit_codes(command)) for name, command in commands(group, "refers-bench")]
    rows = [(name, prose(text.partition(":")[2].strip() if ": " in text else text)) for name, text in found if text]
    return page(
        "Exit codes",
        "A user's mistake is told in one line for each problem, without a traceback, and ends with 2; a bug keeps its "
        "traceback and ends with 1; Ctrl-C ends with 130.",
        table(("command", "exit codes"), rows),
        f"Commands: {', '.join(f'`{name}`' for name in COMMANDS)}. One that is not in the table has the codes of "
        "`refers-bench`.",
    )


def parquet() -> str:
    """The columns of every stored table."""
    parts = [
        f"Version {schemas.VERSION} of all schemas; each file names its own in its metadata (`refers_bench.schema`). Equal "
        "tables have equal bytes."
    ]
    for name, stored in schemas.SCHEMAS.items():
        rows = [(f"`{one.name}`", str(one.type), "may be null" if one.nullable else "") for one in stored]
        parts += [f"## `{name}`", f"{TABLES[name]}.", table(("column", "type", ""), rows)]
    return page("Stored tables (Parquet)", *parts)


def docstring(text: str) -> str:
    """A docstring as Markdown."""
    parts = []
    for heading, body in sections(text):
        if heading in ("Args", "Attributes", "Raises"):
            title = {"Args": "argument", "Attributes": "attribute", "Raises": "raised"}[heading]
            parts.append(table((title, "meaning"), [(f"`{name}`", prose(about)) for name, about in items(body)]))
        else:
            parts.append(prose(f"{heading}: {body}" if heading else body))
    return "\n\n".join(part.strip() for part in parts)


def python() -> str:
    """The Python interface."""
    parts = ["`import refers_bench as rb` offers what follows; a [notebook](../notebook.ipynb) shows it at work."]
    parts.append(docstring(api.__doc__ or ""))
    for name in ("plan", "run", "results"):
        function = getattr(api, name)
        parts += [f"## `rb.{name}`", f"`rb.{name}{signature(function)}`", docstring(inspect.getdoc(function) or "")]
    for kind_ in (StoredResults, DrawnFigure, api.JobsFailed, api.UserError):
        parts += [f"## `{kind_.__name__}`", docstring(inspect.getdoc(kind_) or "")]
        fields = {field.name for field in dataclasses.fields(kind_)} if dataclasses.is_dataclass(kind_) else set()
        for name, member in vars(kind_).items():
            if name.startswith("_") or name in fields or kind_ is api.UserError:
                continue
            if inspect.isfunction(member):
                parts += [f"### `.{name}`", f"`.{name}{signature(member)}`", docstring(inspect.getdoc(member) or "")]
            elif inspect.isdatadescriptor(member) or hasattr(member, "func"):
                parts += [f"### `.{name}`", docstring(inspect.getdoc(member) or "")]
    return page("Python", *parts)


def signature(function: Any) -> str:
    """Arguments with their types and defaults, without `self`; annotations are text, shown without quotes."""
    found = inspect.signature(function)

    def shown(one: inspect.Parameter) -> inspect.Parameter:
        return one.replace(annotation=Unquoted(one.annotation))

    kept = [shown(one) for name, one in found.parameters.items() if name != "self"]
    return str(found.replace(parameters=kept, return_annotation=Unquoted(found.return_annotation)))


class Unquoted(str):
    """Text that is shown as it is."""

    def __repr__(self) -> str:
        return str(self)


def pages() -> dict[str, str]:
    """File name -> text of every page."""
    made = {
        "manifest.md": manifest(),
        "constants.md": constants(),
        "methods.md": methods(),
        "datasets.md": datasets(),
        "reports.md": reports(),
        "commands.md": command_line(),
        "exit_codes.md": codes(),
        "parquet.md": parquet(),
        "python.md": python(),
    }
    return made | {f"preset_{name}.md": preset(name) for name in protocols.names()}


def main() -> None:
    """Write every page, and remove those that are no longer written."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
