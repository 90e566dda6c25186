"""PAtt-Lite: its network, its checkpoints, its training."""
