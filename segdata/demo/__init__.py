"""The demo: drawn datasets, fetched, converted and trained on, over loopback."""
