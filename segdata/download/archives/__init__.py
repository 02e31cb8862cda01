"""Archives: checked as a whole, then extracted."""
