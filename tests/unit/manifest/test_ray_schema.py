"""What a manifest and a site may say about a Ray cluster, and what is said back when it is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from refers_bench.errors import UserError
from refers_bench.execution.ray.needs import RayOptions, options
from refers_bench.manifest.ray_schema import RayPart
from refers_bench.manifest.roots import load_roots

SAID = {
    "address": "10.0.0.5:6379", "gpus_per_job": 0.5, "cpus_per_job": 2, "memory": "16G", "resources": {"a100": 0.5},
    "wait_for_nodes": "5m",
}  # fmt: skip


def test_everything_that_may_be_said_is_understood() -> None:
    assert options(RayPart.model_validate(SAID).model_dump(mode="json")) == RayOptions(
        address="10.0.0.5:6379", gpus_per_job=0.5, cpus_per_job=2.0, memory=2**34, resources={"a100": 0.5},
        wait_for_nodes=300.0,
    )  # fmt: skip
    assert options(RayPart().model_dump(mode="json")) == RayOptions()
    assert RayPart(gpus_per_job=2).gpus_per_job == 2


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({"address": "ray://10.0.0.5:10001"}, "auto, or host:port of the head"),
        ({"address": "10.0.0.5"}, "auto, or host:port of the head"),
        ({"gpus_per_job": 1.5}, "a whole number, or a share of one such as 0.5"),
        ({"gpus_per_job": -1}, "greater than or equal to 0"),
        ({"memory": "16"}, "a whole number and a unit: 512M, 16G"),
        ({"resources": {"GPU": 1}}, "gpus_per_job for GPU"),
        ({"resources": {"a100": 0}}, "greater than 0"),
        ({"wait_for_nodes": 60}, "a number and a unit"),
        ({"gpus": 1}, "Extra inputs are not permitted"),
    ],
)
def test_what_may_not_be_said(said: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ValidationError, match=allowed):
        RayPart.model_validate(said)


def test_a_site_says_it_in_the_user_config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("REFERS_BENCH_CONFIG", str(path))
    path.write_text("ray:\n  address: 10.0.0.5:6379\n  gpus_per_job: 0.5\n")
    assert load_roots({}).engines["ray"] == {"address": "10.0.0.5:6379", "gpus_per_job": 0.5}
    path.write_text("ray:\n  adress: 10.0.0.5:6379\n")
    with pytest.raises(UserError) as refused:
        load_roots({})
    assert str(refused.value).startswith(f"{path}:2:3: unknown key 'adress'; allowed: address, ")
    assert str(refused.value).endswith("did you mean 'address'?")
