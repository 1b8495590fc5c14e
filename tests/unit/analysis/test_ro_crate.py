"""An archive's RO-Crate has what version 1.1 requires, names every file, and states no licence or date of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from refers_bench.analysis import ro_crate
from refers_bench.analysis.results import load

COMMANDS = ("refers-bench run m.yaml", "refers-bench report m.yaml")
MEMBERS: dict[str, bytes | Path] = {
    "results/store/a+b%_$/predictions.parquet": b"12345",
    "results/tiny/plan.lock.json": b"{}",
    "report/tables.tex": b"",
    "bundle.json": b"{}",
}


@pytest.fixture
def results(folder: Any) -> Any:
    """Two cells on a dataset with a card and one without, the later of which has the date of the crate."""
    folder.lock["title"] = 'A "title" <script> \u202e'
    for dataset, started in (("covid19_idc", "2026-01-02T00:00:00+00:00"), ("own", "2026-03-04T05:06:07+00:00")):
        path = folder.results / "store" / folder.cell(dataset=dataset) / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started": started}))
    return load(folder.save(), folder.name)


def test_what_the_specification_requires(results: Any) -> None:
    made = ro_crate.metadata(results, MEMBERS, commands=COMMANDS)
    assert made == ro_crate.metadata(results, dict(reversed(MEMBERS.items())), commands=COMMANDS), "same bytes"
    crate = json.loads(made)
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {one["@id"]: one for one in crate["@graph"]}
    assert len(graph) == len(crate["@graph"]), "no id twice"
    about, root = graph["ro-crate-metadata.json"], graph["./"]
    assert about["@type"] == "CreativeWork" and about["about"] == {"@id": "./"}
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset" and root["datePublished"] == "2026-03-04T05:06:07+00:00"
    assert root["name"] == 'A "title" <script> \u202e' and root["description"]
    parts = [one["@id"] for one in root["hasPart"]]
    assert {unquote(one) for one in parts} == set(MEMBERS)
    assert all(graph[one]["@type"] == "File" for one in parts)
    assert graph["results/store/a%2Bb%25_%24/predictions.parquet"]["contentSize"] == "5"
    # Every reference leads to an entity, but that to the specification itself.
    assert set(references(crate["@graph"])) <= {*graph, "https://w3id.org/ro/crate/1.1"}


def references(value: Any) -> list[str]:
    """Ids that are named by entities."""
    if isinstance(value, list):
        return [one for part in value for one in references(part)]
    if not isinstance(value, dict):
        return []
    return [value["@id"]] if list(value) == ["@id"] else [one for part in value.values() for one in references(part)]


def test_licences_are_those_of_the_data_and_nothing_is_invented(results: Any, folder: Any) -> None:
    graph = {one["@id"]: one for one in json.loads(ro_crate.metadata(results, {}, commands=()))["@graph"]}
    assert graph["./"]["license"] == [{"@id": "#licence-covid19_idc"}]
    assert graph["#licence-covid19_idc"]["description"] == "per image, in the metadata's license column"
    assert "Synthetic" not in graph["./"]["description"]
    folder.lock["cells"] = [{**folder.lock["cells"][1], "synthetic": True}]
    root = json.loads(ro_crate.metadata(load(folder.save(), folder.name), {}, commands=()))["@graph"][1]
    assert root["license"] == [{"@id": "#licence"}] and root["description"].startswith("Synthetic: own: ")


def test_without_a_result_there_is_no_date(folder: Any) -> None:
    folder.cell(state="failed")
    root = json.loads(ro_crate.metadata(load(folder.save(), folder.name), {}, commands=()))["@graph"][1]
    assert "datePublished" not in root


def test_the_reference_library_reads_it(results: Any, tmp_path: Path) -> None:
    """The RO-Crate community's own library finds the root, its files and the program."""
    library: Any = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    crate = tmp_path / "crate"
    for name, content in MEMBERS.items():
        (crate / name).parent.mkdir(parents=True, exist_ok=True)
        (crate / name).write_bytes(bytes(content))  # type: ignore[arg-type]
    (crate / ro_crate.NAME).write_bytes(ro_crate.metadata(results, MEMBERS, commands=COMMANDS))
    found = library.ROCrate(str(crate))
    assert {unquote(one.id) for one in found.data_entities} == set(MEMBERS)
    assert found.root_dataset["datePublished"].startswith("2026-03-04")
    (run,) = (one for one in found.contextual_entities if one.type == "CreateAction")
    assert run["instrument"]["name"] == "refers-bench" and COMMANDS[0] in run["description"]
