"""The Slurm engine: job arrays, watched from outside."""
