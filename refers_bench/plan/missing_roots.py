"""Names all data roots that a plan wants and that cannot be used on this machine, in one sentence for each way."""

from __future__ import annotations

from pathlib import Path

from refers_bench.manifest.declared import brought_along
from refers_bench.manifest.roots import PREFIX, Roots, config_path
from refers_bench.plan.lock import Plan


def sentences(plan: Plan, roots: Roots, *, at_least: int = 1) -> list[str]:
    """Which variables are to be set for all jobs of a plan to run, and what is wrong with those that are set.

    A job's own reason names the first root that it lacks alone.

    Args:
        plan: names the roots that its datasets and weights want.
        roots: of this machine.
        at_least: so many roots must be lacking for anything to be said.
    """
    known = brought_along(roots, plan.manifest, Path(plan.manifest_path).parent)
    lacking = {name: reason for name in sorted(plan.roots) if (reason := known.why_not(name))}
    unset = [f"{PREFIX}{name.upper()}" for name in lacking if name not in known.paths]
    found = []
    if unset:
        place = f"in the environment, or below data_roots in {config_path()}"
        found.append(f"not set: {len(unset)} data root{'s'[: len(unset) > 1]}; to be set {place}: {', '.join(unset)}")
    found += [reason for name, reason in lacking.items() if name in known.paths]
    return found if len(lacking) >= at_least else []
