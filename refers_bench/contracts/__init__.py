"""The contract tests of methods, datasets and reports, for authors of plug-ins in any package."""
