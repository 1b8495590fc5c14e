"""Decides whether a figure that others published compares with a column of ours, and says all reasons why not.

Two figures compare where they are the same metric of the same target, on the same lists of images, after the same share
of labels and the same kind of training, and neither was chosen on test images. What a source adds to a plain head (a
rate of its own for the encoder, a norm, initial weights) makes another training; where it states no head, it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from refers_bench import plugins
from refers_bench.analysis.cells import Target
from refers_bench.analysis.paper.registry import FINE_TUNE, LINEAR_PROBE, METRICS, PLAIN, Entry, entries
from refers_bench.analysis.results import Results
from refers_bench.evaluations import TEST, TITLES, UNKNOWN
from refers_bench.manifest.packs import known
from refers_bench.store.plan import reader_of

#: CheXpert's five classes, by what becomes of uncertain mentions.
COMPETITION = ("u_zeros", "u_ones", "u_ignore", "mrm", "libauc")
#: Target of the registry -> the datasets and tasks of ours that it is, or is a neighbour of.
TARGETS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "nih": (("nih_chestxray14", "findings"),),
    "vindr": (("vinbigdata_cxr", "findings"), ("vindr_cxr", "local14")),
    "rsna": (("rsna_pneumonia", "pneumonia"),),
    "siim": (("siim_acr", "pneumothorax"),),
    "chexpert": tuple(("chexpert", f"competition_{policy}") for policy in COMPETITION),
    "covidx": (("covidx", "covid19"), ("covidx", "three_classes")),
    "covidx-cxr3": (("covidx", "covid19"), ("covidx", "three_classes")),
    "covidx-cxr4": (("covidx", "covid19"),),
    "padchest": (("padchest", "findings14_exact"), ("padchest", "findings14_txv")),
    "kermany-pneumonia": (("kermany_pneumonia", "pneumonia"),),
    "shenzhen+montgomery": (("shenzhen_tb", "tuberculosis"), ("montgomery_tb", "tuberculosis")),
}
#: Neighbours among them -> what sets them apart from ours, which is filled in.
NEIGHBOURS = {
    "shenzhen+montgomery": "other target: images of Shenzhen and Montgomery in splits of its own, ours is {dataset}",
    "covidx": "other target: a COVIDx of unstated version, ours is {version}",
}
#: Target of the registry -> the version of ours that it is.
VERSIONS = {"covidx-cxr3": "cxr3", "covidx-cxr4": "cxr4"}
#: Lists of the registry -> the tasks whose labels they have: CheXpert's policies differ.
POLICIES = {"chexpert-mrm-ids": "competition_mrm"}
#: Dataset and `split` of its reader -> the lists of the registry that it means. MRM and BenchX have the lists of the
#: REFERS release, with the labels of 2017, of which NIH's newer table differs in at most 25 images a class. Of NIH's
#: own lists the test images are the same, the validation part of ours is drawn anew.
SPLITS: Mapping[tuple[str, str], str] = {
    ("nih_chestxray14", "released"): "nih-mrm",
    ("nih_chestxray14", "official"): "nih-official",
    ("chexpert", "official_valid"): "chexpert-official-ids/valid",
}
#: Our evaluation -> the protocol that it is; others have none in the registry.
PROTOCOLS = {"finetune": FINE_TUNE, "linear_probe": LINEAR_PROBE}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a plan says of the images of a column.

    Attributes:
        params: of the dataset's reader; {} where they are unknown, as of imported results.
        synthetic: whether the images are procedural.
        images: images there are; 0 for unknown.
        documented: images there should be; 0 for unknown.
        chosen_on_test: whether the checkpoint of any row of the column was.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bool = False
    images: int = 0
    documented: int = 0
    chosen_on_test: bool = False

    @classmethod
    def of(cls, results: Results, column: Target) -> Facts:
        """The facts of a column of some results."""
        chosen = any(one.run.selected_on == TEST for one in results.planned if one.target == column)
        about: dict[str, Any] = {"synthetic": column in results.synthetic, "chosen_on_test": chosen}
        keys = (_preparation(results, one.run.key) for one in results.planned if one.target == column)
        key = next((key for key in keys if key in results.jobs), "")
        params = results.spec(key).get("params")
        if params is None:
            return cls(**about)
        dataset = plugins.load("dataset", reader_of(results.spec(key)))
        # Not validated: the plan may be of an older version, whose reader had other parameters.
        documented = dataset.documented_images(dataset.Params.model_construct(**params))
        images = results.plan.images.get(key, 0)
        return cls(params=params, images=images, documented=documented, **about)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a published figure compares with a column, and all reasons why not."""

    comparable: bool
    reasons: tuple[str, ...] = ()


def comparable(entry: Entry, column: Target, facts: Facts) -> Verdict:
    """Whether a published figure compares with a column of ours.

    Example:
        >>> from refers_bench.analysis.paper.registry import entries
        >>> column = Target(dataset="nih_chestxray14", task="findings", label_ratio=0.01)
        >>> comparable(entries()[0], column, Facts(params={"split": "released"})).comparable
        True
        >>> comparable(entries()[1], column, Facts(params={"split": "seeded"})).reasons
        ('trained on 10 % of labels, ours on 1 %', 'other split: nih-mrm, ours is seeded')
    """
    reasons = tuple(reason for check in _CHECKS for reason in check(entry, column, facts))
    return Verdict(comparable=not reasons, reasons=reasons)


