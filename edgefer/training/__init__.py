"""Training recipes of the networks, resumable."""
