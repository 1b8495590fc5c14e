"""Do the paper's claims hold on its own figures, and are verdicts what intervals allow?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from refers_bench.analysis.paper.claims import (
    FAILS,
    HOLDS,
    NO_DATA,
    UNDECIDED,
    Claim,
    Evidence,
    Figure,
    Missing,
    Published,
    evaluate,
    load,
)  # fmt: skip
from refers_bench.analysis.paper.evidence import Released, Reproduced
from refers_bench.analysis.paper.expression import ExpressionError, Leaf, parse
from refers_bench.analysis.results import Results
from refers_bench.analysis.results import load as load_results
from refers_bench.errors import UserError

CLAIMS = load()


class Given(Evidence):
    def __init__(self, figures: dict[str, Figure]) -> None:
        self.figures = figures

    def figure(self, leaf: Leaf) -> Figure:
        if leaf[1] not in self.figures:
            raise Missing(f"no {leaf[1]}")
        return self.figures[leaf[1]]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    return path


def one(tmp_path: Path, bound: str, expression: str = 'auc("REFERS", "nih", 1) - auc("C2L", "nih", 1)') -> Claim:
    text = f"version: 1\nclaims:\n  - {{id: a, place: p, statement: s, expression: '{expression}', {bound}}}\n"
    return load(write(tmp_path, text))[0]


def test_there_are_enough_and_each_says_where() -> None:
    assert len(CLAIMS) >= 25
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS)
    assert all("Table" in claim.place and claim.statement.endswith(".") for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=[claim.id for claim in CLAIMS])
def test_holds_on_the_published_figures(claim: Claim) -> None:
    found = evaluate(claim, Published())
    assert found.low is None
    if "finding" in claim.text or claim.id.startswith("gain_on_"):
        assert found.verdict == NO_DATA and "no published AUC of one class" in found.reason
    else:
        assert found.verdict == HOLDS, (found, claim.bound)


def test_the_issues_examples_have_their_numbers() -> None:
    values = {claim.id: evaluate(claim, Published()).value for claim in CLAIMS}
    assert values["imagenet_nih_1"] == pytest.approx(76.7 - 69.8)
    assert values["nih_10_equals_genesis_100"] == pytest.approx(80.9 - 81.0)
    assert values["p_best_baseline"] == 1.94e-3
    assert values["view_fusion_costs"] == pytest.approx(80.4 - 78.6)
    assert values["first_everywhere"] == pytest.approx(min(5.5, 4.3, 2.5, 7.7, 4.4, 3.9, 2.5, 4.3, 7.4))


@pytest.mark.parametrize(
    ("bound", "se", "verdict"),
    [
        ("about: 3, tolerance: 0.5", 0.0, HOLDS), ("about: 4, tolerance: 0.5", 0.0, FAILS),
        ("about: 3, tolerance: 0.5", 0.1, HOLDS), ("about: 3, tolerance: 0.5", 0.3, UNDECIDED),
        ("at_least: 5", 0.1, FAILS), ("at_least: 5", 2.0, UNDECIDED), ("at_least: 3", 0.0, HOLDS),
        ("above: 3", 0.0, FAILS), ("below: 3.1", 0.0, HOLDS), ("at_most: 2.9", 0.01, FAILS),
    ],
)  # fmt: skip
def test_verdicts(tmp_path: Path, bound: str, se: float, verdict: str) -> None:
    given = Given({"REFERS": Figure(value=83.0, se=se), "C2L": Figure(value=80.0, se=se)})
    assert evaluate(one(tmp_path, bound), given).verdict == verdict


def test_interval_is_welchs(tmp_path: Path) -> None:
    from scipy.stats import ttest_ind

    first, second = [0.83, 0.85, 0.81], [0.70, 0.76, 0.79]

    def figure(values: list[float]) -> Figure:
        mean = sum(values) / 3
        sd = math.sqrt(sum((v - mean) ** 2 for v in values) / 2)
        return Figure(value=mean * 100, se=sd * 100 / math.sqrt(3), df=2)

    found = evaluate(one(tmp_path, "at_least: 0"), Given({"REFERS": figure(first), "C2L": figure(second)}))
    expected = ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low * 100, expected.high * 100), rel=1e-6)


class ByColumn(Evidence):
    """REFERS above C2L by 1 (surely) in the first column, by 2 (not so surely) in the others."""

    def __init__(self, unsure: float) -> None:
        self.unsure = unsure

    def figure(self, leaf: Leaf) -> Figure:
        _, row, target, _ = leaf
        sure = target == "nih"
        above = (1.0 if sure else 2.0) if row == "REFERS" else -1.0 if row == "Context Restoration" else 0.0
        return Figure(value=80 + above, se=0.05 if sure else self.unsure, df=2)


@pytest.mark.parametrize(("unsure", "verdict"), [(0.05, HOLDS), (3.0, UNDECIDED)])
@pytest.mark.parametrize(
    "best", ['auc("C2L", target, ratio)', 'max(auc("C2L", target, ratio), auc("Context Restoration", target, ratio))']
)
def test_in_every_column_means_in_each(tmp_path: Path, best: str, unsure: float, verdict: str) -> None:
    """The lowest column may be the surest: the others' intervals count, too."""
    claim = one(tmp_path, "above: 0, columns: all, over: min", f'auc("REFERS", target, ratio) - {best}')
    found = evaluate(claim, ByColumn(unsure))
    assert found.value == pytest.approx(1.0) and found.verdict == verdict
    assert found.low is not None and found.high is not None
    # The upper limit is Bonferroni's over nine columns, and over two baselines where there are two.
    assert (found.low < 0) == (verdict == UNDECIDED) and found.high == pytest.approx(1.0, abs=0.5)


