"""Predictions that other programs wrote, read from their files."""
