"""Checks of datasets on disk: files, counts, duplicates between splits and datasets."""