def test_every_baseline_keeps_its_own_interval(tmp_path: Path) -> None:
    """A little below the best, and much less sure."""
    figures = {"REFERS": Figure(value=83.0, se=0.01), "C2L": Figure(value=80.0, se=0.01),
               "ImageNet pre-training": Figure(value=79.5, se=3.0)}  # fmt: skip
    claim = one(
        tmp_path,
        "above: 0",
        'auc("REFERS", "nih", 1) - max(auc("C2L", "nih", 1), auc("ImageNet pre-training", "nih", 1))',
    )
    found = evaluate(claim, Given(figures))
    assert found.value == pytest.approx(3.0) and found.verdict == UNDECIDED
    assert found.low == pytest.approx(3.5 - 1.96 * 3.0, abs=0.01)
    turned = one(
        tmp_path,
        "below: 0",
        'max(auc("C2L", "nih", 1), auc("ImageNet pre-training", "nih", 1)) - auc("REFERS", "nih", 1)',
    )
    other = evaluate(turned, Given(figures))
    assert other.verdict == UNDECIDED and (other.low, other.high) == pytest.approx((-found.high, -found.low))  # type: ignore[operator]


def test_a_missing_figure_is_no_data_and_not_an_open_question(tmp_path: Path) -> None:
    found = evaluate(one(tmp_path, "at_least: 0"), Given({"REFERS": Figure(value=80)}))
    assert (found.verdict, found.value, found.reason) == ("no data", None, "no C2L")


class Some(Evidence):
    """REFERS minus C2L by target; nothing of the other targets."""

    def __init__(self, differences: dict[str, float], se: float) -> None:
        self.differences, self.se = differences, se

    def figure(self, leaf: Leaf) -> Figure:
        if leaf[2] not in self.differences:
            raise Missing(f"not there: {leaf[2]}")
        above = self.differences[leaf[2]] if leaf[1] == "REFERS" else 0.0
        return Figure(value=80 + above, se=self.se / math.sqrt(2))


EVERYWHERE = 'auc("REFERS", target, ratio) - auc("C2L", target, ratio)'
TARGETS_OF_ALL = ("nih", "vinbigdata", "shenzhen", "covid-t1", "covid-t2")


def test_what_is_there_can_refute_but_not_support(tmp_path: Path) -> None:
    claim = one(tmp_path, "above: 0, columns: all", EVERYWHERE)
    assert evaluate(claim, Some({"nih": 5.0}, 1.0)).verdict == NO_DATA
    failed = evaluate(claim, Some({"nih": 5.0, "shenzhen": -5.0}, 1.0))
    assert failed.verdict == FAILS and failed.places == ("shenzhen 100 %",) and "not there" in failed.reason
    mean = one(tmp_path, "above: 0, columns: all, over: mean", EVERYWHERE)
    assert evaluate(mean, Some({"nih": 5.0, "shenzhen": -50.0}, 1.0)).verdict == NO_DATA


