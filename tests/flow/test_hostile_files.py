"""Files that are damaged, lie about their size, or are no files: one clear error, in seconds, below 1 GiB of memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hostile_files
import own_images
from command_line import command
from hostile_files import IMAGES, WEIGHTS
from refers_bench.data import dicom_process
from refers_bench.data.decode import decode
from refers_bench.data.dicom import DEFLATED, size_of
from refers_bench.data.folders import files_below
from refers_bench.data.index import read_table
from refers_bench.data.openi_reports import ARCHIVE, read_reports
from refers_bench.data.own_table import read_own_table
from refers_bench.errors import DataError, UserError
from refers_bench.plan.index_memo import fingerprint

#: Memory that a command and its processes may use.
MOST = 1 << 30
#: The command line, as its entry point calls it.
COMMAND = "from refers_bench.cli import main\nmain(sys.argv[1:])\n"
MANIFEST = (
    "version: 1\nprotocol: {preset: smoke}\ndata: {mine: {folder: {root: photos}}}\nsource: {dataset: mine}\n"
    "methods: [{id: pixels, evaluation: linear_probe}]\ntargets: [{dataset: mine, tasks: [labels]}]\nseeds: [0]\n"
)


def limited(code: str, *arguments: str) -> tuple[int, str]:
    """Exit code and output of Python code in a process that, as those it starts, has no more than `MOST` bytes."""
    limit = f"import resource, sys\nresource.setrlimit(resource.RLIMIT_DATA, ({MOST}, {MOST}))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + code, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout.decode()


def photos(home: Path) -> Path:
    """Two folders of classes and their manifest; the first of them."""
    own_images.write_folders(home / "photos", count=20)
    (home / "mine.yaml").write_text(MANIFEST)
    return home / "photos" / "plain"


def test_unreadable_images_are_listed_and_the_others_prepared(home: Path) -> None:
    folder = photos(home)
    for name, make in IMAGES.items():
        make(folder / name)
    asked = ["data", "prepare", "mine", "--manifest", "mine.yaml", "--allow-missing", str(len(IMAGES))]
    code, printed = limited(COMMAND, *asked)
    assert code == 0 and "20 images in" in printed, printed
    listed = re.findall(r"^unreadable: plain/(\S+): (.+)$", printed, re.MULTILINE)
    assert {name for name, _ in listed} == set(IMAGES)
    assert all(reason for _, reason in listed)


@pytest.mark.slow  # 2 GiB are unpacked up to the limit
def test_a_deflated_dicom_is_unpacked_up_to_a_limit(tmp_path: Path) -> None:
    hostile_files.deflated_dicom(path := tmp_path / "a.dcm")
    assert path.stat().st_size < 20 << 20
    with pytest.raises(DataError, match="more than 1024 MiB"):
        decode(path)


def test_an_image_that_crashes_its_decoder_is_unreadable_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No segmentation fault of a decoder ends the process that asked; the next image is decoded."""
    (home / "sitecustomize.py").write_text(
        "import os, signal, pydicom\nread = pydicom.dcmread\n"
        "def dcmread(path, *given, **more):\n    kind = path.stem\n"
        "    if kind.startswith('SIG'):\n        os.kill(os.getpid(), getattr(signal, kind))\n"
        "    return read(path, *given, **more)\npydicom.dcmread = dcmread\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{home}{os.pathsep}{os.environ['PYTHONPATH']}")
    dicom_process._stop(os.getpid())  # one that knows nothing of this
    for name in ("SIGSEGV", "SIGABRT", "SIGXCPU", "SIGKILL", "whole"):
        hostile_files.with_fields()(home / f"{name}.dcm")
    try:
        for name, found in {
            "SIGSEGV": "crashes its decoder",
            "SIGABRT": "crashes",
            "SIGXCPU": "60 s to decode",
        }.items():
            with pytest.raises(DataError, match=found):
                decode(home / f"{name}.dcm")
            assert decode(home / "whole.dcm").shape == (64, 64)
        with pytest.raises(MemoryError, match=str(-signal.SIGKILL)):  # the system kills where memory is short
            decode(home / "SIGKILL.dcm")
    finally:
        dicom_process._stop(os.getpid())


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(home: Path, name: str) -> None:
    make, found = WEIGHTS[name]
    make(home / name)
    code, out, err = command("weights", "inspect", name, "--depth", "18")
    assert code == 2, out
    assert re.search(found, err), err
    assert err.count("\n") == 1 and err.startswith(f"error: {name}: ")


def test_plain_weights_are_read(home: Path) -> None:
    hostile_files.good_weights(home / "good.safetensors")
    assert command("weights", "inspect", "good.safetensors", "--depth", "18").code == 0


#: Reads every file that it is given as weights, and prints what is wrong with each.
READ = """
import pathlib
from refers_bench.errors import DataError
from refers_bench.training.weight_files import converted, read
for path in map(pathlib.Path, sys.argv[1:]):
    try:
        converted(read(path), path=path)
    except DataError as error:
        print(error)
"""


@pytest.mark.slow  # imports torch and timm in a process of its own
def test_weights_need_little_memory(tmp_path: Path) -> None:
    for name, (make, _) in WEIGHTS.items():
        make(tmp_path / name)
    code, printed = limited(READ, *(str(tmp_path / name) for name in WEIGHTS))
    assert code == 0, printed
    assert {Path(line.partition(":")[0]).name for line in printed.splitlines()} == set(WEIGHTS)


def _wide(path: Path) -> None:
    path.write_text("image,label\n" + "1," * 1_000_000 + "1\n")


def _wide_head(path: Path) -> None:
    path.write_text(",".join(f"c{place}" for place in range(1_000_000)) + "\n")


