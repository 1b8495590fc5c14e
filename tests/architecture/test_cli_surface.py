"""The command line is frozen: every command with its arguments, options, defaults and exit codes.

The surface is recorded in `cli_surface.txt` beside this file. A change that is meant is recorded anew with
``RECORD_CLI_SURFACE=1 pytest tests/architecture/test_cli_surface.py``; whoever reviews it sees which lines moved.
Help texts are not part of it: they may become better without breaking a script.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from command_surface import commands, exit_codes, spellings, type_of
from refers_bench.cli import group

RECORDED = Path(__file__).with_name("cli_surface.txt")


def described(parameter: click.Parameter) -> str:
    """One line with everything that a caller may rely on; defaults that click leaves unset are not named."""
    words = [spellings(parameter)]
    default = parameter.to_info_dict()["default"]
    if isinstance(parameter, click.Option):
        words.append("flag" if parameter.is_flag else type_of(parameter.type))
        if not parameter.is_flag and parameter._flag_needs_value:
            words.append(f"alone means {parameter.flag_value}")
    else:
        words = [f"{spellings(parameter)} (argument)", type_of(parameter.type)]
    facts = {"required": parameter.required, "repeatable": parameter.multiple or parameter.nargs == -1}
    words += [word for word, holds in facts.items() if holds]
    if default is not None and default is not False and default != ():
        words.append(f"default {default}")
    if parameter.envvar:
        words.append(f"environment {parameter.envvar}")
    return "; ".join(words)


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
