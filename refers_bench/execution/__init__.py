"""Runs jobs: the coordinator, and the engines that are the places where jobs run."""
