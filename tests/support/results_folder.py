"""A results folder built cell by cell, which holds just what a test needs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from refers_bench.analysis.results import Results, load
from refers_bench.store import records, schemas

#: Class -> AUC (None with a reason), in the task every test uses by default.
CLASSES = {"normal": 0.8, "opacity": 0.7}


def record_again(folder: Path, **more: Any) -> None:
    """Record the files of a result as they are now, as whoever had computed them would have."""
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "version": 2, "files": records.digests(folder), **more}))


class Folder:
    """Builds ``<results>/<name>/plan.lock.json`` and ``<results>/store`` cell by cell."""

    def __init__(self, results: Path, name: str = "tiny") -> None:
        self.results, self.name = results, name
        self.lock: dict[str, Any] = {"version": 1, "name": name, "jobs": [], "cells": []}

    def job(self, key: str, kind: str = "finetune", **more: Any) -> None:
        known = {job["key"] for job in self.lock["jobs"]}
        if key not in known:
            base = {"key": key, "kind": kind, "name": key, "needs": [], "spec": {"kind": kind}, "unavailable": ""}
            self.lock["jobs"].append({**base, **more})

    def done(self, key: str, aucs: dict[str, float | None] | None = None, **record: Any) -> None:
        """A finished job; with `aucs` it also has metrics."""
        folder = self.results / "store" / key
        folder.mkdir(parents=True)
        content = {"version": 1, "key": key, "kind": "finetune", "name": key, "category": "ok", "wall_s": 2.0, **record}
        (folder / "run.json").write_text(json.dumps(content))
        if aucs is not None:
            rows = [
                {
                    "class": name,
                    "auc": auc,
                    "n_pos": 5 if auc is not None else 0,
                    "n_neg": 7,
                    "undefined": "" if auc is not None else "no positives",
                    "split": split,
                }
                for split in ("test", "val")
                for name, auc in aucs.items()
            ]
            frame = pd.DataFrame(rows).astype({"auc": "float64"})
            schemas.write(folder / "metrics.parquet", frame, "metrics")

    def history(self, key: str, curves: dict[str, Sequence[float]]) -> None:
        rows = [
            {"step": step, "name": name, "value": value}
            for name, values in curves.items()
            for step, value in enumerate(values)
        ]
        schemas.write(self.results / "store" / key / "history.parquet", pd.DataFrame(rows), "history")

    def failed(self, key: str, category: str = "nan", **record: Any) -> None:
        (self.results / "store").mkdir(parents=True, exist_ok=True)
        content = {"version": 1, "key": key, "category": category, **record}
        (self.results / "store" / f"{key}.failed.json").write_text(json.dumps(content))

    def cell(
        self,
        method: str = "refers",
        *,
        seed: int = 0,
        state: str = "done",
        aucs: dict[str, float | None] | None = None,
        dataset: str = "covid19_idc",
        task: str = "viral_vs_bacterial",
        ratio: float = 1.0,
        label: str = "",
        needs: Sequence[str] = (),
        footnotes: Sequence[str] = (),
        synthetic: bool = False,
        reason: str = "a later version",
        floor: bool = False,
        evaluation: str = "finetune",
        folds: int = 0,
        crossed: Sequence[int] = (),
        candidate: Sequence[str] = (),
    ) -> str:
        """One planned cell in some state; returns its key."""
        column = f"{dataset}-{task}-{ratio:g}" + (
            f"-{evaluation}-{folds}" if (evaluation, folds) != ("finetune", 0) else ""
        )
        key = re.sub(r"[^\w+%-]", "_", "-".join([f"{method}+{column}-{seed}", *candidate]), flags=re.ASCII)
        spec = {"kind": "finetune", "method": method, "classes": list(aucs or CLASSES), "prepare": "p" * 20}
        self.job(key, spec=spec, needs=list(needs), unavailable=reason if state == "unavailable" else "")
        self.lock["cells"].append(
            {
                "method": method,
                "label": label or method,
                "dataset": dataset,
                "task": task,
                "label_ratio": ratio,
                "seed": seed,
                "key": key,
                "synthetic": synthetic,
                "footnotes": list(footnotes),
                "floor": floor,
                "evaluation": evaluation,
                "folds": folds,
                **({"crossed": list(crossed)} if crossed else {}),
                **({"candidate": list(candidate)} if candidate else {}),
            }
        )
        if state == "done":
            self.done(key, CLASSES if aucs is None else aucs)
        elif state == "failed":
            self.failed(key, attempts=2, message="loss is NaN", traceback=["Traceback:", "  loss is NaN"])
        return key

    def seeds(self, method: str, aucs: Sequence[float], **more: Any) -> None:
        """One finished cell per value; every class has that AUC."""
        for seed, auc in enumerate(aucs):
            self.cell(method, seed=seed, aucs=dict.fromkeys(CLASSES, auc), **more)

    def predict(
        self,
        key: str,
        labels_NK: Any,
        scores_NK: Any,
        *,
        classes: Sequence[str] = tuple(CLASSES),
        of_a_patient: int = 2,
    ) -> None:
        """Test predictions of a finished job.

        Args:
            key: of the job.
            labels_NK: 1, 0 or anything else for unknown.
            scores_NK: higher means more likely positive.
            classes: K names.
            of_a_patient: images of each patient; 0 where patients are not known.
        """
        rows = [
            {
                "image_id": f"i{n:03}",
                "patient_id": f"p{n // of_a_patient:03}" if of_a_patient else "",
                "class": name,
                "label": labels_NK[n][k] if labels_NK[n][k] in (0, 1) else None,
                "logit": scores_NK[n][k],
                "split": "test",
            }
            for n in range(len(labels_NK))
            for k, name in enumerate(classes)
        ]
        frame = pd.DataFrame(rows).astype({"label": "Int8", "logit": "float32"})
        schemas.write(self.results / "store" / key / "predictions.parquet", frame, "predictions")

    def save(self) -> Path:
        path = self.results / self.name / "plan.lock.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.lock))
        return self.results

    def load(self) -> Results:
        return load(self.save(), self.name)
