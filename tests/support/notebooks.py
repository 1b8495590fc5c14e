"""Runs the code cells of a notebook in one namespace, as Jupyter would; alone, writes their outputs into the file.

``python tests/support/notebooks.py docs/notebook.ipynb`` runs a notebook anew, in an empty folder.
"""

from __future__ import annotations

import ast
import io
import json
import os
import sys
import tempfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

#: Method by which an object shows itself -> the kind of what it returns.
SHOWN = {"_repr_html_": "text/html", "_repr_svg_": "image/svg+xml"}


def run(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Outputs of each code cell, in the format of a notebook; an error ends it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [_outputs("".join(cell["source"]), namespace, number) for number, cell in enumerate(cells, 1)]


def _outputs(source: str, namespace: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """What one cell prints, and the value of its last line, where that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out, err, value = io.StringIO(), io.StringIO(), None
    with redirect_stdout(out), redirect_stderr(err):
        exec(compile(tree, f"<cell {number}>", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), namespace)
    found: list[dict[str, Any]] = [
        {"output_type": "stream", "name": name, "text": stream.getvalue().splitlines(keepends=True)}
        for name, stream in (("stdout", out), ("stderr", err))
        if stream.getvalue()
    ]
    if value is not None:
        data = {kind: getattr(value, method)() for method, kind in SHOWN.items() if hasattr(value, method)}
        data = {**data, "text/plain": repr(value)}
        shown = {kind: text.splitlines(keepends=True) for kind, text in data.items() if text is not None}
        found.append({"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": shown})
    return found


def main(path: Path) -> None:
    """Run a notebook in an empty folder, without settings of the user's own, and write what it puts out."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        for name in [name for name in os.environ if name.startswith("REFERS_BENCH_")]:
            del os.environ[name]
        os.environ |= {"XDG_CACHE_HOME": f"{folder}/cache", "XDG_CONFIG_HOME": f"{folder}/config"}
        outputs = run(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, found) in enumerate(zip(cells, outputs, strict=True), 1):
        cell["outputs"], cell["execution_count"] = found, number
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
