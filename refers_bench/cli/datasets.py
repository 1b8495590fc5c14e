"""Which datasets are there, and which of them are on this machine?"""

from __future__ import annotations

import click

from refers_bench import plugins


@click.group("datasets")
def command() -> None:
    """The datasets: cards and tasks."""


@command.command("list")
@click.option("--cards", is_flag=True, help="Whole cards: licence, citation, expected counts, quirks.")
def list_datasets(cards: bool) -> None:
    """List the datasets with their tasks."""
    show_datasets(cards=cards)


def show_datasets(*, cards: bool) -> None:
    """Print every dataset plug-in found on disk."""
    for name in plugins.names("dataset"):
        dataset = plugins.load("dataset", name)
        roles = ["target"] if dataset.tasks else []
        if dataset.has_reports or dataset.source_task:
            roles.append("source")
        click.echo(f"{name:<18}{dataset.label}{'  [synthetic]' if dataset.synthetic else ''}  ({', '.join(roles)})")
        for task_id, task in dataset.tasks.items():
            click.echo(f"{'':<18}task {task_id}: {task.label} ({len(task.classes)} classes: {', '.join(task.classes)})")
        if cards:
            for title, text in (("source", dataset.source), ("licence", dataset.licence), ("cite", dataset.citation)):
                click.echo(f"{'':<18}{title}: {text}")
            for what, count in dataset.expected_of(dataset.Params()).items():
                click.echo(f"{'':<18}expected {what}: {count}")
            for quirk in dataset.quirks:
                click.echo(f"{'':<18}note: {quirk}")
