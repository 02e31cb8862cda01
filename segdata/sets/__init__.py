"""Dataset → dataset: categories and objects chosen, renamed or left out."""
