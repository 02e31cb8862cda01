"""The tests: one folder for each package of segdata, `helpers`, and small fixtures."""
