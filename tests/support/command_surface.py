"""The tree of commands, with what each parameter may be: what the frozen surface and the reference are made from."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its full name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, f"{name} {below}")


def type_of(kind: click.ParamType) -> str:
    """What a value may be: choices, ranges and kinds of paths."""
    if isinstance(kind, click.Choice):
        return f"one of {', '.join(map(str, kind.choices))}"
    if isinstance(kind, click.Path):
        kinds = [word for word, allowed in (("file", kind.file_okay), ("folder", kind.dir_okay)) if allowed]
        return f"{' or '.join(kinds)}{' that exists' if kind.exists else ''}"
    return f"{kind.name} {kind._describe_range()}" if isinstance(kind, click.IntRange | click.FloatRange) else kind.name


def spellings(parameter: click.Parameter) -> str:
    """How an option is written, with the form that switches it off; an argument by its name."""
    if isinstance(parameter, click.Option):
        return " / ".join(filter(None, (", ".join(parameter.opts), ", ".join(parameter.secondary_opts))))
    return parameter.human_readable_name


def exit_codes(command: click.Command) -> str:
    """The last line of a command's help, where it states exit codes."""
    return "".join(re.findall(r"^\s*(Exit codes[^\n]*)$", command.help or "", flags=re.MULTILINE))
