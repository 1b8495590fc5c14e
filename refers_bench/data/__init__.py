"""Decode, prepare, augment, text, sampling, loading."""
