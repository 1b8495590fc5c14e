"""Finds methods, datasets and reports, and defines what each of them provides.

A plug-in is one file, found by its name: ``methods/refers.py`` holds ``METHOD`` and is the method ``refers``. Third
parties add theirs through the entry-point groups ``refers_bench.methods``, ``.datasets`` and ``.reports`` (entry-point
name = id, value = module), and places where jobs run through ``refers_bench.engines`` (value = factory). A file in no
package is found where a manifest's ``plugins``, ``--plugins``, the config file or the environment variable
``REFERS_BENCH_PLUGINS`` names it or its folder. Listing names imports nothing; loading one imports that one module.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from refers_bench import plugin_files
from refers_bench.errors import UserError, unknown
from refers_bench.plugin_files import ENGINE_GROUP as ENGINE_GROUP
from refers_bench.plugin_files import ENGINES as ENGINES
from refers_bench.plugin_files import engines as engines

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

#: Kind of plug-in -> (folder and entry-point group suffix, name of the value in the module).
KINDS: Mapping[str, tuple[str, str]] = {
    "method": ("methods", "METHOD"),
    "dataset": ("datasets", "DATASET"),
    "report": ("reports", "REPORT"),
}

#: Side of the images, in pixels, at which parameters of methods state lengths; they scale with the protocol's side.
LENGTHS_AT = 224

#: A section of a resolved protocol ("network", "image", "pretrain"): name -> value.
Section = Mapping[str, Any]


def radiograph_transformer(params: Any, network: Section, image: Section) -> Any:
    """The transformer that a protocol's `network` section describes: the encoder of a method that states no other."""
    return resolve("refers_bench.nets.radiograph_transformer:build")(network, image)


