"""Writes a method, a dataset, a report or a manifest to begin with, and its test."""

from __future__ import annotations

import re
from pathlib import Path

import click

from refers_bench import contracts, plugins
from refers_bench.cli.echo import echo
from refers_bench.cli.options import FOLDER
from refers_bench.errors import Problem, UserError
from refers_bench.files import publish_bytes

TEMPLATES = Path(contracts.__file__).parent / "templates"
#: Kind -> ending of its file.
KINDS = {"method": ".py", "dataset": ".py", "report": ".py", "manifest": ".yaml"}
#: What to do with it next.
NEXT = {
    "method": (
        "refers-bench plugins check {file}",
        "methods: [{name}, scratch]   # in a manifest, with plugins: [{file}]",
    ),
    "dataset": (
        "refers-bench plugins check {file}",
        "export REFERS_BENCH_ROOT_{upper}=FOLDER   # where its files are",
        "refers-bench data verify {name} --plugins {file}",
    ),
    "report": ("refers-bench plugins check {file}", "refers-bench report MANIFEST --plugins {file}"),
    "manifest": ("refers-bench validate {file}", "refers-bench run {file}"),
}


@click.command("new")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option("--folder", type=FOLDER, default=".", help="Where the two files are written.")
def command(kind: str, name: str, folder: Path) -> None:
    """Write NAME.py (or NAME.yaml), which runs as it is and says what to replace, and test_NAME.py beside it."""
    _check(kind, name)
    content = {f"{name}{KINDS[kind]}": f"{kind}{KINDS[kind]}", f"test_{name}.py": f"{kind}_test.py"}
    there = [folder / file for file in content if (folder / file).exists()]
    if there:
        raise UserError(
            [Problem(found="there is such a file", allowed="another name or --folder", path=one) for one in there]
        )
    for file, template in content.items():
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        publish_bytes(folder / file, _named(text, name).encode("utf-8"))
        echo(f"written: {folder / file}")
    echo("next:")
    for line in NEXT[kind]:
        echo("  " + line.format(file=folder / f"{name}{KINDS[kind]}", name=name, upper=name.upper()))


def _named(text: str, name: str) -> str:
    """A template under its own name."""
    words = name.replace("_", " ")
    for placeholder, own in (
        ("template_name", name),
        ("template-name", name.replace("_", "-")),
        ("Template title", words[0].upper() + words[1:]),
    ):
        text = text.replace(placeholder, own)
    return text


def _check(kind: str, name: str) -> None:
    """Refuse names that a file of this kind cannot have.

    Raises:
        UserError: no name, or one that is taken.
    """
    from refers_bench.manifest.names import RESERVED

    allowed = "lower-case letters, digits and '_', beginning with a letter"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name) or name.startswith("test_"):
        raise UserError(f"the name '{name}'", allowed=f"{allowed}, and not with 'test_'")
    taken = RESERVED if kind == "manifest" else plugins.names(kind)
    if name in taken:
        raise UserError(f"the name '{name}' is taken", allowed=f"none of {', '.join(taken)}")
