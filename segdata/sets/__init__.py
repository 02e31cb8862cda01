"""Dataset → dataset: choose, rename and filter categories and objects."""
