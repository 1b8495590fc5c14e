"""The results folders of the analysis tests, for the tests here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "analysis" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("analysis_conftest", _PATH)
assert _SPEC is not None and _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

folder = _MODULE.folder
new_folder = _MODULE.new_folder
