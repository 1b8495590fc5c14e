"""Do the light commands stay light: which modules does each one import?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "timm", "transformers"}
#: What `--help` may load besides the standard library.
HELP_ALLOWED = {"click", "refers_bench", "colorama"}
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys
sys.path.insert(0, {root!r})
from refers_bench.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    code = end.code
print("MODULES", json.dumps([code or 0, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def modules_of(arguments: list[str], results: Path) -> tuple[int, set[str], str]:
    """Exit code, top-level modules loaded and output of one command in a fresh interpreter."""
    program = PROGRAM.format(root=str(ROOT), arguments=["--results", str(results), *arguments])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(results / "cache"), "XDG_CONFIG_HOME": str(results / "config")},
    )
    assert "MODULES" in done.stdout, done.stdout + done.stderr
    code, names = json.loads(done.stdout.rpartition("MODULES ")[2])
    return code, set(names), done.stdout + done.stderr


def test_help_loads_click_only(tmp_path: Path) -> None:
    code, names, _ = modules_of(["--help"], tmp_path)
    assert code == 0
    third_party = {name for name in names - set(sys.stdlib_module_names) if not name.startswith(("_", "sitecustomize"))}
    assert third_party <= HELP_ALLOWED, third_party - HELP_ALLOWED


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--watch"],
        ["logs", "a.cell"],
        ["report", "--format", "markdown"],
        ["datasets", "list"],
        ["data", "list"],
        ["methods", "list"],
        ["plan", "manifests/table1.yaml"],
        ["validate", "manifests/table1.yaml"],
        ["run", "--help"],
        ["explain", "manifests/smoke.yaml", "--cell", "*"],
        ["doctor", "--no-torch"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_light_commands_do_not_load_torch(arguments: list[str], tmp_path: Path) -> None:
    code, names, output = modules_of(arguments, tmp_path)
    assert code in (0, 2), output
    assert not names & HEAVY, f"{' '.join(arguments)} loads {names & HEAVY}"


def test_listing_plugins_imports_none_of_them(tmp_path: Path) -> None:
    program = "from refers_bench import plugins; import sys; plugins.names('method'); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "refers_bench.methods" not in done.stdout


def test_importing_the_package_loads_nothing_but_itself() -> None:
    """Without torch and pandas it takes milliseconds: what it must load is what takes the time."""
    program = (
        "import sys, time; before, start = set(sys.modules), time.perf_counter()\n"
        "import refers_bench as rb; assert time.perf_counter() - start < 0.2, 'seconds'\n"
        "dir(rb); rb.__version__; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = [name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names]
    assert loaded == ["refers_bench", "refers_bench.plan"]


def test_the_verbs_of_the_package_do_not_load_torch(tmp_path: Path) -> None:
    program = (
        "import sys; import refers_bench as rb;"
        f"frame = rb.plan('smoke', results={str(tmp_path)!r}, cache={str(tmp_path)!r});"
        f"rb.results('smoke', results={str(tmp_path)!r}).cells(); print(len(frame));"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    jobs, heavy = done.stdout.splitlines()
    assert int(jobs) > 100 and heavy == ""
