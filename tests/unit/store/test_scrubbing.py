"""Are a user's paths taken out, and nothing else?"""

from __future__ import annotations

import pytest

from refers_bench.store.scrubbing import Scrubber, roots_of

KNOWN = {"home": "/home/me", "results": "/home/me/results/", "root nih": "/d", "slash": "/"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/home/me/results/store/x.json", "<results>/store/x.json"),
        ("in /home/me, and", "in <home>, and"),
        ("/home/me2/x", "<path>/x"),
        ("/d", "<root nih>"),
        ('File "/usr/lib/python3/site.py", line 3', 'File "<path>/site.py", line 3'),
        ("path=/a/b/c.yaml:3:1", "path=<path>/c.yaml:3:1"),
        ("C:\\Users\\me\\x.txt", "<path>/x.txt"),
    ],
)
def test_paths_are_replaced(given: str, expected: str) -> None:
    scrub = Scrubber(KNOWN)
    assert scrub.text(given) == expected
    assert sum(scrub.replaced.values()) == 1


@pytest.mark.parametrize(
    "given",
    [
        "",
        "https://example.org/a/b/c",
        "a/b/c",
        "./x/y/z",
        "../shared/x/y",
        "Nodule/Mass",
        "1/2/3 of it",
        "and/or",
        "AUC 0.8 / 0.9",
    ],
)
def test_the_rest_stays(given: str) -> None:
    scrub = Scrubber(KNOWN)
    assert scrub.text(given) == given and not scrub.replaced


def test_values_that_decide_keys_are_left_alone() -> None:
    scrub = Scrubber()
    value = {
        "spec": {"path": "/a/b/c"},
        "label": r"\input{/etc/passwd}",
        "list": ["/a/b/c", 1, None],
        "x": {"y": "/a/b/c"},
    }
    found = scrub.value(value)
    assert found["spec"] == value["spec"] and found["label"] == value["label"]
    assert found["list"] == ["<path>/c", 1, None] and found["x"] == {"y": "<path>/c"}
    assert scrub.replaced == {"<path>": 2}


def test_roots_are_known_by_name() -> None:
    records = [{"provenance": {"roots": {"nih": "/data/nih", "odd": 3}}}, {}, {"provenance": None}]
    assert roots_of(records) == {"root nih": "/data/nih"}
