"""Describes an archive of results as an RO-Crate: its files, the program, the commands, the licences of the data.

Source: RO-Crate Metadata Specification 1.1 (w3id.org/ro/crate/1.1).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from refers_bench import __version__
from refers_bench.analysis.cards import cards
from refers_bench.analysis.results import Results

NAME = "ro-crate-metadata.json"
CONTEXT, CONFORMS_TO = "https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/crate/1.1"
_PROGRAM, _RUN = "#refers-bench", "#commands"
#: Ending -> media type.
FORMATS = {
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".html": "text/html",
    ".tex": "application/x-tex",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
}


def metadata(results: Results, members: Mapping[str, bytes | Path], *, commands: Iterable[str]) -> bytes:
    """The description of an archive; equal results and members give equal bytes.

    Args:
        results: that are in it.
        members: name -> content, or the file that holds it, without this one.
        commands: that make the results again.
    """
    licences = _licences(results)
    dates = sorted(str(record["started"]) for record in results.records.values() if record.get("started"))
    made = f"Synthetic: {_names(results)}. " if results.synthetic else ""
    done = f"{sum(planned.run.counts for planned in results.planned)} of {len(results.planned)} cells have a figure"
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": results.plan.title or results.name,
        "description": f"{made}Results of the manifest {results.name}: plan, predictions, metrics, records and report; "
        f"{done}. They derive from data under the licences named here, and have no licence of their own.",
        # That of the last result: an archive that is made again has the same bytes.
        **({"datePublished": dates[-1]} if dates else {}),
        "license": _ids(licences),
        "hasPart": [{"@id": quote(name)} for name in sorted(members)],
        "mentions": [{"@id": _RUN}],
    }
    about = {"@id": NAME, "@type": "CreativeWork", "conformsTo": {"@id": CONFORMS_TO}, "about": {"@id": "./"}}
    program = {"@id": _PROGRAM, "@type": "SoftwareApplication", "name": "refers-bench", "version": __version__}
    run = {
        "@id": _RUN,
        "@type": "CreateAction",
        "name": "How the results are made again",
        "description": "; ".join(commands),
        "instrument": {"@id": _PROGRAM},
        "result": {"@id": "./"},
    }
    graph = [about, root, program, run, *licences, *(_file(name, members[name]) for name in sorted(members))]
    content = {"@context": CONTEXT, "@graph": graph}
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _names(results: Results) -> str:
    return ", ".join(sorted({f"{target.dataset}: {target.task}" for target in results.synthetic}))


def _licences(results: Results) -> list[dict[str, Any]]:
    """An entity for the licence of each dataset."""
    found = [
        {
            "@id": f"#licence-{quote(name)}",
            "@type": "CreativeWork",
            "name": f"Licence of {card.label}",
            "description": card.licence or "not stated",
        }
        for name, card in cards(results).items()
    ]
    none = {"@id": "#licence", "@type": "CreativeWork", "name": "Licence", "description": "not stated"}
    return found or [none]


def _ids(entities: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": one["@id"]} for one in entities]


def _file(name: str, content: bytes | Path) -> dict[str, Any]:
    """The entity of a file; its checksum stands in SHA256SUMS."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    form = FORMATS.get(Path(name).suffix)
    kind = {"encodingFormat": form} if form else {}
    return {"@id": quote(name), "@type": "File", "name": name, "contentSize": str(size), **kind}
