"""LANMSFF: its network, its checkpoints, its training."""
