"""The notebook of the documentation runs, and puts out what is stored in it, up to the digits of its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import notebooks

NOTEBOOK: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb").read_text(encoding="utf-8")
)


def shape(outputs: list[dict[str, Any]]) -> list[Any]:
    """Outputs without numbers and spaces: what is printed of jobs that ended, and the kinds and words of what is shown."""
    found: list[Any] = []
    for one in outputs:
        if one["output_type"] == "stream":
            # What was running when, and so was shown, differs from machine to machine.
            lines = [re.sub(r"\[\d+/8\].*", "[ended]", line.strip()) for line in one["text"]]
            lines = [re.sub(r"took .* times as much", "took some time, and was forecast to", line) for line in lines]
            found.append((one["name"], [line for line in lines if not re.match(r"running |\d+ waiting", line)]))
        else:
            words = re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", "".join(one["data"]["text/plain"]))
            found.append((sorted(one["data"]), words.split()))
    return found


def test_the_notebook_runs_and_shows_what_is_stored(home: Path) -> None:
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "executed in order"
    found = notebooks.run(NOTEBOOK)
    assert [shape(one) for one in found] == [shape(cell["outputs"]) for cell in cells]
    shown = [kind for one in found for output in one for kind in output.get("data", ())]
    assert shown.count("text/html") == 5 and shown.count("image/svg+xml") == 1
    assert (home / "results" / "in_a_notebook" / "plan.lock.json").is_file()
    # Run again, it finds everything done.
    (again,) = [one for one in notebooks.run(NOTEBOOK)[2] if one["output_type"] == "stream"]
    assert again["text"] == ["in_a_notebook: 0 of 8 jobs to run, 2 at a time\n"]


def test_the_stored_notebook_holds_no_path_and_no_error() -> None:
    text = json.dumps(NOTEBOOK)
    assert "Traceback" not in text and '"error"' not in text
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)
