"""The report of an evaluation: one HTML page to look at."""