@dataclass(frozen=True, kw_only=True)
class Method:
    """A pre-training method: an encoder, and the objective that trains it.

    Planning loads every method that a manifest names and builds none: a method file imports torch, and what needs it,
    inside its builders alone.

    Attributes:
        label: row title in tables.
        source: paper or repository the definition was taken from.
        impl: integer, raised whenever the numerics change (part of every content key).
        Params: pydantic model (extra=forbid) of the method's parameters. A default is the value of the method's source,
            unless the field's ``json_schema_extra`` says ``{"official": that value}``, or ``{"unstated": True}`` where
            no source states one; ``{"deviation": text}`` says how what we do with it differs, whatever the value.
        constants: training constants that belong to the method's definition (the views that it contrasts): dotted name
            -> (value, source). They replace the preset's; the manifest's overrides replace them.
        source_values: what the method's own source says of training constants: dotted name of the constant -> (value,
            where it stands). Nothing is trained with them: the deviation ledger compares the resolved value with this
            one instead of REFERS' paper. A constant that is not named here has no value in the method's source.
            Empty for a method whose source is REFERS' paper.
        build_encoder: ``(params, network, image) -> nn.Module``; by default the radiograph transformer of the protocol.
        build_objective: ``(params, facts, network, image, pretrain, encoder) -> nn.Module`` that holds the encoder as
            its attribute ``encoder`` and whose forward takes a `StudyBatch` and returns named losses; None for a
            method without pre-training. What it does to a batch before its networks see it (distortions), it may do in
            ``prepared(batch, generator) -> batch``, which is called ahead, on the thread that draws batches. What is
            no loss and worth knowing of a validation batch (an accuracy) it returns from ``measures(batch) -> named
            figures``.
        needs: what the source dataset must have: any of "reports", "labels".
        weights: ``params -> name`` of the data root with the weights that fine-tuning starts from, for a method that
            brings its encoder instead of pre-training it; '' for none.
        weights_hint: ``params -> sentence`` that says how to provide those weights, for whoever lacks them.
        coverage: ``params -> share`` of the encoder's tensors that those weights must fill, in (0, 1].
        architecture: ``params -> name``; "transformer", or a timm name such as "resnet50", whose initial weights have
            a data root of their own, or "none" for an encoder without weights.
        parts: how a batch of the pre-training may be processed in parts, where memory is short, without another loss:
            "examples": the losses are means over independent examples (or over items of theirs that the objective's
            ``counts`` counts), so that gradients add up; "features": they mix the examples of a batch, and the
            objective computes its features in `parts` (an attribute that it has) parts, a second time for gradients
            (`refers_bench.nets.parts`); "" for neither: such a batch must fit. Fine-tuning needs no such word.
        passes: ``params -> (with, without)`` gradient: encoder passes for each radiograph of a batch; they decide
            what a compute budget buys.
        upsampled: ``params -> side`` at `LENGTHS_AT` to which a ResNet's images are enlarged; 0 for none. It counts.
        discovery: ``params -> settings``, those of the parameters that the discovery of visual words (a job of its own)
            depends on, under the names of `Params`: `refers_bench.jobs.discover` reads them; None for none.
        views: ``params -> number`` of radiographs of a study that make an example; 1 for single radiographs.
        crops: ``params -> number`` of versions of a radiograph, each augmented, that make an example; 0 for views.
        report_pairing: ``params -> "study" or "shuffled"``: its own report, or another study's (a control).
        report_tasks: ``params -> names`` of the report tasks that train, of a method that needs reports:
            "report_generation", "study_report_consistency" and "word_regions" (every report's words meet every
            radiograph's regions). A forecast counts their networks and products.
        report_text: ``params -> name`` of what of a report is read, of `refers_bench.data.sentences.Reading`.
        decoder: ``params -> kind`` of the decoder that restores pixels from patches, "convolutional" or "linear"; ''
            for none. A forecast counts it.
        magnification: ``params -> times``: the pre-training's radiographs have as many times the protocol's image size
            along each side, for an objective that restores more pixels than its encoder sees; the source is prepared
            as many times as large.
        seen: ``params -> share`` of a radiograph's patches that the encoder sees in pre-training. A forecast counts it.
        transformers: ``(params, network, image, pretrain) -> sizes`` of each transformer of the objective besides the
            encoder and the networks of `report_tasks`: tokens, width, depth, mlp_width, inputs (words that it embeds,
            or numbers of a token) and outputs (numbers that it gives for a token). A forecast counts them.
        footnotes: ``params -> texts`` shown under a table that holds this row.
        floor: whether the row is a floor: what can be reached without looking at anatomy, and no competitor.
        index_features: ``(index, params) -> array (N, D)`` of features of the images of an index (see `Dataset.index`),
            from its view, file size and metadata alone, never from labels, texts, patients or splits; None for a
            method whose features are its encoder's. It has no encoder and cannot be fine-tuned.
        sheet: ``params -> constants`` of the encoder (image size, mean, SD, interpolation) or the recipe that these
            parameters name, for any preset; as `constants`. The manifest's overrides replace them.
        recipe: training constants of the method's source: dotted name -> (value, source). They replace those of the
            full-size presets, which are REFERS' own; small presets keep theirs.
        unavailable: ``params -> reason`` why this version cannot run them; '' when it can.
        small: parameters with which the contract tests build it, where the defaults are large.
    """

    label: str
    source: str
    impl: int
    Params: type[BaseModel]
    build_encoder: Callable[..., Any] = radiograph_transformer
    build_objective: Callable[..., Any] | None = None
    constants: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    source_values: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    weights: Callable[[Any], str] = lambda params: ""
    weights_hint: Callable[[Any], str] = lambda params: ""
    coverage: Callable[[Any], float] = lambda params: 1.0
    architecture: Callable[[Any], str] = lambda params: "transformer"
    parts: Literal["", "examples", "features"] = ""
    passes: Callable[[Any], tuple[float, float]] = lambda params: (1.0, 0.0)
    upsampled: Callable[[Any], int] = lambda params: 0
    discovery: Callable[[Any], Mapping[str, Any]] | None = None
    views: Callable[[Any], int] = lambda params: 1
    crops: Callable[[Any], int] = lambda params: 0
    report_pairing: Callable[[Any], str] = lambda params: "study"
    report_tasks: Callable[[Any], tuple[str, ...]] = lambda params: ("report_generation", "study_report_consistency")
    report_text: Callable[[Any], str] = lambda params: "report"
    decoder: Callable[[Any], str] = lambda params: ""
    magnification: Callable[[Any], int] = lambda params: 1
    seen: Callable[[Any], float] = lambda params: 1.0
    transformers: Callable[..., tuple[Mapping[str, int], ...]] = lambda params, network, image, pretrain: ()
    footnotes: Callable[[Any], tuple[str, ...]] = lambda params: ()
    floor: bool = False
    index_features: Callable[[pd.DataFrame, Any], Any] | None = None
    sheet: Callable[[Any], Mapping[str, tuple[Any, str]]] = lambda params: {}
    recipe: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    unavailable: Callable[[Any], str] = lambda params: ""
    small: Mapping[str, Any] = field(default_factory=dict)

    def pretrains(self, params: Any) -> bool:
        """Whether there is anything to pre-train under these parameters."""
        return self.build_objective is not None and not self.weights(params)

    def enlargement(self, params: Any) -> float:
        """Times as many pixels as the protocol's images have that the encoder works on."""
        return max(1.0, self.upsampled(params) / LENGTHS_AT) ** 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task of a dataset: independent binary labels, one column per class.

    Attributes:
        label: column title in tables.
        classes: names in the released order, or () for those of each index; its columns are ``"<task id>:<class>"``.
        published: target name in the published tables ("nih", "covid-t1"), or '' where there is none.
        group_by_patient: whether label subsets keep a patient's images together.
        any_of: task of the same dataset from whose labels this task's one class follows (its column is in no index):
            `refers_bench.data.index.with_task`; '' for a task with labels of its own.
    """

    label: str
    classes: tuple[str, ...]
    published: str = ""
    group_by_patient: bool = True
    any_of: str = ""


@dataclass(frozen=True, kw_only=True)
class RealReports:
    """Real reports of a dataset, for which procedural radiographs of what they state can be written in its layout.

    Attributes:
        root: data root that holds them, a file or a folder.
        impl: integer, raised whenever the radiographs change.
        read: ``(path, params) -> facts``: "digest" of the reports, and "studies" and "images" that are written for
            `refers_bench.data.phantoms.radiographs.PhantomParams`.
        write_layout: ``(root, params, path) -> None`` writes them in the dataset's official layout.
    """

    root: str
    impl: int
    read: Callable[..., Mapping[str, Any]]
    write_layout: Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset card and the reader of its official on-disk layout.

    Attributes:
        label: title in tables.
        source: where it is downloaded from.
        licence: its licence, in words.
        impl: integer, raised whenever index rows or labels change.
        Params: pydantic model (extra=forbid) of the reader's parameters.
        tasks: task id -> `Task`.
        index: ``(root, params, lists) -> DataFrame`` (`lists`: name -> folder of the further roots), one row per
            image, with the columns of `INDEX_COLUMNS` and one nullable Int8 column ``"<task>:<class>"`` per label
            (1, 0, null), as `refers_bench.data.index.finished_index` checks and returns it (with file sizes). What
            else is known of an image (age, sex, web site, width) stands in columns ``"about:<name>"``, numbers or
            text, null where unknown: never a label, nor what follows from one. `SUBSETS` is of lists that have some.
        lists: ``params -> name`` of the data root that holds the split lists, a `manifest.packs.Pack`, or '' for none;
            or a tuple of several, such as lists and a table of patients.
        dicom: ``params -> reading`` of DICOM files, "standard" or "official_code" (`refers_bench.data.dicom`).
        formats: ``params -> names`` of its images' formats, of ("PNG", "JPEG", "DICOM"), no other is read; () for any.
        boxes: ``(root, params) -> DataFrame`` of annotated boxes, with the columns of `BOX_COLUMNS`; None for none.
        source_task: task whose labels train LSP when this dataset is the source, or ``params -> task``; '' for none.
        has_reports: whether index rows carry report text, or ``params -> whether``.
        expected: documented counts, or ``params -> counts``; ``data verify`` compares those it can count: "images",
            "studies" and "patients", alone, of a split ("val images"), of lists ("listed val images"), or "with text".
            Estimates of data that is not on disk count their images by them (`documented_images`).
        citation: how to cite it.
        quirks: known oddities, one sentence each.
        synthetic: procedural images: always labelled so in reports.
        write_layout: ``(root, studies) -> None`` writes procedural studies in this dataset's official
            layout (see `refers_bench.data.phantoms.radiographs`); None where that is not supported.
        real_reports: the same of its real reports, where radiographs can be drawn for them; else None.
        Declared: of a reader of one's own images, the model of what a manifest declares of them under a name of theirs
            (``data: {NAME: {READER: ...}}``): `Params`, and fields with paths, which no identity holds; else None.
        places: each of those fields -> the name by which `index` finds its path in `lists`; '' for the root.
        notes: ``params -> sentences`` that tables say of whatever was read under them.
    """

    label: str
    source: str
    licence: str
    impl: int
    Params: type[BaseModel]
    tasks: Mapping[str, Task]
    index: Callable[..., pd.DataFrame]
    lists: Callable[[Any], Any] = lambda params: ""
    dicom: Callable[[Any], Any] = lambda params: "standard"
    formats: Callable[[Any], tuple[str, ...]] = lambda params: ()
    boxes: Callable[..., pd.DataFrame] | None = None
    source_task: str | Callable[[Any], str] = ""
    has_reports: bool | Callable[[Any], bool] = False
    expected: Mapping[str, int] | Callable[[Any], Mapping[str, int]] = field(default_factory=dict)
    citation: str = ""
    quirks: tuple[str, ...] = ()
    synthetic: bool = False
    write_layout: Callable[..., None] | None = None
    real_reports: RealReports | None = None
    Declared: type[BaseModel] | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    notes: Callable[[Any], tuple[str, ...]] = lambda params: ()

    def has_reports_of(self, params: Any) -> bool:
        """Whether index rows carry report text under these reader parameters."""
        return self.has_reports(params) if callable(self.has_reports) else self.has_reports

    def source_task_of(self, params: Any) -> str:
        """The task whose labels train LSP under these reader parameters; '' for none."""
        return self.source_task if isinstance(self.source_task, str) else self.source_task(params)

    def expected_of(self, params: Any) -> Mapping[str, int]:
        """The documented counts under these reader parameters."""
        return self.expected(params) if callable(self.expected) else self.expected

    def documented_images(self, params: Any) -> int:
        """Images by the documented counts, for estimates before they are on disk; 0 where none is documented.

        Where these parameters have no count, that of the defaults stands for it; without a total, the sum over splits.
        """
        counts = self.expected_of(params) or self.expected_of(self.Params())
        return counts.get("images", sum(count for name, count in counts.items() if name.endswith(" images")))


