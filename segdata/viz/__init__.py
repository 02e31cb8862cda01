"""Pictures of samples, charts and HTML pages."""
