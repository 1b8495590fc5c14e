"""Plug-ins that a manifest, an option or the config file names: workers find them, edits are noticed, mistakes are named."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from command_line import Commands
from refers_bench import plugin_files

NEW = Path(__file__).resolve().parents[1] / "support" / "plugins"
MANIFEST = """
version: 1
plugins: [{place}]
protocol: {{preset: smoke, overrides: {{pretrain: {{steps: 2, warmup_steps: 1}}, finetune: {{steps: 2, warmup_steps: 1}}}}}}
data: {{county_tb: {{phantom: {{studies: 40, size: 40}}}}}}
source: {{dataset: county_tb}}
methods: [{{id: simsiam, params: {{width: 8, hidden: 4}}}}]
targets: [{{dataset: county_tb, tasks: [tuberculosis]}}]
seeds: [0]
execution: {{cpu_slots: 1}}
"""


@pytest.fixture
def own(home: Path) -> Path:
    """A folder `mine` with a method and a dataset, and a manifest in a folder beside it."""
    shutil.copytree(NEW, home / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "manifests").mkdir()
    (home / "manifests" / "m.yaml").write_text(MANIFEST.format(place="../mine"))
    return home / "mine"


def test_workers_find_what_the_manifest_names_and_nothing_stays(cli: Commands, home: Path, own: Path) -> None:
    _, err = cli("run", "manifests/m.yaml")
    assert "m: 3 of 3 jobs to run" in err
    lock = json.loads((home / "results" / "m" / "plan.lock.json").read_text())
    assert [Path(place).resolve() for place in lock["plugins"]] == [own]
    assert plugin_files.places() == [], "of the command alone"
    _, err = cli("methods", "list")
    assert "simsiam" not in err
    out, _ = cli("report", "m", "--format", "csv")
    assert "tidy-cells.csv" in out, "the lock says where they are"
    out, _ = cli("plan", "manifests/m.yaml", "--explain", "simsiam*")
    assert "Traceback" not in out


def test_included_files_name_places_relative_to_themselves(cli: Commands, home: Path, own: Path) -> None:
    (home / "top.yaml").write_text("include: [manifests/m.yaml]\nname: top\n")
    out, _ = cli("validate", "top.yaml")
    assert out.startswith("top.yaml: right")


def test_an_option_and_the_config_file_name_places_too(cli: Commands, home: Path, own: Path) -> None:
    (home / "plain.yaml").write_text(MANIFEST.format(place=""))
    _, err = cli("validate", "plain.yaml", code=2)
    assert "unknown method 'simsiam'" in err and "unknown dataset 'county_tb'" in err
    cli("validate", "plain.yaml", "--plugins", "mine")
    cli("--plugins", "mine", "validate", "plain.yaml")
    out, _ = cli("--plugins", "mine/simsiam.py", "methods", "list")
    assert "SimSiam" in out and "County" not in cli("--plugins", "mine/simsiam.py", "datasets", "list").out
    for arguments in (["plan", "plain.yaml", "--plugins", "mine"], ["--plugins", "mine", "plan", "plain.yaml"]):
        cli(*arguments)
        lock = json.loads((home / "results" / "plain" / "plan.lock.json").read_text())
        assert lock["plugins"] == [str(own)], "absolute, so that the report finds them from anywhere"
    config = home / "config" / "refers-bench" / "config.yaml"
    config.parent.mkdir(parents=True)
    for text in ("plugins: [../../mine]\n", "plugins: ../../mine\n"):
        config.write_text(text)
        cli("validate", "plain.yaml")
        assert "SimSiam" in cli("methods", "list").out
    config.write_text("cache: x\nplugins:\n- ../../mine\n- nowhere\n")
    _, err = cli("methods", "list", code=2)
    assert re.search(r"config\.yaml:4:3: no folder or Python file .*nowhere", err)


def test_places_that_are_not_there_are_named(cli: Commands, home: Path, own: Path) -> None:
    path = home / "manifests" / "m.yaml"
    path.write_text(MANIFEST.format(place="../mine, ../yours"))
    _, err = cli("validate", "manifests/m.yaml", code=2)
    assert re.search(r"m\.yaml:3:20: no folder or Python file .*yours", err) and "1 errors" not in err
    path.write_text(MANIFEST.format(place="3"))
    _, err = cli("validate", "manifests/m.yaml", code=2)
    assert "m.yaml:3:11: plugins.0 is 3" in err
    _, err = cli("--plugins", "nowhere", "methods", "list", code=2)
    assert "'nowhere' is no folder or Python file" in err


def test_a_broken_one_is_listed_with_its_reason_and_ends_what_needs_it(cli: Commands, home: Path, own: Path) -> None:
    for name, value in (("bad_data", "DATASET"), ("bad_method", "METHOD")):
        (own / f"{name}.py").write_text(f"import nowhere\n{value} = 1\n")
    reason = "cannot be loaded: ModuleNotFoundError: No module named 'nowhere'"
    out, _ = cli("--plugins", "mine", "datasets", "list")
    assert f"bad_data          broken: {own / 'bad_data.py'}:1: {reason}" in out
    assert "County tuberculosis" in out and "Shenzhen" in out
    out, _ = cli("--plugins", "mine", "methods", "list")
    assert f"bad_method        broken: {own / 'bad_method.py'}:1: {reason}" in out and "SimSiam" in out
    found = json.loads(cli("--plugins", "mine", "methods", "list", "--json").out)
    assert reason in found["bad_method"]["broken"] and found["simsiam"]["label"] == "SimSiam"
    out, _ = cli("--plugins", "mine", "plugins", "list")
    assert re.search(rf"method   bad_method .*bad_method\.py  broken: .*{reason}", out)
    assert re.search(r"method   simsiam .*simsiam\.py\n", out)
    path = home / "manifests" / "m.yaml"
    cli("validate", "manifests/m.yaml")
    path.write_text(MANIFEST.format(place="../mine").replace("{id: simsiam", "{id: bad_method"))
    _, err = cli("validate", "manifests/m.yaml", code=2)
    assert f"bad_method.py:1: {reason}" in err and "Traceback" not in err


READER = """
import pandas as pd
from PIL import Image
from pydantic import BaseModel
from refers_bench.data.index import finished_index
from refers_bench.plugins import Dataset, Task