@pytest.mark.parametrize(
    ("lowest", "verdict", "places"),
    [
        (2.1, HOLDS, ()),  # 1.96 standard errors suffice in each column: no correction of the support
        (1.9, UNDECIDED, ()),
        (-2.5, UNDECIDED, ()),  # below 1.96, not beyond the 2.77 that nine columns ask for
        (-3.0, FAILS, ("shenzhen 100 %",)),
    ],
)
def test_support_is_uncorrected_and_refutation_is_holms(
    tmp_path: Path, lowest: float, verdict: str, places: tuple[str, ...]
) -> None:
    """97.5 % quantile of the normal distribution 1.960; with a ninth of the level 2.773 (scipy.stats.norm)."""
    differences = dict.fromkeys(TARGETS_OF_ALL, 9.0) | {"shenzhen": lowest}
    found = evaluate(one(tmp_path, "above: 0, columns: all", EVERYWHERE), Some(differences, 1.0))
    assert (found.verdict, found.places) == (verdict, places)


def test_refuting_columns_are_stepped_down_as_holm_does(tmp_path: Path) -> None:
    """Columns of nih at -5, covid-t1 at -2.60: beyond the 2.64 of six columns not, beyond the 2.57 of five."""
    claim = one(tmp_path, "above: 0, columns: all", EVERYWHERE)
    differences = dict.fromkeys(TARGETS_OF_ALL, 9.0) | {"nih": -5.0}
    assert len(evaluate(claim, Some(differences | {"covid-t1": -2.60}, 1.0)).places) == 3
    assert len(evaluate(claim, Some(differences | {"covid-t1": -2.65}, 1.0)).places) == 4


