"""One's own method, dataset and report from templates: the pages about them run as they stand, far from the repository."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from page_blocks import Shell, blocks, shell_in


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs lines of a shell in an empty folder, where the package is what an installation has of it."""
    return shell_in(tmp_path)


def test_a_method_a_dataset_and_a_report_from_templates_run_from_another_directory(
    shell: Shell, tmp_path: Path
) -> None:
    made, checked, used = blocks("own_code.md")
    work = tmp_path / "work"
    done = shell(made)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (work / "mine").iterdir()) == [
        *("my_dataset.py", "my_method.py", "my_report.py"),
        *("test_my_dataset.py", "test_my_method.py", "test_my_report.py"),
    ]
    left = [path for path in work.rglob("*") if path.is_file() and "template" in path.name]
    assert not left
    assert "written: mine/my_method.py" in done.stdout and "refers-bench plugins check mine/my_method.py" in done.stdout
    for path in work.rglob("*.*"):
        text = path.read_text()
        assert "template_name" not in text and "Template title" not in text, path
    done = shell(checked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("checking")] == [
        "checking method my_method", "checking dataset my_dataset", "checking report my_report",
    ]  # fmt: skip
    done = shell(used)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my_table.yaml: right (2 methods, 1 target, 2 seeds)" in done.stdout
    report = work / "results" / "my_table" / "report"
    cells = pd.read_csv(report / "tidy-cells.csv")
    assert cells["method"].tolist() == ["my_method"] * 2 + ["scratch"] * 2
    assert cells["state"].eq("done").all() and cells["mean_auc"].between(0, 1).all()
    own = pd.read_csv(report / "my-report.csv")
    assert set(own["column"]) == {"highest", "lowest"} and own["value"].between(0, 100).all()
    assert "Classes with the highest and the lowest test AUC" in (report / "index.html").read_text()
    # Their own tests, from where they lie.
    done = shell(f"{sys.executable} -m pytest -q -p no:cacheprovider mine/test_my_dataset.py -k table test_my_run.py")
    assert done.returncode == 0, done.stdout


def test_the_page_about_settings_runs(shell: Shell, tmp_path: Path) -> None:
    (block,) = blocks("settings.md")
    done = shell(block)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my_run.yaml: right" in done.stdout
    assert "Limited data: at most 12 images of each split." in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("finetune")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "method My_method",
            "the name 'My_method'; allowed: lower-case letters, digits and '_', beginning with a letter",
        ),
        ("method test_mine", "and not with 'test_'"),
        ("method 9mine", "the name '9mine'"),
        ("method ../mine", "the name '../mine'"),
        ("method refers", "the name 'refers' is taken"),
        ("dataset phantom", "the name 'phantom' is taken"),
        ("report cells", "the name 'cells' is taken"),
        ("manifest store", "the name 'store' is taken"),
        ("methods mine", "Invalid value for '{method|dataset|report|manifest}'"),
        ("method there", "there.py: there is such a file; allowed: another name or --folder"),
    ],
)
def test_a_name_that_cannot_be_is_refused(cli: object, home: Path, arguments: str, said: str) -> None:
    from command_line import printed_by

    (home / "there.py").write_text("")
    _, err = printed_by("new", *arguments.split(), code=2)
    assert said in err
    assert sorted(path.name for path in home.glob("*.*")) == ["there.py"], "nothing is written"
