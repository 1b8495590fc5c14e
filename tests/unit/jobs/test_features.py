"""A features job stores what the encoder reads out, resumes to the same bytes, and reads no image that it need not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refers_bench.data.augment import Augment
from refers_bench.data.batches import RadiographSource
from refers_bench.data.features import CachedFeatures
from refers_bench.errors import DataError, UserError
from refers_bench.jobs import features, setup
from refers_bench.store.context import JobContext
from refers_bench.store.results import ResultStore

Featuring = Callable[..., dict[str, Any]]


@pytest.fixture
def context(images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobContext:
    """The prepared images, in batches of 8."""
    monkeypatch.setattr(setup, "EVALUATION_BATCH", 8)
    found: JobContext = images.context(tmp_path)
    return found


def elsewhere(context: JobContext, folder: Path) -> JobContext:
    return JobContext(results=folder, cache=context.cache)


def test_features_are_what_fine_tuning_reads_without_augmentation(
    images: Any, context: JobContext, featuring: Featuring
) -> None:
    job = featuring()
    features.run(job, context)
    encoder, about = setup.start_encoder(job["key"], job["spec"], context)
    shown = Augment.of(job["spec"]["image"], "finetune_augment").evaluation(torch.from_numpy(images.pixels))
    with torch.no_grad():
        expected = encoder.eval().readout(encoder(shown)).numpy()
    found = CachedFeatures.open(context.features(job["key"]))
    np.testing.assert_allclose(found.features, expected, rtol=1e-3, atol=1e-3)
    record = ResultStore(context.results).record(job["key"])
    assert record is not None
    digest = found.meta["digest"]
    assert record["facts"] == {
        "computed": True, "shape": [len(images.index), 16], "dtype": "float16", "digest": digest, "encoder": about,
        "data_digest": "d",
    }  # fmt: skip


def test_a_killed_job_resumes_to_the_same_bytes(context: JobContext, featuring: Featuring, tmp_path: Path) -> None:
    job = featuring()
    child = os.fork()
    if child == 0:
        outputs, calls = setup.outputs, []

        def dying(*given: Any, **how: Any) -> Any:
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return outputs(*given, **how)

        setup.outputs = dying
        features.run(job, context)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(list(context.cache.glob("features/.*.work/*.npy"))) == 2
    features.run(job, context)
    resumed = (context.features(job["key"]) / "features.f16").read_bytes()
    other = JobContext(results=tmp_path / "other", cache=tmp_path / "other cache")
    other.cache.mkdir()
    (other.cache / "prepared").symlink_to(context.cache / "prepared")
    features.run(job, other)
    assert (other.features(job["key"]) / "features.f16").read_bytes() == resumed
    assert sorted(path.name for path in (context.cache / "features").iterdir()) == [job["key"]]


def test_another_results_folder_reads_no_image(
    context: JobContext, featuring: Featuring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = featuring()
    features.run(job, context)
    monkeypatch.setattr(RadiographSource, "fixed", lambda *given, **how: pytest.fail("an image was read"))
    other = elsewhere(context, tmp_path / "other")
    features.run(job, other)
    first, second = (ResultStore(one.results).record(job["key"]) for one in (context, other))
    assert first is not None
    assert second is not None
    assert second["facts"] == {**first["facts"], "computed": False}


def test_changed_bytes_and_an_unknown_readout_are_refused(
    images: Any, context: JobContext, featuring: Featuring, tmp_path: Path
) -> None:
    job = featuring()
    features.run(job, context)
    path = context.features(job["key"]) / "features.f16"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 4]) + path.read_bytes()[1:])
    with pytest.raises(DataError, match="bytes have changed; allowed: delete the folder"):
        features.run(job, elsewhere(context, tmp_path / "other"))
    meta = path.with_name("meta.json")
    path.write_bytes(path.read_bytes()[: 2 * 16 * 3])
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "shape": [3, 16]}))
    with pytest.raises(DataError, match="bytes have changed"):
        features.run(job, elsewhere(context, tmp_path / "other"))
    with pytest.raises(UserError, match="the encoder of 'scratch' has no readout 'last4_cls'"):
        features.run(featuring(readout="last4_cls"), context)
