"""The contract tests of methods, datasets, reports and engines, for authors of plug-ins in any package."""
