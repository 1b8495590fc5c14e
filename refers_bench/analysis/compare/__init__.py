"""Comparison of two sets of results: with a baseline, with another store, with a bundle."""