def published_on(column: Target) -> list[Entry]:
    """All figures of a column's target, at any label ratio."""
    return [one for one in entries() if (column.dataset, column.task) in TARGETS.get(one.target, ())]


def judged(results: Results) -> dict[Target, list[tuple[Entry, Verdict]]]:
    """Column on a whole real dataset -> figures at its label ratio with their verdicts; without columns of no figure.

    Figures at an unstated ratio stand beside all labels.
    """
    found = {}
    for column in results.targets:
        everything = column.label_ratio == 1
        listed = [
            one for one in published_on(column) if one.ratio == column.label_ratio or (one.ratio is None and everything)
        ]
        if listed and results.as_documented(column):
            facts = Facts.of(results, column)
            found[column] = [(one, comparable(one, column, facts)) for one in listed]
    return found


def _preparation(results: Results, key: str) -> str:
    """Key of the job that prepares the images of a cell; of a cell with folds, by its first fold."""
    spec = results.spec(key)
    folds = spec.get("folds")
    return _preparation(results, folds[0]) if folds else str(spec.get("prepare", ""))


def _target(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    version = str(facts.params.get("version", "of unknown version"))
    if (column.dataset, column.task) not in TARGETS.get(entry.target, ()):
        yield f"other target: {entry.target}, ours is {column.dataset}: {column.task}"
    elif entry.target in NEIGHBOURS:
        yield NEIGHBOURS[entry.target].format(dataset=plugins.load("dataset", column.dataset).label, version=version)
    elif entry.target in VERSIONS and VERSIONS[entry.target] != version:
        yield f"other version: {VERSIONS[entry.target]}, ours is {version}"
    elif column.dataset == "chexpert" and POLICIES.get(entry.split) != column.task:
        stated = POLICIES.get(entry.split)
        yield (
            f"other labels: {stated}, ours are {column.task}"
            if stated
            else "its policy for uncertain mentions is unknown"
        )


def _ratio(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    if entry.labels == "unstated":
        yield "its label ratio is not stated"
    elif entry.ratio is None:
        yield f"trained on {entry.labels}, ours on {column.label_ratio * 100:g} % of labels"
    elif entry.ratio != column.label_ratio:
        yield f"trained on {entry.ratio * 100:g} % of labels, ours on {column.label_ratio * 100:g} %"


def _split(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    own = str(facts.params.get("split", "by lists" if facts.params.get("lists") else "seeded"))
    meant = SPLITS.get((column.dataset, own))
    if isinstance(lists := facts.params.get("lists"), Mapping):
        own = meant = str(lists.get("pack"))
    if entry.split == UNKNOWN:
        yield "its split is unknown"
    if column.folds:
        yield f"ours is cross-validated over {column.folds} folds"
    elif not facts.params:
        yield "our split is unknown"
    elif entry.split not in (UNKNOWN, meant):
        yield f"other split: {entry.split}, ours is {own}"
    if entry.split in known() and entry.split != meant:
        yield from (f"its lists: {leak}" for leak in known()[entry.split].leaks)


def _protocol(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    if entry.protocol == UNKNOWN:
        yield "its protocol is unknown"
    elif entry.protocol != PROTOCOLS.get(column.evaluation):
        yield f"other protocol: {entry.protocol}, ours is {TITLES[column.evaluation]}"
    if "ten crops" in entry.how:
        yield "its scores are means over ten crops, ours are of one"


def _head(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    # Ours has one linear map on the feature and one learning rate; a head of another protocol is no head of ours.
    ours = entry.protocol == FINE_TUNE == PROTOCOLS.get(column.evaluation)
    if ours and entry.head not in ("", PLAIN):
        yield f"other head: {entry.head}, ours is a {PLAIN}"


def _metric(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    five = entry.metric == "mean AUROC (5 classes)" and column.dataset == "chexpert"
    if not METRICS[entry.metric] and not five:
        yield f"other metric: {entry.metric}, ours is mean AUC"


def _selection(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    if entry.selection == TEST:
        particulars = entry.selected.partition("(")[2].removesuffix(")")
        yield f"chosen on test images: {particulars}" if particulars else "chosen on test images"
    elif entry.selection == UNKNOWN:
        yield "unknown which images it was chosen on"
    if facts.chosen_on_test:
        yield "a row of ours was chosen on test images"


def _images(entry: Entry, column: Target, facts: Facts) -> Iterator[str]:
    if facts.synthetic:
        yield "ours is measured on procedural images"
    if facts.params.get("views"):
        yield f"ours has the views {', '.join(facts.params['views'])} alone"
    if 0 < facts.images < facts.documented:
        yield f"ours has {facts.images:,} of the {facts.documented:,} images"


_CHECKS: tuple[Callable[[Entry, Target, Facts], Iterator[str]], ...] = (
    *(_target, _ratio, _split, _protocol, _head, _metric, _selection, _images),
)
