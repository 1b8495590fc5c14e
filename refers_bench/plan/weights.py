"""Identifies the weights that rows start from, and says what a row keeps of the network they were trained in."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from refers_bench.files import read_json, sha256_of
from refers_bench.identity import KEY_LENGTH, key
from refers_bench.manifest.protocols import Value
from refers_bench.manifest.roots import Roots
from refers_bench.nets.weight_headers import ACTIVATIONS, Origin, origin
from refers_bench.plan import index_memo
from refers_bench.plugins import Method

#: Version of how positions of weights are adapted to a network that joins them otherwise: raised when numbers change.
LOADING = 2


def initial_root(network: Mapping[str, Any], architecture: str) -> str:
    """Name of the data root of an encoder's initial weights: a transformer's as it stands, a ResNet's with its name."""
    name: str = network["init_path_name"]
    return name if architecture == "transformer" or not name else f"{name}_{architecture}"


def wanted(method: Method, sections: Mapping[str, Any]) -> Iterator[str]:
    """Names of the data roots that hold initial weights for this method under these constants."""
    if sections["network"]["init"] == "imagenet":
        yield sections["network"]["init_path_name"]
    bert = sections["pretrain"]["text_encoder"]["path_name"]
    if bert and "reports" in method.needs:
        yield bert


def brought(method: Method, params: Any) -> Iterator[str]:
    """Name of the data root with the encoder that this method brings, if it brings one."""
    if name := method.weights(params):
        yield name


def _origins(method: Method, params: Any, network: Mapping[str, Any], roots: Roots) -> Iterator[tuple[str, Origin]]:
    """Data root and network of the weights that the transformer of a row starts from, as far as they are here."""
    if method.architecture(params) != "transformer":
        return
    initial = [network["init_path_name"]] if method.pretrains(params) and network["init"] == "imagenet" else []
    for name in (*initial, *brought(method, params)):
        if not roots.why_not(name):
            yield name, origin(roots.paths[name])


def kept(method: Method, params: Any, values: Mapping[str, Value], roots: Roots) -> dict[str, Value]:
    """What the transformer of a row keeps of the network its weights were trained in, in place of the protocol's.

    Args:
        method: of the row.
        params: its parameters.
        values: dotted name -> value of the row's constants; what a manifest sets of them stands.
        roots: of this machine.

    Returns:
        Dotted name -> value of the constants that change.
    """
    network = {name: values[f"network.{name}"].value for name in ("init", "init_path_name")}
    found: dict[str, Value] = {}
    for root, one in _origins(method, params, network, roots):
        found |= as_trained(one, values, root=root)
    return found


def as_trained(one: Origin, values: Mapping[str, Value], *, root: str) -> dict[str, Value]:
    """The constants of `values` that are others in the network of these weights, which `root` names; see `kept`."""
    known = {"activation": one.activation or None, "position": one.position, "dropout": one.dropout}
    return {
        name: Value(value=value, origin=f"weights '{root}': as they were trained")
        for name, value in ((f"network.{name}", value) for name, value in known.items())
        if value is not None and value != values[name].value and not values[name].overridden
    }


def loading(method: Method, params: Any, network: Mapping[str, Any], roots: Roots) -> int:
    """Version of how positions of weights are adapted where they have to be; 0 where weights fit as they are."""
    adapted = any(one.position != network["position"] for _, one in _origins(method, params, network, roots))
    return LOADING if adapted else 0


def footnotes(method: Method, params: Any, values: Mapping[str, Value], roots: Roots) -> Iterator[str]:
    """What a table must say: what a row keeps of its weights' network, or that a manifest runs them in another one.

    Args:
        method: of the row.
        params: its parameters.
        values: as `kept` takes them.
        roots: of this machine.
    """
    changed = kept(method, params, values, roots)
    if changed:
        yield sentence(changed, values)
    network = {name.removeprefix("network."): one.value for name, one in {**values, **changed}.items()}
    for _, one in _origins(method, params, network, roots):
        if remark := one.remark(network["activation"]):
            yield remark


def sentence(changed: Mapping[str, Value], values: Mapping[str, Value]) -> str:
    """What a row keeps of its weights' network in place of `values`, in words; see `kept`."""

    def said(name: str, value: Any) -> str:
        if name == "network.activation":
            return ACTIVATIONS[value]
        return f"{value} positions" if name == "network.position" else f"dropout {value:g}"

    texts = [f"{said(name, one.value)} in place of {said(name, values[name].value)}" for name, one in changed.items()]
    return f"as its weights were trained: {', '.join(texts)}"


def identified(names: Iterator[str], roots: Roots, cache: Path | None) -> tuple[dict[str, str], str]:
    """Name -> digest of its weights ('' where they are not here), and why they cannot be had ('' when they can)."""
    digests, missing = {}, ""
    for name in names:
        reason = roots.why_not(name)
        digests[name] = "" if reason else digest(roots.paths[name], cache)
        missing = missing or reason
    return digests, missing


def digest(path: Path, cache: Path | None = None) -> str:
    """Identity of a file or folder: relative names and all bytes; not the place.

    Args:
        path: of the file or folder.
        cache: where hashes of unchanged files are remembered; None remembers them in this process alone.
    """
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        status, place = file.stat(), str(file.resolve())
        found.update(f"{name}\n{_hash(cache, place, status.st_size, status.st_mtime_ns, status.st_ino)}\n".encode())
    return found.hexdigest()[:KEY_LENGTH]


@functools.lru_cache(maxsize=1024)
def _hash(cache: Path | None, place: str, *unchanged: int) -> str:
    """SHA-256 of a file, which is read again only when its size, time or inode changed: that takes seconds."""
    if cache is None:
        return sha256_of(Path(place))
    memo = cache / "weights" / f"{key(place)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = read_json(memo)
        if known["unchanged"] == list(unchanged):
            return str(known["sha256"])
    found = sha256_of(Path(place))
    index_memo.keep(memo, {"unchanged": unchanged, "sha256": found})
    return found
