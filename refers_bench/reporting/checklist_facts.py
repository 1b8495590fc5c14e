"""Says what results show of the items of a reporting checklist: a name for each fact, and nothing they cannot show."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from refers_bench.analysis.cards import cards
from refers_bench.analysis.paper.comparability import Facts
from refers_bench.analysis.results import Results
from refers_bench.errors import UserError
from refers_bench.evaluations import TITLES
from refers_bench.render.duration import duration
from refers_bench.render.quantity import quantity
from refers_bench.reporting import grid, provenance
from refers_bench.store import explanations as explained
from refers_bench.store import frozen_plan

#: Names that one sentence lists.
MOST_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One sentence of evidence, and where it is read.

    Attributes:
        text: the sentence.
        anchors: ids on the page, or beginnings of ids that end in "-"; those that the page lacks are left out. A fact
            with anchors and nothing else to be read is left out where the page has none of them.
        lock: fields of plan.lock.json.
        docs: pages of the documentation.
    """

    text: str
    anchors: tuple[str, ...] = ()
    lock: tuple[str, ...] = ()
    docs: tuple[str, ...] = ()


MAIN = ("table1", "table2", "table3", "cells")
#: What holds for every run of ours, whatever its manifest says.
OWN: Mapping[str, Fact] = {
    "subsets": Fact(
        text="Label subsets depend on dataset, task, ratio and seed and never on the method, and are nested; each is "
        "stored with its hash and class counts (subset.json).",
        lock=("manifest.targets", "manifest.seeds"),
    ),
    "disjoint": Fact(
        text="A dataset in which a patient is in two of the parts for training, validation and test is refused before "
        "anything runs; patients are told apart by the ids that the dataset has.",
        docs=("docs/evidence.md",),
    ),
    "ensembles": Fact(text="None: each figure is that of one trained model; seeds are averaged as figures."),
    "external": Fact(
        text="Each figure is measured on test images of the dataset that the model was fine-tuned or probed on: none "
        "is an external test, but where a footnote calls it one.",
        anchors=MAIN,
    ),
    "inputs": Fact(
        text="The input of a prediction is the image alone; rows marked as floors read what is known of an image "
        "besides its anatomy (view, file size, metadata), to show what that alone reaches.",
        anchors=(*MAIN, "floors"),
    ),
    "output": Fact(
        text="A float32 logit for each class and image, stored with its image id; an image is predicted once, without "
        "augmentation. k nearest neighbours give shares of votes. No threshold is part of a model.",
        anchors=("operating",),
    ),
}
#: What holds of all results, imported ones as well.
ALL: Mapping[str, Fact] = {
    "missing": Fact(
        text="An unknown label is left out of AUCs and counts, and of losses in what was trained here; an AUC that is"
        " undefined is none, with its reason; nothing is averaged over what is missing.",
        anchors=("failures", "classes-"),
    ),
    "metrics": Fact(
        text="Mean over the classes of the area under the ROC curve, average precision, sensitivity at 90 % "
        "specificity, calibration error and Brier score, each from stored predictions.",
        anchors=(*MAIN, "operating"),
        docs=("docs/statistics.md",),
    ),
    "uncertainty": Fact(
        text="Standard deviation and t interval over seeds; intervals over test patients, or images where patients are "
        "unknown, with the trained models held fixed.",
        anchors=("test-images", "operating"),
        docs=("docs/statistics.md",),
    ),
    "tests": Fact(
        text="Two-sample t-test over seeds, corrected by Holm and for the choice of the best row; DeLong's test by "
        "class; none where its conditions do not hold, and the report says why.",
        anchors=("significance", "class-tests-", "delong-"),
        docs=("docs/statistics.md", "docs/evidence.md"),
    ),
    "duplicates": Fact(
        text="The table of integrity says which rows share scores; 'refers-bench data audit' compares images of two "
        "parts or datasets by hash, and its result is no part of this report.",
        anchors=("integrity",),
    ),
    "operating": Fact(
        text="The operating point has its threshold set on the test images themselves, class by class: it describes "
        "and promises nothing for other images.",
        anchors=("operating",),
    ),
}


def study(results: Results) -> Iterator[Fact]:
    """Rows, columns and seeds."""
    columns = _listed([grid.where(target) for target in results.targets])
    seeds = len({planned.run.seed for planned in results.planned})
    size = f"{len(results.methods)} methods on {len(results.targets)} columns"
    text = f"{size} ({columns}), {quantity(seeds, 'seed')}."
    yield Fact(text=text, anchors=MAIN, lock=("manifest",))


