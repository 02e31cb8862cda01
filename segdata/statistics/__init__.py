"""Dataset statistics: counts and plots."""
