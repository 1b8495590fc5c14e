"""Every value knows its line and column, and what is no plain YAML is refused with a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from refers_bench.errors import UserError
from refers_bench.manifest import yaml_text


def read(tmp_path: Path, text: str | bytes) -> yaml_text.Document:
    path = tmp_path / "m.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return yaml_text.read(path)


def test_values_and_places(tmp_path: Path) -> None:
    document = read(tmp_path, "a: 1\nb:\n  - x\n  - {c: 0.5, d: null}\n")
    assert document.content == {"a": 1, "b": ["x", {"c": 0.5, "d": None}]}
    place = document.place(("b", 1, "c"))
    assert (place.line, place.column) == (4, 6)
    assert str(document.place(("b", 0))).endswith("m.yaml:3:5")
    # What has no place of its own takes that of what is around it.
    assert document.place(("b", 1, "missing")) == document.place(("b", 1))
    assert (document.place(("nowhere",)).line, document.place(("nowhere",)).column) == (1, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: no", "no"),  # YAML 1.2: only true and false are booleans
        ("a: on", "on"),
        ("a: 012", 12),
        ("a: 1e3", 1000.0),
        ("a: 10:30", "10:30"),
        ("a: 2022-01-06", "2022-01-06"),
        ("a: 'true'", "true"),
        ("a: true", True),
        ("a: &x 1\nb: *x", 1),
    ],
)
def test_scalars_are_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = read(tmp_path, text).content["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"m\.yaml:1:1: an empty file; allowed: a mapping"),
        ("- a", r"m\.yaml:1:1: a seq; allowed: a mapping"),
        ("text", r"m\.yaml:1:1: a "),
        ("a: 1\na: 2", r"m\.yaml:2:1: .*duplicate key.*; allowed: each key once"),
        ("a: [1", r"m\.yaml:2?1?:?\d+: not YAML"),
        ("a: .nan", r"m\.yaml:1:1: the number nan; allowed: finite numbers"),
        ("a: !!python/object:os.system x", r"m\.yaml:1:1: the tag"),
        (b"a: \xff", r"m\.yaml:1:1: not UTF-8 text"),
        ("a: \x01", r"not YAML: the control character U\+0001"),
        ("a: " + "[" * 1000, r"m\.yaml:1:1: nested too deeply"),
    ],
)
def test_refuses(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_refuses_aliases_that_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(UserError, match="more than 100000 values"):
        read(tmp_path, "\n".join(lines))


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_refuses_what_is_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no such file; allowed: a YAML file"):
        yaml_text.read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n\t- x\n", "2:1: not YAML: .*; allowed: blanks: a tab cannot indent a line of YAML$"),
        ("a:\n  b: 1\n \tc: 2\n", "3:2: not YAML: .*; allowed: blanks: a tab cannot indent a line of YAML$"),
        # A key is one blank off: what the lines above have is said.
        ("a:\n  - x\n b: 1\n", "3:2: not YAML: .*; allowed: 0 or 2 blanks before it, as lines above have; it has 1$"),
        (
            "# c\na:\n    b: 1\n  c: 2\n",
            "4:3: not YAML: .*; allowed: 0 or 4 blanks before it, as lines above have; it has 2$",
        ),
        # Where neither is wrong, nothing is proposed.
        ("a: [1, 2\nb: 3\n", "2:2: not YAML: [^;]*$"),
        ("a: 'open\n", ":[0-9]+: not YAML: [^;]*$"),
    ],
)
def test_tabs_and_indentation_say_what_to_do(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read(tmp_path, text)
