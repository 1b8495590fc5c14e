"""No process of ours imports what lies in the working directory, whatever module it has the name of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Modules that a process imports early or late: of Python, of packages, and one of ours.
DECOYS = (
    "pickle", "json", "random", "struct", "signal", "threading", "socket", "selectors", "secrets", "queue", "tempfile",
    "numpy", "pandas", "pyarrow", "torch", "scipy", "matplotlib", "PIL", "pydantic", "yaml", "click", "refers_bench",
    "sitecustomize",
)  # fmt: skip
MANIFEST = """
version: 1
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 1, studies: 40, size: 40, contrast: 3.0}}}
methods: [scratch]
targets: [{dataset: phantom}]
seeds: [0]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a decoy for each module; an import of one leaves its name in a file."""
    for name in DECOYS:
        code = f"open({str(tmp_path / 'executed.txt')!r}, 'a').write({name!r} + ' ')\nraise ImportError('a decoy')\n"
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "m.yaml").write_text(MANIFEST)
    return tmp_path


def test_no_decoy_is_executed(place: Path) -> None:
    script = Path(sys.executable).with_name("refers-bench")
    assert script.is_file(), "the command is installed where the tests run"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONPATH")}
    environment |= {"XDG_CACHE_HOME": str(place / "cache")}
    for arguments in (
        ["validate", "m.yaml"],
        ["run", "m.yaml", "--device", "cpu"],
        ["plan", "m.yaml", "--forecast"],
        ["report", "m", "--format", "latex", "--format", "csv"],
        ["data", "prepare", "phantom", "--size", "32"],
        ["status"],
    ):
        done = subprocess.run(
            [script, *arguments], cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert "Traceback" not in done.stderr and done.returncode in (0, 2), done.stderr
        assert not (place / "executed.txt").exists(), f"{arguments}: {(place / 'executed.txt').read_text()}"
    assert (place / "results" / "m" / "report" / "index.html").is_file()