def methods(results: Results) -> Iterator[Fact]:
    """Rows of the table, as they are called."""
    rows = [title for name, title in grid.titles(results).items() if name not in results.floors]
    yield Fact(text=f"Methods: {_listed(rows)}.", anchors=MAIN, lock=("manifest.methods",))


def baselines(results: Results) -> Iterator[Fact]:
    """Floors, and the other rows beside the reference."""
    titles = grid.titles(results)
    floors = [titles[name] for name in results.methods if name in results.floors]
    others = [title for name, title in titles.items() if name not in results.floors and name != results.reference]
    if others or floors:
        text = f"Beside {titles.get(results.reference, 'none')}: {_listed(others) or 'no other method'}; "
        yield Fact(text=f"{text}floors: {_listed(floors) or 'none'}.", anchors=(*MAIN, "floors"))


def data(results: Results) -> Iterator[Fact]:
    """Each dataset with its source and citation."""
    made = {target.dataset for target in results.synthetic}
    for name, card in cards(results).items():
        synthetic = " Synthetic: procedural radiographs stand in for it here." if name in made else ""
        yield Fact(text=f"{card.label} ({name}): {card.source}. Cite: {card.citation or 'not stated'}.{synthetic}")


def licences(results: Results) -> Iterator[Fact]:
    """The licence of each dataset."""
    for name, card in cards(results).items():
        yield Fact(text=f"{card.label} ({name}): {card.licence or 'licence not stated'}.")


def numbers(results: Results) -> Iterator[Fact]:
    """Images of each part of each column, as its first finished run counted them."""
    for target in results.targets:
        records = (results.records.get(one.run.key, {}) for one in results.planned if one.target == target)
        counts = next((found for record in records if (found := (record.get("facts") or {}).get("images"))), None)
        if isinstance(counts, Mapping):
            said = ", ".join(f"{count} {split}" for split, count in counts.items() if isinstance(count, int))
            yield Fact(
                text=f"{grid.where(target)}: {said} images.", anchors=("test-images", grid.item_id("classes", target))
            )


def classes(results: Results) -> Iterator[Fact]:
    """Positive and negative test images of each class, from the first finished run of each column."""
    for target in results.targets:
        found = (one.metrics.by_class("test") for one in results.planned if one.target == target and one.run.counts)
        if first := next(found, None):
            said = [f"{name} {one.n_pos} of {one.n_pos + one.n_neg}" for name, one in first.items()]
            where = (grid.item_id("classes", target), "test-images")
            yield Fact(text=f"{grid.where(target)}, positive test images: {_listed(said)}.", anchors=where)


def exclusions(results: Results) -> Iterator[Fact]:
    """Images that a column lacks of those that are documented, and views that were chosen."""
    for target in results.targets:
        facts = Facts.of(results, target)
        if facts.images and facts.documented and not facts.synthetic:
            views = f"; views {', '.join(facts.params['views'])} alone" if facts.params.get("views") else ""
            text = f"{grid.where(target)}: {facts.images:,} of {facts.documented:,} documented images{views}."
            yield Fact(text=text, lock=("images",))


def partitions(results: Results) -> Iterator[Fact]:
    """How each column's images are parted, by its reader's parameters or by folds."""
    for target in results.targets:
        params = Facts.of(results, target).params
        if target.folds:
            yield Fact(text=f"{grid.where(target)}: every image is tested once, in {target.folds} patient-wise folds.")
        elif params:
            said = {name: params[name] for name in ("split", "lists", "seed") if params.get(name) not in (None, "")}
            how = ", ".join(f"{name} {value}" for name, value in said.items()) or "the dataset's own"
            yield Fact(text=f"{grid.where(target)}: {how}.", lock=("manifest.targets",))


def preprocessing(results: Results) -> Iterator[Fact]:
    """Sizes, intensities and augmentation, which are constants and fitted to no image."""
    names = [name for name in results.plan.values if name.startswith("image.") and "augment" not in name]
    yield from _constants(results, "Images", names)
    names = [name for name in results.plan.values if name.startswith("image.finetune_augment.")]
    yield from _constants(results, "Augmentation in fine-tuning", names)


