"""refers-bench: a reproducibility benchmark harness for radiograph representation learning."""

__version__ = "0.1.0"
