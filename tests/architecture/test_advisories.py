"""No version with a known advisory is allowed, and the tested versions are compared with a list where one is at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.version import Version

import advisories
from dependency_tree import declared, normal

#: Package -> the newest version that an advisory concerns, as pyproject.toml names it.
LAST_AFFECTED = {
    "jinja2": "3.1.5", "mlflow-skinny": "3.12.0", "pillow": "12.2.0", "pyarrow": "23.0.0", "pydicom": "3.0.1",
    "pytest": "9.0.2", "ray": "2.54.1", "torch": "2.9.1", "transformers": "5.9.0",
}  # fmt: skip
ADVISORY = {
    "id": "GHSA-1", "aliases": ["CVE-1"], "modified": "2026-11-01T00:00:00Z", "summary": "bad",
    "affected": [{
        "package": {"ecosystem": "PyPI", "name": "Some_Package"}, "versions": ["0.1rc1"],
        "ranges": [
            {"type": "GIT", "events": [{"introduced": "0"}]},
            {"type": "ECOSYSTEM", "events": [
                {"introduced": "1.0"}, {"fixed": "1.10"}, {"introduced": "2.0"}, {"last_affected": "2.3"},
                {"introduced": "3.0"},
            ]},
        ],
    }],
}  # fmt: skip


@pytest.mark.parametrize(("name", "version"), LAST_AFFECTED.items())
def test_no_version_with_a_known_advisory_is_allowed(name: str, version: str) -> None:
    specifiers = [one.specifier for one in declared() if normal(one.name) == name]
    assert specifiers and not any(Version(version) in specifier for specifier in specifiers)


def test_the_advisory_stands_beside_its_floor() -> None:
    lines = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for name in LAST_AFFECTED:
        (place, *_) = (place for place, line in enumerate(lines) if f'"{name}>=' in line)
        assert "CVE-" in lines[place] or "CVE-" in lines[place - 1], name


@pytest.mark.parametrize(
    ("version", "concerned"),
    [("0.1rc1", True), ("0.9", False), ("1.0", True), ("1.9.9", True), ("1.10", False), ("1.11", False), ("2.0", True),
     ("2.3", True), ("2.3.1", False), ("3.0", True), ("9", True)],
)  # fmt: skip
def test_ranges_are_read_as_the_format_says(version: str, concerned: bool) -> None:
    found = advisories.findings([ADVISORY], {"some-package": Version(version)})
    assert found == ([f"some-package {version}: GHSA-1, CVE-1: bad"] if concerned else [])
    other = {
        **ADVISORY,
        "affected": [{**ADVISORY["affected"][0], "package": {"ecosystem": "npm", "name": "some-package"}}],
    }
    assert advisories.findings([other], {"some-package": Version(version)}) == []


def check(folder: Path | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    monkeypatch.delenv(advisories.VARIABLE, raising=False)
    if folder is not None:
        monkeypatch.setenv(advisories.VARIABLE, str(folder))
    monkeypatch.setattr(advisories, "pins", lambda: {"some-package": Version("2.1"), "other": Version("1")})
    return advisories.main(), capsys.readouterr().out


def test_without_a_list_it_says_that_nothing_was_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(None, monkeypatch, capsys) == (0, f"{advisories.NONE_AT_HAND}\n")


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [
        ({"a.json": ADVISORY}, 1, "some-package 2.1: GHSA-1, CVE-1: bad\n2 versions, 1 advisories, the newest of 2026-11"),
        ({"a.json": {**ADVISORY, "withdrawn": "2026-11-02T00:00:00Z"}, "b/c.json": {**ADVISORY, "affected": []}}, 0, "1 adv"),
        ({}, 1, "no advisory in this folder"),
    ],
)  # fmt: skip
def test_a_list_is_read(
    files: dict[str, object], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    found, out = check(tmp_path, monkeypatch, capsys)
    assert found == code and said in out
