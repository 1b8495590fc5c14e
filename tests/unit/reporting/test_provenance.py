"""A page says how its results are made again, wherever the manifest came from."""

from __future__ import annotations

import pytest

from refers_bench.manifest import packaged
from refers_bench.reporting.provenance import commands
from results_folder import Folder


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "my manifests/a.yaml",
            ("refers-bench run 'my manifests/a.yaml'", "refers-bench report 'my manifests/a.yaml'"),
        ),
        (str(packaged.folder() / "smoke.yaml"), ("refers-bench run smoke", "refers-bench report smoke")),
        ("", ("refers-bench run manifests/tiny.yaml", "refers-bench report manifests/tiny.yaml")),
    ],
)
def test_commands_name_the_manifest(folder: Folder, path: str, expected: tuple[str, ...]) -> None:
    folder.cell()
    folder.lock["manifest_path"] = path
    folder.save()
    assert commands(folder.load()) == expected


def test_a_mapping_is_run_from_python(folder: Folder) -> None:
    folder.cell()
    folder.lock["manifest_path"] = "manifest"
    folder.save()
    again, report = commands(folder.load())
    assert again.startswith("python -c 'import refers_bench; refers_bench.run(manifest)'")
    assert report == "refers-bench report tiny"
