"""Lists the pre-training methods."""

import json

import click

from refers_bench import plugins
from refers_bench.cli.datasets import show_broken
from refers_bench.cli.echo import echo, echo_lines


@click.group("methods")
def command() -> None:
    """The pre-training methods."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with each method's parameter schema.")
def list_methods(as_json: bool) -> None:
    """List the methods with what they need of the source dataset and their parameters."""
    loaded, broken = plugins.loaded("method")
    if as_json:
        rows = {
            name: {
                "label": method.label,
                "source": method.source,
                "impl": method.impl,
                "needs": sorted(method.needs),
                "pretrains": method.build_objective is not None,
                "params": method.Params.model_json_schema(),
            }
            for name, method in loaded.items()
        }
        echo_lines(json.dumps({**rows, **{name: {"broken": reason} for name, reason in broken.items()}}, indent=1))
        return
    for name, method in loaded.items():
        needs = ", ".join(sorted(method.needs)) or ("images" if method.build_objective else "no pre-training")
        echo(f"{name:<22}{method.label}  (needs: {needs})")
        echo(f"{'':<22}source: {method.source}")
        for field, info in method.Params.model_fields.items():
            echo(f"{'':<22}{field} = {info.get_default(call_default_factory=True)!r}  {info.description or ''}")
    show_broken(broken)
