"""AUCs, their errors and intervals, summaries of seeds, and statistical tests."""
