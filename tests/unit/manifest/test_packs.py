"""What the product knows of published lists."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from refers_bench.data.audit.naming import NAMINGS
from refers_bench.manifest import packs
from refers_bench.manifest.packs import Leak, Pack, known


def test_every_pack_has_digests_and_lists_of_a_known_naming() -> None:
    assert len(known()) > 20
    for name, pack in known().items():
        assert pack.names in NAMINGS and pack.source and pack.licence, name
        assert "test" in pack.lists, name
        for one in pack.lists.values():
            assert re.fullmatch(r"[0-9a-f]{64}", one.sha256) and one.images > 0
        assert set(pack.lists) | set(pack.rest) <= {"train", "val", "test", "train_1", "train_10"}
        for others in pack.rest.values():
            assert all(other.rpartition("/")[2] in known()[other.rpartition("/")[0]].lists for other in others)
        assert not any("/" in one.file for one in pack.lists.values())


@pytest.mark.parametrize("shared, said", [(5, "shared with training: 5 of 100"), (6, "LEAKS: 6 of 100")])
def test_more_than_five_percent_of_test_patients_is_a_leak(shared: int, said: str) -> None:
    assert str(Leak(shared=shared, of=100, words="x")).startswith(said)


def test_a_leaking_pack_needs_its_exception() -> None:
    for name, pack in known().items():
        if pack.leaks:
            with pytest.raises(ValidationError, match="accept"):
                Pack(pack=name)
        accepted = Pack(pack=name, accept=("test_in_training",))
        assert packs.accepted(accepted) and packs.roots_of(accepted) == ("split_packs",)
        assert len(packs.leaks(accepted)) == len(pack.leaks) and len(packs.notes(accepted)) == len(pack.notes)
    assert {name for name, pack in known().items() if pack.leaks} >= {"siim-mrm", "rsna-benchx", "rsna-ark"}


def test_a_data_root_is_no_pack() -> None:
    assert (packs.roots_of("x"), packs.accepted("x"), packs.leaks("x"), packs.notes("x"), packs.expected("x")) == (
        ("x",), False, (), (), {},
    )  # fmt: skip
    packs.fitting("x", "nih")
    packs.fitting(Pack(pack="nih-mrm"), "nih")
    with pytest.raises(ValueError, match="nih-mrm, nih-official"):
        packs.fitting(Pack(pack="vindr-ark"), "nih")


def test_parameters_with_a_pack_survive_the_json_of_a_plan() -> None:
    one = Pack(pack="siim-mrm", accept=("test_in_training",))
    assert Pack(**one.model_dump(mode="json")) == one
