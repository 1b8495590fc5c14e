"""Finds the cards of the datasets that results derive from: targets, then sources of pre-training."""

from refers_bench import plugins
from refers_bench.analysis.results import Results
from refers_bench.plugins import Dataset
from refers_bench.store.plan import reader_of, source_parts


def cards(results: Results) -> dict[str, Dataset]:
    """Id of each dataset -> its card; those without a card here, as of imported results, are left out."""
    specs = [job.spec for job in results.plan.jobs]
    parts = [
        part for spec in specs if spec.get("kind") == "pretrain" and spec.get("source") for part in source_parts(spec)
    ]
    names = [target.dataset for target in results.targets] + [str(part["dataset"]) for part in parts]
    readers = {part["dataset"]: reader_of(part) for part in (*specs, *parts) if "dataset" in part}
    found = {name: readers.get(name, name) for name in dict.fromkeys(names)}
    known = plugins.names("dataset")
    return {name: plugins.load("dataset", reader) for name, reader in found.items() if reader in known}
