"""With the executor debug a recipe that stops at `breakpoint()` is one that a person can look into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refers_bench.store.results import ResultStore
from tiny_jobs import job

RECIPE = """
import noop_jobs

def run(job, context):
    secret = job["spec"].get("secret", 0)
    if secret:
        breakpoint()
        secret = secret
    noop_jobs.run(job, context)
"""


def test_breakpoint_in_a_recipe_reaches_a_debugger_fed_from_stdin(orchestrator: Any, tmp_path: Path) -> None:
    (tmp_path / "pausing.py").write_text(RECIPE)
    jobs = [job("looked into", secret=41), job("broken", fail="bug"), job("after")]
    typed = "p 'the secret is', secret + 1\ncontinue\n"
    outcome = orchestrator.run(jobs, typed=typed, executor="debug", entry="pausing:run", retries={})
    assert "('the secret is', 42)" in outcome["out"]
    assert (outcome["done"], outcome["failed"]) == (["after", "looked into"], {"broken": "crash"})
    # The failure is shown, and recorded as by any other engine.
    assert 'raise RuntimeError("asked for by the job")' in outcome["printed"]
    failure = ResultStore(tmp_path / "results").failure(jobs[1].key) or {}
    assert (failure["message"], failure["traceback"][-1]) == ("RuntimeError: asked for by the job",) * 2
