"""`report --open` shows the page in a browser, and says where it is if there is none."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Any

import pytest

from command_line import printed_by


@pytest.mark.parametrize("browser", [True, False])
def test_the_page_is_opened(folder: Any, home: Path, monkeypatch: pytest.MonkeyPatch, browser: bool) -> None:
    folder.seeds("refers", [0.84, 0.86])
    folder.save()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or browser)
    found = printed_by("--results", str(folder.results), "report", folder.name, "--format", "markdown", "--open")
    page = next(path for path in found.out.splitlines() if path.endswith("/index.html"))
    assert opened == [Path(page).resolve().as_uri()]
    assert found.err.count(f"no browser found: open {page}") == (not browser)
