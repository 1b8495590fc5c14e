"""Reads published lists of images that `refers_bench.manifest.packs` knows by their digests."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from refers_bench.data.audit.id_lists import IdList
from refers_bench.data.audit.naming import NAMINGS
from refers_bench.data.index import leave_out, not_there, patient_part
from refers_bench.data.nih_map import FOLDERS, TABLE, nih_images
from refers_bench.data.official_tables import table_path
from refers_bench.errors import DataError, Problem
from refers_bench.files import Unpacked, plain_file
from refers_bench.manifest.packs import ROOT, RSNA_TO_NIH_SHA256, KnownPack, Pack, known
from refers_bench.plugins import SUBSETS

#: Bytes that the largest list has, by far.
MOST = 1 << 26
#: An image of several lists stays in the first of these: what is scored is never trained on.
_FIRST = ("test", "val", "train")


def _content(folder: Path, file: str, sha256: str, *, of: str) -> bytes:
    """The bytes of a file, gzipped or not, as it was published.

    Raises:
        DataError: missing, damaged, or another file.
    """
    path = folder / file
    path = path if path.is_file() else path.with_name(f"{path.name}.gz")
    if not path.is_file():
        what = f"no {file} of the pack '{of}'" if folder.is_dir() else f"no folder of the pack '{of}'"
        raise DataError(what, allowed=f"{file} or {file}.gz", path=folder)
    try:
        if path.suffix == ".gz":
            with Unpacked(path, most=MOST, error=OSError(f"it unpacks to more than {MOST} bytes")) as stream:
                content = stream.read()
        else:
            content = plain_file(path).read_bytes()
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"a damaged file ({error})", allowed="a whole list, gzipped or not", path=path) from error
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        found = f"{'an empty file' if not content else f'SHA-256 {found[:12]}...'}, which is not {of}"
        raise DataError(found, allowed=f"the file as published, SHA-256 {sha256[:12]}... uncompressed", path=path)
    return content


def read_list(root: Path, pack: str, name: str) -> pd.DataFrame:
    """One list of a pack.

    Args:
        root: holds the folders of packs.
        pack: name of a known one.
        name: "train", "val", "test", "train_1" or "train_10".

    Returns:
        Columns `name` (as it stands in the list) and `labels` (the other words of its line, a tuple); each line once.

    Raises:
        DataError: the file is missing, damaged, or not the published one.
    """
    one = known()[pack]
    if name in one.lists:
        published = one.lists[name]
        text = _content(root / pack, published.file, published.sha256, of=f"{pack}/{name}").decode("utf-8")
        lines = [one.repairs.get(line, line) for line in map(str.strip, text.splitlines()) if line]
        words = [tuple(re.split(r"[,\s]+", line)) for line in lines if line]
        return pd.DataFrame({"name": [word[0] for word in words], "labels": [word[1:] for word in words]})
    naming = NAMINGS[one.names]
    taken = {naming.image(text) for other in one.lists for text in read_list(root, pack, other)["name"]}
    whole = [read_list(root, *other.rsplit("/", 1)) for other in one.rest[name]]
    names = [text for frame in whole for text in frame["name"] if naming.image(text) not in taken]
    return pd.DataFrame({"name": names, "labels": [()] * len(names)})  # the labels of another pack are not this one's


def read_pack(lists: Pack, roots: Mapping[str, Path], *, image: Callable[[str], str] | None = None) -> pd.DataFrame:
    """The lists of a pack together, an image a row.

    A reader matches its own images by `refers_bench.data.audit.naming.NAMINGS[...].image` of their names.

    Args:
        lists: a reader's parameter.
        roots: as a reader is given them.
        image: a name in a list -> the image's id, in place of the collection's naming.

    Returns:
        Index: the image's id. Columns `name`, `split` ("train", "val", "test"; an image of several lists stays in the
        test, or else in the validation list; what a list holds that is the rest of the dataset's images, is left to
        the reader), `labels` (words of its line, a tuple; () where it has none) and
        `subsets` (names of the label subsets with it, separated by blanks).

    Raises:
        DataError: as `read_list`; a label subset with an image that is not trained on.
    """
    root, pack = roots[ROOT], lists.known
    image = image or NAMINGS[pack.names].image
    splits = {name: name for name in _FIRST if name in pack.lists or pack.rest.get(name)}
    if pack.rest.get("train") == ():  # of its training images, only those of label subsets stand in a list
        splits |= dict.fromkeys(pack.subsets, "train")
    parts = [read_list(root, pack.name, name).assign(split=split) for name, split in splits.items()]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.set_index(frame["name"].map(image)).rename_axis(index=None)
    frame = frame[~frame.index.duplicated()]
    inside: dict[str, list[str]] = {}
    for name in pack.subsets:
        for one in dict.fromkeys(map(image, read_list(root, pack.name, name)["name"])):
            inside.setdefault(one, []).append(name)
    outside = set(inside) - set(frame.index[frame["split"] == "train"])
    if outside and not pack.leaks:
        raise DataError(f"'{min(outside)}' of a label subset is no training image", path=root / pack.name)
    return frame.assign(**{SUBSETS: [" ".join(inside.get(one, ())) for one in frame.index]})


def with_splits(frame: pd.DataFrame, pack: Pack, listed: pd.DataFrame, *, ids: pd.Series | None = None) -> pd.DataFrame:
    """A reader's rows with the splits and label subsets of published lists: ``split`` and `SUBSETS`.

    What no list names is unused, or trained on where the pack's training list is the rest of the dataset's images: a
    reader then gives only the rows that the authors split.

    Args:
        frame: `image_id`, named in any way that the collection's images are.
        pack: a reader's parameter.
        listed: its lists, as `read_pack` gives them.
        ids: of the rows' images, as `listed` has them; by default what the collection's naming makes of `image_id`.
    """
    ids = frame["image_id"].map(NAMINGS[pack.known.names].image) if ids is None else ids
    rest = "train" if pack.known.rest.get("train") == () else ""
    return frame.assign(split=ids.map(listed["split"]).fillna(rest), **{SUBSETS: ids.map(listed[SUBSETS]).fillna("")})


def listed_rows(
    frame: pd.DataFrame, pack: Pack, listed: pd.DataFrame, *, root: Path, missing: str, ids: pd.Series | None = None
) -> pd.DataFrame:
    """The same, of a reader whose tables must have all images that the lists name.

    Args:
        frame: `image_id`.
        pack: a reader's parameter.
        listed: its lists, as `read_pack` gives them.
        root: holds the folders of packs.
        missing: "skip" leaves images that are in no table out, "refuse" does not.
        ids: as for `with_splits`.

    Raises:
        DataError: the lists name images that the tables do not, and these may not be left out, or there is no other.
    """
    ids = frame["image_id"].map(NAMINGS[pack.known.names].image) if ids is None else ids
    gone = listed[~listed.index.isin(ids)]
    folder, files = root / pack.pack, {name: one.file for name, one in pack.known.lists.items()}
    leave_out(
        (
            Problem(found=f"image '{name}' is in no table of the dataset", path=folder / files.get(split, ""))
            for name, split in zip(gone["name"], gone["split"], strict=True)
        ),
        refuse=missing == "refuse" or len(gone) == len(listed),
        summary=not_there(len(gone), len(listed), folder, what="images of the lists"),
    )
    return with_splits(frame, pack, listed, ids=ids)


def with_validation(frame: pd.DataFrame, *, dataset: str, seed: int, share: float) -> pd.DataFrame:
    """The rows, of which a seeded share of the training patients validates: for lists that name no validation images.

    Args:
        frame: `patient_id` and `split`.
        dataset: id, which the draw depends on.
        seed: of the draw.
        share: of the patients.
    """
    train = frame["split"] == "train"
    held = patient_part(frame.loc[train, "patient_id"], dataset=dataset, seed=seed, share=share)
    split = frame["split"].astype(object)
    split[train] = np.where(held, "val", "train")
    return frame.assign(split=split)


def id_lists(root: Path, pack: KnownPack) -> Iterator[IdList]:
    """The lists of a pack, as "pack/list", with the rest where other packs tell it."""
    for name in (*pack.lists, *(name for name, others in pack.rest.items() if others)):
        ids = tuple(read_list(root, pack.name, name)["name"])
        yield IdList(name=f"{pack.name}/{name}", ids=ids, naming=pack.names)


def rsna_to_nih(root: Path, *, needed: bool = False) -> dict[str, str]:
    """RSNA id -> id of the NIH image that it is; {} where the table is not there.

    Args:
        root: holds ``rsna_to_nih.csv``, gzipped or not, or the folders of packs.
        needed: whether the table must be there.

    Raises:
        DataError: another table than the published one, or none that is needed.
    """
    path = table_path(root, TABLE, folders=FOLDERS)
    if not path.is_file():
        if needed:
            raise DataError("missing table", allowed="rsna_to_nih.csv of the pack rsna-nih-map", path=path)
        return {}
    _content(path.parent, TABLE, RSNA_TO_NIH_SHA256, of="rsna-nih-map")
    return dict(nih_images(path.parent).items())  # type: ignore[arg-type]


def with_nih_patients(patients: pd.Series, images: pd.Series, root: Path, *, prefix: str = "") -> pd.Series:
    """Patients, those of NIH in the place of the others where an image is matched.

    Args:
        patients: of each image.
        images: RSNA id of each, null for one of another collection.
        root: as for `rsna_to_nih`.
        prefix: of the numbers of NIH's patients.

    Raises:
        DataError: see `rsna_to_nih`; or the map names none of these images.
    """
    known = rsna_to_nih(root, needed=True)
    inside = images.isin(set(known))
    if images.notna().any() and not inside.any():
        found = f"a map of {len(known)} images, none of which is here (here: '{images.dropna().iloc[0]}')"
        raise DataError(found, allowed="the map of the RSNA challenge's images", path=root)
    mapped, naming = patients.astype(object), NAMINGS["nih"]
    mapped[inside] = [f"{prefix}{naming.patient(known[image])}" for image in images[inside]]
    return mapped
