"""What several formats read and write alike."""
