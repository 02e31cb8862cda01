"""The machine: files, locks, disk space, processes. Knows nothing of datasets."""
