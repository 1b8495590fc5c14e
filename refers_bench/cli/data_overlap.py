"""Prints what any lists, packs, datasets and sources share."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refers_bench.cli.data_source import DataSource, data_source, of_manifest
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FILE, FOLDER
from refers_bench.cli.progress import counted
from refers_bench.errors import UserError, nearest
from refers_bench.execution.settings import Settings
from refers_bench.files import publish_bytes, publish_json

if TYPE_CHECKING:
    import pandas as pd

    from refers_bench.data.audit.id_lists import IdList

MANIFEST_HELP = "Compare the sources and targets of this manifest, too, as it reads them."


@click.command("overlap")
@click.argument("what", nargs=-1)
@click.option("--manifest", type=FILE, help=MANIFEST_HELP)
@click.option("--images", is_flag=True, help="Compare the pixels of datasets, too; they must be prepared.")
@click.option("--size", type=click.IntRange(16, 2048), default=256, help="Side of the prepared images.")
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Threads.")
@click.option("--report", "report_folder", type=FOLDER, help="Folder of the files; <results>/data/overlap by default.")
@click.option("--strict", is_flag=True, help="Exit code 2 when a test list shares anything with a training list.")
@click.pass_obj
def overlap(
    settings: Settings,
    /,
    what: tuple[str, ...],
    manifest: Path | None,
    report_folder: Path | None,
    strict: bool,
    **how: Any,
) -> int:
    """Print which images and patients any lists share, under all names that collections give them.

    WHAT is the name of published lists (nih-mrm), a dataset's id, or a list of images: FILE, or NAME=FILE. Without
    any, and without a manifest, all published lists are compared that the data root split_packs holds. RSNA images
    are seen as NIH images through the table rsna-nih-map of that data root. Writes overlap.txt, overlap.csv and
    overlap.json.
    """
    from refers_bench.data.audit import contamination
    from refers_bench.data.audit.repeats import pair_lines, pairs_record
    from refers_bench.data.split_packs import rsna_to_nih
    from refers_bench.manifest.packs import ROOT

    lists, sources = _named(settings, what, everything=not what and manifest is None)
    sources += of_manifest(settings, manifest) if manifest else []
    indices = [source.index(settings) for source in sources]
    lists += [one for source, index in zip(sources, indices, strict=True) for one in _of_index(source, index)]
    if len(lists) < 2:
        raise UserError("fewer than two lists to compare", allowed="names of packs, datasets or lists; or --manifest")
    found = contamination.matrix(
        lists, rsna_to_nih=rsna_to_nih(root) if (root := settings.roots().folder(ROOT)) else None
    )
    lines = list(contamination.lines(lists, found))
    alike = dict(_pixels(settings, sources, indices, **how)) if how["images"] else {}
    for title, pairs in alike.items():
        lines += pair_lines(title, pairs)
    folder = report_folder or settings.results / "data" / "overlap"
    rows = [one.recorded() for one in found]
    _publish(folder, lines, rows, contamination.COLUMNS)
    images = {title: pairs_record(pairs) for title, pairs in alike.items()}
    counts = [{"name": one.name, "ids": len(one.ids), "different": len(set(one.ids))} for one in lists]
    publish_json(folder / "overlap.json", {"version": 1, "lists": counts, "overlaps": rows, "images": images})
    echo(f"written to {folder / 'overlap'}.txt, .csv and .json")
    return 2 if strict and any(one.shared and _tests(one.first, one.second) for one in found) else 0


def _tests(first: str, second: str) -> bool:
    """Whether one is a test list and the other a training list, by their names."""
    return {name.replace(":", "/").rpartition("/")[2].partition("_")[0] for name in (first, second)} == {
        "train",
        "test",
    }


def _named(settings: Settings, what: Sequence[str], *, everything: bool) -> tuple[list[IdList], list[DataSource]]:
    """The lists and datasets that words on the command line name.

    Raises:
        UserError: a word that names nothing, or a pack without the data root.
    """
    from refers_bench import plugins
    from refers_bench.data.audit.id_lists import IdList, read_ids
    from refers_bench.data.split_packs import id_lists
    from refers_bench.manifest.packs import ROOT, known

    root, lists, sources = settings.roots().folder(ROOT), list[IdList](), list[DataSource]()
    if everything:
        what = [name for name in known() if root and (root / name).is_dir()]
    for word in what or ([""] if everything else []):
        # "covid19-mrm" names all packs in that folder.
        packs = [pack for name, pack in known().items() if word and (name == word or name.startswith(f"{word}/"))]
        name, equals, path = word.partition("=")
        if packs or not word:
            if root is None or not packs:
                raise UserError(settings.roots().why_not(ROOT, folder=True) or f"no pack in {root}")
            lists += [one for pack in packs for one in id_lists(root, pack)]
        elif word in plugins.names("dataset"):
            sources.append(data_source(settings, word, {}))
        elif equals or Path(word).is_file():
            file = Path(path if equals else word)
            lists.append(IdList(name=name if equals else str(file), ids=read_ids(file).ids))
        else:
            close = nearest(word, [*known(), *plugins.names("dataset")])
            allowed = f"a pack ({', '.join(known())}), a dataset, FILE or NAME=FILE"
            raise UserError(f"'{word}' is no pack, dataset or file", allowed=allowed, nearest=close)
    return lists, sources


def _of_index(source: DataSource, index: pd.DataFrame) -> list[IdList]:
    from refers_bench.data.audit.id_lists import of_index

    return of_index(index, name=source.name)


def _pixels(
    settings: Settings, sources: Sequence[DataSource], indices: Sequence[pd.DataFrame], *, size: int, **how: Any
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Near-duplicate images of the splits of each dataset, and of any two datasets."""
    from refers_bench.cli.data_source import prepared
    from refers_bench.data.audit import repeats

    if not sources:
        raise UserError("--images compares datasets, and none is named", allowed="ids of datasets, or --manifest")
    opened = [prepared(settings, source, index, size=size) for source, index in zip(sources, indices, strict=True)]
    rule: dict[str, Any] = {"threads": how["workers"], "progress": counted("pairs")}
    for source, store in zip(sources, opened, strict=True):
        yield f"splits of {source.name}", repeats.across_splits(store, **rule)
    for (one, a), (other, b) in itertools.combinations(zip(sources, opened, strict=True), 2):
        yield f"{one.name} and {other.name}", repeats.across_datasets(a, b, **rule)


def _publish(folder: Path, lines: Sequence[str], rows: Sequence[dict[str, object]], columns: Sequence[str]) -> None:
    """Write the matrix as text and CSV, and print it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    publish_bytes(folder / "overlap.csv", out.getvalue().encode())
    publish_bytes(folder / "overlap.txt", ("\n".join(lines) + "\n").encode())
    for line in lines:
        echo(line)
