"""Gives the results of one manifest as data frames and figures, with the numbers of a report's CSV files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refers_bench import plugins
from refers_bench.analysis.cells import TARGET
from refers_bench.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from refers_bench.analysis.image_statistics import ImageStatistics
    from refers_bench.analysis.results import Results
    from refers_bench.render.figure import Figure
    from refers_bench.reporting.comparisons import Comparison

#: Columns of predictions whose values repeat from row to row: categories take a tenth of the memory of strings.
_REPEATED = ("manifest", "method", "dataset", "task", "evaluation", "split", "image_id", "patient_id", "class", "key")


@dataclass(frozen=True, kw_only=True)
class StoredResults:
    """The results of one manifest, as data frames; read once, when the first of them is asked for.

    Attributes:
        name: of the manifest.
        folder: of plans, results and reports.
    """

    name: str
    folder: Path

    @cached_property
    def loaded(self) -> Results:
        """The plan and what the store holds of it, as all reports are built from."""
        from refers_bench.analysis.results import load

        return load(self.folder, self.name)

    def cells(self) -> pd.DataFrame:
        """Mean test AUC of every cell: the rows of ``tidy-cells.csv``.

        Returns:
            One row per method x target x seed: ``manifest``, ``method``, ``dataset``, ``task``, ``label_ratio``,
            ``evaluation``, ``folds``, ``seed`` (with crossed seeds also ``subset_seed``, ``init_seed``,
            ``order_seed``), ``synthetic`` (and ``limit`` where there was one), ``state``, ``reason`` (why there is no
            AUC), ``mean_auc`` (NaN where there is none), ``n_classes_defined``, ``n_classes``, ``key``.
        """
        import pandas as pd

        return pd.DataFrame(self.loaded.cell_rows()).astype({"mean_auc": "float64"})

    def classes(self) -> pd.DataFrame:
        """AUC of every class of every finished cell: the rows of ``tidy-classes.csv``.

        Returns:
            One row per method x target x seed x split x class: the columns of `cells` up to ``synthetic``, then
            ``split`` ("test" or "val"), ``class``, ``auc`` (NaN where undefined), ``n_pos``, ``n_neg``, ``undefined``
            (why there is no AUC), ``key``.
        """
        return self.loaded.metrics_frame()

    def predictions(
        self, *, method: str | None = None, dataset: str | None = None, split: str | None = "test"
    ) -> pd.DataFrame:
        """The stored predictions, from which every AUC can be computed again.

        Args:
            method: of this row only.
            dataset: of this target dataset only.
            split: "test", "val", or None for both.

        Returns:
            One row per finished cell x image x class: ``manifest``, ``method``, ``dataset``, ``task``,
            ``label_ratio``, ``evaluation``, ``folds``, ``seed``, ``split``, ``image_id``, ``patient_id`` ('' where
            unknown), ``class``, ``label`` (1, 0, or NA for unknown), ``logit`` (float32), ``key``. Seeds that share one
            result, where nothing is drawn, are one.

        Raises:
            UserError: no such row or target dataset.
        """
        import pandas as pd

        found = self.loaded
        self._known("row", method, found.methods)
        self._known("target dataset", dataset, dict.fromkeys(target.dataset for target in found.targets))
        about: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in found.cell_rows():
            if row["key"] in found.predicted and method in (None, row["method"]) and dataset in (None, row["dataset"]):
                about.setdefault((row["method"], *(row[name] for name in TARGET), row["key"]), row)
        if not about:
            where = self.folder / self.name
            raise UserError("no finished cell has predictions", allowed="results of a run", path=where)
        frames = [_predictions(found, row, split) for row in about.values()]
        whole = pd.concat(frames, ignore_index=True)
        return whole.astype(dict.fromkeys(_REPEATED, "category") | {"label": "Int8"})

    def compare(self, first: str, second: str) -> pd.DataFrame:
        """Two rows, target by target, with the paper's test over seeds and an interval over test images.

        Args:
            first: row name.
            second: row name; differences are first minus second.

        Returns:
            One row per target: ``dataset``, ``task``, ``label_ratio``, ``evaluation``, ``folds``; ``first``, ``second``
            (mean AUC over seeds) and ``n_first``, ``n_second`` (finished seeds); ``difference`` (NaN unless all seeds
            of both are finished, on the same images and classes); ``low``, ``high`` (95 % interval over seeds),
            ``test``, ``t``, ``df``, ``p``, ``p_holm`` (adjusted over these targets), ``no_p`` (why there is no
            P-value); ``image_low``, ``image_high`` (95 % interval over test images), ``unit`` ("patient" or "image")
            and ``n_units``.

        Raises:
            UserError: no such row, or twice the same.
        """
        import pandas as pd

        from refers_bench.analysis.image_statistics import image_statistics
        from refers_bench.reporting import comparisons

        found = self.loaded
        for name in (first, second):
            self._known("row", name, found.methods)
        if first == second:
            raise UserError(f"'{first}' is compared with itself", allowed="two rows")
        tests = comparisons.against_best(found, reference=first, baselines=[second])
        holm = comparisons.holm_of(test.outcome for test in tests)
        images = [image_statistics(found, target, reference=first) for target in found.targets]
        known = zip(tests, holm, images, strict=True)
        return pd.DataFrame([_compared(found, test, second, p_holm, over) for test, p_holm, over in known])

    def figure(self, name: str) -> DrawnFigure:
        """A figure of the report; a notebook shows it.

        Args:
            name: "forest", "auc", "roc", ...; or the id of one figure, where there are several of a kind.

        Raises:
            UserError: no such figure, nothing to draw, or several figures of that name.
        """
        from refers_bench.render.figure import Figure
        from refers_bench.reporting import page

        kinds = [report.removeprefix("figure_") for report in plugins.names("report") if report.startswith("figure_")]
        asked = name.replace("-", "_").removeprefix("figure_")
        kind = max((one for one in kinds if asked == one or asked.startswith(f"{one}_")), key=len, default="")
        if not kind:
            raise UserError(unknown("figure", name, kinds))
        made = [one for one in page.items(self.loaded, [f"figure_{kind}"]) if isinstance(one, Figure)]
        if not made:
            raise UserError(f"these results have nothing to draw for the figure '{kind}'")
        chosen = [one for one in made if asked == kind or one.id.replace("-", "_") == f"figure_{asked}"]
        if len(chosen) != 1:
            known = [one.id for one in made]
            raise UserError(f"{len(made)} figures of the kind '{kind}'", allowed=f"one of {', '.join(known)}")
        return DrawnFigure(figure=chosen[0])

    def report(self, formats: Sequence[str] = ("html",), *, out: str | Path | None = None) -> list[Path]:
        """Write the report as ``refers-bench report`` does, and say which files were written.

        Args:
            formats: any of "html", "latex", "markdown", "csv", "json".
            out: folder; ``<results>/<name>/report`` by default.
        """
        from refers_bench.reporting import page

        return page.write(self.folder, [self.name], tuple(formats), None if out is None else Path(out))

    @staticmethod
    def _known(what: str, name: str | None, known: Mapping[str, Any]) -> None:
        """Refuse a name that is not one of those known; None is none."""
        if name is not None and name not in known:
            raise UserError(unknown(what, name, known))


@dataclass(frozen=True, kw_only=True, repr=False)
class DrawnFigure:
    """A figure that a notebook shows, and that can be saved.

    Attributes:
        figure: what is drawn, with all its numbers.
    """

    figure: Figure

    def __repr__(self) -> str:
        return f"{self.figure.id}: {self.caption}"

    @property
    def caption(self) -> str:
        """What it shows."""
        return self.figure.caption

    def svg(self) -> str:
        """The figure as SVG; the same results give the same bytes."""
        return self._drawn("svg").decode("utf-8")

    _repr_svg_ = svg

    def save(self, path: str | Path) -> Path:
        """Write the figure as SVG or PDF, as the file's ending says.

        Raises:
            UserError: another ending.
        """
        from refers_bench.files import publish_bytes

        path = Path(path)
        if path.suffix not in (".svg", ".pdf"):
            raise UserError(f"a figure cannot be written as '{path.suffix}'", allowed=".svg or .pdf", path=path)
        publish_bytes(path, self._drawn(path.suffix[1:]))
        return path

    def _drawn(self, form: str) -> bytes:
        from refers_bench.render.figure import draw

        return draw(self.figure, format=form)


def _predictions(found: Results, row: Mapping[str, Any], split: str | None) -> pd.DataFrame:
    """The stored predictions of one finished cell, a row of `StoredResults.cells`."""
    from refers_bench.analysis.predictions import FILE
    from refers_bench.store import schemas

    frame = schemas.read(found.store / row["key"] / FILE, "predictions")
    if split is not None:
        frame = frame[frame["split"] == split]
    where = ("manifest", "method", "dataset", "task", "label_ratio", "evaluation", "folds", "seed")
    columns = ("split", "image_id", "patient_id", "class", "label", "logit")
    whole = frame.assign(**{name: row[name] for name in (*where, "key")})
    return whole[[*where, *columns, "key"]]


def _compared(
    found: Results, test: Comparison, second: str, p_holm: float | None, over: ImageStatistics | None
) -> dict[str, Any]:
    """One row of `StoredResults.compare`."""
    from refers_bench.analysis.statistics.significance import Refusal

    nan, target = float("nan"), test.target
    assert target is not None
    cells = [found.cells.get((name, target)) for name in (test.reference, second)]
    means = [nan if cell is None else cell.mean for cell in cells]
    classes = {cell.defined for cell in cells if cell is not None}
    tested = None if isinstance(test.outcome, Refusal) else test.outcome
    images = over.differences.get(second) if over is not None else None
    comparable = all(cell is not None and cell.complete for cell in cells) and len(classes) == 1 and test.same_images
    return {
        **vars(target),
        "first": means[0],
        "second": means[1],
        "n_first": cells[0].n if cells[0] else 0,
        "n_second": cells[1].n if cells[1] else 0,
        "difference": means[0] - means[1] if comparable else nan,
        **{name: nan if tested is None else getattr(tested, name) for name in ("low", "high")},
        "test": "" if tested is None else tested.test,
        **{name: nan if tested is None else getattr(tested, name) for name in ("t", "df", "p")},
        "p_holm": nan if p_holm is None else p_holm,
        "no_p": test.outcome.reason if isinstance(test.outcome, Refusal) else "",
        "image_low": nan if images is None else images.low,
        "image_high": nan if images is None else images.high,
        "unit": "" if over is None else over.unit,
        "n_units": 0 if over is None else over.n_units,
    }
