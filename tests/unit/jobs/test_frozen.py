"""Frozen evaluations end to end, against scikit-learn on the same cached features."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

import tiny_jobs
from refers_bench.data.features import CachedFeatures
from refers_bench.errors import DataError, UserError
from refers_bench.jobs import entry, finetune
from refers_bench.store import schemas
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

CLASSES = ("Effusion", "Nodule")
Job = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def drawn(draw_images: Any) -> Any:
    return draw_images({"train": 40, "val": 24, "test": 24})


@pytest.fixture
def context(drawn: Any, tmp_path: Any) -> JobContext:
    found: JobContext = drawn.context(tmp_path)
    return found


@pytest.fixture
def features(context: JobContext, featuring: Job) -> dict[str, Any]:
    one = featuring()
    entry.run(one, context)
    return one


def facts(context: JobContext, job: dict[str, Any]) -> dict[str, Any]:
    record = ResultStore(context.results).record(job["key"])
    assert record is not None
    found: dict[str, Any] = record["facts"]
    return found


def table(context: JobContext, job: dict[str, Any], kind: str) -> pd.DataFrame:
    return schemas.read(ResultStore(context.results).folder(job["key"]) / f"{kind}.parquet", kind)


def aucs_of(context: JobContext, job: dict[str, Any], split: str = "test") -> dict[str, float]:
    rows = table(context, job, "metrics")
    found: dict[str, float] = rows[rows["split"] == split].set_index("class")["auc"].to_dict()
    return found


def parts(drawn: Any, context: JobContext, features: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> features in float64 and labels, read without the recipes."""
    x, index = CachedFeatures.open(context.features(features["key"])).features.astype(np.float64), drawn.index
    y = index[[f"findings:{name}" for name in CLASSES]].to_numpy(float)
    return {split: (x[drawn.rows(split)], y[drawn.rows(split)]) for split in ("train", "val", "test")}


def test_a_linear_probe_is_that_of_scikit_learn(
    drawn: Any, context: JobContext, features: dict[str, Any], probing: Job, freezing: Job
) -> None:
    heads = probing(features)
    job = freezing("linear_probe", features, heads=heads["key"])
    for one in (heads, job):
        entry.run(one, context)
    split = parts(drawn, context, features)
    scaler = StandardScaler().fit(split["train"][0])
    aucs: dict[float, dict[str, list[float]]] = {}
    for c in heads["spec"]["frozen"]["grid"]:
        aucs[c] = {"val": [], "test": []}
        for column in range(2):
            theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10000)
            theirs.fit(scaler.transform(split["train"][0]), split["train"][1][:, column])
            for name, of in aucs[c].items():
                of.append(
                    roc_auc_score(split[name][1][:, column], theirs.decision_function(scaler.transform(split[name][0])))
                )
    about = facts(context, job)["head"]
    assert about["validation_auc"] == pytest.approx({f"{c:g}": np.mean(of["val"]) for c, of in aucs.items()}, abs=1e-4)
    best = max(aucs, key=lambda c: np.mean(aucs[c]["val"]))
    assert about["c"] == best
    for name in ("val", "test"):
        assert aucs_of(context, job, name) == pytest.approx(dict(zip(CLASSES, aucs[best][name], strict=True)), abs=1e-4)
    assert min(aucs[best]["test"][:1]) > 0.7, "the first class can be seen in the pixels"


def test_neighbours_are_those_of_scikit_learn(
    drawn: Any, context: JobContext, features: dict[str, Any], freezing: Job
) -> None:
    job = freezing("knn", features, {"neighbours": [1, 5, 10]})
    entry.run(job, context)
    split = parts(drawn, context, features)
    aucs: dict[int, dict[str, list[float]]] = {}
    for k in (1, 5, 10):
        aucs[k] = {"val": [], "test": []}
        for column in range(2):
            theirs = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
            theirs.fit(split["train"][0], split["train"][1][:, column])
            for name, of in aucs[k].items():
                of.append(roc_auc_score(split[name][1][:, column], theirs.predict_proba(split[name][0])[:, 1]))
    about = facts(context, job)["neighbours"]
    assert about["validation_auc"] == pytest.approx({str(k): np.mean(of["val"]) for k, of in aucs.items()}, abs=1e-4)
    assert about["k"] == max(aucs, key=lambda k: np.mean(aucs[k]["val"]))
    assert aucs_of(context, job) == pytest.approx(dict(zip(CLASSES, aucs[about["k"]]["test"], strict=True)), abs=1e-4)


