"""What several test modules share: datasets written by hand, comparisons, servers, the command itself."""
