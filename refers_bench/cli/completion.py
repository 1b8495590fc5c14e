"""Prints what a shell reads to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from refers_bench.cli.echo import echo_lines


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the shell completion script of SHELL.

    \b
    bash: refers-bench completion bash >> ~/.bashrc
    zsh:  refers-bench completion zsh >> ~/.zshrc
    fish: refers-bench completion fish > ~/.config/fish/completions/refers-bench.fish
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"no completion for {shell}")
    echo_lines(completion(ctx.find_root().command, {}, "refers-bench", "_REFERS_BENCH_COMPLETE").source())
