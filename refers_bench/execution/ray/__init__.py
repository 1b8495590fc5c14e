"""The Ray engine: one remote call a job."""
