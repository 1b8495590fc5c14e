"""Procedural radiographs: what is brighter than white is white."""

from __future__ import annotations

from refers_bench.data.phantoms.radiographs import PhantomParams, study


def test_findings_saturate() -> None:
    """A finding of high contrast adds brightness everywhere; grey values above white do not start again at black."""
    chosen = frozenset({"Consolidation", "Effusion"})
    faint, strong = (
        study(PhantomParams(contrast=contrast, noise=0, views=1), 0, findings=chosen).views[0].pixels_HW
        for contrast in (0.1, 3.0)
    )
    assert (strong == 255).any() and not (faint == 255).all()
    assert (strong >= faint).all()
