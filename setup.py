"""The list of packages, which pyproject.toml cannot give: all of segdata/, and manifests/ as `segdata.manifests`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["segdata", "segdata.*"]), "segdata.manifests"])
