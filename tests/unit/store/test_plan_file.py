"""The bytes of a plan's file: what jobs and cells share stands once, and all of it is read back."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from refers_bench.store.plan_file import packed, unpacked


def name_of(text: str) -> str:
    """Of a part whose canonical JSON this is."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def test_what_is_shared_stands_once_and_is_read_back() -> None:
    def job(key: str, spec: dict[str, Any], *needs: str, unavailable: str = "") -> dict[str, Any]:
        kind = spec["kind"]
        return {
            "key": key, "kind": kind, "name": f"{kind} {key}", "needs": list(needs), "spec": spec, "unavailable": unavailable,
        }  # fmt: skip

    def tuned(**own: Any) -> dict[str, Any]:
        return {"kind": "finetune", **own, "params": {"grösse": 3}}

    content = {
        "version": 2, "name": "small",
        "jobs": [
            job("a", {"kind": "prepare", "size": 36}),
            job("b", tuned(label_ratio=0.5, seed=0, pretrain="p"), "a", unavailable="no root"),
            job("c", tuned(label_ratio=1.0, seed=1), "a", "b"),
            # Equal and not the same object, and in another order.
            job("d", {"params": {"grösse": 3}, "seed": 1, "kind": "finetune"}),
        ],
        "cells": [
            {"method": "refers", "target": "t", "label_ratio": 0.5, "seed": 0, "key": "b"},
            {"method": "refers", "target": "t", "label_ratio": 1.0, "seed": 1, "key": "c"},
            {"method": "refers", "target": "u", "key": "d"},
        ],
    }  # fmt: skip
    prepare = name_of('{"kind":"prepare","size":36}')
    tune = name_of(r'{"kind":"finetune","params":{"gr\u00f6sse":3}}')
    rows = [name_of(f'{{"method":"refers","target":"{one}"}}') for one in "tu"]
    before = copy.deepcopy(content)
    text = packed(content).decode()
    assert (
        text
        == f"""\
{{
 "version": 2,
 "name": "small",
 "specs": {{
  "{prepare}": {{
   "kind": "prepare",
   "size": 36
  }},
  "{tune}": {{
   "kind": "finetune",
   "params": {{
    "grösse": 3
   }}
  }}
 }},
 "rows": {{
  "{rows[0]}": {{
   "method": "refers",
   "target": "t"
  }},
  "{rows[1]}": {{
   "method": "refers",
   "target": "u"
  }}
 }},
 "jobs": [
  {{"key": "a", "kind": "prepare", "name": "prepare a", "needs": [], "spec": "{prepare}", "own": {{}}}},
  {{"key": "b", "kind": "finetune", "name": "finetune b", "needs": ["a"], "spec": "{tune}", \
"own": {{"label_ratio": 0.5, "seed": 0, "pretrain": "p"}}, "unavailable": "no root"}},
  {{"key": "c", "kind": "finetune", "name": "finetune c", "needs": ["a", "b"], "spec": "{tune}", \
"own": {{"label_ratio": 1.0, "seed": 1}}}},
  {{"key": "d", "kind": "finetune", "name": "finetune d", "needs": [], "spec": "{tune}", "own": {{"seed": 1}}}}
 ],
 "cells": [
  {{"row": "{rows[0]}", "label_ratio": 0.5, "seed": 0, "key": "b"}},
  {{"row": "{rows[0]}", "label_ratio": 1.0, "seed": 1, "key": "c"}},
  {{"row": "{rows[1]}", "key": "d"}}
 ]
}}
"""
    )
    assert content == before
    read = unpacked(json.loads(text))
    assert read == content
    # An earlier version had every specification whole.
    earlier = {**before, "version": 1}
    assert unpacked(copy.deepcopy(earlier)) == earlier
    nothing = packed({"version": 2, "jobs": [], "cells": []}).decode()
    assert nothing == '{\n "version": 2,\n "specs": {},\n "rows": {},\n "jobs": [],\n "cells": []\n}\n'
