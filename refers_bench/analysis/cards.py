"""Finds the cards of the datasets that results derive from: targets, then sources of pre-training."""

from refers_bench import plugins
from refers_bench.analysis.results import Results
from refers_bench.plugins import Dataset
from refers_bench.store.plan import source_parts


def cards(results: Results) -> dict[str, Dataset]:
    """Id of each dataset -> its card; those without a card here, as of imported results, are left out."""
    names = [target.dataset for target in results.targets]
    pretrained = [job.spec for job in results.plan.jobs if job.kind == "pretrain" and job.spec.get("source")]
    names += [str(part["dataset"]) for spec in pretrained for part in source_parts(spec)]
    known = plugins.names("dataset")
    return {name: plugins.load("dataset", name) for name in dict.fromkeys(names) if name in known}
