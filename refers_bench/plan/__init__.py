"""The plan of a manifest: its jobs, their order and state, and what they will take."""