def test_claims_about_classes(tmp_path: Path) -> None:
    expression = 'auc("REFERS", target, ratio, finding) - auc("C2L", target, ratio, finding)'

    class Classes(Evidence):
        def figure(self, leaf: Leaf) -> Figure:
            _, row, _, ratio, finding = leaf  # type: ignore[misc]
            return Figure(value=80 + (row == "REFERS") * (-1 if (ratio, finding) == (0.1, "Mass") else 3), se=0.1)

    claim = one(tmp_path, "above: 0, columns: [nih], classes: [Mass, Hernia]", expression)
    assert len(claim.places) == 6
    found = evaluate(claim, Classes())
    assert (found.verdict, found.value, found.places) == (FAILS, pytest.approx(-1), ("nih 10 %, Mass",))
    with pytest.raises(UserError, match=r"unknown class of nih 'Mas'.*near: Mass"):
        one(tmp_path, "above: 0, columns: [nih], classes: [Mas]", expression)
    with pytest.raises(UserError, match="a list of class names"):
        one(tmp_path, "above: 0, columns: [nih], classes: Mass", expression)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "claims.yaml:"),
        ("version: 1", "no list 'claims'"),
        ("claims:\n  - 3", "claims.yaml:2:5: a claim is a mapping"),
        ("claims:\n  - {id: a, place: p, statement: s}", "needs expression"),
        ("claims:\n  - {id: a, place: p, statement: s, expression: '1', at_least: 1, wrong: 2}", "unknown key 'wrong'"),
        ("claims:\n  - {id: a, place: p, statement: s, expression: '1'}", "needs about and tolerance"),
        ("claims:\n  - {id: a, place: p, statement: s, expression: '1', about: 2}", "needs about and tolerance"),
        (
            "claims:\n  - {id: a, place: p, statement: s, expression: '1', at_least: 1, columns: [moon]}",
            "no column 'moon'; allowed: nih",
        ),
        (
            "claims:\n  - {id: a, place: p, statement: s, expression: '1', at_least: 1, columns: [nih, vinbigdta]}",
            "no column 'vinbigdta'.*near: vinbigdata",
        ),
        (
            "claims:\n  - {id: a, place: p, statement: s, expression: '1', at_least: 1, columns: [[nih]]}",
            "neither a target nor",
        ),
        (
            'claims:\n  - {id: a, place: p, statement: s, expression: \'auc("C2", "nih", 1)\', at_least: 1}',
            "unknown row 'C2'.*near: C2L",
        ),
        *(
            (
                "claims:\n  - {id: a, place: p, statement: s, expression: '1', at_least: 1, classes: " + classes + "}",
                "classes: a list of class names",
            )
            for classes in ("[Mass, 3]", "[]", "Mass")
        ),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    import re

    with pytest.raises(UserError) as caught:
        load(write(tmp_path, text))
    assert re.search(message, "\n".join(map(str, caught.value.problems)))


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "auc.__class__", "[1][0]", "lambda: 1", "1 if 1 else 2", "auc('a', 'b')", "9**9", "True",
     "auc('REFERS', x, 1)", "min()", "f(1)", "'text'", "(", "auc(*[1])", "max(1, key=2)"],
)  # fmt: skip
def test_nothing_else_is_understood(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_expressions() -> None:
    names = {"target": "t", "ratio": 0.1}
    expression = parse('min(auc("A", target, ratio), 2) / 4 + mean(1, 3) * -abs(-2)', names)
    assert expression.leaves() == (("auc", "A", "t", 0.1),)
    assert expression.value(lambda leaf: 10.0) == 2 / 4 - 4


@pytest.fixture
def measured(folder: Any) -> Results:
    for method, base in (("refers", 0.8), ("model_genesis", 0.7), ("c2l", 0.71), ("context_restoration", 0.6),
                         ("transvw", 0.69), ("imagenet", 0.65)):  # fmt: skip
        aucs = [base, base + 0.01, base - 0.01]
        folder.seeds(method, aucs, dataset="nih_chestxray14", task="findings", ratio=0.01)
    return load_results(folder.save(), "tiny")


def test_reproduced_figures(measured: Results) -> None:
    evidence = Reproduced(measured)
    found = evidence.figure(("auc", "REFERS", "nih", 0.01))
    assert (found.value, found.se, found.df) == pytest.approx((80, 1 / math.sqrt(3), 2))
    assert 0 < evidence.figure(("p", "REFERS vs best baseline", "nih", 0.01)).value < 0.01
    for leaf in (("auc", "REFERS", "nih", 0.1), ("auc", "LSP (ConvNet)", "nih", 0.01),
                 ("p", "REFERS vs LSP (Transformer)", "nih", 0.01)):  # fmt: skip
        with pytest.raises(Missing, match="not there"):
            evidence.figure(leaf)


def test_incomplete_or_synthetic_figures_are_missing(folder: Any) -> None:
    where = {"dataset": "nih_chestxray14", "task": "findings", "ratio": 0.01}
    folder.cell("refers", **where)
    folder.cell("refers", seed=1, state="failed", **where)
    folder.cell("c2l", synthetic=True, **{**where, "ratio": 0.1})
    folder.cell("refers", **{**where, "ratio": 1.0})
    evidence = Reproduced(load_results(folder.save(), "tiny"))
    for leaf, reason in (
        (("auc", "REFERS", "nih", 0.01), "failed"), (("auc", "C2L", "nih", 0.1), "synthetic"),
        (("auc", "REFERS", "nih", 1.0), "one seed"),
    ):  # fmt: skip
        with pytest.raises(Missing, match=reason):
            evidence.figure(leaf)


NIH = {"dataset": "nih_chestxray14", "task": "findings"}


def test_runs_that_share_label_subsets_are_paired_by_seed(folder: Any, tmp_path: Path) -> None:
    """SciPy's paired interval on parts of the labels, Welch's on all of them, where a seed draws nothing in common."""
    from scipy import stats

    first, second = [0.80, 0.84, 0.76, 0.83], [0.78, 0.805, 0.75, 0.80]
    for ratio in (0.01, 1.0):
        folder.seeds("refers", first, ratio=ratio, **NIH)
        folder.seeds("c2l", second, ratio=ratio, **NIH)
    evidence = Reproduced(load_results(folder.save(), "tiny"))
    for ratio, expected in (
        (0.01, stats.ttest_rel(first, second)), (1, stats.ttest_ind(first, second, equal_var=False)),
    ):  # fmt: skip
        expression = f'auc("REFERS", "nih", {ratio}) - auc("C2L", "nih", {ratio})'
        found = evaluate(one(tmp_path, "above: 0", expression), evidence)
        interval = expected.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low * 100, interval.high * 100), rel=1e-6)
        assert found.verdict == (HOLDS if ratio < 1 else UNDECIDED)


