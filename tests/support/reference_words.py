"""Puts JSON Schemas, docstrings and values into the words and tables of the reference's pages."""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Node = Mapping[str, Any]

_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example|Source):(.*)$")
_PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
#: Those of them that have a plural.
_COUNTED = ("whole number", "number", "text")


def code(value: Any) -> str:
    """A value as a manifest writes it."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def prose(text: str) -> str:
    """A sentence that Markdown shows as it stands; what stands in back quotes is code."""
    parts = re.split(r"(``?[^`]+``?)", text)
    plain = [part.replace("&", "&amp;").replace("<", "&lt;") for part in parts[::2]]
    escaped = [re.sub(r"[*\\]|(?<!\w)_|_(?!\w)", r"\\\g<0>", part) for part in plain]
    parts[::2] = escaped
    parts[1::2] = [f"`{part.strip('`')}`" for part in parts[1::2]]
    return "".join(parts).strip()


def cell(text: str) -> str:
    """Text in one cell of a table; code with a bar as HTML, since renderers read an escaped bar in code differently."""
    text = re.sub(
        r"`([^`]*\|[^`]*)`", lambda found: f"<code>{html.escape(found[1]).replace('|', '&#124;')}</code>", text
    )
    return re.sub(r"\s+", " ", text.replace("|", "\\|")).strip() or " "


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; '' without rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines]) + "\n" if lines else ""


def limits(node: Node) -> str:
    """The limits of a value, in words; '' without any."""
    low, high = (node.get(name) for name in ("minimum", "maximum"))
    words = [f"from {low:g} to {high:g}"] if low is not None and high is not None else []
    if not words:
        words += [f"at least {low:g}"] if low is not None else []
        words += [f"at most {high:g}"] if high is not None else []
    words += [f"above {node['exclusiveMinimum']:g}"] if "exclusiveMinimum" in node else []
    words += [f"below {node['exclusiveMaximum']:,}"] if "exclusiveMaximum" in node else []
    words += ["not empty"] if node.get("minLength") else []
    words += [f"up to {node['maxLength']} characters"] if "maxLength" in node else []
    words += [f"matching `{node['pattern']}`"] if "pattern" in node else []
    return ", ".join(words)


def kind(node: Node, *, several: bool = False) -> str:
    """What a value may be, in words; in the plural for the items of a list."""
    if "$ref" in node:
        return "mappings" if several else "mapping"
    if "anyOf" in node:
        words = [kind(one, several=several) for one in node["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "const" in node:
        return code(node["const"])
    if "enum" in node:
        return " or ".join(code(value) for value in node["enum"])
    if node.get("type") == "array":
        return _list(node)
    if node.get("type") == "object":
        inside = node.get("additionalProperties")
        return f"mapping from names to {kind(inside, several=True)}" if isinstance(inside, dict) else "mapping"
    words_ = _PLAIN.get(node.get("type", ""), "anything")
    words_ = f"{words_}s" if several and words_ in _COUNTED else words_
    return f"{words_} ({limits(node)})" if limits(node) else words_


def _list(node: Node) -> str:
    """A list with its length and its items."""
    least, most = node.get("minItems"), node.get("maxItems")
    items_ = f" of {kind(node['items'], several=True)}" if node.get("items") else ""
    if least is not None and least == most:
        return f"list of {least}{items_.removeprefix(' of')}"
    if "prefixItems" in node:
        return f"list of {len(node['prefixItems'])}"
    return f"{'list, not empty,' if least else 'list'}{items_}"


def references(node: Any, suffix: str = "") -> Iterator[tuple[str, str]]:
    """Definitions that a node refers to, each with what leads there: "[]" for an item, ".NAME" for a name."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield suffix, node["$ref"].rpartition("/")[2]
        for one in node.get("anyOf", ()):
            yield from references(one, suffix)
        yield from references(node.get("items"), f"{suffix}[]")
        yield from references(node.get("additionalProperties"), f"{suffix}.NAME")


def default(node: Node, *, required: bool) -> str:
    """The default of a key, in words."""
    if required:
        return "**required**"
    if node.get("default") is not None:
        return code(node["default"])
    if "$ref" in node:
        return "those of its keys"
    empty = {"array": "`[]`", "object": "`{}`"}.get(node.get("type", ""))
    return "none" if "default" in node or "properties" in node or empty is None else empty


def described(node: Node, definitions: Mapping[str, Node]) -> str:
    """What a key means: its own description, or the first sentence about what it holds."""
    if "description" in node:
        return prose(node["description"])
    for _, name in references(node):
        return prose(definitions[name].get("description", "").partition("\n\n")[0])
    return ""


def keys(node: Node, definitions: Mapping[str, Node]) -> str:
    """The table of a mapping's keys."""
    required = node.get("required", ())
    rows = (
        (f"`{name}`", kind(one), default(one, required=name in required), described(one, definitions))
        for name, one in node.get("properties", {}).items()
    )
    return table(("key", "value", "default", "meaning"), rows)


def sections(text: str) -> list[tuple[str, str]]:
    """A Google docstring as (heading, body), the heading '' for what comes first."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in inspect.cleandoc(text).splitlines():
        if match := _SECTION.match(line):
            found.append((match[1], [f"    {match[2].strip()}"] if match[2].strip() else []))
        else:
            found[-1][1].append(line)
    return [(heading, inspect.cleandoc("\n" + "\n".join(body))) for heading, body in found if body]


def items(body: str) -> list[tuple[str, str]]:
    """Entries of a section "Args", "Attributes" or "Raises": (name, text)."""
    found: list[tuple[str, str]] = []
    for line in body.splitlines():
        name, colon, text = line.partition(":")
        if colon and not line.startswith(" "):
            found.append((name, text.strip()))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
    return found
