"""Run folders read back: history, comparison, report."""
