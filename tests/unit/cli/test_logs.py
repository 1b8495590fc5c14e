"""Of jobs of one name in several manifests, `logs` shows the one whose log is the newest, and says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from refers_bench.store.results import ResultStore
from results_folder import Folder


def test_the_newest_log_is_shown(cli: Any, tmp_path: Path) -> None:
    name, results, keys = "pretrain.refers.phantom", tmp_path / "results", {"m": "a" * 20, "other": "b" * 20}
    for place, (manifest, key) in enumerate(keys.items()):
        plan = Folder(results, manifest)
        plan.job(key, "pretrain", name=name)
        plan.save()
        path = ResultStore(results).log(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"of {manifest}\n")
        os.utime(path, (1000 - place, 1000 - place))
    out, err = cli("logs", name)
    assert out == "of m\n"
    assert err == f"{name} of m, whose log is the newest; not shown: other, key {keys['other']}\n"
    assert cli("logs", keys["other"]) == ("of other\n", "")
