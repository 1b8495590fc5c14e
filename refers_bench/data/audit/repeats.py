"""Reports the images of one split, or one dataset, that come again in another."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from refers_bench.data.audit.duplicates import AGREEMENT, VARIANTS, agreement, near_duplicates
from refers_bench.data.audit.id_lists import SHOWN, IdList, Overlap
from refers_bench.data.prepare import PreparedImages, Progress, silent

SPLITS = ("train", "val", "test")
#: Nearest pairs whose fine structure is compared; where there are many more, most are flat images.
LIMIT = 20_000
#: Pairs that the report for people lists.
NAMED = 50


def across_splits(store: PreparedImages, *, progress: Progress = silent, **how: Any) -> pd.DataFrame:
    """Near-duplicate images in different splits of a dataset, the confirmed and nearest first.

    Args:
        store: the dataset's prepared images.
        progress: called with (pairs done, pairs in all), over all pairs of splits.
        how: distance and threads, see `near_duplicates`.
    """
    split = store.index["split"].to_numpy(str)
    places = itertools.combinations([np.flatnonzero(split == name) for name in SPLITS], 2)
    tasks = [(one, other, len(VARIANTS) * len(one) * len(other)) for one, other in places]
    found, done, total = [], 0, sum(size for _, _, size in tasks)
    for one, other, size in tasks:
        here = lambda part, _, before=done: progress(before + part, total)
        found.append(_compared(store, one, store, other, progress=here, **how))
        done += size
    return _sorted(pd.concat(found))


def across_datasets(first: PreparedImages, second: PreparedImages, **how: Any) -> pd.DataFrame:
    """Near-duplicate images of two datasets' used splits, the confirmed and nearest first.

    Args:
        first: prepared images of one dataset.
        second: of another one.
        how: distance, threads and progress, see `near_duplicates`.
    """
    one, other = (np.flatnonzero(store.index["split"].to_numpy(str) != "") for store in (first, second))
    return _sorted(_compared(first, one, second, other, **how))


def _compared(
    first: PreparedImages, one: np.ndarray, second: PreparedImages, other: np.ndarray, **how: Any
) -> pd.DataFrame:
    """A row per pair, with the agreement of the nearest `LIMIT`; the others are not confirmed."""
    pairs = near_duplicates(first.images_NHW, second.images_NHW, a_places=one, b_places=other, **how)
    near, agreed = pairs.head(LIMIT), np.zeros(len(pairs))
    agreed[: len(near)] = agreement(first.images_NHW, second.images_NHW, near)
    columns: dict[str, Any] = {}
    for name, store, places in (("first", first, pairs["a"]), ("second", second, pairs["b"])):
        rows = store.index.iloc[places.to_numpy()]
        for ending, column in (("", "image_id"), ("_split", "split"), ("_patient", "patient_id")):
            columns[name + ending] = rows[column].to_numpy(str)
    columns |= {"variant": pairs["variant"], "distance": pairs["distance"], "agreement": agreed}
    return pd.DataFrame({**columns, "confirmed": agreed >= AGREEMENT})


def _sorted(pairs: pd.DataFrame) -> pd.DataFrame:
    order = {"confirmed": False, "distance": True, "agreement": False, "first": True, "second": True}
    return pairs.sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def pairs_record(pairs: pd.DataFrame, *, most: int = LIMIT) -> dict[str, Any]:
    """Pairs as plain values: counts, and the confirmed and nearest of them."""
    kept = pairs.head(most).astype({"distance": int, "agreement": float, "confirmed": bool})
    rows = kept.assign(agreement=kept["agreement"].round(4)).to_dict(orient="records")
    confirmed = int(pairs["confirmed"].sum())
    return {"pairs": len(pairs), "confirmed": confirmed, "left_out": len(pairs) - len(kept), "rows": rows}


def pair_lines(title: str, pairs: pd.DataFrame) -> Iterator[str]:
    """Pairs for people: numbers by splits, then the confirmed and nearest by name."""
    yield f"{title}: {int(pairs['confirmed'].sum())} confirmed of {len(pairs)} near-duplicate pairs"
    for splits, part in pairs.groupby(["first_split", "second_split"], sort=True):
        one, other = splits
        yield f"  {one} and {other}: {int(part['confirmed'].sum())} confirmed of {len(part)}"
    for row in pairs.head(NAMED).to_dict(orient="records"):
        note = "" if row["variant"] == "same" else f", {row['variant']}"
        certain = "" if row["confirmed"] else ", not confirmed"
        yield (
            f"    {row['first']} ({row['first_split']}) = {row['second']} ({row['second_split']}): "
            f"{row['distance']} bits differ, agreement {row['agreement']:.2f}{note}{certain}"
        )
    if len(pairs) > NAMED:
        yield f"    and {len(pairs) - NAMED} more in the JSON file"


def overlap_lines(
    lists: Sequence[IdList], found: Sequence[Overlap], repeats: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Shared ids for people: every pair of lists, with some of the ids."""
    for one in lists:
        repeated = repeats.get(one.name, ())
        more = f", {len(repeated)} more than once: {_some(repeated)}" if repeated else ""
        yield f"list {one.name}: {len(one.ids)} images{more}"
    for pair in found:
        people = "" if pair.patients is None else f", {len(pair.patients)} patients"
        if pair.ids or pair.patients:
            names = _some(pair.ids or pair.patients or ())
            yield f"  {pair.first} and {pair.second} SHARE {len(pair.ids)} images{people}: {names}"
        else:
            yield f"  {pair.first} and {pair.second} share no image" + (" and no patient" if people else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
