"""Packs between folders and addresses: `push` and `pull`, resumed where they were stopped."""
