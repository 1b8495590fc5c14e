"""The command line is frozen: every command with its arguments, options, defaults and exit codes.

The surface is recorded in `cli_surface.txt` beside this file. A change that is meant is recorded anew with
``RECORD_CLI_SURFACE=1 pytest tests/architecture/test_cli_surface.py``; whoever reviews it sees which lines moved.
Help texts are not part of it: they may become better without breaking a script.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click

from refers_bench.cli import group

RECORDED = Path(__file__).with_name("cli_surface.txt")


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


def described(parameter: click.Parameter) -> str:
    """One line with everything that a caller may rely on; defaults that click leaves unset are not named."""
    words = [" / ".join(filter(None, (", ".join(parameter.opts), ", ".join(parameter.secondary_opts))))]
    default = parameter.to_info_dict()["default"]
    if isinstance(parameter, click.Option):
        words.append("flag" if parameter.is_flag else type_of(parameter.type))
        if not parameter.is_flag and parameter._flag_needs_value:
            words.append(f"alone means {parameter.flag_value}")
    else:
        words = [f"{parameter.human_readable_name} (argument)", type_of(parameter.type)]
    facts = {"required": parameter.required, "repeatable": parameter.multiple or parameter.nargs == -1}
    words += [word for word, holds in facts.items() if holds]
    if default is not None and default is not False and default != ():
        words.append(f"default {default}")
    if parameter.envvar:
        words.append(f"environment {parameter.envvar}")
    return "; ".join(words)


def exit_codes(command: click.Command) -> str:
    """The last line of a command's help, where it states exit codes."""
    return "".join(re.findall(r"^\s*(Exit codes[^\n]*)$", command.help or "", flags=re.MULTILINE))


def surface() -> str:
    """The whole command line as text, one parameter a line, in the order of the help."""
    lines = []
    for name, command in commands(group, "refers-bench"):
        lines += [name, *(f"  {described(parameter)}" for parameter in command.params)]
        if codes := exit_codes(command):
            lines.append(f"  {codes}")
    return "\n".join(lines) + "\n"


def test_the_command_line_is_the_recorded_one() -> None:
    if os.environ.get("RECORD_CLI_SURFACE"):
        RECORDED.write_text(surface(), encoding="utf-8")
    assert surface().splitlines() == RECORDED.read_text(encoding="utf-8").splitlines()


def test_every_command_is_in_the_record() -> None:
    names = [line for line in RECORDED.read_text(encoding="utf-8").splitlines() if line and line[0] != " "]
    assert len(names) == len(set(names)) > 30
