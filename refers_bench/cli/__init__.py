"""The command line: finds the command that was asked for and turns errors into messages and exit codes."""

import difflib
import importlib
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from refers_bench import __version__
from refers_bench.cli.echo import echo, printable_errors
from refers_bench.cli.options import FOLDER, PLUGINS, checked_places
from refers_bench.errors import UserError
from refers_bench.printable import printable

#: Command -> one line of help. The module is ``refers_bench.cli.<command>`` and its value ``command``;
#: it is imported only when the command is used, so that ``--help`` costs next to nothing.
COMMANDS = {
    "run": "Run what a manifest still needs, then print its tables and write its report.",
    "plan": "Show the jobs of a manifest by state; explain why a cell is stale.",
    "status": "Show how far each planned manifest is and what runs, without planning again; watch it.",
    "logs": "Show what a job printed, while it runs and after.",
    "report": "Write tables and figures from stored predictions.",
    "explain": "Show where networks look on annotated test images, and how far that meets the boxes.",
    "claims": "Evaluate the paper's statements on published, released and reproduced figures.",
    "results": "Take in other people's predictions; pack, check and compare results.",
    "check": "Compare results with a stored baseline (for CI).",
    "validate": "Check manifests, all errors at once; export the JSON Schema.",
    "manifests": "List the manifests that come with the package; copy one.",
    "data": "List datasets; prepare, verify or audit one.",
    "methods": "List the pre-training methods.",
    "datasets": "List the datasets.",
    "plugins": "List plug-ins; check one by the contract tests of its kind.",
    "new": "Write a method, dataset, report or manifest to begin with, and its test.",
    "weights": "Inspect, convert and export weights.",
    "doctor": "Show what this machine can run.",
    "completion": "Print the shell completion script.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names, in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"refers_bench.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Like click's, with the nearest name for a misspelt command (click cannot know lazy ones)."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from `COMMANDS` alone: no module is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


#: Every command shows its defaults.
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}
RESULTS = "Folder of plans, results and reports.  [default: results, or 'results' of the config file]"
CACHE = "Folder of prepared images.  [default: refers-bench in the user's cache folder]"


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.option("--results", type=FOLDER, envvar="REFERS_BENCH_RESULTS", help=RESULTS)
@click.option("--cache", type=FOLDER, envvar="REFERS_BENCH_CACHE", help=CACHE)
@PLUGINS
@click.version_option(__version__, prog_name="refers-bench")
@click.pass_context
def group(ctx: click.Context, results: Path | None, cache: Path | None, plugin_places: tuple[Path, ...]) -> None:
    """Reproduce, and extend, the comparison of radiograph pre-training methods of REFERS.

    A manifest (YAML) names methods, target datasets, label ratios and seeds; 'run' trains what is
    missing and stores every prediction; 'report' renders the tables.

    Data roots are set by name: REFERS_BENCH_ROOT_<NAME>, or data_roots in the user config file
    ('refers-bench doctor' shows which are set).

    \b
    Exit codes: 0 done, 1 bug, 2 user error, 3 incomplete, 4 failed jobs, 5 drift (check).
    """
    from refers_bench import plugin_files
    from refers_bench.execution.settings import Settings

    ctx.obj = Settings(results_option=results, cache_option=cache)
    # Plug-ins that a command looks for do not outlive it: one process may run several commands.
    ctx.call_on_close(plugin_files.restorer())
    checked_places(plugin_places)
    ctx.obj.use_plugins(plugin_places)


def _ended_by(error: UserError) -> NoReturn:
    """Print a line for each problem and end with the error's exit code."""
    for problem in error.problems:
        echo(f"error: {problem}", err=True)
    if len(error.problems) > 1:
        echo(f"{len(error.problems)} errors", err=True)
    sys.exit(error.exit_code)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: user errors end with a line for each problem and exit code 2, bugs with their traceback and 1."""
    printable_errors()
    try:
        status: Any = group.main(args=arguments, prog_name="refers-bench", standalone_mode=False)
    except UserError as error:
        _ended_by(error)
    except click.ClickException as error:
        error.message = printable(error.message)  # type: ignore[misc]  # it may quote the name of a file
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo("stopped; run the same command again to resume", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # `refers-bench status | head`: the reader left, which is not an error of ours.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from refers_bench.plugin_files import not_ours

        if (found := not_ours(error)) is None:
            raise
        _ended_by(found)
    sys.exit(status if isinstance(status, int) else 0)
