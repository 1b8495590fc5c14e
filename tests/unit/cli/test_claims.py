"""`claims` exits with 5 where it is asked to, and a claim fails on the figures measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from command_line import printed_by

CLAIM = "  - {{id: {id}, place: Table 1, statement: 'S.', expression: 'auc(\"REFERS\", \"{column}\", 1)', {bound}}}\n"
LINES = {
    "holds": CLAIM.format(id="holds", column="nih", bound="at_least: 70"),
    "fails": CLAIM.format(id="fails", column="nih", bound="at_least: 99"),
    "no data": CLAIM.format(id="none", column="shenzhen", bound="at_least: 70"),
}


@pytest.mark.parametrize(
    ("claims", "code"),
    [(("holds",), 0), (("holds", "no data"), 0), (("fails",), 5), (("no data", "holds", "fails"), 5)],
)
def test_what_fails_here_is_an_exit_code(folder: Any, home: Path, claims: tuple[str, ...], code: int) -> None:
    folder.seeds("refers", [0.84, 0.85, 0.86], dataset="nih_chestxray14", task="findings")
    folder.save()
    path = home / "mine.yaml"
    path.write_text("version: 1\nclaims:\n" + "".join(LINES[name] for name in claims))
    asked = ("--results", str(folder.results), "claims", folder.name, "--file", str(path))
    plain = printed_by(*asked)
    counts = {name: claims.count(name) for name in ("holds", "fails", "no data")}
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    assert f"measured here: {said}" in plain.out
    assert printed_by(*asked, "--fail", code=code).out == plain.out


@pytest.mark.parametrize(("lists", "comparable"), [({"pack": "nih-mrm"}, True), ("", False)])
def test_figures_of_others_are_told_apart(folder: Any, home: Path, lists: Any, comparable: bool) -> None:
    """Of BenchX on the lists of MRM at 1 %: comparable with a run on them, and with the reason not with another split."""
    params = {"split": "released" if lists else "seeded", "lists": lists}
    folder.job("p" * 16, kind="prepare", spec={"kind": "prepare", "dataset": "nih_chestxray14", "params": params})
    cell = {"dataset": "nih_chestxray14", "task": "findings", "ratio": 0.01}
    key = folder.cell("refers", **cell)
    next(job for job in folder.lock["jobs"] if job["key"] == key)["spec"]["prepare"] = "p" * 16
    folder.save()
    out = printed_by("--results", str(folder.results), "claims", folder.name, "--others").out
    (line,) = [
        one for one in out.splitlines() if "ConVIRT (ResNet-50)" in one and "fine-tune" in one and "Table 1)" in one
    ]
    assert "BenchX" in line
    if comparable:
        assert line.endswith(", comparable") and "77.0 ± 0.1" in line
    else:
        assert "not comparable: other split: nih-mrm, ours is seeded" in line
    assert "ConVIRT, reprinted: 66.2 (MaCo" in out, "reprints that disagree stand side by side"
    assert "  second-hand, as quoted in " in out and "figures at other or unstated label ratios are left out." in out


def test_others_need_a_plan(home: Path) -> None:
    assert "--others without MANIFEST" in printed_by("claims", "--others", code=2).err
