"""The contract of datasets, kept by every one that is found on disk."""

from __future__ import annotations

from refers_bench.contracts.datasets import *  # noqa: F403
