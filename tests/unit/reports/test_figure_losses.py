"""Loss curves: pre-training by part, fine-tuning by method and target, thinned by means, at most twelve panels."""

from __future__ import annotations

from typing import Any

from refers_bench.reports import figure_losses


def test_panels_of_pre_training_and_of_fine_tuning(folder: Any) -> None:
    folder.job("pre", "pretrain", name="refers pre-training")
    folder.done("pre")
    folder.history(
        "pre", {"loss/b": [3.0, 2.0], "loss/total": [5.0, 4.0], "val/loss": [6.0], "lr": [0.1], "val/auc": [0.5]}
    )
    folder.job("open", "pretrain")
    folder.cell("refers", seed=0, state="failed")
    # The first finished seed stands for a row; of two targets each has its panel.
    for method, label, curves in (("refers", "REFERS", [[9.0, 8.0], [1.0, 1.0]]), ("c2l", "C2L", [[7.0, 6.0, 5.0]])):
        for seed, values in enumerate(curves, start=1):
            folder.history(folder.cell(method, seed=seed, label=label), {"loss/total": values, "loss/x": [0.0]})
    folder.history(folder.cell("c2l", ratio=0.1, label="C2L"), {"val/loss": [1.0]})
    before, tuning = figure_losses.build(folder.load())
    assert (before.id, tuning.id) == ("figure-losses-pretraining", "figure-losses")
    assert before.caption == "Losses of pre-training by step: in all, on held-out radiographs, and by part."
    assert tuning.caption == "Losses of fine-tuning by step and method (first finished seed)."
    (first,), (second,) = before.panels, tuning.panels
    assert first.title == "refers pre-training" and (first.x_label, first.y_label) == ("step", "loss")
    # Parts of a loss are no methods: they have none of their colours.
    assert [(s.label, s.x, s.y, s.colour, s.grey) for s in first.series] == [
        ("loss/total", (0, 1), (5, 4), 0, True),
        ("val/loss", (0,), (6,), 1, True),
        ("loss/b", (0, 1), (3, 2), 2, True),
    ]
    assert second.title == "covid19_idc: viral_vs_bacterial, 100 % of labels"
    assert [(s.label, s.y, s.colour, s.grey) for s in second.series] == [
        ("REFERS", (9, 8), 0, False),
        ("C2L", (7, 6, 5), 1, False),
    ]


def test_a_part_of_a_loss_looks_the_same_in_every_panel(folder: Any) -> None:
    for key, parts in (("p", ("total", "a")), ("q", ("b", "total", "a"))):
        folder.job(key, "pretrain", name=f"pretrain.{key}.mimic")
        folder.done(key)
        folder.history(key, {f"loss/{part}": [1.0] for part in parts})
    (figure,) = figure_losses.build(folder.load())
    assert [panel.title for panel in figure.panels] == ["p, mimic", "q, mimic"]
    looks = [{series.label: series.colour for series in panel.series} for panel in figure.panels]
    assert looks[0].items() <= looks[1].items() and len(set(looks[1].values())) == 3


def test_at_most_twelve_panels_and_two_hundred_points(folder: Any) -> None:
    for place in range(13):
        folder.job(f"p{place}", "pretrain")
        folder.done(f"p{place}")
        folder.history(f"p{place}", {"loss/total": [float(step % 2) for step in range(201 if place else 200)]})
    (figure,) = figure_losses.build(folder.load())
    assert len(figure.panels) == 12 and figure.note == "1 more panels are left out."
    whole, thinned = figure.panels[0].series[0], figure.panels[1].series[0]
    assert len(whole.x) == 200 and whole.y[:2] == (0, 1)
    # Means of two, and the last point alone.
    assert thinned.x == tuple(range(0, 201, 2)) and thinned.y == (*(0.5,) * 100, 0.0)