class Params(BaseModel, extra="forbid", frozen=True):
    pass


def index(root, params, lists):
    names = sorted(path.name for path in root.glob("*.png"))
    frame = pd.DataFrame({"image_id": names, "path": names, "patient_id": names, "study_id": names, "view": "", "report": None})
    frame["split"] = [("train", "val", "test")[number % 3] for number in range(len(names))]
    frame["LABEL"] = pd.array([number // 3 % 2 for number in range(len(names))], dtype="Int8")
    return finished_index(frame, root=root, table=root)


DATASET = Dataset(
    label="Mine", source="", licence="", impl=1, Params=Params, tasks={"t": Task(label="T", classes=("ill",))}, index=index,
)
"""


def test_an_edited_reader_is_read_again_and_its_labels_are_checked_when_it_is(
    cli: Commands, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    (home / "images").mkdir()
    for number in range(24):
        Image.effect_noise((40, 40), 50).save(home / "images" / f"{number:02}.png")
    monkeypatch.setenv("REFERS_BENCH_ROOT_MINE", str(home / "images"))
    (home / "mine.py").write_text(READER.replace("LABEL", "t:ill"))
    text = MANIFEST.format(place="mine.py").replace("data: {county_tb: {phantom: {studies: 40, size: 40}}}\n", "")
    text = text.replace("county_tb", "mine").replace("[tuberculosis]", "[t]")
    text = re.sub(r"methods: .*", "methods: [scratch]", text)
    (home / "m.yaml").write_text(text)

    def digest() -> str:
        cli("plan", "m.yaml")
        jobs = json.loads((home / "results" / "m" / "plan.lock.json").read_text())["specs"]
        return next(str(spec["digest"]) for spec in jobs.values() if "digest" in spec)

    first = digest()
    assert digest() == first, "from memory"
    edited = READER.replace("LABEL", "t:ill").replace("number // 3 % 2", "number // 6 % 2")
    (home / "mine.py").write_text(edited)
    second = digest()
    assert second != first, "the folder is the same, and the reader is not"
    cli("run", "m.yaml", "--no-report")

    (home / "mine.py").write_text(READER.replace("LABEL", "t:well"))
    _, err = cli("plan", "m.yaml", code=2)
    assert "the index of Mine has no column 't:ill'" in err
    assert "has a column 't:well', which is no class of a task; allowed: t:ill" in err
    (home / "mine.py").write_text(READER.replace("LABEL", "t:ill").replace("// 3 % 2", "% 3"))
    _, err = cli("plan", "m.yaml", code=2)
    assert "has a column 't:ill' of Int8 with 0, 1, 2; allowed: Int8 with 0, 1, null" in err
    _, err = cli("--plugins", "mine.py", "data", "verify", "mine", code=2)
    assert "of Int8 with 0, 1, 2" in err
    (home / "mine.py").write_text(edited)
    assert digest() == second


#: What an engine starts elsewhere, in a process that knows nothing but its batch.
ELSEWHERE = """
import sys
from pathlib import Path
from refers_bench.execution import task
if __name__ == "__main__":
    outcome = task.run(task.Batch.read(Path(sys.argv[1])))
    print(len(outcome.done), len(outcome.failed), outcome.failed)
"""


def test_a_process_on_another_machine_finds_them(cli: Commands, home: Path, own: Path) -> None:
    from refers_bench.execution.engine import Attempt, Settings
    from refers_bench.execution.task import Batch
    from refers_bench.plan import lock

    cli("plan", "manifests/m.yaml")
    restore = plugin_files.restorer()
    jobs = lock.read(home / "results" / "m" / "plan.lock.json").jobs
    restore()
    settings = Settings(results=home / "results", cache=home / "cache" / "refers-bench", plugins=(str(own),))
    attempts = [Attempt(job=job, token="t") for job in jobs]
    Batch(engine="slurm", token="t", device="cpu", settings=settings, attempts=attempts).write(home / "batch.json")
    (home / "elsewhere.py").write_text(ELSEWHERE)
    environment = {name: value for name, value in os.environ.items() if name != plugin_files.PLUGINS}
    command = [sys.executable, str(home / "elsewhere.py"), str(home / "batch.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "3 0 {}\n", done.stdout + done.stderr


def test_other_machines_are_told_where_plug_ins_are(tmp_path: Path) -> None:
    from refers_bench.execution.engine import Settings
    from refers_bench.execution.task import Batch

    settings = Settings(results=tmp_path, cache=tmp_path, plugins=(str(NEW),))
    Batch(engine="slurm", token="t", device="cpu", settings=settings).write(tmp_path / "batch.json")
    read = Batch.read(tmp_path / "batch.json")
    assert list(read.settings.plugins) == [str(NEW)]
    content: dict[str, Any] = json.loads((tmp_path / "batch.json").read_text())
    del content["settings"]["plugins"]
    (tmp_path / "batch.json").write_text(json.dumps(content))
    assert list(Batch.read(tmp_path / "batch.json").settings.plugins) == [], "of an earlier version"