def test_a_result_is_that_of_a_fine_tuning_but_for_its_logits(
    drawn: Any, context: JobContext, features: dict[str, Any], freezing: Job, finetuning: Job
) -> None:
    cell = {"label_ratio": 0.5, "seed": 3}
    tuned = tiny_jobs.sent_job(**finetuning({"steps": 1}, **cell))
    tokens = tiny_jobs.sent_job(**{**features["spec"], "readout": "tokens"})
    frozen = [freezing("knn", features, **cell), freezing("attentive_probe", tokens, **cell)]
    for job in (tuned, tokens, *frozen):
        entry.run(job, context)
    store = ResultStore(context.results)
    subset = (store.folder(tuned["key"]) / "subset.json").read_bytes()
    said = facts(context, tuned)
    for job in frozen:
        assert (store.folder(job["key"]) / "subset.json").read_bytes() == subset
        for kind, own in (("predictions", "logit"), ("metrics", "auc")):
            expected, found = (table(context, one, kind).drop(columns=own) for one in (tuned, job))
            pd.testing.assert_frame_equal(found, expected)
        assert np.isfinite(table(context, job, "predictions")["logit"]).all()
        own = facts(context, job)
        assert {name: own[name] for name in ("images", "subset", "classes_without_positives")} == {
            name: said[name] for name in ("images", "subset", "classes_without_positives")
        }
        assert own["features_digest"] == CachedFeatures.open(context.features(job["spec"]["features"])).meta["digest"]


def test_an_attentive_probe_learns_from_tokens_and_keeps_its_best_weights(
    drawn: Any, context: JobContext, features: dict[str, Any], freezing: Job
) -> None:
    tokens = tiny_jobs.sent_job(**{**features["spec"], "readout": "tokens"})
    entry.run(tokens, context)
    assert CachedFeatures.open(context.features(tokens["key"])).features.shape == (len(drawn.index), 5, 8)
    job = freezing("attentive_probe", tokens)
    training = {**job["spec"]["finetune"], "steps": 60, "validate_every": 5, "patience": 4}
    job = freezing("attentive_probe", tokens, finetune=training)
    entry.run(job, context)
    history, said = table(context, job, "history"), facts(context, job)
    validated = history[history["name"] == "val/auc"]
    assert said["best_step"] == validated["step"].iloc[validated["value"].argmax()]
    rows = table(context, job, "metrics")
    assert rows.loc[rows["split"] == "val", "auc"].mean() == said["best_value"] == validated["value"].max()
    assert aucs_of(context, job)["Effusion"] > 0.7
    again = JobContext(results=context.results.with_name("again"), cache=context.cache)
    entry.run(job, again)
    pd.testing.assert_frame_equal(
        table(again, job, "predictions"), table(context, job, "predictions"), check_exact=True
    )
    with pytest.raises(UserError, match="attentive_heads is 3, and the tokens are 8 wide; allowed: a number of heads"):
        entry.run(freezing("attentive_probe", tokens, {"attentive_heads": 3}), context)


def test_folds_score_every_image_once_by_probes_that_did_not_see_its_patient(
    drawn: Any, context: JobContext, features: dict[str, Any], probing: Job, freezing: Job
) -> None:
    folds = [{"count": 4, "fold": fold} for fold in range(4)]
    heads = probing(features, [{"fold": fold} for fold in folds])
    jobs = [freezing("linear_probe", features, heads=heads["key"], fold=fold) for fold in folds]
    for job in (heads, *jobs):
        entry.run(job, context)
    tables = [table(context, job, "predictions") for job in jobs]
    tested = pd.concat([rows[rows["split"] == "test"] for rows in tables])
    assert sorted(tested["image_id"]) == sorted([*drawn.index["image_id"], *drawn.index["image_id"]]), "two classes"
    patients = drawn.index.set_index("image_id")["patient_id"]
    for job, rows in zip(jobs, tables, strict=True):
        subset = json.loads((ResultStore(context.results).folder(job["key"]) / "subset.json").read_text())
        assert not set(patients[subset["image_ids"]]) & set(rows["patient_id"])
    with pytest.raises(DataError, match=r"no linear probe of .*'fold': None.* among 4"):
        entry.run(freezing("linear_probe", features, heads=heads["key"]), context)


def test_changed_bytes_are_refused_by_all_that_read_them(
    context: JobContext, features: dict[str, Any], probing: Job, freezing: Job
) -> None:
    path = context.features(features["key"]) / "features.f16"
    content = path.read_bytes()
    for changed, message in ((content[:-1] + b"!", "bytes have changed"), (content[:-2], "which .* in float16 take")):
        path.write_bytes(changed)
        for job in (probing(features), freezing("knn", features), freezing("linear_probe", features, heads="none")):
            with pytest.raises(
                DataError, match=f"{message}; allowed: delete the folder, or 'refers-bench results fsck --repair'"
            ):
                entry.run(job, context)
    path.write_bytes(content)
    with pytest.raises(DataError, match="no such result; allowed: run its job first"):
        entry.run(freezing("linear_probe", features, heads="none"), context)


