"""Turns a dataset's files into an index and prepared images, and checks that they are still those that were planned."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench import identity, plugins
from refers_bench.data.cache_meta import META
from refers_bench.data.index import digest, limited
from refers_bench.data.index import read_index as index_of
from refers_bench.data.phantoms import radiographs
from refers_bench.data.prepare import PreparedImages, prepare
from refers_bench.errors import DataError, UserError
from refers_bench.files import work_of
from refers_bench.jobs.record import Record
from refers_bench.machine import cores
from refers_bench.manifest import declared
from refers_bench.plan import index_memo
from refers_bench.plugins import Dataset, RealReports
from refers_bench.store.context import JobContext
from refers_bench.store.plan import reader_of
from refers_bench.store.results import ResultStore
from refers_bench.training.progress import ProgressFile

#: What a specification says of the resizing besides the size, where it is not the paper's.
RESIZING = ("interpolation", "fit")
_LOG = logging.getLogger(__name__)


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Index a dataset, check that it is the planned one, decode its images once, publish index and record.

    Raises:
        DataError: the data changed since planning, or a file cannot be used.
        UserError: a data root is not set.
        StorageError: cache or results cannot be written.
    """
    key, spec = job["key"], job["spec"]
    store = ResultStore(context.results)
    record = Record(job, store, context)
    dataset: Dataset = plugins.load("dataset", reader_of(spec))
    progress = ProgressFile(store.progress(key))

    # 1. Where the files are: a real folder, or phantoms drawn in the dataset's own layout.
    root = root_of(dataset, spec, context)

    # 2. The index, by the dataset's own reader, and its identity.
    index = read_index(dataset, spec, root=root, context=context)
    found = digest(index)
    if not spec["phantom"] and found != spec["digest"]:
        index_memo.forget(context.cache, spec["dataset"])
        changed = f"data changed since planning (index {found}, planned {spec['digest']})"
        raise DataError(changed, allowed="the planned files, or a new plan of the manifest", path=root)

    # 3. Decode every image once; an earlier run, of this or another results folder, may have done it.
    index = index[~index["path"].isin(spec.get("left_out", []))]
    if "limit" in spec:
        index = limited(index, dataset=spec["dataset"], limit=spec["limit"])
    folder, params = context.prepared(key), dataset.Params(**spec["params"])
    decoded = not (folder / META).is_file()
    if decoded:
        try:
            prepare(
                index,
                root=root,
                folder=folder,
                work=work_of(folder),
                size=spec["prepared_size"],
                **{name: spec[name] for name in RESIZING if name in spec},
                workers=context.processes or cores(),
                dicom=dataset.dicom(params),
                formats=dataset.formats(params),
                progress=lambda done, total: progress({"step": done, "steps": total, "losses": {}, "images_per_s": 0}),
                waiting=lambda who: _LOG.warning("waiting for %s, which prepares these images", who),
            )
        except DataError:  # the user will repair files in place: the remembered index may become wrong
            index_memo.forget(context.cache, spec["dataset"])
            raise
    prepared = PreparedImages.open(folder)

    # 4. Publish what there is.
    facts = {"index_digest": found, "decoded": decoded, **counts(prepared.index), "pixels": prepared.meta}
    with record.published(facts) as stage:
        prepared.index.to_parquet(stage / "index.parquet", index=False)


def root_of(dataset: Dataset, spec: Mapping[str, Any], context: JobContext) -> Path:
    """Folder of a dataset's files, or of its phantoms.

    Raises:
        UserError: the data root is not set, or there are no such phantoms.
    """
    return phantom_root(dataset, spec, context) if spec["phantom"] else context.data_root(spec["dataset"])


def phantom_root(dataset: Dataset, spec: Mapping[str, Any], context: JobContext) -> Path:
    """Folder of the phantoms of a specification, drawn unless they are there.

    Raises:
        UserError: the dataset has no layout to write, the phantoms are of another implementation, or the data root of
            their real reports is not set.
        DataError: the real reports changed since planning, or one cannot be used.
    """
    if dataset.write_layout is None:
        raise UserError(f"dataset '{spec['dataset']}' cannot be written as phantoms")
    settings = dict(spec["phantom"])
    impl = settings.pop("impl", radiographs.IMPL)
    _same_version(impl, radiographs.IMPL)
    name = identity.key({"dataset": spec["dataset"], "impl": spec["impl"], "phantom": {**settings, "impl": impl}})
    folder = context.cache / "phantoms" / name
    layout, real = dataset.write_layout, dataset.real_reports
    if real is not None and settings.get("reports"):
        _same_version(settings.pop("reports_impl"), real.impl)
        layout = functools.partial(_illustrate, real, settings.pop("reports_digest"), context)
    radiographs.write(folder, radiographs.PhantomParams(**settings), layout)
    return folder


def _same_version(planned: int, impl: int) -> None:
    if planned != impl:
        raise UserError(f"the plan was made for phantoms of version {planned}, this is {impl}: plan again")


def _illustrate(
    real: RealReports, planned: str, context: JobContext, stage: Path, params: radiographs.PhantomParams
) -> None:
    """Write the planned real reports with procedural radiographs."""
    path = context.data_root(real.root, folder=False)
    # Of all reports: fewer than are to be written have changed, too.
    found = real.read(path, radiographs.PhantomParams(reports=params.reports))["digest"]
    if found != planned:
        changed = f"reports changed since planning (digest {found}, planned {planned})"
        raise DataError(changed, allowed="the planned reports, or a new plan of the manifest", path=path)
    real.write_layout(stage, params, path)


def read_index(dataset: Dataset, spec: Mapping[str, Any], *, root: Path, context: JobContext) -> pd.DataFrame:
    """The dataset's index, with the split lists its parameters ask for, or the table of one's own images."""
    params = dataset.Params(**spec["params"])
    further = declared.further_roots(dataset, params, spec["dataset"])
    lists = {name: context.data_root(one, folder=not dataset.places) for name, one in further.items()}
    return index_of(dataset, root, params, lists)


def counts(index: pd.DataFrame) -> dict[str, Any]:
    """Images, patients and studies of each split."""
    found = index.groupby("split").agg(
        images=("split", "size"), patients=("patient_id", "nunique"), studies=("study_id", "nunique")
    )
    return {str(split) or "unused": row for split, row in found.to_dict("index").items()}
