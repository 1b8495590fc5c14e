"""A damaged `meta.json` of the cache is one error with its path and a remedy; one set aside makes the folder undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refers_bench.data.cache_meta import AGAIN, META, Meta, check_size, read_meta, set_aside
from refers_bench.errors import DataError, StorageError


class Two(Meta):
    count: int
    digest: str


def read(folder: Path) -> dict[str, object]:
    return read_meta(folder, Two, missing="nothing here", allowed="make it")


def test_what_it_says_is_given_with_all_it_says_besides(tmp_path: Path) -> None:
    (tmp_path / META).write_text(json.dumps({"count": 1, "digest": "d", "encoder": {"from": None}}))
    assert read(tmp_path) == {"count": 1, "digest": "d", "encoder": {"from": None}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b'{"count": 1, "dig', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "the whole: "),
        (b"{}", "count: Field required"),
        (b'{"count": "1", "digest": "d"}', "count: Input should be a valid integer"),
        (b'{"count": 1, "digest": null}', "digest: Input should be a valid string"),
    ],
    ids=["empty", "truncated", "no text", "nested", "list", "no key", "type", "null"],
)
def test_junk_is_one_error(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / META).write_bytes(content)
    with pytest.raises(DataError) as error:
        read(tmp_path)
    (problem,) = error.value.problems
    assert (problem.path, problem.allowed) == (tmp_path / META, AGAIN)
    assert f"damaged: {said}" in problem.found


@pytest.mark.parametrize("kind", ["nothing", "folder", "file for the folder"])
def test_none_is_said_with_its_own_remedy(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "a"
    if kind == "file for the folder":
        folder.write_text("x")
    else:
        folder.mkdir()
    if kind == "folder":
        (folder / META).mkdir()
    with pytest.raises(DataError, match="a: nothing here; allowed: make it"):
        read(folder)


def test_a_size_is_that_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    check_size(tmp_path / "a", 3, "three")
    with pytest.raises(DataError, match="a: 3 bytes for 4, which four take; allowed: delete the folder"):
        check_size(tmp_path / "a", 4, "four")
    for name in ("none", "."):
        with pytest.raises(DataError, match="0 bytes for 4"):
            check_size(tmp_path / name, 4, "four")


def test_what_is_set_aside_stays_and_counts_as_not_made(tmp_path: Path) -> None:
    for content in ("first", "second"):
        (tmp_path / META).write_text(content)
        set_aside(tmp_path)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"damaged-{META}": content}


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(StorageError, match="no permission to write"):
        set_aside(tmp_path)