#: Columns of every index besides labels, all text: image_id (unique), path (from the root, '/' separated), patient_id,
#: study_id, view ("PA", "L", ... or ''), split ("train", "val", "test" or ''), report (null or the text of the study).
INDEX_COLUMNS = ("image_id", "path", "patient_id", "study_id", "view", "split", "report")
SUBSETS = "subsets"  #: a further one of some: names of the label subsets that hold an image, separated by blanks
#: Begins the names of index columns of metadata; no task has this name.
ABOUT = "about:"

#: Columns of annotated boxes: image_id, class (of a task), reader ('' for unknown), and left, top, width and height as
#: shares of the image's width and height, in [0, 1]: prepared images are resized to squares.
BOX_COLUMNS = ("image_id", "class", "reader", "left", "top", "width", "height")

#: Parts of a report's page, in order, and the titles under which its menu names them.
REPORT_PARTS: Mapping[str, str] = {
    "results": "Results",
    "classes": "By class",
    "significance": "Significance",
    "figures": "Figures",
    "published": "Against published",
    "data": "Data and integrity",
    "deviations": "Deviations",
    "runs": "Runs",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table or figure of the paper, as a declaration.

    Attributes:
        label: its title.
        build: ``(results) -> Table | Figure`` from the tidy frames of `refers_bench.analysis`.
        order: position within its part of the page.
        part: the part of the page it stands in, one of `REPORT_PARTS`.
    """

    label: str
    build: Callable[..., Any]
    order: int = 100
    part: str = "results"


#: Kind of plug-in -> what its value is.
CLASSES: Mapping[str, type] = {"method": Method, "dataset": Dataset, "report": Report}


@cache
def names(kind: str) -> dict[str, str]:
    """Ids of all plug-ins of a kind -> the module that holds each; nothing is imported.

    Where several have one name, the first stands for it, and cannot be loaded.

    Args:
        kind: "method", "dataset" or "report".
    """
    folder, _ = KINDS[kind]
    here = Path(__file__).parent / folder
    found = {path.stem: [f"refers_bench.{folder}.{path.stem}"] for path in here.glob("*.py") if path.stem[0] != "_"}
    for entry in importlib.metadata.entry_points(group=f"refers_bench.{folder}"):
        found.setdefault(entry.name, []).append(entry.module)
    values = {one: value for one, (_, value) in KINDS.items()}
    for path in plugin_files.files():
        if plugin_files.kind_of(path, values=values) == kind:
            found.setdefault(path.stem, []).append(str(path))
    return plugin_files.firsts(kind, found)


def use(places: Iterable[Path]) -> None:
    """Look for plug-ins in further files and folders, from now on, in this process and in those that it starts."""
    if plugin_files.add(places):
        names.cache_clear()


def load(kind: str, name: str) -> Any:
    """The plug-in value of that name.

    Raises:
        UserError: no such plug-in (with the nearest name), its file cannot be loaded, or it holds no such value.
    """
    known = names(kind)
    if name not in known:
        raise UserError(unknown(kind, name, known))
    if clash := plugin_files.twice(kind, name):
        raise UserError(clash)
    (_, value), path = KINDS[kind], known[name]
    file = Path(path) if path.endswith(".py") else None
    module = plugin_files.module(file) if file else plugin_files.imported(path)
    if not hasattr(module, value):
        raise UserError(f"{path} holds no {value}; a {kind} file must define it")
    found = getattr(module, value)
    if file and not isinstance(found, CLASSES[kind]):
        raise UserError(f"{value} is a {type(found).__name__}", allowed=f"{CLASSES[kind].__name__}(...)", path=file)
    if wrong := plugin_files.misfits(found, value, path):
        raise UserError(wrong)
    return found


def loaded(kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Name -> value of all plug-ins of a kind that can be loaded, and name -> reason of those that cannot."""
    found, broken = {}, {}
    for name in names(kind):
        try:
            found[name] = load(kind, name)
        except UserError as error:
            broken[name] = str(error)
    return found, broken


def resolve(dotted: str) -> Any:
    """The object at "package.module:name": how light rooms reach recipes that import torch.

    Example:
        >>> resolve("math:sqrt")(9)
        3.0
    """
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)
