"""Features of metadata: categories and standardised numbers, and what they reach on a real collection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from refers_bench.datasets import covid19_idc
from refers_bench.errors import UserError
from refers_bench.methods.metadata_only import METHOD, RARE, Params, index_features


def frame_of(**columns: list[object]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    known = {"image_id": [f"i{n}" for n in range(count)], "view": "PA", "bytes": 7, "t:k": 1}
    return pd.DataFrame({**known, **{name.replace("about_", "about:"): values for name, values in columns.items()}})


def test_texts_are_categories_and_rare_ones_are_pooled() -> None:
    sites = ["x"] * 6 + ["y"] * RARE + ["rare"] * (RARE - 1) + ["alone"] + [None] * 2
    found = index_features(frame_of(about_site=sites), Params())
    # x, y, the others, missing: in this order.
    expected = [[1, 0, 0, 0]] * 6 + [[0, 1, 0, 0]] * 5 + [[0, 0, 1, 0]] * 5 + [[0, 0, 0, 1]] * 2
    assert found.tolist() == expected and found.dtype == np.float32


def test_often_texts_are_those_of_an_independent_encoding() -> None:
    rng = np.random.default_rng(0)
    sites = rng.choice(["x", "y", "z"], 90).tolist()
    found = index_features(frame_of(about_site=sites), Params())
    assert found.tolist() == DictVectorizer(sparse=False).fit_transform([{"site": site} for site in sites]).tolist()


def test_numbers_are_standardised_and_say_where_they_are_missing() -> None:
    ages = [1.0, 2.0, None, 4.0, 9.0, None]
    found = index_features(frame_of(about_age=ages), Params())
    scaled = StandardScaler().fit_transform(np.array([[np.nan if age is None else age] for age in ages]))
    np.testing.assert_allclose(found[:, 0], np.nan_to_num(scaled[:, 0]), rtol=1e-6)
    assert found[:, 1].tolist() == [0, 0, 1, 0, 0, 1]


def test_view_and_file_size_are_metadata_and_what_is_constant_is_left_out() -> None:
    frame = frame_of(about_width=[8.0] * 12, about_none=[None] * 12, about_nan=[np.nan] * 12)
    assert index_features(frame, Params()).tolist() == [[0.0]] * 12, "nothing tells the images apart"
    frame["view"], frame["bytes"] = ["PA", "AP"] * 6, [10, 20] * 6
    assert index_features(frame, Params()).tolist() == [[0, 1, -1], [1, 0, 1]] * 6
    assert index_features(frame, Params(columns=("bytes",))).tolist() == [[-1], [1]] * 6
    assert index_features(frame, Params(columns=("width",))).tolist() == [[0]] * 12


def test_unknown_metadata_are_refused() -> None:
    frame = frame_of(about_age=[1.0, 2.0])
    with pytest.raises(UserError, match="no metadata 'sex' in this index; allowed: view, bytes, age"):
        index_features(frame, Params(columns=("age", "sex")))


def test_is_a_floor_without_an_encoder() -> None:
    assert METHOD.floor and METHOD.index_features is index_features
    with pytest.raises(UserError, match="looks at no pixels; allowed: evaluation: linear_probe"):
        METHOD.build_encoder(Params(), {}, {})


@pytest.fixture(scope="module")
def covid(real_data: Path) -> pd.DataFrame:
    lists = {"covid": real_data / "official-splits" / "covid"}
    return covid19_idc.index(real_data / "covid-chestxray-dataset", covid19_idc.Params(lists="covid"), lists)


@pytest.mark.parametrize(("columns", "low", "high"), [(("site",), 0.80, 0.86), ((), 0.80, 1.0), (("age",), 0.4, 0.7)])
def test_the_web_site_alone_tells_covid_from_the_rest(
    columns: tuple[str, ...], low: float, high: float, covid: pd.DataFrame
) -> None:
    """Known of this collection: positives and negatives come from different sources."""
    features_ND = index_features(covid, Params(columns=columns))
    labels_N = covid["covid19_vs_other:COVID-19"].astype(float).to_numpy()
    train, test = ((covid["split"] == split).to_numpy() & ~np.isnan(labels_N) for split in ("train", "test"))
    probe = LogisticRegression(max_iter=2000).fit(features_ND[train], labels_N[train])
    auc = roc_auc_score(labels_N[test], probe.decision_function(features_ND[test]))
    assert low < auc < high, auc
