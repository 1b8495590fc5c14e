"""Writes tables and figures as JSON that other programs read: numbers unrounded, no display strings."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from refers_bench.render.escape import encodable
from refers_bench.render.page import Page
from refers_bench.render.table import Table

#: Incremented when a reader of the previous version would misread the output.
VERSION = 2
#: Fields of a cell that are written as they are.
OF_CELL = ("kind", "value", "sd", "low", "high", "n", "df", "unadjusted", "test", "tag", "best")


def page(content: Page, *, cells: Iterable[Mapping[str, Any]], classes: Iterable[Mapping[str, Any]]) -> str:
    """The report as one JSON object: ``sections`` with tables and figures, then the tidy rows.

    Args:
        content: the page.
        cells: one row per method x target x seed.
        classes: one row per method x target x seed x split x class.
    """
    value = {
        "version": VERSION,
        "title": content.title,
        "sections": [
            {
                "title": section.title,
                "remarks": list(section.sentences),
                "tables": [_table(item) for item in section.tables],
                "figures": [asdict(item) for item in section.figures],
                "commands": list(section.commands),
            }
            for section in content.sections
        ],
        "cells": list(cells),
        "classes": list(classes),
    }
    return encodable(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False, sort_keys=True)) + "\n"


def _table(table: Table) -> dict[str, Any]:
    """Footnotes by their marks; every cell with its numbers, words and marks."""
    marks = table.footnotes()
    return {
        "id": table.id,
        "caption": table.caption,
        "stub": table.stub,
        "columns": [asdict(column) for column in table.columns],
        "footnotes": {mark: note.full for note, mark in marks.items()},
        "remarks": list(table.notes),
        "rows": [
            {
                "title": row.title,
                "block": row.block,
                "footnotes": [marks[note] for note in row.notes],
                "cells": [
                    {
                        "text": cell.words,
                        **{name: getattr(cell, name) for name in OF_CELL},
                        "footnotes": [marks[note] for note in cell.notes],
                    }
                    for cell in row.cells
                ],
            }
            for row in table.rows
        ],
    }
