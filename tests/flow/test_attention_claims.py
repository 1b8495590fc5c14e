"""A trained network looks at the finding: on procedural radiographs by a stated margin; on real ones it is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Commands
from refers_bench.analysis.explanations import Localisation, explanations, localisations
from refers_bench.analysis.results import load

ROOT = Path(__file__).resolve().parents[2]
#: Mean IoU, over images and findings, by which a trained network's map beats a centred box of the findings' mean size;
#: the lower end of the 95 % interval has to.
MARGIN = 0.10


def measured(name: str) -> dict[tuple[str, str, str], Localisation]:
    """(row, map, class) -> overlap; the class of all together is ''."""
    rows = localisations(explanations(load(Path("results"), name)))
    return {(row.method, row.kind, row.name): row for row in rows}


@pytest.mark.slow
def test_a_trained_network_beats_a_centred_box_on_procedural_radiographs(cli: Commands) -> None:
    manifest = str(ROOT / "manifests" / "explain_phantom.yaml")
    cells = [f"{row}.nih_chestxray14.findings.100%.s0" for row in ("scratch", "untrained")]
    only = [argument for cell in cells for argument in ("--only", cell)]
    cli("run", manifest, "--no-report", *only)
    cli("explain", manifest, *[argument for cell in cells for argument in ("--cell", cell)])
    found = measured("explain_phantom")
    for kind in ("rollout", "class"):
        trained, untrained = found["scratch", kind, ""], found["untrained", kind, ""]
        assert trained.images > 200 and trained.boxes > 400
        assert trained.difference.low > MARGIN, (kind, trained)
        assert untrained.difference.low < MARGIN, (kind, untrained, "an untrained network's map knows nothing")
        assert trained.iou > untrained.iou + 0.05
    # Asked about one class, the map is nearer to that class's box than the map that is the same for all classes.
    assert found["scratch", "class", ""].iou > found["scratch", "rollout", ""].iou


@pytest.mark.slow
def test_real_radiographs_with_boxes(
    home: Path, cli: Commands, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, place in {"NIH_CHESTXRAY14": "nih-chestxray14-sample", "NIH_LISTS": "official-splits/nih"}.items():
        monkeypatch.setenv(f"REFERS_BENCH_ROOT_{name}", str(real_data / place))
    (home / "real.yaml").write_text(
        "version: 1\nprotocol: {preset: smoke}\nsource: {dataset: phantom}\n"
        "data: {phantom: {phantom: {studies: 40, size: 48}}}\nmethods: [scratch]\nseeds: [0]\n"
        "targets:\n  - {dataset: nih_chestxray14, params: {split: released, lists: nih_lists}, tasks: [findings]}\n"
    )
    cli("run", "real.yaml", "--no-report")
    cli("explain", "real.yaml", "--cell", "*")
    (one,) = explanations(load(Path("results"), "real"))
    assert one.facts["annotated_images"] == {"test": 10, "train": 29, "val": 5}, "44 images have boxes"
    found = measured("real")
    assert (found["scratch", "class", ""].images, found["scratch", "class", ""].boxes) == (10, 11)
    assert found["scratch", "class", "Pneumonia"].boxes == 10 and found["scratch", "class", "Infiltration"].boxes == 1
    assert all(0 <= row.iou <= 1 for row in found.values())
    page = (home / "results" / "real" / "report" / "index.html").read_text()
    assert "29 train" in page and "figure-attention-" in page and "Synthetic data. Where" not in page
    lock = json.loads((home / "results" / "real" / "explain.lock.json").read_text())
    assert len(lock["explained"]) == 1
