"""Compares the versions of constraints.txt with a local list of security advisories; alone, prints what it finds.

The list is a folder of OSV files (one JSON document an advisory, as osv.dev's archive of PyPI unpacks), named by the
environment variable ``REFERS_BENCH_ADVISORIES``: nothing is fetched. Without one this says that nothing was checked.

Source: OSV schema 1.7, ossf.github.io/osv-schema (affected, ranges, events, versions, withdrawn).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from dependency_tree import normal, pins

VARIABLE = "REFERS_BENCH_ADVISORIES"
NONE_AT_HAND = f"no advisory list at hand: not checked ({VARIABLE} names a folder of OSV files)"


def read(folder: Path) -> list[dict[str, Any]]:
    """All advisories of a folder and those below; withdrawn ones are left out."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    return [one for one in found if "affected" in one and not one.get("withdrawn")]


def concerns(affected: Mapping[str, Any], version: Version) -> bool:
    """Whether an entry of ``affected`` holds a version: by its list, or by one of its ranges."""
    if str(version) in affected.get("versions", ()):
        return True
    ranges = (one["events"] for one in affected.get("ranges", ()) if one["type"] == "ECOSYSTEM")
    return any(_within(events, version) for events in ranges)


def _within(events: list[Mapping[str, str]], version: Version) -> bool:
    """Whether the last event up to a version leaves it affected. Those behind a number that is none are left out."""
    inside = False
    for kind, number in sorted(_numbered(events), key=lambda event: event[1]):
        if number < version or (number == version and kind != "last_affected"):
            inside = kind == "introduced"
    return inside


def _numbered(events: list[Mapping[str, str]]) -> Iterator[tuple[str, Version]]:
    for event in events:
        for kind in event.keys() & {"introduced", "fixed", "last_affected"}:
            try:
                yield kind, Version(event[kind])
            except InvalidVersion:
                continue


def findings(advisories: list[dict[str, Any]], versions: Mapping[str, Version]) -> list[str]:
    """A line for each advisory that concerns one of these versions."""
    lines = []
    for one in advisories:
        for affected in one["affected"]:
            package = affected.get("package", {})
            name = normal(package.get("name", ""))
            if package.get("ecosystem") == "PyPI" and name in versions and concerns(affected, versions[name]):
                names = ", ".join([one["id"], *one.get("aliases", ())])
                lines.append(f"{name} {versions[name]}: {names}: {one.get('summary', 'no summary')}")
    return sorted(set(lines))


def main() -> int:
    """Print what was found; exit code 1 for an advisory that concerns a tested version, or for an empty list."""
    if not (named := os.environ.get(VARIABLE)):
        print(NONE_AT_HAND)
        return 0
    advisories, versions = read(Path(named)), pins()
    lines = findings(advisories, versions) if advisories else [f"{named}: no advisory in this folder"]
    newest = max((one.get("modified", "") for one in advisories), default="none")
    print(*lines, f"{len(versions)} versions, {len(advisories)} advisories, the newest of {newest}", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
