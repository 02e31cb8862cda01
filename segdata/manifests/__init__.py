"""The datasets that segdata knows, one TOML file each; shipped as the package `segdata.manifests`."""
