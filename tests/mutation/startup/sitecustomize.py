"""Starts coverage.py in every Python process whose environment asks for it."""

import os

if os.environ.get("COVERAGE_PROCESS_START"):
    import coverage

    coverage.process_startup()
