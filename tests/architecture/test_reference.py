"""The reference is what the code says: its pages are as written from it, and name every key, option and value."""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from command_surface import commands, spellings
from reference_pages import FOLDER, TABLES, built_in, examples, manifest_parts, pages
from reference_words import Node, cell
from refers_bench import plugins
from refers_bench.cli import COMMANDS, group
from refers_bench.data.own_splits import Split
from refers_bench.manifest import protocols, schema
from refers_bench.manifest.analysis_schema import AnalysisPart, PrimaryPart
from refers_bench.manifest.cluster_schema import SlurmPart, SlurmResources
from refers_bench.manifest.protocol_schema import CONSTANTS
from refers_bench.manifest.ray_schema import RayPart
from refers_bench.store import schemas

WRITTEN = pages()


def section(page: str, heading: str) -> str:
    """What stands on a page below a heading, up to the next one of its kind or above."""
    text = (FOLDER / page).read_text(encoding="utf-8")
    assert f"\n{heading}\n" in text, heading
    below = text.split(f"\n{heading}\n", 1)[1]
    return below.split("\n## ", 1)[0].split("\n### ", 1)[0]


def test_the_committed_pages_are_those_and_no_others() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(WRITTEN), "run nox -s reference"


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_a_page_is_what_the_code_gives(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == WRITTEN[name], "run nox -s reference"


def test_every_key_of_a_manifest_has_a_row_with_a_meaning() -> None:
    seen = 0
    for path, node in manifest_parts():
        listed = section("manifest.md", f"## `{path}`" if path else "## The whole file")
        for key in node.get("properties", {}):
            (row,) = [line for line in listed.splitlines() if line.startswith(f"| `{key}` |")]
            assert row.rstrip("| ").count(" | ") == 3, f"{path}.{key} has no description: {row}"
            seen += 1
    paths = [path for path, _ in manifest_parts()]
    assert len(paths) == len(set(paths)) and seen > 80
    assert {"data.NAME.table", "execution.slurm.kinds.NAME", "execution.ray", "seeds", "targets[]"} <= set(paths)


def model_of(path: str) -> type[BaseModel]:
    """The model that a mapping of a manifest is read with."""
    fields: dict[str, type[BaseModel]] = {
        "": schema.ManifestSchema, "protocol": schema.ProtocolPart, "data.NAME": schema.DataPart,
        "source": schema.SourcePart, "methods[]": schema.MethodPart, "targets[]": schema.TargetPart,
        "seeds": schema.SeedsPart, "execution": schema.ExecutionPart, "execution.slurm": SlurmPart,
        "execution.slurm.kinds.NAME": SlurmResources, "execution.ray": RayPart,
        "analysis": AnalysisPart, "analysis.columns[]": PrimaryPart,
    }  # fmt: skip
    if path.endswith(".split"):
        return Split
    return fields[path] if path in fields else plugins.load("dataset", path.rpartition(".")[2]).Declared


@pytest.mark.parametrize(("path", "node"), manifest_parts(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_key_of_a_manifest_has_an_example_that_can_be_read(path: str, node: Node) -> None:
    shown: set[str] = set()
    for text in examples()[path]:
        content = YAML(typ="safe").load(text)
        if path == "":  # ids of methods become mappings before the schema sees them
            content["methods"] = [{"id": one} for one in content["methods"]]
        model_of(path).model_validate(content)
        shown |= set(content)
        assert text in section("manifest.md", f"## `{path}`" if path else "## The whole file")
    refused = {"column"} if path == "data.NAME.folder.split" else set()  # folders have no columns
    assert shown == set(node["properties"]) - refused


def test_every_option_of_every_command_has_a_row() -> None:
    seen = 0
    for name, command in commands(group, "refers-bench"):
        listed = section("commands.md", f"{'##' if name.count(' ') < 2 else '###'} `{name}`")
        for parameter in command.params:
            written = cell(f"`{spellings(parameter)}`")
            assert f"| {written} |" in listed, (name, written)
            seen += 1
    assert seen > 100
    codes = (FOLDER / "exit_codes.md").read_text(encoding="utf-8")
    assert all(f"`{command}`" in codes for command in COMMANDS)


@pytest.mark.parametrize("name", protocols.names())
def test_every_value_of_a_preset_stands_with_its_source(name: str) -> None:
    for dataset in ("", *plugins.names("dataset")):
        general = protocols.resolve(name)
        for dotted, value in protocols.resolve(name, dataset=dataset).items():
            if dataset and value == general.get(dotted):
                continue
            listed = section(f"preset_{name}.md", f"## On `{dataset}`" if dataset else f"## `{dotted.split('.')[0]}`")
            (row,) = [line for line in listed.splitlines() if line.startswith(f"| `{dotted}` |")]
            assert len([text for text in row.split(" | ") if text.strip(" |")]) >= 3, f"no source: {row}"
    for dotted in CONSTANTS:
        assert f"| `{dotted}` |" in WRITTEN["constants.md"]


@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_every_plug_in_stands_with_its_parameters(kind: str) -> None:
    own = built_in(kind)
    assert len(own) >= 10
    for name, plugin in own.items():
        listed = section(f"{kind}s.md", f"## `{name}`")
        for field in plugin.Params.model_fields:
            assert f"| `{field}` |" in listed, (name, field)
        for task in plugin.tasks if kind == "dataset" else ():
            assert f"| `{task}` |" in listed, (name, task)


def test_every_stored_column_has_a_row() -> None:
    assert set(TABLES) == set(schemas.SCHEMAS)
    for name, stored in schemas.SCHEMAS.items():
        assert all(f"| `{column}` |" in section("parquet.md", f"## `{name}`") for column in stored.names)


def test_the_python_page_names_what_the_package_offers() -> None:
    import refers_bench

    text = WRITTEN["python.md"]
    for name in ("plan", "run", "results", "StoredResults", "DrawnFigure", "JobsFailed", "UserError"):
        assert hasattr(refers_bench, name)
        assert f"`rb.{name}" in text or f"## `{name}`" in text
    assert all(f"### `.{name}`" in text for name in ("cells", "classes", "predictions", "compare", "figure", "report"))