def test_label_ratios_of_one_seed_are_paired_too(folder: Any, tmp_path: Path) -> None:
    """Nested subsets: the same seed's gain at 1 and at 10 %, by SciPy on the seeds' own gains."""
    from scipy import stats

    values = {(m, r): [0.7 + m / 10 + r + x for x in shift] for (m, r), shift in {
        (0, 0.01): [0, 0.02, 0.05], (1, 0.01): [0.01, 0.02, 0.06], (0, 0.1): [0, 0.03, 0.05], (1, 0.1): [0, 0.02, 0.06],
    }.items()}  # fmt: skip
    for (method, ratio), aucs in values.items():
        folder.seeds("refers" if method else "c2l", aucs, ratio=ratio, **NIH)
    expression = " - ".join(f'(auc("REFERS", "nih", {r}) - auc("C2L", "nih", {r}))' for r in (0.01, 0.1))
    found = evaluate(one(tmp_path, "above: 0", expression), Reproduced(load_results(folder.save(), "tiny")))
    gains = [
        a - b - (c - d)
        for a, b, c, d in zip(*(values[m, r] for r in (0.01, 0.1) for m in (1, 0)), strict=True)
    ]  # fmt: skip
    expected = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low * 100, expected.high * 100), rel=1e-6)


def test_differences_without_spread_are_undecided(folder: Any, tmp_path: Path) -> None:
    folder.seeds("refers", [0.75, 0.875, 0.8125], ratio=0.01, **NIH)
    folder.seeds("c2l", [0.5, 0.625, 0.5625], ratio=0.01, **NIH)
    expression = 'auc("REFERS", "nih", 0.01) - auc("C2L", "nih", 0.01)'
    found = evaluate(one(tmp_path, "above: 0", expression), Reproduced(load_results(folder.save(), "tiny")))
    assert found.verdict == UNDECIDED and "zero variance of the difference" in found.reason


def test_class_figures_of_our_seeds(folder: Any) -> None:
    for seed, auc in enumerate((0.8, 0.82, 0.84)):
        folder.cell("refers", seed=seed, aucs={"Mass": auc, "Hernia": None if seed else 0.5}, ratio=0.01, **NIH)
    evidence = Reproduced(load_results(folder.save(), "tiny"))
    found = evidence.figure(("auc", "REFERS", "nih", 0.01, "Mass"))
    assert (found.value, found.se) == pytest.approx((82, 2 / math.sqrt(3)))
    with pytest.raises(Missing, match="Hernia has an AUC in 1 of 3 seeds"):
        evidence.figure(("auc", "REFERS", "nih", 0.01, "Hernia"))


def test_no_p_value_while_a_baseline_lacks_a_seed(folder: Any) -> None:
    """Model Genesis has two of three seeds; with the third the test is Student's against the best of the five."""
    from scipy import stats

    aucs = {
        "refers": (0.82, 0.84, 0.83), "model_genesis": (0.7, 0.72), "c2l": (0.7, 0.71, 0.74), "imagenet": (0.6, 0.61, 0.65),
        "context_restoration": (0.65, 0.64, 0.63), "transvw": (0.69, 0.72, 0.72),
    }  # fmt: skip
    for method, values in aucs.items():
        folder.seeds(method, values, ratio=0.01, **NIH)
    folder.cell("model_genesis", seed=2, state="missing", ratio=0.01, **NIH)
    leaf = ("p", "REFERS vs best baseline", "nih", 0.01)
    with pytest.raises(Missing, match="a baseline is not complete"):
        Reproduced(load_results(folder.save(), "tiny")).figure(leaf)
    folder.done("model_genesis+nih_chestxray14-findings-0_01-2", {"normal": 0.71, "opacity": 0.71})
    found = Reproduced(load_results(folder.save(), "tiny")).figure(leaf)
    assert found.value == pytest.approx(stats.ttest_ind(aucs["refers"], aucs["c2l"]).pvalue)


def test_released_figures_need_files(measured: Results) -> None:
    with pytest.raises(Missing, match="one run"):
        Released(measured).figure(("p", "REFERS vs best baseline", "nih", 0.01))
    with pytest.raises(Missing, match="no such files"):
        Released(measured).figure(("auc", "REFERS", "nih", 0.01))