def model(results: Results) -> Iterator[Fact]:
    """Constants of the network; the label's evaluations."""
    yield from _constants(results, "Network", [name for name in results.plan.values if name.startswith("network.")])
    ways = list(dict.fromkeys(TITLES[target.evaluation] for target in results.targets))
    if results.plan.values:
        yield Fact(text=f"Evaluated by {_listed(ways)}; a linear head, one logit for each class.")


def training(results: Results) -> Iterator[Fact]:
    """Steps, batches, optimisers and rates."""
    wanted = ("steps", "batch_size", "optimizer", "learning_rate", "weight_decay", "schedule", "warmup_steps")
    for part, title in (("pretrain", "Pre-training"), ("finetune", "Fine-tuning")):
        yield from _constants(results, title, [f"{part}.{name}" for name in (*wanted, "precision")])


def imbalance(results: Results) -> Iterator[Fact]:
    """The loss, which weighs no class, and the prevalence."""
    if loss := _value(results, "finetune.loss"):
        text = (
            f"Loss: {loss}, no weighting of classes and no resampling; the table of operating points has prevalences."
        )
        yield Fact(text=text, anchors=("operating",), lock=("values.finetune.loss",))


def selection(results: Results) -> Iterator[Fact]:
    """What checkpoints were chosen on: by the protocol, or as importers state it."""
    for part, title in (("pretrain", "pre-training"), ("finetune", "fine-tuning")):
        if select := _value(results, f"{part}.select"):
            on = "the last is kept, none is chosen" if select == "last" else "on the validation images"
            yield Fact(text=f"Checkpoint of {title}: {select}, {on}.", lock=(f"values.{part}.select",))
    stated = Counter(one.run.selected_on for one in results.planned if one.run.selected_on)
    if stated:
        said = ", ".join(f"{count} cells '{name}'" for name, count in stated.items())
        yield Fact(text=f"Chosen on, as the importer states: {said}.", anchors=MAIN, lock=("cells.selected_on",))


def initial_weights(results: Results) -> Iterator[Fact]:
    """What networks start from."""
    yield from _constants(results, "Networks start from", ["network.init", "network.init_path_name"])


def deviations(results: Results) -> Iterator[Fact]:
    """The ledger of values that differ from their sources."""
    if results.plan.values:
        yield Fact(text="The deviation ledger names each value that differs from its source.", anchors=("deviations",))


def seeds(results: Results) -> Iterator[Fact]:
    """How many seeds each figure has, and what a seed changes."""
    counts = Counter(cell.n for cell in results.cells.values())
    said = ", ".join(f"{cells} with {n}" for n, cells in sorted(counts.items(), reverse=True))
    drawn = " A seed draws the label subset, the order, the augmentation and the head." if _own(results) else ""
    yield Fact(text=f"Table cells by finished seeds: {said}.{drawn}", anchors=MAIN, lock=("manifest.seeds",))


def power(results: Results) -> Iterator[Fact]:
    """The power that the test over seeds has."""
    if len(results.methods) > 1:
        yield Fact(text="The power of the test over seeds stands beside it.", anchors=("significance",))


def performance(results: Results) -> Iterator[Fact]:
    """The reference's mean in each column."""
    titles = grid.titles(results)
    for (method, target), cell in results.cells.items():
        if method == results.reference and cell.n:
            spread = f" ± {cell.sd * 100:.1f}" if cell.n > 1 else ""
            text = f"{grid.marked_title(results, target)}: {titles[method]} {cell.mean * 100:.1f}{spread}, "
            yield Fact(text=f"{text}n = {cell.n} of {cell.n_planned}.", anchors=MAIN)


def explanations(results: Results) -> Iterator[Fact]:
    """Attention maps, where there are any."""
    if explained.read(results.store.parent, results.name):
        yield Fact(text="Attention maps, and their overlap with annotated boxes.", anchors=("attention", "figure-"))


def published(results: Results) -> Iterator[Fact]:
    """Figures of others."""
    text = "Beside figures that others published, each with whether it compares and why not."
    yield Fact(text=text, anchors=("against-published", "references"))


def claims(results: Results) -> Iterator[Fact]:
    """The statements of the REFERS paper."""
    yield Fact(text="Statements of the REFERS paper, each checked against these results.", anchors=("claims",))


