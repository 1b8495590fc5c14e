"""The one loop, its optimisers, schedules and checkpoints."""
