"""Computes the features of all prepared images of a dataset, once for every evaluation that reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refers_bench import plugins
from refers_bench.data import features
from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource
from refers_bench.data.cache_meta import AGAIN, META
from refers_bench.data.features import CachedFeatures
from refers_bench.data.index import metadata_digest
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import DataError, UserError
from refers_bench.files import work_of
from refers_bench.jobs import prepare, setup
from refers_bench.jobs.record import Record
from refers_bench.plugins import Dataset
from refers_bench.store.context import JobContext
from refers_bench.store.plan import reader_of
from refers_bench.store.results import ResultStore
from refers_bench.training.progress import ProgressFile

_LOG = logging.getLogger(__name__)

#: Places of the prepared index -> their features, float (B, D) or (B, T, D).
Computed = Callable[[NDArray[np.int64]], NDArray[Any]]


def run(job: Mapping[str, Any], context: JobContext) -> None:
    """Compute the features of a dataset's prepared images into the cache, and publish a record.

    Raises:
        DataError: no prepared images, no fitting checkpoint, values that float16 cannot hold, or cached bytes that
            have changed.
        UserError: the encoder has no such readout.
        StorageError: cache or results cannot be written.
    """
    key, spec, store = job["key"], job["spec"], ResultStore(context.results)
    record, device = Record(job, store, context), setup.start(context)
    images, folder = setup.open_prepared(context, spec["prepare"]), context.features(key)
    progress = ProgressFile(store.progress(key), device=device)

    # An earlier run, of this or another results folder, may have computed them: then no image is read.
    computed = not (folder / META).is_file()
    if computed:
        from_index = plugins.load("method", spec["method"]).index_features is not None
        of_chunk, about = of_index(spec, images, context) if from_index else of_images(key, spec, images, context)
        features.cache(
            of_chunk,
            count=len(images.index),
            chunk=setup.EVALUATION_BATCH,
            folder=folder,
            work=work_of(folder),
            about={"encoder": about},
            progress=lambda done, total: progress({"step": done, "steps": total, "losses": {}, "images_per_s": 0}),
            waiting=lambda who: _LOG.warning("waiting for %s, which computes these features", who),
        )
    cached = opened(key, images, context)
    facts = {"computed": computed, **{name: value for name, value in cached.meta.items() if name != "version"}}
    with record.published({**facts, "data_digest": images.meta["digest"]}):
        pass


def opened(key: str, images: PreparedImages, context: JobContext) -> CachedFeatures:
    """What a features job computed, once its bytes are found to be those that it wrote.

    Raises:
        DataError: there are none, they have changed, or they are of another number of images.
    """
    cached = CachedFeatures.open(context.features(key)).verified()
    if len(cached.features) != len(images.index):
        found = f"features of {len(cached.features)} images for {len(images.index)} prepared ones"
        raise DataError(found, allowed=AGAIN, path=cached.folder)
    return cached


def of_images(
    key: str, spec: Mapping[str, Any], images: PreparedImages, context: JobContext
) -> tuple[Computed, dict[str, Any]]:
    """What computes the features of a method's encoder, in eval mode and float32, without augmentation; its weights."""
    device, (encoder, about) = torch.device(context.device), setup.start_encoder(key, spec, context)
    encoder = encoder.to(device)
    augment, none = Augment.of(spec["image"], "finetune_augment"), np.zeros((len(images.index), 0), np.float32)

    def read_out(x_BCHW: Tensor) -> Tensor:
        try:
            values: Tensor = encoder.features(x_BCHW, spec["readout"])  # type: ignore[operator]
        except ValueError as error:
            raise UserError(
                f"the encoder of '{spec['method']}' has no readout '{spec['readout']}'", allowed=str(error)
            ) from error
        return values

    def computed(places: NDArray[np.int64]) -> NDArray[Any]:
        source = RadiographSource(images.images_NHW, places, none[places], augment=augment, device=device, key=key)
        return np.concatenate(setup.outputs(encoder, source, of=read_out))

    return computed, about


def of_index(spec: Mapping[str, Any], images: PreparedImages, context: JobContext) -> tuple[Computed, dict[str, Any]]:
    """What gives the features that a method reads off the dataset's index, without any pixel.

    Raises:
        DataError: the dataset's metadata are not those that were planned, or lack a prepared image.
    """
    method, params = setup.load_method(spec)
    planned = ResultStore(context.results).record(spec["prepare"])
    if planned is None:
        raise DataError(f"the preparation {spec['prepare']} has left no record", allowed="run it first")
    dataset: Dataset = plugins.load("dataset", reader_of(planned["spec"]))
    root = prepare.root_of(dataset, planned["spec"], context)
    index = prepare.read_index(dataset, planned["spec"], root=root, context=context)
    found = metadata_digest(index)
    if not planned["spec"]["phantom"] and found != spec["metadata"]:
        changed = f"metadata changed since planning (digest {found}, planned {spec['metadata']})"
        raise DataError(changed, allowed="the planned files, or a new plan of the manifest", path=root)
    place = index.reset_index(drop=True).reset_index().set_index("image_id")["index"].reindex(images.index["image_id"])
    if place.isna().any():
        raise DataError(f"the index lacks the prepared image '{place.index[place.isna()][0]}'", path=root)
    assert method.index_features is not None
    values = np.asarray(method.index_features(index, params), np.float64)[place.to_numpy(np.int64)]
    return lambda places: values[places], {"from": "index"}
