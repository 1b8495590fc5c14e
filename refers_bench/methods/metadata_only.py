"""Metadata alone: classifies by what the index knows of an image besides its pixels; a floor, no competitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from refers_bench.errors import UserError
from refers_bench.plugins import ABOUT, Method, Section

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Texts that fewer images have are one category.
RARE = 5
#: Columns of every index that say something of an image without showing it.
OF_EVERY_INDEX = ("view", "bytes")


class Params(BaseModel, extra="forbid", frozen=True):
    """Which metadata."""

    columns: tuple[str, ...] = Field(
        default=(),
        description="what is used: view, bytes (size of the file), or names of the dataset's metadata, such as site; "
        "empty for all",
        json_schema_extra={"unstated": True},
    )


def build_encoder(params: Params, network: Section, image: Section) -> Any:
    """There is none.

    Raises:
        UserError: always.
    """
    raise UserError("metadata_only looks at no pixels", allowed="evaluation: linear_probe")


def index_features(index: pd.DataFrame, params: Params) -> np.ndarray:
    """A column for each category of a text, and for each number, standardised over all rows; labels play no part.

    Texts that fewer than `RARE` images have are one category. Of a missing text there is a category, of a missing
    number a column that says so; the number itself is then the mean. What is the same for all images is left out.

    Args:
        index: as a dataset's reader returns it.
        params: of the method.

    Returns:
        float32 (N, D); one column of zeros where nothing tells the images apart.

    Raises:
        UserError: the index has no such metadata.
    """
    import numpy as np

    known = {name: name for name in OF_EVERY_INDEX}
    known |= {name.removeprefix(ABOUT): name for name in index.columns if name.startswith(ABOUT)}
    for name in params.columns:
        if name not in known:
            raise UserError(f"metadata_only: no metadata '{name}' in this index", allowed=", ".join(known))
    wanted = [index[known[name]] for name in params.columns or known]
    columns = [column for one in wanted for column in _columns(one) if np.ptp(column) > 0]
    return np.stack(columns or [np.zeros(len(index))], axis=1).astype(np.float32)


def _columns(values: pd.Series) -> list[np.ndarray]:
    """Features of one column: standardised numbers, or categories; then whether a value is missing."""
    import numpy as np
    import pandas as pd

    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers_N = values.to_numpy(np.float64)
        missing_N = np.isnan(numbers_N)
        if missing_N.all():
            return []
        spread = np.nanstd(numbers_N) or 1.0
        standard_N = np.where(missing_N, 0.0, (numbers_N - np.nanmean(numbers_N)) / spread)
        return [standard_N, missing_N.astype(np.float64)]
    texts = values.fillna("").astype(str)
    counts = texts[texts != ""].value_counts()
    often = sorted(counts.index[counts >= RARE])
    found = [texts == text for text in often]
    found += [(texts != "") & ~texts.isin(often), texts == ""]
    return [column.to_numpy(np.float64) for column in found]


METHOD = Method(
    label="Metadata alone",
    source="ours: what the index knows of an image without its pixels; not a row of the paper",
    impl=1,
    Params=Params,
    build_encoder=build_encoder,
    index_features=index_features,
    floor=True,
    architecture=lambda params: "none",
    footnotes=lambda params: (
        f"floor: a probe on {', '.join(params.columns) or 'all metadata of the index, view and file size'}; no pixels",
    ),
)
