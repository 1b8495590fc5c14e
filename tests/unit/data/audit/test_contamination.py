"""What any two lists share, by hand on small lists."""

from __future__ import annotations

import pandas as pd

from refers_bench.data.audit.contamination import lines, matrix, worst
from refers_bench.data.audit.id_lists import IdList, of_index


def of(name: str, *ids: str) -> IdList:
    return IdList(name=name, ids=ids)


def test_images_and_patients_of_names_that_tell_them() -> None:
    lists = [
        of("a", "00000001_000.png", "00000001_001.png", "00000002_000.png"),
        of("b", "x/00000001_002", "00000002_000"),
    ]
    images, patients = matrix(lists)
    assert (images.view, images.size_first, images.size_second, images.shared) == ("NIH images", 3, 2, 1)
    assert (patients.view, patients.size_first, patients.size_second, patients.shared) == ("NIH patients", 2, 2, 2)
    assert (patients.names_first, patients.names_second) == (3, 2)
    assert worst([images, patients]) is patients


def test_lists_of_different_collections_are_not_compared() -> None:
    assert matrix([of("a", "00000001_000"), of("b", "CHNCXR_0001_0")]) == []
    assert worst([]) is None


def test_patients_that_a_dataset_knows_are_used_for_all_lists() -> None:
    frame = pd.DataFrame({"image_id": ["1.png", "1.jpg", "2.png", "3.png"], "patient_id": ["p", "q", "p", "r"]})
    known = of_index(frame.assign(split=["train", "train", "val", ""]), name="here")
    found = matrix([*known, of("list", "x/2.png", "1.jpg", "unknown.png")])
    people = {(one.first, one.second): one for one in found if one.view == "patients of here"}
    # Two files that differ in their endings alone are of two patients.
    assert people["here:train", "here:val"].shared == 1
    one = people["here:train", "list"]
    assert (one.size_first, one.size_second, one.shared, one.names_first, one.names_second) == (2, 2, 2, 2, 2)


def test_what_people_read() -> None:
    lists = [of("a", "00000001_000", "00000001_001"), of("b", "00000001_000"), of("c", "00000003_000")]
    assert list(lines(lists, matrix(lists))) == [
        "list a: 2 images",
        "list b: 1 images",
        "list c: 1 images",
        "NIH images: 1 of 3 pairs share something",
        "  a (2) and b (1): 1 shared",
        "NIH patients: 1 of 3 pairs share something",
        "  a (1) and b (1): 1 shared: 2 images of the first, 1 of the second",
    ]