def limitations(results: Results) -> Iterator[Fact]:
    """What the results themselves say against them."""
    missing = sum(not planned.run.counts for planned in results.planned)
    if results.synthetic:
        names = _listed(sorted(set(map(grid.target_title, results.synthetic))))
        yield Fact(text=f"Synthetic data, procedural radiographs and not patients': {names}.")
    if missing:
        yield Fact(text=f"{missing} of {len(results.planned)} cells have no figure.", anchors=("failures",))
    if any(cell.selected_on_test for cell in results.cells.values()):
        yield Fact(text="Some checkpoints were chosen on test images: their figures are too high.", anchors=MAIN)
    yield from deviations(results)


def software(results: Results) -> Iterator[Fact]:
    """Versions of the packages, by environment."""
    if not _own(results):
        return
    for packages in dict.fromkeys(provenance.environment(record)[2] for record in results.records.values()):
        if packages:
            yield Fact(text=f"Versions: {packages}.", anchors=("environments",))


def compute(results: Results) -> Iterator[Fact]:
    """Machines, hours and memory of the finished jobs."""
    if _own(results) and results.records:
        found = results.records.values()
        machines = _listed(list(dict.fromkeys(text for record in found if (text := provenance.environment(record)[1]))))
        hours = duration(sum(float(record.get("wall_s") or 0) for record in found), decimals=1)
        peak = max(float(record.get("peak_mem_bytes") or 0) for record in found) / 2**30
        text = (
            f"{len(found)} finished jobs, {hours} in all, at most {peak:.2f} GiB; on {machines or 'unknown machines'}."
        )
        yield Fact(text=text, anchors=("cost", "environments"))


def code(results: Results) -> Iterator[Fact]:
    """The version of this program, and the commits that ran."""
    if _own(results):
        found = (provenance.environment(record)[0] for record in results.records.values())
        commits = _listed([text for text in dict.fromkeys(found) if text])
        yield Fact(text=f"refers-bench, MIT licence; commits: {commits or 'not recorded'}.")


def assets(results: Results) -> Iterator[Fact]:
    """What this program documents of what it makes."""
    text = "Exported weights have a model card, prepared datasets Croissant metadata, bundles an RO-Crate."
    yield Fact(text=text, docs=("docs/papers.md",))


def reproduction(results: Results) -> Iterator[Fact]:
    """The commands that make all of it again."""
    yield Fact(text=f"Commands: {'; '.join(provenance.commands(results))}.", lock=("manifest", "values"))


def frozen(results: Results) -> Iterator[Fact]:
    """The plan that was frozen before anything ran."""
    with contextlib.suppress(UserError):  # the table says what is wrong with it
        if (found := frozen_plan.find(results.store.parent, results.name)) is not None:
            text = f"Rows, columns, seeds and tests were frozen on {found.frozen}, SHA-256 {found.digest}."
            yield Fact(text=text, anchors=("frozen-plan",))


def _own(results: Results) -> bool:
    """Whether the results were made here."""
    return results.origin == "run"


def _value(results: Results, name: str) -> object:
    """A resolved constant; None where the plan has none."""
    return results.plan.values.get(name, {}).get("value")


def _constants(results: Results, title: str, names: list[str]) -> Iterator[Fact]:
    """Resolved constants in one sentence, with their fields of the lock."""
    found = {name: value for name in names if (value := _value(results, name)) is not None}
    if found:
        said = ", ".join(f"{name.split('.', 1)[1]} {json.dumps(value)}" for name, value in found.items())
        yield Fact(text=f"{title}: {said}.", lock=(f"values.{next(iter(found)).split('.')[0]}.*",))


def _listed(names: list[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return "; ".join(names[:MOST_NAMED]) + more


#: Facts that are computed, by their names in the files of checklists.
COMPUTED: Mapping[str, Callable[[Results], Iterator[Fact]]] = {
    one.__name__: one
    for one in (
        *(study, methods, baselines, data, licences, numbers, classes, exclusions, partitions, preprocessing, model),
        *(training, imbalance, selection, initial_weights, deviations, seeds, power, performance, explanations),
        *(published, claims, limitations, software, compute, code, assets, reproduction, frozen),
    )
}
NAMES = frozenset((*OWN, *ALL, *COMPUTED))


def facts(name: str, results: Results) -> list[Fact]:
    """What results show under a name; nothing where they show none of it.

    Args:
        name: one of `NAMES`.
        results: ours, or imported ones, of whose making nothing is known.
    """
    if name in COMPUTED:
        return list(COMPUTED[name](results))
    return [ALL[name]] if name in ALL else [OWN[name]] if _own(results) else []
