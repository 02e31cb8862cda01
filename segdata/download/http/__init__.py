"""One file over HTTP: requested, resumed, verified."""
