"""List plug-ins, and check them by the contract tests of their kind."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from refers_bench import plugin_files, plugins
from refers_bench.cli.echo import echo
from refers_bench.contracts import checked
from refers_bench.errors import UserError
from refers_bench.machine import environment, killed_with_parent

#: Kind of plug-in -> modules of its contract tests.
CONTRACTS = {"method": ("methods", "method_training"), "dataset": ("datasets",), "report": ("reports",)}


@click.group("plugins")
def command() -> None:
    """Methods, datasets, reports and engines: which there are, and whether they keep their contracts."""


@command.command("list")
def list_plugins() -> None:
    """List what is found, in the package and elsewhere, each with its module or file; broken files with the reason."""
    found = {**{kind: plugins.names(kind) for kind in CONTRACTS}, "engine": plugins.engines()}
    for kind, known in found.items():
        for name, module in known.items():
            echo(f"{kind:<8} {name:<24} {module}{_broken(kind, name, module)}")


def _broken(kind: str, name: str, module: str) -> str:
    """What is wrong with a file that is in no package, or in another one; '' for nothing."""
    if clash := plugin_files.twice(kind, name):
        return f"  broken: {clash}"
    if kind == "engine" or module.startswith("refers_bench."):
        return ""
    try:
        plugins.load(kind, name)
    except UserError as error:
        return f"  broken: {error}"
    return ""


@command.command("check")
@click.argument("what", metavar="FILE|PACKAGE|NAME")
def check(what: str) -> None:
    """Run the contract tests on the methods, datasets and reports of a file, of another package, or of one name.

    \b
    Exit codes: 0 all hold, 1 at least one fails, 2 no such plug-in, or pytest is not installed.
    """
    if importlib.util.find_spec("pytest") is None:
        raise UserError("pytest is not installed", allowed="pip install 'refers-bench[contracts]'")
    if what.endswith(".py"):
        plugins.use([Path(what)])
    found = [(kind, name) for kind in CONTRACTS for name in _asked(kind, what)]
    if not found:
        allowed = "a file with METHOD, DATASET or REPORT, a package with entry points, or a name of 'plugins list'"
        raise UserError(f"'{what}' holds no plug-in", allowed=allowed)
    for kind, name in found:
        plugins.load(kind, name)  # what cannot be read is reported here, not by a test
    echo(f"checking {', '.join(f'{kind} {name}' for kind, name in found)}", err=True)
    folder = Path(checked.__file__).parent
    files = [str(folder / f"{module}.py") for kind in dict(found) for module in CONTRACTS[kind]]
    with tempfile.TemporaryDirectory() as empty:
        (Path(empty) / "pytest.ini").write_text("[pytest]\n")
        how = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-c", f"{empty}/pytest.ini"]
        program = [sys.executable, "-m", "pytest", *how, f"--rootdir={folder}", *files]
        about = {checked.CHECKED: ",".join(map(":".join, found)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(program, env=environment(**about), preexec_fn=killed_with_parent, check=False)
    sys.exit(min(done.returncode, 1))


def _asked(kind: str, what: str) -> list[str]:
    """Names of the plug-ins of a kind that lie in a file or a package, or that have this name."""
    known = plugins.names(kind)
    if what.endswith(".py"):
        return [name for name, module in known.items() if module == str(Path(what).absolute())]
    return [name for name, module in known.items() if name == what or module.partition(":")[0].split(".")[0] == what]
