"""What everything of a kind promises, checked once for all of it: a format."""
