"""For each way a dataset's folder can be wrong a user sees the path, what was found and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from command_line import Commands, Printed
from refers_bench import plugins
from refers_bench.data.phantoms.radiographs import PhantomParams

Breaker = Callable[[Path], None]


@pytest.fixture
def covid(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small phantom collection in the official layout, with lists, set as data roots."""
    root, lists = home / "covid", home / "lists"
    root.mkdir()
    lists.mkdir()
    plugins.load("dataset", "covid19_idc").write_layout(root, PhantomParams(studies=12, size=32, views=1))
    # One patient per image, so that any list is patient-wise.
    lines = (root / "metadata.csv").read_text().splitlines()
    numbered = [f"{number},{line.partition(',')[2]}" for number, line in enumerate(lines[1:])]
    (root / "metadata.csv").write_text("\n".join([lines[0], *numbered]) + "\n")
    names = sorted(path.name for path in (root / "images").iterdir())
    for split, part in (("train", names[:8]), ("val", names[8:10]), ("test", names[10:])):
        (lists / f"{split}.txt").write_text("".join(f"{name} 0 1\r\n" for name in part))
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(root))
    monkeypatch.setenv("REFERS_BENCH_ROOT_LISTS", str(lists))
    return root


def edit(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text, old
    path.write_text(text.replace(old, new, count))


def metadata(old: str, new: str, count: int = 1) -> Breaker:
    return lambda root: edit(root / "metadata.csv", old, new, count)


def first_image(root: Path) -> Path:
    return sorted((root / "images").iterdir())[0]


def truncate(root: Path) -> None:
    path = first_image(root)
    path.write_bytes(path.read_bytes()[:200])


def list_line(text: str) -> Breaker:
    def append(root: Path) -> None:
        path = root.parent / "lists" / "val.txt"
        path.write_text(path.read_text() + text)

    return append


def other_format(root: Path) -> None:
    from PIL import Image

    Image.new("L", (40, 40)).save(first_image(root), format="BMP")


def wrong_columns(root: Path) -> None:
    edit(root / "metadata.csv", "finding", "diagnosis")


#: How it is broken, the command's parameters, and the message.
BROKEN: dict[str, tuple[Breaker, list[str], str]] = {
    "no table": (lambda root: (root / "metadata.csv").unlink(), [], r"metadata\.csv: missing table"),
    "empty table": (lambda root: (root / "metadata.csv").write_text(""), [], r"metadata\.csv: not a readable CSV"),
    "not text": (lambda root: (root / "metadata.csv").write_bytes(b"\xff\xfe\x00a,b\n"), [], r"metadata\.csv: not a readable CSV"),
    "no column": (wrong_columns, [], r"metadata\.csv:1: no column 'finding'; allowed: patientid"),
    "unknown class": (metadata("No Finding", "No Fnding"), [], r"metadata\.csv:2: unknown finding 'No Fnding'.*did you mean 'No Finding'"),
    "image listed twice": (
        lambda root: (root / "metadata.csv").write_text((root / "metadata.csv").read_text() + (root / "metadata.csv").read_text().splitlines()[1] + "\n"),
        [], r"image 'phantom-00000-0\.jpg' is listed twice",
    ),
    "path outside the root": (metadata("phantom-00001-0.png", "../../secret.png"), [], r"path 'images/\.\./\.\./secret\.png' leads outside the root"),
    "no image at all": (lambda root: [path.unlink() for path in (root / "images").iterdir()] and None, [], r"no usable row"),
    "missing image refused": (lambda root: first_image(root).unlink(), ["missing=refuse"], r"images/phantom-00000-0\.jpg: missing image"),
    "truncated image": (truncate, [], r"phantom-00000-0\.jpg: a damaged image"),
    "empty image": (lambda root: first_image(root).write_bytes(b""), [], r"phantom-00000-0\.jpg: an empty file"),
    "text as image": (lambda root: first_image(root).write_text("hello, I am no image"), [], r"phantom-00000-0\.jpg: not an image; allowed: PNG, JPEG"),
    "other format": (other_format, [], r"phantom-00000-0\.jpg: a BMP file; allowed: PNG, JPEG"),
    "malformed list": (list_line("oops 1 1\n"), ["lists=lists"], r"val\.txt:3: 'oops 1 1'; allowed: 'name 0 1'"),
    "name in two lists": (list_line("phantom-00000-0.jpg 0 1\n"), ["lists=lists"], r"val\.txt:3: 'phantom-00000-0\.jpg' is in train\.txt, too"),
    "list missing": (lambda root: (root.parent / "lists" / "test.txt").unlink(), ["lists=lists"], r"test\.txt: missing list"),
    "unknown parameter": (lambda root: None, ["viewz=PA"], r"--param viewz: .*allowed: modalities, views"),
    "lists root not set": (lambda root: None, ["lists=nowhere"], r"data root 'nowhere' is not set"),
}  # fmt: skip


def verify(cli: Commands, *parameters: str, code: int = 2) -> Printed:
    options = [word for parameter in parameters for word in ("--param", parameter)]
    return cli("data", "verify", "covid19_idc", *options, code=code)


def test_the_good_one_is_right(covid: Path, cli: Commands) -> None:
    verify(cli, code=0)
    assert verify(cli, "lists=lists", code=0).err == ""


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str, covid: Path, cli: Commands) -> None:
    breaker, parameters, message = BROKEN[name]
    breaker(covid)
    text = verify(cli, *parameters).err
    assert re.search(message, text), text


def test_a_patient_in_two_splits_is_refused(covid: Path, cli: Commands) -> None:
    path = covid / "metadata.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(f"77,{line.partition(',')[2]}" for line in lines[1:])]) + "\n")
    assert "patient '77' is in test, train, val; allowed: one split per patient" in verify(cli, "lists=lists").err


def test_a_class_without_positives_is_reported_not_refused(covid: Path, cli: Commands) -> None:
    path = covid / "metadata.csv"
    path.write_text(path.read_text().replace("Pneumonia/Fungal/Pneumocystis", "No Finding"))
    assert re.search(r"findings:Fungal: 0 positive.*NO POSITIVE", verify(cli, code=0).out)


def test_a_missing_root_is_named(home: Path, cli: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERS_BENCH_ROOT_COVID19_IDC", str(home / "gone"))
    assert "gone ($REFERS_BENCH_ROOT_COVID19_IDC), which does not exist" in verify(cli).err
