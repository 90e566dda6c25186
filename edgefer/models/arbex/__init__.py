"""ARBEx: its network as trained and as deployed, its checkpoints, its training."""