def _long_cell(path: Path) -> None:
    path.write_text("image,label\n" + "1" * (20 << 20) + ",1\n")


#: What a table is, how it is made, what reads it, and the error (a regular expression; '' for none).
TABLES: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any], str]] = {
    "a pipe": ("t.csv", os.mkfifo, read_own_table, "a named pipe; allowed: a plain file"),
    "a device": ("t.csv", lambda path: path.symlink_to("/dev/zero"), read_own_table, "a device"),
    "a pipe of Parquet": ("t.parquet", os.mkfifo, read_own_table, "a named pipe"),
    "a row of a million cells": ("t.csv", _wide, read_own_table, "1000001 cells; allowed: 2"),
    "a million columns": ("t.csv", _wide_head, read_own_table, "1000000 columns; allowed: at most 10000"),
    "a cell of 20 MB": ("t.csv", _long_cell, read_own_table, "not a table: field larger than"),
    "an official pipe": ("t.csv", os.mkfifo, lambda path: read_table(path, required=()), "a named pipe"),
    "an official row": ("t.csv", _wide, lambda path: read_table(path, required=()), "a line of more than 10000 cells"),
    "official columns": ("t.csv", _wide_head, lambda path: read_table(path, required=()), "more than 10000 cells"),
    "an unpacking table": ("t.csv.gz", hostile_files.gzipped(300), lambda path: read_table(path, required=()), "100 times its size"),
    "reports in a pipe": (ARCHIVE, os.mkfifo, read_reports, "a named pipe"),
    "a report in a device": ("r.xml", lambda path: path.symlink_to("/dev/zero"), lambda path: read_reports(path.parent), "a device"),
    "a sparse report": (ARCHIVE, hostile_files.sparse_member, read_reports, "a damaged archive|r.xml has"),
    "a report of a gigabyte": (ARCHIVE, hostile_files.vast_member, read_reports, "unpacks to more than"),
    "a deep report": ("r.xml", lambda path: path.write_text("<a>" * 100_000 + "</a>" * 100_000), lambda path: read_reports(path.parent), "no uId"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_and_reports(tmp_path: Path, name: str) -> None:
    file, make, read, found = TABLES[name]
    make(tmp_path / file)
    with pytest.raises(DataError, match=found) as refused:
        read(tmp_path / file)
    assert len(str(refused.value)) < 2000


def test_a_gzipped_table_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a"] * 5000, "label": ["1"] * 5000})
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    assert read_table(tmp_path / "t.csv.gz", required=("image",)).equals(frame.astype(object))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("m.yaml", ["validate", "m.yaml"]),
        ("m.yaml", ["run", "m.yaml"]),
        ("b.tar.gz", ["results", "verify", "b.tar.gz"]),
        ("p.csv", ["results", "import", "csv", "p.csv", "--selected-on", "val"]),
        ("p.py", ["--plugins", "p.py", "methods", "list"]),
        ("b.json", ["results", "diff", "b.json", "b.json"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_command_waits_for_a_pipe(home: Path, name: str, arguments: list[str]) -> None:
    os.mkfifo(home / name)
    code, printed = limited(COMMAND, *arguments)
    assert code == 2 and name in printed and "Traceback" not in printed, printed


def test_a_pipe_among_plug_ins_is_none(home: Path) -> None:
    (home / "own").mkdir()
    os.mkfifo(home / "own" / "odd.py")
    assert command("--plugins", "own", "methods", "list").code == 0


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    """Two links in each of two folders would be visited 2 to the power of 40 times, one to the top without end."""
    root = tmp_path / "root"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        (root / name / "1.xml").touch()
        (root / name / "back").symlink_to(root)
        (root / name / "there").symlink_to(root / "a")
        (root / name / "top").symlink_to("/")
    (root / "itself").symlink_to(root / "itself")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "2.xml").touch()
    (root / "b" / "out").symlink_to(tmp_path / "beside")
    found = [str(path.relative_to(root)) for path in files_below(root, (".xml",))]
    assert found == ["a/1.xml", "b/1.xml", "b/out/2.xml"]
    assert fingerprint(root) == fingerprint(root)


def test_a_name_that_is_not_utf_8_is_refused_with_its_path(home: Path) -> None:
    folder = photos(home)
    next(folder.iterdir()).rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    for arguments in (["data", "prepare", "mine", "--manifest", "mine.yaml"], ["plan", "mine.yaml"]):
        code, out, err = command(*arguments)
        assert "plain/caf\ufffd.png: a name that is not UTF-8; allowed: another name" in out + err
        assert code == 2


def test_a_name_with_a_nul_is_a_missing_image(home: Path) -> None:
    table = own_images.rows(20)
    own_images.write_images(home / "img", table)
    table[3]["file"] = "a\0.png"
    own_images.write_table(home / "labels.csv", table)
    (home / "mine.yaml").write_text(
        MANIFEST.replace(
            "{folder: {root: photos}}",
            "{table: {file: labels.csv, images: img, image: file, patient: patient, labels: [spot], split: split}}",
        )
    )
    code, _, err = command("data", "prepare", "mine", "--manifest", "mine.yaml")
    assert code == 2 and "is not there" in err


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    from refers_bench.training.weight_files import _configuration

    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(UserError, match=r"no readable config\.json"):
        _configuration(tmp_path)


def test_the_size_of_a_deflated_file_is_not_read(tmp_path: Path) -> None:
    made = hostile_files.dicom()
    made.file_meta.TransferSyntaxUID = DEFLATED
    made.save_as(path := tmp_path / "a.dcm", enforce_file_format=True)
    assert decode(path).shape == (64, 64), "decoding has a limit of its own"
    with pytest.raises(DataError, match="a deflated file"):
        size_of(path)
