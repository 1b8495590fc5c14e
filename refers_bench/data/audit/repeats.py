"""Which images of one split, or one dataset, come again in another?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from refers_bench.data.audit.duplicates import AGREEMENT, DISTANCE, VARIANTS, Pairs, agreement, near_duplicates
from refers_bench.data.audit.id_lists import SHOWN, IdList, Overlap
from refers_bench.data.prepare import PreparedImages

SPLITS = ("train", "val", "test")
#: Nearest pairs whose fine structure is compared; many more than that are flat images.
LIMIT = 20_000
#: Pairs that the report for people names.
NAMED = 50
COLUMNS = (
    "first",
    "first_split",
    "first_patient",
    "second",
    "second_split",
    "second_patient",
    "variant",
    "distance",
    "agreement",
    "confirmed",
)


def _rows(first: PreparedImages, second: PreparedImages, pairs: Pairs) -> pd.DataFrame:
    """A row per pair, with the agreement of the nearest `LIMIT`; the others are not confirmed."""
    near = Pairs(
        a_P=pairs.a_P[:LIMIT],
        b_P=pairs.b_P[:LIMIT],
        distance_P=pairs.distance_P[:LIMIT],
        variant_P=pairs.variant_P[:LIMIT],
    )
    agreed = np.zeros(len(pairs))
    agreed[: len(near)] = agreement(first.images_NHW, second.images_NHW, near)
    columns: dict[str, Any] = {}
    for name, store, places in (("first", first, pairs.a_P), ("second", second, pairs.b_P)):
        rows = store.index.iloc[places]
        columns[name] = rows["image_id"].to_numpy(str)
        columns[f"{name}_split"] = rows["split"].to_numpy(str)
        columns[f"{name}_patient"] = rows["patient_id"].to_numpy(str)
    return pd.DataFrame(
        columns
        | {
            "variant": pairs.variant_P,
            "distance": pairs.distance_P,
            "agreement": agreed,
            "confirmed": agreed >= AGREEMENT,
        }
    )[list(COLUMNS)]


def _sorted(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    whole = pd.concat(frames) if frames else pd.DataFrame(columns=list(COLUMNS))
    return whole.sort_values(
        ["confirmed", "distance", "agreement", "first", "second"],
        ascending=[False, True, False, True, True],
        ignore_index=True,
    )


def across_splits(
    store: PreparedImages,
    *,
    distance: int = DISTANCE,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Near-duplicate images in different splits of a dataset, confirmed and nearest first; columns `COLUMNS`."""
    split = store.index["split"].to_numpy(str)
    places = {name: np.flatnonzero(split == name) for name in SPLITS}
    found, done = [], 0
    total = len(VARIANTS) * sum(
        len(places[one]) * len(places[other]) for one, other in itertools.combinations(SPLITS, 2)
    )
    for one, other in itertools.combinations(SPLITS, 2):
        pairs = near_duplicates(
            store.images_NHW,
            store.images_NHW,
            a_places=places[one],
            b_places=places[other],
            distance=distance,
            threads=threads,
            progress=lambda part, _, before=done: progress(before + part, total),  # type: ignore[misc]
        )
        found.append(_rows(store, store, pairs))
        done += len(VARIANTS) * len(places[one]) * len(places[other])
    return _sorted(found)


def across_datasets(
    first: PreparedImages,
    second: PreparedImages,
    *,
    distance: int = DISTANCE,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Near-duplicate images of two datasets' used splits, confirmed and nearest first; columns `COLUMNS`."""
    places = [np.flatnonzero(store.index["split"].to_numpy(str) != "") for store in (first, second)]
    pairs = near_duplicates(
        first.images_NHW,
        second.images_NHW,
        a_places=places[0],
        b_places=places[1],
        distance=distance,
        threads=threads,
        progress=progress,
    )
    return _sorted([_rows(first, second, pairs)])


def pairs_record(pairs: pd.DataFrame, *, most: int = LIMIT) -> dict[str, Any]:
    """Pairs as plain values: counts, and the confirmed and nearest of them."""
    kept = pairs.head(most).astype({"distance": int, "agreement": float, "confirmed": bool})
    rows = kept.assign(agreement=kept["agreement"].round(4)).to_dict(orient="records")
    return {
        "pairs": len(pairs),
        "confirmed": int(pairs["confirmed"].sum()),
        "left_out": len(pairs) - len(kept),
        "rows": rows,
    }


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
    sizes = {one.name: len(one.ids) for one in lists}
    for name, size in sizes.items():
        repeated = repeats.get(name, ())
        yield f"list {name}: {size} images" + (
            f", {len(repeated)} more than once: {_some(repeated)}" if repeated else ""
        )
    for one in found:
        people = "" if one.patients is None else f", {len(one.patients)} patients"
        if one.ids or one.patients:
            names = _some(one.ids or one.patients or ())
            yield f"  {one.first} and {one.second} SHARE {len(one.ids)} images{people}: {names}"
        else:
            yield f"  {one.first} and {one.second} share no image" + (" and no patient" if people else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
