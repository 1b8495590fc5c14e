"""Names, titles, paths and logs of others never reach the terminal as control sequences, whichever command shows them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import own_images
from command_line import command
from on_terminal import obeyed, written
from refers_bench.store.results import ResultStore
from results_folder import Folder

#: Sets the window's title, clears the screen (by two kinds of introducer), turns the writing direction, begins a line.
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202egnp\x00\nerror: forged"
#: The same without what no file name may hold.
NAME = EVIL.replace("\x00", "")


def planned(home: Path) -> None:
    """A plan whose title, rows, jobs, reasons and log are hostile, with a failed job and one that is done."""
    folder = Folder(home / "results")
    folder.lock["title"] = EVIL
    for place, key in enumerate(("a" * 20, "b" * 20, "c" * 20)):
        folder.job(key, name=f"refers{place}{EVIL}", unavailable=EVIL if place == 2 else "")
    for key in ("a" * 20, "b" * 20):
        folder.failed(key, message=EVIL, name=EVIL)
    folder.cell("refers", label=EVIL, aucs={EVIL: 0.8}, footnotes=[EVIL])
    folder.save()
    log = ResultStore(home / "results").log("a" * 20)
    log.parent.mkdir(parents=True)
    log.write_text(f"{EVIL}\n", encoding="utf-8")


def pictures(home: Path) -> None:
    """A folder for each class with hostile names, one of whose images cannot be read; its manifest has such a title."""
    own_images.write_folders(home / "photos", count=40)
    (home / "photos" / "spot").rename(home / "photos" / f"spot{NAME}")
    (home / "photos" / "plain" / f"{NAME}.png").write_bytes(b"nothing")
    title = json.dumps(EVIL.replace("\x00", ""))
    (home / "mine.yaml").write_text(
        f"version: 1\ntitle: {title}\nprotocol: {{preset: smoke}}\ndata: {{mine: {{folder: {{root: photos}}}}}}\n"
        "source: {dataset: mine}\nmethods: [{id: pixels, evaluation: linear_probe}]\n"
        "targets: [{dataset: mine, tasks: [labels]}]\nseeds: [0]\n"
    )


def weights(home: Path) -> None:
    """Weights of an unknown layout, and some of a known one, whose tensors have hostile names."""
    save_file({EVIL.replace("\x00", ""): torch.zeros(2)}, home / "unknown.safetensors")
    save_file(
        {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3), f"layer1.0.{NAME}": torch.zeros(2)},
        home / "net.safetensors",
    )


def plugin(home: Path) -> None:
    """A plug-in that cannot be loaded, for a hostile reason."""
    (home / "odd.py").write_text(f"METHOD = None\nraise ValueError({EVIL!r})\n")


#: What lies in the working folder, the command, its exit code.
COMMANDS = {
    "status": (planned, ["status", "--failed"], 0),
    "logs": (planned, ["logs", "a" * 20], 0),
    "no such plan": (planned, ["status", NAME], 2),
    "no such file": (planned, ["run", f"{NAME}.yaml"], 2),
    "no such command": (planned, [f"run{NAME}"], 2),
    "no such folder": (planned, ["--plugins", NAME, "status"], 2),
    "validate": (pictures, ["validate", "mine.yaml"], 0),
    "data prepare": (pictures, ["data", "prepare", "mine", "--manifest", "mine.yaml"], 2),
    "an unknown layout": (weights, ["weights", "inspect", "unknown.safetensors"], 2),
    "tensors": (weights, ["weights", "inspect", "net.safetensors", "--depth", "18"], 0),
    "a broken plug-in": (plugin, ["--plugins", "odd.py", "methods", "list"], 0),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_what_a_terminal_obeys(home: Path, name: str) -> None:
    make, arguments, code = COMMANDS[name]
    make(home)
    ended, out, err = command(*arguments)
    assert ended == code, out + err
    assert "owned" in out + err, "the command shows no hostile name"
    assert obeyed((out + err).encode()) == []
    forged = any(line.startswith("error: forged") for line in (out + err).splitlines())
    assert name == "logs" or not forged, "a line of theirs looks like one of ours"


@pytest.mark.parametrize("arguments", [["status", "--watch"], ["status", "--failed"]], ids=" ".join)
def test_on_a_terminal_only_our_own_styles_are_left(home: Path, arguments: list[str]) -> None:
    planned(home)
    code, content = written(arguments)
    assert code == 0 and b"owned" in content
    assert obeyed(content, styled="--watch" in arguments) == []


def test_a_bug_and_a_warning_quote_names_printably(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "sitecustomize.py").write_text(
        "import warnings\nimport refers_bench.execution.settings as one\n"
        f"def broken(*args, **more):\n    warnings.warn({NAME!r})\n    raise RuntimeError({NAME!r})\n"
        "one.Settings.use_plugins = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{home}{os.pathsep}{os.environ['PYTHONPATH']}")
    code, content = written(["status"])
    assert code == 1 and b"Traceback" in content and b"UserWarning" in content
    assert obeyed(content) == []
