"""Finds what any lists, datasets and sources share: images under all their names, and patients."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from refers_bench.data.audit.id_lists import IdList
from refers_bench.data.audit.naming import file_name, plain, views_of

#: Of one list: view -> member -> names in the list that stand for it.
Views = Mapping[str, Mapping[str, frozenset[str]]]
#: Columns of the matrix, in order.
COLUMNS = ("view", "first", "size_first", "second", "size_second", "shared", "names_first", "names_second")


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """What two lists share in one view; pairs that share nothing are kept: they were compared.

    Attributes:
        view: what was compared: images or patients of a collection, see `refers_bench.data.audit.naming`.
        first: name of a list.
        size_first: members of the view in it.
        second: name of another.
        size_second: members in it.
        shared: members that both have.
        names_first: images of the first that stand for shared members: of patients, all their images.
        names_second: the same of the second.
    """

    view: str
    first: str
    size_first: int
    second: str
    size_second: int
    shared: int
    names_first: int
    names_second: int

    def recorded(self) -> dict[str, object]:
        """As plain values, in the order of `COLUMNS`."""
        return asdict(self)


def seen(lists: Sequence[IdList], *, rsna_to_nih: Mapping[str, str] | None = None) -> list[Views]:
    """The views of each list; where one list knows the patient of an image, this patient is used for all lists.

    Args:
        lists: of any collections.
        rsna_to_nih: see `refers_bench.data.audit.naming.views_of`.

    Returns:
        Of each list, its views by their names.
    """
    found = [views_of(one.ids, naming=one.naming, rsna_to_nih=rsna_to_nih) for one in lists]
    told = {view for views in found for view in views if view.endswith(" patients")}
    known: dict[tuple[str, str], str] = {}
    for one, views in zip(lists, found, strict=True):
        for view, members in views.items() if one.patients and not told & set(views) else ():
            for member, names in members.items():
                if who := _patient(one, min(names)):
                    known[view, member] = who
    for views in found:
        views.update(dict(_people(views, known)))
    return list[Views](found)


def _patient(one: IdList, name: str) -> str | None:
    return one.patients.get(file_name(name), one.patients.get(plain(name)))


def _people(views: Views, known: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, dict[str, frozenset[str]]]]:
    """Views of patients whom datasets know, from the images of each view: "patients of covid19_idc"."""
    found: dict[str, dict[str, set[str]]] = {}
    for view, members in views.items():
        for member, names in members.items():
            if who := known.get((view, member)):
                owner = who.partition("/")[0]
                found.setdefault(f"patients of {owner}", {}).setdefault(who, set()).update(names)
    for view, people in found.items():
        yield view, {who: frozenset(names) for who, names in people.items()}


def matrix(lists: Sequence[IdList], *, rsna_to_nih: Mapping[str, str] | None = None) -> list[Contamination]:
    """What any two lists share, in each view that both have, in the order given.

    Args:
        lists: of any collections.
        rsna_to_nih: RSNA id -> NIH image id.
    """
    return list(_pairs([one.name for one in lists], seen(lists, rsna_to_nih=rsna_to_nih)))


def _pairs(names: Sequence[str], found: Iterable[Views]) -> Iterator[Contamination]:
    for (first, a), (second, b) in itertools.combinations(zip(names, found, strict=True), 2):
        for view in a:
            if view in b:
                one, other = a[view], b[view]
                shared = one.keys() & other.keys()
                yield Contamination(
                    view=view,
                    first=first,
                    size_first=len(one),
                    second=second,
                    size_second=len(other),
                    shared=len(shared),
                    names_first=sum(len(one[member]) for member in shared),
                    names_second=sum(len(other[member]) for member in shared),
                )


def worst(found: Iterable[Contamination]) -> Contamination | None:
    """The pair in which most images of the second list stand for something shared; None where nothing is shared."""
    shared = [one for one in found if one.shared]
    return max(shared, key=lambda one: one.names_second, default=None)


def lines(lists: Sequence[IdList], found: Sequence[Contamination]) -> Iterator[str]:
    """The matrix for people: the lists, then the pairs that share something, view by view."""
    for one in lists:
        yield f"list {one.name}: {len(one.ids):,} images"
    for view in dict.fromkeys(one.view for one in found):
        pairs = [pair for pair in found if pair.view == view]
        yield f"{view}: {sum(bool(pair.shared) for pair in pairs)} of {len(pairs)} pairs share something"
        for pair in pairs:
            if pair.shared:
                sizes = f"{pair.first} ({pair.size_first:,}) and {pair.second} ({pair.size_second:,})"
                yield f"  {sizes}: {_shared(pair)}"


def _shared(one: Contamination) -> str:
    """How many are shared, and how many images stand for them where these are more."""
    text = f"{one.shared:,} shared"
    if (one.names_first, one.names_second) != (one.shared, one.shared):
        text += f": {one.names_first:,} images of the first, {one.names_second:,} of the second"
    return text
