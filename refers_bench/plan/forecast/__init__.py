"""Time, memory and disk that the jobs of a plan will take."""
