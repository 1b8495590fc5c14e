"""Joins the prepared images of several source datasets into one, without a copy of their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from refers_bench.data.pixels import Pixels, Stored
from refers_bench.data.prepare import PreparedImages
from refers_bench.errors import DataError
from refers_bench.plugins import INDEX_COLUMNS

if TYPE_CHECKING:
    from refers_bench.data.transfer import OnDevice

#: Columns of names that are unique within a dataset only.
NAMES = ("image_id", "patient_id", "study_id")


class JoinedPixels:
    """Memory-mapped stores end to end: image n of the second one has place n + the number of images of the first.

    Args:
        stores: uint8 (N, size, size) each, of one size.

    Raises:
        DataError: images of different sizes.
    """

    def __init__(self, stores: Sequence[Stored]) -> None:
        sizes = sorted({store.shape[1:] for store in stores})
        if len(sizes) > 1:
            raise DataError(f"prepared images of {sizes} pixels", allowed="one size for all source datasets")
        self.stores, self.starts = tuple(stores), np.cumsum([0, *(len(store) for store in stores)])
        self.shape = (int(self.starts[-1]), *sizes[0])

    def __getitem__(self, places: np.ndarray, /) -> np.ndarray:
        """uint8 (len(places), size, size): the images at these places, in this order.

        Raises:
            IndexError: no such place; negative ones do not count from the end.
        """
        if len(places) and not (places.min() >= 0 and places.max() < self.starts[-1]):
            raise IndexError(f"places {places.min()} to {places.max()} of {self.starts[-1]} images")
        store_of = np.searchsorted(self.starts, places, side="right") - 1
        images = np.empty((len(places), *self.shape[1:]), np.uint8)
        for number in np.unique(store_of):
            here = store_of == number
            images[here] = self.stores[number][places[here] - self.starts[number]]
        return images


@dataclass(frozen=True, kw_only=True)
class SourceImages:
    """What a pre-training or a discovery reads of its source.

    Attributes:
        images_NHW: uint8 store, or what is kept of it on the device.
        index: one row an image, with its place in the store in column ``place``.
        digest: of the pixels; of several source datasets, by their ids.
    """

    images_NHW: Pixels | OnDevice
    index: pd.DataFrame
    digest: str | dict[str, str]


def joined(stores: Mapping[str, PreparedImages]) -> SourceImages:
    """The images of one or several source datasets as one source.

    Every image of the union is one row, whichever dataset it is of: batches draw uniformly over all images (studies,
    for methods that look at studies) of the union, so that a dataset has its part by its size and no weight besides.
    Each dataset's own splits stand, and validation looks at all validation images. Of several datasets the names of
    images, studies and patients begin with ``dataset/``, since two hospitals may use the same numbers, and labels are
    left out, since their classes differ.

    Args:
        stores: id of each dataset -> its prepared images, in the order of their places.

    Raises:
        DataError: images of different sizes.
    """
    if len(stores) == 1:
        (only,) = stores.values()
        index = only.index.assign(place=np.arange(len(only.index)))
        return SourceImages(images_NHW=only.images_NHW, index=index, digest=only.meta["digest"])
    parts = []
    for dataset, store in stores.items():
        rows = store.index[list(INDEX_COLUMNS)]
        # A study or patient without a name stays without one.
        parts.append(rows.assign(**{name: f"{dataset}/" + rows[name] for name in NAMES}))
    index = pd.concat(parts, ignore_index=True)
    return SourceImages(
        images_NHW=JoinedPixels([store.images_NHW for store in stores.values()]),
        index=index.assign(place=np.arange(len(index))),
        digest={dataset: store.meta["digest"] for dataset, store in stores.items()},
    )
