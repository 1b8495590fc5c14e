"""Results become an entry of a registry that says nothing of the machine, and entries become a page without trust."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from command_line import command, command_in

HOSTILE = '<script>alert("x")</script>{{ 7*7 }}\x1b[31m'


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rows x two seeds on 40 images, whose records name folders and a node of this machine."""
    folder = tmp_path_factory.mktemp("made here")
    rng = np.random.default_rng(0)
    rows = [
        {"method": method, "dataset": "own", "task": "t", "label_ratio": 1, "class": label, "image_id": f"image-{n}",
         "patient_id": f"patient-{n // 2}", "label": int(n % 3 == 0), "seed": seed, "selected_on": "val",
         "score": rng.normal() + (n % 3 == 0) * strength}
        for method, strength in (("refers", 2.0), ("c2l", 1.0))
        for seed in (0, 1) for n in range(40) for label in ("x", "y")
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "mine.csv", index=False)
    done = command_in(folder / "r", "results", "import", "csv", str(folder / "mine.csv"))
    assert done.code == 0, done.err
    for path in (folder / "r" / "store").glob("*/run.json"):
        record = json.loads(path.read_text())
        record["provenance"] = {
            "git": {"commit": "c0ffee" * 6, "dirty": False}, "packages": {"python": "3.11.7"}, "threads": 3,
            "roots": {"own": str(folder / "data")}, "hardware": {"cpu": "A CPU", "cores": 2, "memory_bytes": 2**33},
            "scheduler": {"name": "slurm", "node": "secret-node"}, "python": str(folder / "venv"),
        }  # fmt: skip
        path.write_text(json.dumps(record))
    return folder / "r"


