"""How is the project checked? Each session is one answer; `nox -s tests` is the everyday one."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["tests", "lint", "types", "architecture"]
nox.options.reuse_existing_virtualenvs = True
nox.needs_version = ">=2024.10"
PYPROJECT = nox.project.load_toml("pyproject.toml")


def groups(*names: str) -> list[str]:
    """The requirements of dependency groups: versions stand in pyproject.toml only."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Tests, with all that any of them needs; what is given after `--` comes last and so counts."""
    session.install("-e", ".[dicom,ray,tensorboard,mlflow,wandb,trackio]", *groups("tests", "architecture"))
    session.run("pytest", *arguments, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, on two processes of one thread each."""
    run_pytest(session, "-n", "2", "-m", "not slow and not cluster")


@nox.session
def clusters(session: nox.Session) -> None:
    """The fast tests that start a Slurm, a Ray or a training in several processes."""
    run_pytest(session, "-n", "2", "--dist", "loadgroup", "-m", "cluster and not slow")


@nox.session
def slow(session: nox.Session) -> None:
    """The tests that take minutes: kill and resume on the smoke manifest, determinism over workers, clusters."""
    run_pytest(session, "-m", "slow")


@nox.session
def gpu(session: nox.Session) -> None:
    """On a machine with a GPU: the promises of the CPU tests, each method's throughput plain and compiled, the step."""
    run_pytest(session, "tests/gpu")
    for how in ((), ("--compile",)):
        session.run("python", "tests/bench/bench_throughput.py", "--device", "cuda", "--rounds", "20", *how)
    session.run("python", "tests/bench/bench_step.py", "--batch", "64", "--rounds", "20")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Strict type check of the package."""
    session.install("-e", ".[contracts]", *groups("types"))
    session.run("mypy")


@nox.session
def architecture(session: nox.Session) -> None:
    """Import contracts of the layers."""
    session.install("-e", ".", *groups("architecture"))
    session.run("lint-imports")


@nox.session
def evidence(session: nox.Session) -> None:
    """Run the manifests on real data, where it is, compare with what was measured before, and keep the figures."""
    session.install("-e", ".[dicom]")
    session.run("python", "tests/evidence/collect.py", *session.posargs)


@nox.session
def screenshots(session: nox.Session) -> None:
    """Take the pictures of a report's first screen in docs/screenshots, and count its pages on paper."""
    session.install("selenium", "pillow")
    session.run("python", "tests/evidence/screenshots.py", *session.posargs)


@nox.session(venv_backend="none")
def house(session: nox.Session) -> None:
    """Code lines by room, import circles, longest files and functions, repeated code."""
    session.run("python", "tests/architecture/house.py", external=True)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write the versions of an environment in which all tests pass to constraints.txt."""
    session.install("-e", ".[dicom,ray,contracts,tensorboard,mlflow,wandb,trackio]", "packaging")
    listed = session.run("python", "tests/support/dependency_tree.py", silent=True)
    (Path(__file__).parent / "constraints.txt").write_text(str(listed), encoding="utf-8")


@nox.session
def advisories(session: nox.Session) -> None:
    """Compare constraints.txt with the security advisories of REFERS_BENCH_ADVISORIES, a local folder of OSV files."""
    session.install("packaging")
    session.run("python", "tests/support/advisories.py")


@nox.session
def notebook(session: nox.Session) -> None:
    """Run the notebook of the documentation anew, and keep what it puts out."""
    session.install("-e", ".")
    session.run("python", "tests/support/notebooks.py", "docs/notebook.ipynb")


@nox.session
def reference(session: nox.Session) -> None:
    """Write the pages of docs/reference anew from the code; a test compares them."""
    session.install("-e", ".")
    session.run("python", "tests/support/reference_pages.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages of docs/ as a site; a link that leads nowhere is an error."""
    session.install(*groups("docs"))
    site = session.posargs or ["--site-dir", f"{session.create_tmp()}/site"]
    session.run("mkdocs", "build", "--strict", *site, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone and ask it for its plug-ins and templates."""
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", f"{session.create_tmp()}/dist")
    session.install("--force-reinstall", "--no-deps", *__import__("glob").glob(f"{session.create_tmp()}/dist/*.whl"))
    session.install(*PYPROJECT["project"]["dependencies"])
    with session.chdir(session.create_tmp()):
        session.run("refers-bench", "doctor")
        session.run("refers-bench", "methods", "list")
        session.run("refers-bench", "plan", "smoke", "--no-write")


@nox.session
def smoke(session: nox.Session) -> None:
    """Run the smoke manifest and compare it with the committed baseline."""
    session.install("-e", ".")
    results = f"{session.create_tmp()}/results"
    session.run("refers-bench", "--results", results, "run", "manifests/smoke.yaml")
    session.run(
        "refers-bench",
        "--results",
        results,
        "check",
        "manifests/smoke.yaml",
        "--baseline",
        "results/smoke/baseline.json",
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Timings, each a ratio taken in one run; nothing here passes or fails."""
    session.install("-e", ".", *groups("tests"))
    for script in (
        "bench_step.py",
        "bench_throughput.py",
        "bench_methods.py",
        "bench_pretext.py",
        "bench_analysis.py",
        "bench_commands.py",
        "bench_orchestration.py",
        "bench_data.py",
        "bench_scale.py",
        "bench_plan.py",
        "bench_cells.py",
        "bench_heads.py",
        "bench_fsck.py",
    ):
        session.run("python", f"tests/bench/{script}", *session.posargs)


@nox.session
def metadata(session: nox.Session) -> None:
    """Croissant and RO-Crate files are read by the libraries of their own communities."""
    session.install("-e", ".", *groups("tests", "metadata"))
    session.run("pytest", "tests/unit/data/test_croissant.py", "tests/unit/analysis/test_ro_crate.py")


@nox.session
def mutation(session: nox.Session) -> None:
    """Small changes of the package, one at a time: which of them do the fast tests notice? Takes long."""
    session.install("-e", ".[dicom,ray,tensorboard]", *groups("tests", "architecture", "mutation"))
    session.run("python", "tests/mutation/run.py", *session.posargs)
