"""A killed preparation resumes to the same bytes, and every unreadable file is named."""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from killed_preparation import CONTEXT, ended, start
from refers_bench.data import prepare as room
from refers_bench.data.cache_meta import AGAIN, META, set_aside
from refers_bench.data.prepare import PreparedImages, prepare
from refers_bench.errors import DataError
from refers_bench.files import publish_json


@pytest.fixture
def collection(tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    root = tmp_path / "root"
    root.mkdir()
    rng = np.random.default_rng(0)
    names = [f"i{n:03d}.png" for n in range(150)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(root / name)
    return pd.DataFrame({"image_id": names, "path": names}), root


def run(collection: tuple[pd.DataFrame, Path], folder: Path, **how: object) -> PreparedImages:
    index, root = collection
    prepare(index, root=root, folder=folder, work=folder.with_suffix(".work"), size=16, **how)  # type: ignore[arg-type]
    return PreparedImages.open(folder)


def test_pixels_are_the_resized_images_in_order(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    found = run(collection, tmp_path / "a")
    assert found.images_NHW.shape == (150, 16, 16)
    with Image.open(collection[1] / "i077.png") as image:
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(found.images_NHW[77], expected)
    assert not (tmp_path / "a.work").exists()


@pytest.mark.parametrize("shape", [(20, 30), (31, 18), (24, 24), (40, 161)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_cropped_image_is_torchvisions(shape: tuple[int, int], interpolation: str) -> None:
    """Its Resize of the short side, then its CentreCrop, of the same Pillow image."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    grey = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    theirs = Compose([Resize(16, InterpolationMode[interpolation.upper()]), CenterCrop(16)])(Image.fromarray(grey))
    assert np.array_equal(room.resized(grey, 16, interpolation=interpolation, fit="crop"), np.asarray(theirs))


def test_a_store_is_made_by_the_given_resizing(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    found = run(collection, tmp_path / "a", interpolation="bicubic", fit="crop")
    with Image.open(collection[1] / "i077.png") as image:
        whole = np.asarray(image.resize((24, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(found.images_NHW[77], whole[:, 4:20])


@pytest.mark.parametrize("killed_after", [0, 1, 2])
def test_resumed_equals_uninterrupted(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    whole = run(collection, tmp_path / "a")
    real, calls = room._decoded, []

    def dying(chunks: list[tuple[list[str], Path]], *how: Any) -> list[None]:
        if len(calls) == killed_after:
            raise KeyboardInterrupt
        calls.append(chunks)
        return real(chunks, *how)

    monkeypatch.setattr(room, "_decoded", dying)
    with pytest.raises(KeyboardInterrupt):
        run(collection, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    monkeypatch.setattr(room, "_decoded", real)
    resumed = run(collection, tmp_path / "b")
    assert (tmp_path / "a" / room.PIXELS).read_bytes() == (tmp_path / "b" / room.PIXELS).read_bytes()
    assert whole.meta == resumed.meta


def test_processes_give_the_same_bytes(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WORTH", 1)
    assert run(collection, tmp_path / "a").meta["digest"] == run(collection, tmp_path / "b", workers=2).meta["digest"]


def test_unreadable_files_are_named_then_allowed_then_mended(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    good = (collection[1] / "i003.png").read_bytes()
    (collection[1] / "i003.png").write_bytes(good[:60])
    (collection[1] / "i004.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)i003\.png: a damaged image.*i004\.png: an empty file.*2 of 150 images"):
        run(collection, tmp_path / "a")
    found = run(collection, tmp_path / "b", allow_missing=2)
    assert len(found.index) == len(found.images_NHW) == 148
    assert not {"i003.png", "i004.png"} & set(found.index["image_id"])
    (collection[1] / "i003.png").write_bytes(good)
    (collection[1] / "i004.png").write_bytes(good)
    assert len(run(collection, tmp_path / "a").index) == 150


def test_a_truncated_store_is_refused(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    run(collection, tmp_path / "a")
    pixels = tmp_path / "a" / room.PIXELS
    pixels.write_bytes(pixels.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"images\.u8: \d+ bytes"):
        PreparedImages.open(tmp_path / "a")


def altered(path: Path, content: bytes | None) -> None:
    """The file with one bit in its middle flipped, or with another content."""
    if content is None:
        flipped = bytearray(path.read_bytes())
        flipped[len(flipped) // 2] ^= 1
        content = bytes(flipped)
    path.write_bytes(content)


CHANGES: dict[str, bytes | None] = {"one bit": None, "empty": b"", "short": b"PAR1"}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name in (room.INDEX, room.DIGESTS) for content in CHANGES.values()]
    + [(META, b""), (META, b"[")],
)
def test_a_damaged_file_is_refused_when_the_store_is_opened(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path, name: str, content: bytes | None
) -> None:
    run(collection, tmp_path / "a")
    altered(tmp_path / "a" / name, content)
    with pytest.raises(DataError) as error:
        PreparedImages.open(tmp_path / "a")
    (problem,) = error.value.problems
    assert (problem.path, problem.allowed) == (tmp_path / "a" / name, AGAIN)
    assert room.damage(tmp_path / "a") == [problem]


@pytest.mark.parametrize("name", [room.PIXELS, room.INDEX, room.DIGESTS])
@pytest.mark.parametrize("folder", [True, False])
def test_a_file_that_is_none_is_refused(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path, name: str, folder: bool
) -> None:
    run(collection, tmp_path / "a")
    path = tmp_path / "a" / name
    path.unlink()
    if folder:
        path.mkdir()
    with pytest.raises(DataError) as error:
        PreparedImages.open(tmp_path / "a")
    assert [(problem.path, problem.allowed) for problem in error.value.problems] == [(path, AGAIN)]


def test_zeroed_images_are_refused_at_their_first_reading_and_prepared_again_once_set_aside(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    found = run(collection, tmp_path / "a")
    before, folder = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}, tmp_path / "a"
    assert room.damage(folder) == []
    assert room.damage(tmp_path / "none") == [], "what is not made is not damaged"
    altered(folder / room.PIXELS, bytes(len(before[room.PIXELS])))
    np.testing.assert_array_equal(found.images_NHW.shape, (150, 16, 16))
    with pytest.raises(DataError, match=r"images\.u8: image 77 .* has another SHA-256"):
        PreparedImages.open(folder).images_NHW[np.array([77])]
    (problem,) = room.damage(folder)
    assert problem.path == folder / room.PIXELS and "image 0 " in problem.found and "63 of those" in problem.found
    set_aside(folder)
    assert room.damage(folder) == []
    run(collection, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_store_of_version_1_opens_and_its_damage_is_found(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path
) -> None:
    folder, meta = tmp_path / "a", run(collection, tmp_path / "a").meta
    (folder / room.DIGESTS).unlink()
    del meta["files"]
    publish_json(folder / META, {**meta, "version": 1})
    pixels = PreparedImages.open(folder).images_NHW
    assert pixels.shape == (150, 16, 16) and room.damage(folder) == []
    altered(folder / room.PIXELS, None)
    (problem,) = room.damage(folder)
    assert (problem.path, problem.allowed) == (folder / room.PIXELS, AGAIN)
    for content in (b"", b"PAR1"):
        altered(folder / room.INDEX, content)
        with pytest.raises(DataError, match=r"index\.parquet: damaged: .*; allowed: delete the folder"):
            PreparedImages.open(folder)


def test_an_index_of_another_number_of_images_is_refused(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    folder, meta = tmp_path / "a", run(collection, tmp_path / "a").meta
    collection[0][:149].to_parquet(folder / room.INDEX)
    publish_json(folder / META, {**meta, "version": 1})
    with pytest.raises(DataError, match=r"index\.parquet: 149 rows for 150 images"):
        PreparedImages.open(folder)


def test_killed_at_ten_random_moments_gives_the_same_bytes(tmp_path: Path) -> None:
    """The killed runs get leave for fewer images than there are, so that none ends before it is killed."""
    rng, rows = np.random.default_rng(0), []
    for number in range(960):
        path = tmp_path / f"{number:04d}.png"
        if number < 20:
            Image.fromarray(rng.integers(0, 256, (80, 60), dtype=np.uint8)).save(path, compress_level=1)
        else:
            path.hardlink_to(tmp_path / f"{number % 20:04d}.png")
        rows.append({"image_id": str(number), "path": path.name})
    pd.DataFrame(rows).to_parquet(tmp_path / "index.parquet")

    assert ended(start(tmp_path, "straight")) == 0
    moments, work = random.Random(5), tmp_path / "work-killed"
    chunks = []
    for _ in range(10):
        leave, before = CONTEXT.Semaphore(0), len(list(work.rglob("*.u8")))
        process = start(tmp_path, "killed", leave=leave)
        for _ in range(moments.randint(32, 95)):
            leave.release()
        # While it reads, while it waits in mid-chunk, or as soon as a chunk of 64 more is there.
        enough, deadline = moments.choice([0, 0, 10, 40]), time.monotonic() + 60
        while leave.get_value() > enough and len(list(work.rglob("*.u8"))) <= before:
            assert time.monotonic() < deadline and process.is_alive()
            time.sleep(0.001)
        process.kill()
        assert ended(process) == -signal.SIGKILL, "it ended before it could be killed"
        assert not (tmp_path / "killed").exists(), "a half store was published"
        chunks.append(len(list(work.rglob("*.u8"))))
    assert chunks[-1] > 0, "every run was killed before it had done anything"
    assert ended(start(tmp_path, "killed")) == 0
    for name in ("images.u8", "images.sha256", "index.parquet", "meta.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert not (tmp_path / "work-killed").exists()


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        (("room.publish_json", 1), False),  # the pixels are written
        (("files.fsync_tree", 1), False),
        (("Path.rename", 1), False),
        (("shutil.rmtree", 1), False),  # published
        (("Path.rename", 1), True),  # the old store is still there,
        (("Path.rename", 2), True),  # moved out of the way,
        (("shutil.rmtree", 1), True),  # replaced and still to be removed
    ],
)
def test_killed_while_publishing_gives_the_same_bytes_and_leaves_nothing(
    collection: tuple[pd.DataFrame, Path], tmp_path: Path, moment: tuple[str, int], again: bool
) -> None:
    index, root = collection
    index.to_parquet(root / "index.parquet")
    prepare(index, root=root, folder=root / "straight", work=root / "work-straight", size=24)
    expected = {path.name: path.read_bytes() for path in (root / "straight").iterdir()}
    if again:
        shutil.copytree(root / "straight", root / "killed")
    names = {path.name for path in root.iterdir()} | {"killed"}

    assert ended(start(root, "killed", dies_at=moment)) == -signal.SIGKILL, "it ended before it could be killed"
    if (root / "killed").exists():
        assert {path.name: path.read_bytes() for path in (root / "killed").iterdir()} == expected
    assert {path.name for path in root.iterdir()} - names, "it was killed too early or too late to leave anything"
    assert ended(start(root, "killed")) == 0
    assert {path.name: path.read_bytes() for path in (root / "killed").iterdir()} == expected
    assert {path.name for path in root.iterdir()} == names


def test_two_at_once_make_one_store(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    """The second waits for the first, takes what it made, and removes nothing of it."""
    told: list[str] = []
    steps: list[tuple[int, int]] = []
    second = threading.Thread(
        target=lambda: run(collection, tmp_path / "a", waiting=told.append, progress=lambda *at: steps.append(at))
    )

    def progress(done: int, total: int) -> None:
        if not second.is_alive() and done < total:
            second.start()
            while second.is_alive() and not told:
                time.sleep(0.01)

    found = run(collection, tmp_path / "a", progress=progress)
    second.join(20)
    assert steps == [], "it decoded them, too"
    assert len(told) == 1
    assert found.meta == PreparedImages.open(tmp_path / "a").meta
    assert {path.name for path in tmp_path.iterdir()} == {"root", "a"}


def test_files_of_undeclared_formats_are_refused(collection: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    with Image.open(collection[1] / "i003.png") as image:
        image.save(collection[1] / "i003.png", format="JPEG")
    run(collection, tmp_path / "a")
    with pytest.raises(DataError, match=r"(?s)i003\.png: a JPEG file.*1 of 150 images"):
        run(collection, tmp_path / "b", formats=("PNG",))