@pytest.fixture(scope="module")
def entry(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    done = command_in(results, "results", "publish", "mine", "--out", str(folder))
    assert done.code == 0, done.err
    (path,) = folder.iterdir()
    assert done.out.startswith(f"{path}: 4 of 4 cells with a figure\nbundle: sha256 ")
    return path


def test_an_entry_holds_digest_metrics_and_provenance_and_no_ids_or_paths(
    results: Path, entry: Path, tmp_path: Path
) -> None:
    text = entry.read_text(encoding="utf-8")
    found = json.loads(text)
    with contextlib.chdir(tmp_path):
        assert command_in(results, "results", "bundle", "mine").code == 0
    bundle = (tmp_path / "mine.tar.gz").read_bytes()
    assert found["bundle"] == {"sha256": hashlib.sha256(bundle).hexdigest(), "bytes": len(bundle)}
    assert entry.name == f"mine-{found['bundle']['sha256'][:12]}.json"
    assert len(found["cells"]) == 4 and {len(cell["classes"]) for cell in found["cells"]} == {2}
    for cell in found["cells"]:
        aucs = [one["auc"] for one in cell["classes"] if one["split"] == "test"]
        assert cell["mean_auc"] == pytest.approx(sum(aucs) / 2) and cell["classes"][0]["n_pos"] == 14
    (environment,) = found["environments"]
    assert environment["git"]["commit"] == "c0ffee" * 6 and environment["packages"] == {"python": "3.11.7"}
    assert environment["hardware"]["cpu"] == "A CPU" and environment["jobs"] == 4
    for word in ("image-", "patient-", str(results.parent), str(Path.home()) + "/", "secret-node"):
        assert word not in text, word


def build(folder: Path, out: Path) -> Any:
    return command("results", "registry", "build", str(folder), "--out", str(out))


class Parsed(HTMLParser):
    """Names of elements, with what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_a_page_ranks_the_entries_and_escapes_what_they_say(entry: Path, tmp_path: Path) -> None:
    folder, hostile = tmp_path / "entries", json.loads(entry.read_text())
    (folder / "a").mkdir(parents=True)
    (folder / "a" / entry.name).write_bytes(entry.read_bytes())
    hostile["bundle"]["sha256"], hostile["title"], hostile["protocol"], hostile["limit"] = "b" * 64, HOSTILE, HOSTILE, 8
    hostile["commands"], hostile["datasets"] = (
        [HOSTILE],
        {HOSTILE: dict.fromkeys(("label", "source", "licence"), HOSTILE)},
    )
    hostile["environments"][0]["packages"] = {HOSTILE: HOSTILE}
    for cell in hostile["cells"]:
        cell.update(
            method=f"{cell['method']}{HOSTILE}", label=HOSTILE + cell["method"], footnotes=[HOSTILE], synthetic=True
        )
        for one in cell["classes"]:
            one["name"] += HOSTILE
    (folder / "hostile.json").write_text(json.dumps(hostile))
    done = build(folder, tmp_path / "page")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'page' / 'index.html'}: 2 entries, 1 table\n"
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    elements = Parsed(text).elements
    assert (
        [tag for tag, _ in elements].count("script") == 1 and "<script>alert" not in text and "&lt;script&gt;" in text
    )
    assert "\x1b" not in text and "49" not in re.findall(r"script&gt;(\d+)", text)
    assert not [value for _, attributes in elements for name, value in attributes.items() if name in ("src", "href") and value
                and not value.startswith(("#", "data:"))], "no network"  # fmt: skip
    assert "default-src 'none'" in text and 'class="sortable' in text
    titles = re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', text)
    plain = [re.sub(r"<wbr>|&lt;.*?31m", "", title) for title in titles]
    assert [title.split(" ")[0][-6:] for title in plain] == ["refers", "c2l", "refers", "c2l"], (
        "whole data first, best first"
    )
    means = [float(value) for value in re.findall(r'<th scope="row">.*?data-value="([\d.]+)"', text, flags=re.DOTALL)]
    first = [cell["mean_auc"] for cell in json.loads(entry.read_text())["cells"] if cell["method"] == "refers"]
    assert means[0] == pytest.approx(sum(first) / 2 * 100) and means[0] > means[1]
    assert "at most 8 images of each split" in text and "limited data" in text and "Synthetic data." in text
    assert build(folder, tmp_path / "again").code == 0
    assert (tmp_path / "again" / "index.html").read_bytes() == text.encode()


def change(where: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        *parts, last = where.split(".")
        node: Any = content
        for part in parts:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[int(last) if isinstance(node, list) else last] = value

    return apply


WRONG = {
    "bundle.sha256": ("../../etc/passwd", "bundle.sha256: is '../../etc/passwd'"),
    "name": ("<b>", "name: is '<b>'"),
    "version": (2, "version: is 2"),
    "extra": (1, "extra: unknown key"),
    "cells": ([], "cells: is []"),
    "cells.0.mean_auc": (0.99, "cells.0.mean_auc: is 0.99, its classes give 0."),
    "cells.1.mean_auc": (None, "cells.1.mean_auc: is None, its classes give 0."),
    "cells.0.classes.0.auc": (1.5, "cells.0.classes.0.auc: is 1.5"),
    "cells.0.classes.1.auc": (float("nan"), "cells.0.classes.1.auc: is nan"),
    "cells.0.classes.1.undefined": ("no positives", "cells.0.classes.1: an AUC, or else a reason"),
    "cells.0.state": ("failed", "cells.0: has metrics and is failed"),
    "cells.0.label_ratio": ("all", "cells.0.label_ratio: is 'all'"),
    "cells.1.seed": (0, "cells.1: a cell that stands there before"),
    "cells.0.evaluation": ("<b>", "cells.0.evaluation: is '<b>'"),
    "cells.0.selected_on": ("me", "cells.0.selected_on: is 'me'"),
    "bundle.bytes": (10**400, "bundle.bytes: is 1000"),
    "environments.0.hardware.memory_bytes": ("much", "environments.0.hardware.memory_bytes: is 'much'"),
}  # fmt: skip


def test_malformed_entries_are_one_error_each_with_its_path(entry: Path, tmp_path: Path) -> None:
    folder = tmp_path / "entries"
    folder.mkdir()
    for place, (where, (value, _)) in enumerate(WRONG.items()):
        content = json.loads(entry.read_text())
        content["bundle"]["sha256"] = f"{place:064x}"
        change(where, value)(content)
        (folder / f"{place:02}.json").write_text(json.dumps(content))
    more = {"90.json": b"{", "91.json": b"\xff\xfe", "92.json": b"[]", "93.json": b""}
    for name, content_of in more.items():
        (folder / name).write_bytes(content_of)
    (folder / "95.json").symlink_to(entry)
    (folder / "96.json").write_bytes(entry.read_bytes())
    (folder / "97.json").write_bytes(entry.read_bytes())
    done = build(folder, tmp_path / "page")
    assert (done.code, done.out) == (2, "") and not (tmp_path / "page").exists()
    lines = [line for line in done.err.splitlines() if ".json: " in line]
    assert len(lines) == len(WRONG) + 6, done.err
    for place, (_, found) in enumerate(WRONG.values()):
        assert f"{folder / f'{place:02}.json'}: {found}" in lines[place]
        assert "; allowed: " in lines[place]
    assert [name in line for name, line in zip([*more, "95.json", "97.json"], lines[len(WRONG) :], strict=True)] == [
        True
    ] * 6
    assert "the bundle of" in lines[-1] and "a link" in lines[-2]


def test_nothing_to_publish_or_to_build(results: Path, tmp_path: Path) -> None:
    done = build(tmp_path, tmp_path / "page")
    assert done.code == 2 and "no entry here" in done.err
    assert build(tmp_path / "none", tmp_path / "page").code == 2
    assert command_in(results, "results", "publish", "other", "--out", str(tmp_path)).code == 2
