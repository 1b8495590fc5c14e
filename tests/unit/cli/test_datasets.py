"""A dataset is listed as a target where it has tasks, and as a source where it has reports or labels to learn from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from refers_bench import plugins
from refers_bench.cli.datasets import show_datasets


@pytest.mark.parametrize(
    ("reports", "task", "tasks", "roles"),
    [
        (True, None, True, "target, source"),
        (False, "findings", True, "target, source"),
        (False, None, True, "target"),
        (True, None, False, "source"),
    ],
)
def test_roles_of_a_dataset(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    reports: bool,
    task: str | None,
    tasks: bool,
    roles: str,
) -> None:
    phantom = plugins.load("dataset", "phantom")
    dataset = replace(phantom, has_reports=reports, source_task=task, tasks=phantom.tasks if tasks else {})
    monkeypatch.setattr(plugins, "names", lambda kind: ["phantom"])
    monkeypatch.setattr(plugins, "load", lambda kind, name: dataset)
    show_datasets(cards=False)
    assert capsys.readouterr().out.splitlines()[0] == f"{'phantom':<18}{phantom.label}  [synthetic]  ({roles})"
