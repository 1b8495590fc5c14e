"""Lists the datasets."""

from collections.abc import Mapping

import click

from refers_bench import plugins
from refers_bench.cli.echo import echo


@click.group("datasets")
def command() -> None:
    """The datasets: cards and tasks."""


@command.command("list")
@click.option("--cards", is_flag=True, help="Whole cards: licence, citation, expected counts, quirks.")
def list_datasets(cards: bool) -> None:
    """List the datasets with their tasks."""
    found, broken = plugins.loaded("dataset")
    for name, dataset in found.items():
        roles = ["target"] if dataset.tasks else []
        if dataset.has_reports or dataset.source_task:
            roles.append("source")
        if dataset.Declared is not None:
            roles = [f"no dataset: read under a name of yours, 'data: {{NAME: {{{name}: ...}}}}' in a manifest"]
        echo(f"{name:<18}{dataset.label}{'  [synthetic]' if dataset.synthetic else ''}  ({', '.join(roles)})")
        lines = [f"task {task_id}: {task.label} ({_classes(task)})" for task_id, task in dataset.tasks.items()]
        if cards:
            lines += [f"source: {dataset.source}", f"licence: {dataset.licence}", f"cite: {dataset.citation}"]
            lines += [f"expected {what}: {count}" for what, count in dataset.expected_of(dataset.Params()).items()]
            lines += [f"note: {quirk}" for quirk in dataset.quirks]
            fields = dataset.Declared.model_fields if dataset.Declared is not None else {}
            lines += [f"key {key}: {field.description}" for key, field in fields.items()]
        for line in lines:
            echo(f"{'':<18}{line}")
    show_broken(broken)


def _classes(task: plugins.Task) -> str:
    return f"{len(task.classes)} classes: {', '.join(task.classes)}" if task.classes else "classes of your own"


def show_broken(broken: Mapping[str, str]) -> None:
    """Print which plug-ins cannot be loaded, below those that can.

    Args:
        broken: name -> reason.
    """
    for name, reason in broken.items():
        echo(f"{name:<18}broken: {reason}")
