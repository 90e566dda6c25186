"""Networks: their graphs, their checkpoints, and what is known about their inputs."""