def test_without_validation_images_the_choice_says_so(
    draw_images: Any, tmp_path: Any, featuring: Job, probing: Job, freezing: Job
) -> None:
    context, features = draw_images({"train": 16, "test": 8}).context(tmp_path), featuring()
    heads = probing(features, grid=[0.01, 2.0, 100.0])
    jobs = [freezing("linear_probe", features, heads=heads["key"]), freezing("knn", features)]
    for job in (features, heads, *jobs):
        entry.run(job, context)
    linear, near = facts(context, jobs[0])["head"], facts(context, jobs[1])["neighbours"]
    assert (linear["c"], linear["chosen_because"], linear["validation_auc"]) == (
        2.0, "nearest to 1: no validation rows", {}
    )  # fmt: skip
    assert (near["k"], near["chosen_because"]) == (10, "nearest to 20: no validation rows")
    for job in jobs:
        assert set(table(context, job, "predictions")["split"]) == {"test"}
        assert set(table(context, job, "metrics").query("split == 'val'")["undefined"]) == {"no labelled images"}


@pytest.mark.parametrize(("split", "where"), [("train", "test"), ("test", "train")])
def test_a_class_that_one_patient_has(
    drawn: Any, tmp_path: Any, featuring: Job, probing: Job, freezing: Job, split: str, where: str
) -> None:
    """In training: fitted, and no AUC for lack of positives. In the test: nothing to fit, all images are scored alike."""

    def change(pixels: np.ndarray, index: pd.DataFrame) -> None:
        index["findings:Nodule"] = pd.array([0] * len(index), dtype="Int8")
        index.loc[index["patient_id"] == f"p.{split}01", "findings:Nodule"] = 1

    context, features = drawn.changed(change).context(tmp_path), featuring()
    heads = probing(features)
    jobs = [freezing("linear_probe", features, heads=heads["key"]), freezing("knn", features)]
    for job in (features, heads, *jobs):
        entry.run(job, context)
    fitted = {} if split == "train" else {"Nodule": "no positive training rows"}
    assert facts(context, jobs[0])["head"]["not_fitted"] == fitted
    for job in jobs:
        assert facts(context, job)["classes_without_positives"] == list(fitted)
        rows = table(context, job, "metrics").set_index(["split", "class"])
        assert rows.loc[("val", "Nodule"), "undefined"] == "no positives"
        assert rows.loc[("test", "Nodule"), "undefined"] == ("no positives" if split == "train" else "")
        if split == "test":
            assert rows.loc[("test", "Nodule"), "auc"] == 0.5
        assert np.isfinite(table(context, job, "predictions")["logit"]).all()


def test_fine_tuning_begins_where_the_linear_probe_ends(
    drawn: Any, context: JobContext, features: dict[str, Any], probing: Job, freezing: Job, finetuning: Job
) -> None:
    heads = probing(features, [{"label_ratio": 0.25}, {}])
    job = freezing("linear_probe", features, heads=heads["key"])
    for one in (heads, job):
        entry.run(one, context)

    def fit(rate: float, **more: Any) -> finetune.Fitted:
        spec = finetuning({"steps": 1, "learning_rate": rate}, **more)
        return finetune.fit("cell", spec, context, work=context.results / f"work{rate}{len(more)}")

    # At a rate of 0 the first validation is of the weights before any step.
    start = fit(0.0, heads=heads["key"])
    first = next(value for _, name, value in start.outcome.counters.history if name == "val/auc")
    # Features are cached in float16: a few of 2 x 432 pairs of images may change places.
    assert first == pytest.approx(np.mean(list(aucs_of(context, job, "val").values())), abs=5e-3)
    tuned, probed = (
        rows.sort_values(["split", "image_id", "class"])["logit"].to_numpy()
        for rows in (finetune.scored(start)[0], table(context, job, "predictions"))
    )
    np.testing.assert_allclose(tuned, probed, atol=0.01 * probed.std())
    assert start.facts["head"] == facts(context, job)["head"]
    assert "head" not in fit(0.0).facts
    assert not torch.equal(fit(1.0, heads=heads["key"]).classifier.head.weight, start.classifier.head.weight), (
        "it trains"
    )


def test_a_probe_of_other_features_is_no_start(
    context: JobContext, features: dict[str, Any], probing: Job, finetuning: Job
) -> None:
    network = {**features["spec"]["network"], "width": 12}
    wide = tiny_jobs.sent_job(**{**features["spec"], "network": network})
    heads = probing(wide)
    for one in (wide, heads):
        entry.run(one, context)
    with pytest.raises(DataError, match=r"a linear probe of shape \(2, 24\); allowed: \(2, 16\): of the features"):
        finetune.fit("cell", finetuning(heads=heads["key"]), context, work=context.results / "work")
