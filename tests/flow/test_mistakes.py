"""For each mistake on the command line a user sees one message that says what is allowed, within seconds, and code 2."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path

import pytest

from command_line import Commands, command_in

MANIFEST = """
version: 1
title: A small run
protocol: {preset: smoke}
data: {phantom: {phantom: {seed: 4, studies: 30, size: 40}}}
source: {dataset: phantom}
methods: [refers, scratch]
targets: [{dataset: phantom, tasks: [findings]}]
seeds: [0, 1]
"""
FILES = {
    "small.yaml": MANIFEST,
    "empty.yaml": "",
    "words.txt": "hello, world\n",
    "words.csv": "image,score\na,1\n",
    "words.json": '{"version": 99}\n',
    "list.json": "[]\n",
    "words.pt": "hello\n",
    "words.npz": "hello\n",
    "words.safetensors": "hello\n",
    "nothing.py": "x = 1\n",
}
#: Longer than any of them takes here, shorter than a user's patience.
SECONDS = 20

#: What is typed -> what is said (a regular expression); `small` is planned, and nothing of it has run.
MISTAKES = {
    # run
    "run": "Missing argument 'MANIFEST'",
    "run smal": "no file and no manifest of the package is called 'smal'; allowed: a YAML file, or breadth, breadth_smoke, ",
    "run smok": "no file and no manifest of the package is called 'smok'; .*did you mean 'smoke'",
    "run small.yml": r"small\.yml: no such file; allowed: a YAML file",
    "run small.yaml --no-such": "No such option '--no-such'",
    "run small.yaml --dryrun": "Did you mean '--dry-run'",
    "run small.yaml small.yaml": "unexpected extra argument",
    "run .": r"File '\.' is a directory",
    "run empty.yaml": r"empty\.yaml:1:1: an empty file; allowed: a mapping of keys to values",
    "run words.txt": r"words\.txt:1:1: ",
    "run small.yaml --only nope": "--only nope matches no job; allowed: rows refers, scratch",
    "run small.yaml --only ''": "--only '' matches no job; allowed: rows refers, scratch",
    "run small.yaml --only": "Option '--only' requires an argument",
    "run small.yaml --rows nope": "--rows nope: unknown row 'nope'; allowed: refers, scratch",
    "run small.yaml --rows refrs": "did you mean 'refers'",
    "run small.yaml --rows ''": "Invalid value for '--rows': a name is missing between commas",
    "run small.yaml --rows refers,,scratch": "Invalid value for '--rows': a name is missing between commas",
    "run small.yaml --seeds a": "Invalid value for '--seeds': 'a' is no seed; such as --seeds 0,1",
    "run small.yaml --seeds -1": "Invalid value for '--seeds': '-1' is no seed",
    "run small.yaml --limit 0": "Invalid value for '--limit': 0 is not in the range x>=1",
    "run small.yaml --limit many": "Invalid value for '--limit': 'many'",
    "run small.yaml --set finetune.steps": "'finetune.steps' is not KEY=VALUE; allowed: such as finetune.steps=300",
    "run small.yaml --set finetune.stepz=3": "unknown constant 'finetune.stepz'; allowed: .*did you mean 'finetune.steps'",
    "run small.yaml --set finetune.steps=many": "finetune.steps is 'many'; allowed: a whole number",
    "run small.yaml --set finetune.batch_size=-1": "finetune.batch_size is -1; allowed: 1 or more",
    "run small.yaml --set nope.key=3": "unknown key 'nope.key'; allowed: version, name",
    "run small.yaml --set seeds=abc": "seeds is 'abc'; allowed: a list of seeds",
    "run small.yaml --set methods=[]": r"methods is \[\]; allowed: a list of 1 or more",
    "run small.yaml --set pretrain.warmup_steps=9999": "pretrain.warmup_steps is 9999.*pretrain.steps is still that of smoke",
    "run small.yaml --max-jobs -1": "Invalid value for '--max-jobs': -1 is not in the range x>=0",
    "run small.yaml --budget 3": "--budget 3; allowed: a number and a unit: 40gpuh",
    "run small.yaml --budget -3h": "--budget -3h; allowed: a number and a unit",
    "run small.yaml --slots 0": "Invalid value for '--slots': 0 is not in the range x>=1",
    "run small.yaml --threads 0": "Invalid value for '--threads'",
    "run small.yaml --device tpu": "'tpu' is not one of 'auto', 'cpu', 'cuda'",
    "run small.yaml --device cuda": "--device cuda: this machine shows no GPU",
    "run small.yaml --executor nope": "unknown executor 'nope'; allowed: debug, local, ray, slurm",
    "run small.yaml --time-limit 5": "--time-limit 5; allowed: a number and a unit: 90s",
    "run small.yaml --accumulate 0": "Invalid value for '--accumulate'",
    "run small.yaml --plugins nowhere": "'nowhere' is no folder or Python file",
    # plan
    "plan": "Missing argument 'MANIFEST'",
    "plan smal.yaml": r"smal\.yaml: no such file",
    "plan small.yaml --explain nope": "no job is called 'nope'",
    "plan small.yaml --slots 2": "--slots: only with --forecast",
    "plan small.yaml --on A100": "--on: only with --forecast",
    "plan small.yaml --json": "--json: only with --forecast",
    "plan small.yaml --forecast --only nope": "--only nope matches no job",
    # status, logs
    "status smal": "RESULTS: unknown plan 'smal'; allowed: small; did you mean 'small'",
    "status small.yaml": "RESULTS: unknown plan 'small.yaml'; .*did you mean 'small'",
    "status --watch often": "Invalid value for '--watch'",
    "status --watch 0": "Invalid value for '--watch'",
    "logs": "Missing argument 'CELL'",
    "logs nope": "RESULTS: no planned job is called 'nope'; allowed: a name, pattern or key",
    "logs scratch*": "means 2 jobs; allowed: one of scratch.phantom",
    "logs nope --lines -1": "Invalid value for '--lines'",
    # report, explain, claims
    "report smal": r"RESULTS/smal/plan\.lock\.json: manifest 'smal' has no plan here; allowed: small; did you mean 'small'",
    "report absent.yaml": r"absent\.yaml: no such file",
    "report small --format pdf": "'pdf' is not one of 'html', 'latex'",
    "report small --style fancy": "'fancy' is not one of 'full', 'paper'",
    "report small --checklist nope": "'nope' is not one of 'claim', 'tripod-ai'",
    "report small --watch 0": "Invalid value for '--watch'",
    "report small --out words.txt/x": r"words\.txt/x/index\.html: cannot write: a part of the path is a file",
    "report small --out words.txt": "Directory 'words.txt' is a file",
    "explain small": "Missing option '--cell'",
    "explain small --cell nope": "--cell nope matches no cell; allowed: names such as refers.",
    "explain smal --cell x": r"RESULTS/smal/plan\.lock\.json: no plan here; allowed: 'refers-bench plan MANIFEST' writes one",
    "explain small --cell scratch.phantom.findings.100%.s0": "has no result",
    "explain small --cell x --map nope": "'nope' is not one of 'rollout', 'class', 'both'",
    "explain small --cell x --threshold 2": "Invalid value for '--threshold'",
    "explain small --cell x --images 99": "Invalid value for '--images'",
    "claims smal": r"RESULTS/smal/plan\.lock\.json: manifest 'smal' has no plan here",
    "claims --file absent.yaml": "File 'absent.yaml' does not exist",
    "claims small --file empty.yaml": r"empty\.yaml:1:1: an empty file",
    # results
    "results nope": "No such command 'nope'",
    "results bundle": "Missing argument 'MANIFEST'",
    "results bundle smal": r"RESULTS/smal/plan\.lock\.json: manifest 'smal' has no plan here",
    "results bundle small --out .": r"File '\.' is a directory",
    "results diff small": "Missing argument 'B'",
    "results diff small smal": r"RESULTS/smal/plan\.lock\.json: manifest 'smal' has no plan here",
    "results diff small absent.json": r"absent\.json: no such file",
    "results diff small words.json": r"words\.json: baseline version 99",
    "results verify absent.tar.gz": r"absent\.tar\.gz: no such file; allowed: an archive made by 'results bundle'",
    "results verify words.txt": r"words\.txt: cannot be read to its end: Not a gzipped file",
    "results tensorboard smal": r"RESULTS/smal/plan\.lock\.json: no plan here",
    "results tensorboard small": "no finished job of 'small' has curves",
    "results import bundle absent.tar.gz": "absent.tar.gz: no such file",
    "results import bundle words.txt": "words.txt: cannot be read to its end",
    "results import csv absent.csv": "absent.csv: no such file; allowed: a csv file",
    "results import csv words.csv": "words.csv: ",
    "results import csv .": "Is a directory",
    "results import csv words.csv --selected-on nope": "'nope' is not one of 'val', 'test', 'none', 'unknown'",
    "results import parquet words.txt": "words.txt: cannot read: .*allowed: a parquet file",
    "results import refers-release absent": "absent: no such folder",
    "results import refers-release .": r"\.: no prediction file; allowed: <target>/",
    # check
    "check small": "Missing option '--baseline'",
    "check small --baseline absent.json": r"absent\.json: no such file",
    "check small --baseline words.txt": r"words\.txt: cannot read: ",
    "check small --baseline list.json": r"list\.json: holds a list; allowed: a JSON object",
    "check small --baseline words.json": r"words\.json: baseline version 99; allowed: ",
    "check small --baseline words.json --tolerance 3": "Invalid value for '--tolerance'",
    "check small --baseline words.json --bands nope": "'nope' is not one of 'fixed', 'test-images'",
    "check smal --baseline words.json": r"RESULTS/smal/plan\.lock\.json: manifest 'smal' has no plan here",
    # validate, manifests, new
    "validate": "name a manifest, or ask for --json-schema",
    "validate absent.yaml": r"absent\.yaml: no such file",
    "validate .": r"File '\.' is a directory",
    "manifests copy smok": "unknown manifest 'smok'; allowed: .*did you mean 'smoke'",
    "manifests copy smoke --to words.txt/x": r"words\.txt/x/smoke\.yaml: cannot write: a part of the path is a file",
    "manifests lst": "No such command 'lst'",
    "new methd mine": "'methd' is not one of 'method', 'dataset', 'report', 'manifest'",
    "new method Mine": "the name 'Mine'; allowed: lower-case letters",
    "new method refers": "the name 'refers' is taken",
    "new manifest x --folder words.txt/x": "cannot write: a part of the path is a file",
    # data, datasets, methods, plugins
    "data prepare": "Missing argument 'DATASET'",
    "data prepare covid19": "unknown dataset 'covid19'; allowed: .*covid19_idc, covidx, .*did you mean 'covid19_idc'",
    "data prepare covid19_idc": "data root 'covid19_idc' is not set: set REFERS_BENCH_ROOT_COVID19_IDC",
    "data prepare covid19_idc --size 3": "Invalid value for '--size'",
    "data prepare covid19_idc --fit nope": "'nope' is not one of 'stretch', 'crop'",
    "data prepare covid19_idc --workers -1": "Invalid value for '--workers'",
    "data prepare covid19_idc --param lists": "Invalid value for '--param': 'lists' is not NAME=VALUE",
    "data prepare covid19_idc --param list=x": "--param list: no such parameter; allowed: .*did you mean 'lists'",
    "data verify covid19_idc --param missing=never": "--param missing is 'never'; allowed: 'skip' or 'refuse'",
    "data verify covid19_idc --param split_seed=x": "--param split_seed is 'x'; allowed: a whole number",
    "data verify covid19_idc --param folds=5": "--param: folds are a field of the target",
    "data verify table": "'table' reads one's own images, which have a name in a manifest",
    "data verify mine --manifest absent.yaml": r"absent\.yaml: no such file",
    "data verify mine --manifest small.yaml": r"small\.yaml: unknown name among the own images of this manifest 'mine'; allowed: none: it declares no",
    "data audit": "nothing to compare: name a DATASET, or two lists",
    "data audit --list absent.txt --list absent.txt": r"absent\.txt: missing list",
    "data audit covid19_idc --with covid19_idc": "--with takes another dataset than the first",
    "data audit covid19_idc --distance 999": "Invalid value for '--distance'",
    "data croissant nope": "unknown dataset 'nope'",
    "datasets lst": "No such command 'lst'",
    "methods list refers": "unexpected extra argument",
    "plugins check nope": "'nope' holds no plug-in; allowed: ",
    "plugins check absent.py": r"absent\.py: no folder or Python file",
    "plugins check nothing.py": "'nothing.py' holds no plug-in",
    "--plugins nowhere methods list": "'nowhere' is no folder or Python file",
    # weights
    "weights inspect": "Missing argument 'FILE'",
    "weights inspect absent.pt": r"absent\.pt: no such file; allowed: a file ending in \.safetensors",
    "weights inspect words.txt": r"words\.txt: unknown format '\.txt'",
    "weights inspect words.safetensors": r"words\.safetensors: not a readable safetensors file",
    "weights inspect words.npz": r"words\.npz: not a readable \.npz",
    "weights inspect words.pt": r"words\.pt: not a readable torch file .*; allowed: a file that torch\.save wrote",
    "weights inspect words.pt --preset papr": "unknown protocol preset 'papr'; allowed: .*did you mean 'paper'",
    "weights inspect words.pt --depth 7": "'7' is not one of '18', '50', '101'",
    "weights convert words.pt": "Missing argument 'OUT'",
    "weights convert words.pt out.safetensors --layout nope": "'nope' is not one of 'timm', 'refers-bench'",
    "weights export small.yaml nope out.safetensors": "unknown pre-trained row 'nope'; allowed: refers",
    "weights export small.yaml refers": "Missing argument 'OUT'",
    "weights export absent.yaml refers out.safetensors": r"absent\.yaml: no such file",
    "weights fingerprint absent.pt": r"absent\.pt: no such file",
    "weights fingerprint words.pt --layout nope": "--layout is 'nope'; allowed: 'dinov2'",
    "weights fingerprint words.pt --variant nope": "--variant nope: layout dinov2 has no variant 'nope'; allowed: small",
    "weights fingerprint words.pt --architecture nope": "timm has no network 'nope'",
    # the rest
    "completion tcsh": "'tcsh' is not one of 'bash', 'zsh', 'fish'",
    "doctor now": "unexpected extra argument",
    "rport": "No such command 'rport'. Did you mean 'report'",
    "--no-such status": "No such option '--no-such'",
}  # fmt: skip


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder in which the manifest has been planned."""
    folder = tmp_path_factory.mktemp("planned")
    (folder / "small.yaml").write_text(MANIFEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert command_in(folder / "results", "plan", str(folder / "small.yaml")).code == 0
    return folder / "results"


#: Commands that read what was planned -> what they say where nothing was.
ELSEWHERE = {
    "status small": "RESULTS: unknown plan 'small'; allowed: none yet: 'refers-bench plan MANIFEST' writes one",
    "logs scratch.phantom.findings.100%.s0": "RESULTS: no planned job is called",
    "report": "RESULTS: no manifest has been planned here; allowed: ",
    "report small": "RESULTS/small/plan.lock.json: manifest 'small' has no plan here; allowed: none yet",
    "check small --baseline words.json": "RESULTS/small/plan.lock.json: ",
    "claims small": "RESULTS/small/plan.lock.json: ",
    "explain small --cell x": "RESULTS/small/plan.lock.json: ",
    "results bundle small": "RESULTS/small/plan.lock.json: ",
    "results diff small small": "RESULTS/small/plan.lock.json: ",
    "results tensorboard small": "RESULTS/small/plan.lock.json: ",
    "weights export small.yaml refers o.safetensors": "RESULTS: 'refers' is not pre-trained yet; allowed: 'refers-bench run ",
}  # fmt: skip


@pytest.mark.parametrize("typed", ELSEWHERE)
def test_from_another_directory_the_results_folder_that_was_used_is_named(
    typed: str, home: Path, cli: Commands
) -> None:
    _, err = cli(*shlex.split(typed), code=2)
    assert err.startswith("error: " + ELSEWHERE[typed].replace("RESULTS", str(home / "results"))), err


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_named_with_what_is_allowed(typed: str, home: Path, cli: Commands, planned: Path) -> None:
    shutil.copytree(planned, home / "results")
    began = time.monotonic()
    out, err = cli(*shlex.split(typed), code=2)
    assert time.monotonic() - began < SECONDS
    assert out == "", "what went wrong is no result"
    said = [line for line in err.splitlines() if re.match("[Ee]rror: ", line)]
    assert len(said) == 1, err
    message = MISTAKES[typed].replace("RESULTS", re.escape(str(home / "results")))
    assert re.search(message, said[0]), said[0]
